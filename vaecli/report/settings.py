"""Runs put together: which of them differ in their seed alone, and which setting is compared with which."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vaecli.checks import nearest
from vaecli.config import SETTINGS, Config, UsageError
from vaecli.labels import label, text
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
      twins: with one weight perturbed; there may be several of one seed.
    """

    name: str
    values: Mapping[str, Any]
    runs: Mapping[int, Outcome]
    twins: Sequence[Outcome]

    @property
    def config(self) -> Config:
        """Of all its runs, but for their seed."""
        return next(iter(self.runs.values())).setting

    def surviving(self, tag: str) -> dict[int, float]:
        """The value of each run, by seed, that is complete and whose value is finite."""
        known = {seed: run.values[tag] for seed, run in self.runs.items() if run.status == "complete"}
        return {seed: value for seed, value in known.items() if value is not None}


def settings_of(outcomes: Sequence[Outcome], warnings: list[str]) -> tuple[list[str], list[Setting]]:
    """What varies, `param` first, and the settings.

    Args:
      outcomes: of all runs.
      warnings: what is left out is told here.

    Raises:
      UsageError: two runs have one setting and one seed, and have come to different ends.
    """
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
        warnings.append(f"{_count(len(copies), 'run')} left out that others repeat, such as {copies[0].path}")
    left_out = {id(copy) for copy in copies}
    return vary, _grouped([outcome for outcome in outcomes if id(outcome) not in left_out], vary, warnings)


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
    groups: dict[tuple[Any, ...], Setting] = {}
    for outcome in outcomes:
        values = {name: getattr(outcome.setting, name) for name in vary}
        group = groups.setdefault(tuple(values.values()), Setting("", values, {}, []))
        if outcome.setting.perturb:
            group.twins.append(outcome)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            group.runs[outcome.seed] = outcome  # pyright: ignore[reportIndexIssue]
    if lonely := sum(len(group.twins) for group in groups.values() if not group.runs):
        warnings.append(f"{_count(lonely, 'perturbed twin')} left out, whose originals are not here")
    found = [group for group in groups.values() if group.runs]
    # Other fields before the head, so that what is compared stands together; numbers by size.
    found.sort(key=lambda group: [_sortable(group.values[name]) for name in vary])
    return [
        Setting(label(group.config, vary), group.values, dict(sorted(group.runs.items())), group.twins)
        for group in found
    ]


def _sortable(value: Any) -> tuple[bool, Any]:
    number = isinstance(value, int | float)
    return not number, value if number else text(value)


def _count(number: int, what: str) -> str:
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


def at_best_rate(grid: Sequence[Rates]) -> tuple[list[Setting], dict[str, dict[str, Any]]]:
    """Each setting at the rate at which most of its runs survive and, of those, the mean validation bound is greatest.

    Returns:
      The settings, named without their rates, and the rate of each, its validation bound, and whether it lies at an
      edge of its grid.

    Raises:
      UsageError: there is no grid, or runs have no validation split.
    """
    if not grid:
        raise UsageError("--at best-lr: the learning rate does not vary among these runs")
    chosen, best = [], {}
    for name, settings in grid:
        scores = {}
        for lr, setting in settings.items():
            bounds = setting.surviving(CRITERIA[setting.config.objective])
            if setting.config.validation is False:
                raise UsageError(
                    f"--at best-lr: {setting.name} was trained without --validation, so no rate can be chosen fairly"
                )
            scores[lr] = (len(bounds) / len(setting.runs), statistics.fmean(bounds.values()) if bounds else None)
        lr = max(scores, key=lambda lr: (scores[lr][0], scores[lr][1] or 0.0))
        values = {key: value for key, value in settings[lr].values.items() if key != "lr"}
        chosen.append(settings[lr]._replace(name=name, values=values))
        edge = len(scores) > 1 and lr in (min(scores), max(scores))
        best[name] = {"lr": lr, "validation": scores[lr][1], "edge": edge}
    return chosen, best


def references(settings: Sequence[Setting], wanted: str) -> dict[str, Setting | None]:
    """For each setting that is no reference, by name, the one that it is compared with.

    That is the reference at the same other settings; where there is but one reference, that one; or none.

    Args:
      settings: all of them.
      wanted: `[head],field=value,…`.

    Raises:
      UsageError: it names no field or no setting, or all of them.
    """
    fields: dict[str, str] = {}
    for word in wanted.split(","):
        name, equals, value = word.partition("=")
        name, value = (name.strip().replace("-", "_"), value.strip()) if equals else ("param", word.strip())
        if name not in SETTINGS:
            raise UsageError(f"--reference: unknown setting {name!r}{nearest(name, SETTINGS)}")
        fields[name] = value
    found = [
        setting
        for setting in settings
        if all(text(getattr(setting.config, name)) == value for name, value in fields.items())
    ]
    names = [setting.name for setting in settings]
    listed = f"{', '.join(names[:20])}{' …' * (len(names) > 20)}"
    if not found:
        raise UsageError(f"--reference: no run is {wanted!r}{nearest(wanted, names)} (there are: {listed})")
    if len(found) == len(settings):
        what = f"all runs are {wanted!r}" if len(settings) > 1 else f"there is one setting alone, {listed}"
        choice = f"; choose among {listed}, as in --reference {names[0]}" if len(settings) > 1 else ""
        raise UsageError(f"nothing to compare: {what}{choice}")

    def others(setting: Setting) -> list[Any]:
        return [value for name, value in setting.values.items() if name not in fields]

    pairs = {}
    for setting in settings:
        if not any(setting is reference for reference in found):
            partners = [reference for reference in found if others(reference) == others(setting)]
            partners = found if len(found) == 1 else partners
            pairs[setting.name] = partners[0] if len(partners) == 1 else None
    return pairs
