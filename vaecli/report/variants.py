"""Runs put together: which of them differ in their seed alone, and which setting is compared with which."""

import contextlib
import dataclasses
import functools
import hashlib
import math
import re
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vaecli.config import SETTINGS, Config, UsageError
from vaecli.config.naming import label, text
from vaecli.config.validators import nearest
from vaecli.runs.collection import Outcome

CRITERIA = {"elbo": "validation/elbo", "iwae": "validation/iwae"}
"""What a learning rate is chosen by, for each objective."""

# What tells two runs apart without making them two settings. `data_dir` is a place; data are told by their checksums.
_NO_SETTING = {"seed", "perturb", "name", "data_dir"}


class Setting(NamedTuple):
    """Runs that differ in their seed alone.

    Attributes:
      name: the head, and what else varies.
      values: of the fields that vary.
      runs: by seed.
      twins: the runs with one weight perturbed, by seed.
    """

    name: str
    values: Mapping[str, Any]
    runs: Mapping[int, Outcome]
    twins: Mapping[int, Outcome]

    @property
    def config(self) -> Config:
        """Of all its runs, but for their seed."""
        return next(iter(self.runs.values())).setting

    def surviving(self, tag: str) -> dict[int, float]:
        """The value of each run, by seed, that is complete and whose value is finite."""
        return survivors(self.runs, tag)


def survivors(runs: Mapping[int, Outcome], tag: str) -> dict[int, float]:
    """The value of each run that is complete and whose value is finite."""
    known = {seed: run.values.get(tag) for seed, run in runs.items() if run.status == "complete"}
    return {seed: value for seed, value in known.items() if value is not None}


def settings_of(outcomes: Sequence[Outcome], warnings: list[str]) -> tuple[list[str], list[Setting]]:
    """What varies, `param` first, and the settings.

    Args:
      outcomes: of all runs.
      warnings: what is left out is told here.

    Raises:
      UsageError: two runs have one setting and one seed, and have come to different ends.
    """
    outcomes = _with_data_named(outcomes)
    configs = list({id(outcome.setting): outcome.setting for outcome in outcomes}.values())
    fields = [name for name, setting in SETTINGS.items() if setting.outcome and name not in _NO_SETTING]
    if len({outcome.data for outcome in outcomes}) > 1:
        fields.append("data_dir")

    def varying(names: Iterable[str]) -> list[str]:
        return [name for name in names if len({getattr(config, name) for config in configs}) > 1]

    vary = ["param", *varying(name for name in fields if name != "param")]
    copies, clash = _copies(outcomes, vary)
    if clash and varying(["name"]):
        vary.append("name")
        copies, clash = _copies(outcomes, vary)
    if clash:
        raise UsageError(f"{clash[0]} and {clash[1]}: have one setting and seed, and other results; name one of them")
    if copies:
        warnings.append(f"{count(len(copies), 'run')} left out that others repeat, such as {copies[0].path}")
    left_out = {id(copy) for copy in copies}
    return vary, _grouped([outcome for outcome in outcomes if id(outcome) not in left_out], vary, warnings)


def _with_data_named(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """The runs with a checksum behind the `data_dir` that has not held one data set alone."""
    held: dict[str, set[Any]] = {}
    for outcome in outcomes:
        held.setdefault(outcome.setting.data_dir, set()).add(outcome.data)
    if all(len(data) == 1 for data in held.values()):
        return outcomes

    @functools.cache
    def named(setting: Config, data: Any) -> Config:
        sums = hashlib.sha256(repr(data).encode()).hexdigest()[:8]
        return dataclasses.replace(setting, data_dir=f"{setting.data_dir}#{sums}")

    return [
        outcome._replace(setting=named(outcome.setting, outcome.data))
        if len(held[outcome.setting.data_dir]) > 1
        else outcome
        for outcome in outcomes
    ]


def _copies(outcomes: Sequence[Outcome], vary: Sequence[str]) -> tuple[list[Outcome], tuple[Any, Any] | None]:
    """The runs that repeat an earlier one, and the paths of two that should and do not."""
    first: dict[Any, Outcome] = {}
    copies = []
    for outcome in outcomes:
        config = outcome.setting
        same = (*(getattr(config, name) for name in vary), config.perturb, outcome.seed)
        other = first.setdefault(same, outcome)
        if other is not outcome:
            if (other.status, other.values) != (outcome.status, outcome.values):
                return copies, (other.path, outcome.path)
            copies.append(outcome)
    return copies, None


def _grouped(outcomes: Sequence[Outcome], vary: Sequence[str], warnings: list[str]) -> list[Setting]:
    perturbations = {abs(outcome.setting.perturb) for outcome in outcomes} - {0.0}
    if len(perturbations) > 1:
        warnings.append(f"of twins perturbed by {', '.join(map(text, sorted(perturbations)))} the first alone count")
    groups: dict[tuple[Any, ...], tuple[dict[int, Outcome], dict[int, Outcome]]] = {}
    for outcome in outcomes:
        runs, twins = groups.setdefault(tuple(getattr(outcome.setting, name) for name in vary), ({}, {}))
        if not outcome.setting.perturb:
            runs[outcome.seed] = outcome
        elif abs(outcome.setting.perturb) == min(perturbations):
            twins[outcome.seed] = outcome
    lonely = sum(seed not in runs for runs, twins in groups.values() for seed in twins)
    if lonely:
        warnings.append(f"{count(lonely, 'perturbed twin')} left out, whose originals are not here")
    found = []
    for values, (runs, twins) in groups.items():
        if runs:
            config = next(iter(runs.values())).setting
            found.append(
                Setting(label(config, vary), dict(zip(vary, values, strict=True)), _sorted(runs), _sorted(twins))
            )
    # Other fields before the head, so that what is compared stands together; numbers by size.
    order = [*vary[1:], vary[0]]
    found.sort(key=lambda setting: [_sortable(setting.values[name]) for name in order])
    return found


def _sorted(runs: Mapping[int, Outcome]) -> dict[int, Outcome]:
    return dict(sorted(runs.items()))


def _sortable(value: Any) -> tuple[bool, Any]:
    number = isinstance(value, int | float)
    return not number, value if number else text(value)


def count(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {what}{'s' * (number != 1)}"


class Rates(NamedTuple):
    """A head, or another setting, over a grid of learning rates.

    Attributes:
      name: without the rate.
      settings: by rate, rising.
    """

    name: str
    settings: Mapping[float, Setting]


def rates_of(settings: Sequence[Setting], vary: Sequence[str]) -> Sequence[Rates]:
    """The settings by learning rate; nothing where it does not vary."""
    if "lr" not in vary:
        return []
    others = [name for name in vary if name != "lr"]
    found: dict[str, dict[float, Setting]] = {}
    for setting in settings:
        found.setdefault(label(setting.config, others), {})[setting.values["lr"]] = setting
    return [Rates(name, dict(sorted(rates.items()))) for name, rates in found.items()]


def at_best_rate(grid: Sequence[Rates], warnings: list[str]) -> tuple[list[Setting], dict[str, dict[str, Any]]]:
    """Each setting at the rate at which most of its runs survive and, of those, the mean validation bound is greatest.

    Only rates that all settings have take part; and of each setting only seeds that all its rates have, if there are.

    Args:
      grid: of the learning rates.
      warnings: what a reader of the verdicts should know is told here.

    Returns:
      The settings, and by their names without the rate: the rate, its validation bound, and whether it lies at an edge.

    Raises:
      UsageError: there is no grid, no rate that all have, or runs have no validation split.
    """
    if not grid:
        raise UsageError("--at best-lr: the learning rate does not vary among these runs")
    shared = sorted(set.intersection(*(set(rates.settings) for rates in grid)))
    if not shared:
        raise UsageError("--at best-lr: there is no learning rate that all settings were trained at")
    if any(len(rates.settings) > len(shared) for rates in grid):
        warnings.append(f"only rates that all settings have take part: {', '.join(map(text, shared))}")
    chosen, best = [], {}
    for name, settings in grid:
        seeds = set.intersection(*(set(settings[lr].runs) for lr in shared))
        survived: dict[float, float] = {}
        bounds: dict[float, float] = {}
        for lr in shared:
            setting = settings[lr]
            if not setting.config.validation:
                raise UsageError(
                    f"--at best-lr: {setting.name} was trained without --validation, which is to choose by"
                )
            known = setting.surviving(CRITERIA[setting.config.objective])
            counted = [seed for seed in setting.runs if seed in seeds or not seeds]
            values = [known[seed] for seed in counted if seed in known]
            survived[lr] = len(values) / len(counted)
            bounds[lr] = statistics.fmean(values) if values else -math.inf
        lr = max(shared, key=lambda lr: (survived[lr], bounds[lr]))
        tempting = max(shared, key=lambda lr: bounds[lr])
        if tempting != lr:
            warnings.append(f"{name}: at lr={text(tempting)} the bound is greater, but more runs were lost")
        edge = lr in (shared[0], shared[-1])
        if edge:
            warnings.append(f"{name}: its best learning rate {text(lr)} lies at an edge of the grid")
        chosen.append(settings[lr])
        best[name] = {"lr": lr, "validation": bounds[lr] if survived[lr] else None, "edge": edge}
    return chosen, best


def references(settings: Sequence[Setting], wanted: str, apart: Collection[str] = ()) -> dict[str, Setting | None]:
    """For each setting that is no reference, by name, the one that it is compared with.

    That is the reference at the same other settings; where there is but one reference, that one; or none.

    Args:
      settings: all of them.
      wanted: the name of a setting, or `[head],field=value,…`.
      apart: fields in which the two may differ.

    Raises:
      UsageError: it names no field or no setting, or all of them.
    """
    names = [setting.name for setting in settings]
    listed = f"{', '.join(names[:20])}{' …' * (len(names) > 20)}"
    fields: Collection[str] = settings[0].values
    found = [setting for setting in settings if setting.name == wanted]
    if not found:
        asked = _fields(wanted)
        fields = asked
        found = [s for s in settings if all(_is(getattr(s.config, name), value) for name, value in asked.items())]
    if not found:
        raise UsageError(f"--reference: no run is {wanted!r}{nearest(wanted, names)} (there are: {listed})")
    if len(found) == len(settings):
        what = f"all runs are {wanted!r}" if len(settings) > 1 else f"there is one setting alone, {listed}"
        choice = f"; choose among {listed}, as in --reference {names[0]}" if len(settings) > 1 else ""
        raise UsageError(f"nothing to compare: {what}{choice}")

    def others(setting: Setting) -> list[Any]:
        return [value for name, value in setting.values.items() if name not in fields and name not in apart]

    pairs = {}
    for setting in settings:
        if not any(setting is reference for reference in found):
            partners = [reference for reference in found if others(reference) == others(setting)]
            partners = found if len(found) == 1 else partners
            pairs[setting.name] = partners[0] if len(partners) == 1 else None
    return pairs


def _fields(wanted: str) -> dict[str, str]:
    """The fields of `[head],field=value,…`; a comma within a value is one that no `field=` follows."""
    fields: dict[str, str] = {}
    for word in re.split(r",(?=[a-z_-]+=)", wanted):
        name, equals, value = word.partition("=")
        name, value = (name.strip().replace("-", "_"), value.strip()) if equals else ("param", word.strip())
        if name not in SETTINGS:
            raise UsageError(f"--reference: unknown setting {name!r}{nearest(name, SETTINGS)}")
        fields[name] = value
    return fields


def _is(value: Any, wanted: str) -> bool:
    if isinstance(value, float | int) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return float(wanted) == value
    return text(value) == wanted
