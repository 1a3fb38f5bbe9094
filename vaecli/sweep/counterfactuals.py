"""The counterfactuals of two variants: which runs they are, which of them are there, and which have to be trained."""

import contextlib
import dataclasses
import statistics
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.config import SETTINGS, Config, ConfigError, UsageError
from vaecli.config.naming import OWN_DATA, label
from vaecli.data import is_of_arrays
from vaecli.report import diagnostics
from vaecli.report.compare import logged_scalar, with_metric
from vaecli.report.evaluations import METRIC as EVALUATED
from vaecli.report.formatting import joined
from vaecli.report.lr_window import window
from vaecli.report.model import TrainedVariant
from vaecli.report.parts import Counterfactual, Side, counterfactuals
from vaecli.report.variants import group_runs, one_variant
from vaecli.runs.collection import Outcome, collect, find_runs
from vaecli.runs.directory import read_summary
from vaecli.runs.plans import read_plan
from vaecli.runs.provenance import git_commit, versions
from vaecli.sweep.grid import Sweep, Task
from vaecli.training.train import checked
from vaecli.vae.heads.resolve import is_own
from vaecli.vae.heads.table import control_of
from vaecli.vae.matching import numbers
from vaecli.vae.resolve import DECODER_FIELDS, ENCODER_FIELDS, Scale, ScaleFields

_APART = {"seed", "pilot", "perturb", "name"}
"""Settings in which runs of one variant may differ, with that of its data's place."""


class Study(NamedTuple):
    """Two variants and their counterfactuals, as far as they have runs.

    Attributes:
      a, b: the two, with the seeds that they share.
      controls: the head of the control of each of the two that moves the mean, where there is one.
      runs: the runs of all counterfactuals; those that are the same runs bit for bit are the same object.
      missing: the runs that are not there.
      warnings: which runs are left out.
    """

    a: TrainedVariant
    b: TrainedVariant
    controls: Mapping[Side, str]
    runs: Mapping[Counterfactual, TrainedVariant]
    missing: Sweep
    warnings: Sequence[str]

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """The runs that are there."""
        variants = {id(variant): variant for variant in self.runs.values()}
        return [run for variant in variants.values() for run in variant.runs.values()]


def study(
    names: tuple[str, str], folders: Sequence[Path], metric: str, *, seeds: int | None = None, runs: Path | None = None
) -> Study:
    """Looks for the counterfactuals of two variants.

    Args:
      names: their names.
      folders: where their runs are, and those of the counterfactuals that are there.
      metric: what is compared.
      seeds: how many of the seeds that the two share count, the first ones; None for all.
      runs: the folder of all results in which the missing ones are to be trained; None for that of the second variant.

    Raises:
      UsageError: there are no such variants, they share too few seeds, or they differ in more than a head, its start
        and its rate.
    """
    if metric == EVALUATED or window(metric):
        raise UsageError(f"--metric: {metric} is no logged scalar, which a run has as soon as it is trained")
    outcomes, warnings = _outcomes(folders, metric)
    if not outcomes:
        raise UsageError("; ".join([f"{', '.join(map(str, folders))}: no run that has ended", *warnings]))
    a, b = _pair(outcomes, names, seeds)
    fields = _fields(a, b)
    configs, controls = _configs(a, b, fields)
    folder = runs or _folder_of_results(b)
    name = f"{b.config.name or OWN_DATA}-explained"
    if (folder / name).is_dir():
        known = {outcome.path.resolve() for outcome in outcomes}
        further, more = _outcomes([folder / name], metric)
        outcomes = [*outcomes, *(outcome for outcome in further if outcome.path.resolve() not in known)]
        warnings = [*warnings, *(warning for warning in more if warning not in warnings)]
    keys = {cell: _key(config, fields) for cell, config in configs.items()}
    variants = _variants(a, b, configs, keys, fields, outcomes)
    original = next(outcome.config for outcome in outcomes if outcome.path == next(iter(b.runs.values())).path)
    tasks = {
        keys[cell]: Task(dataclasses.replace(config, name=name, data_dir=original.data_dir, seed=lacking[0]), lacking)
        for cell, config in reversed(configs.items())
        if (lacking := [seed for seed in a.runs if seed not in variants[keys[cell]].runs])
    }
    missing = Sweep([*reversed(tasks.values())], _named(list(configs.values()), fields), folder)
    return Study(a, b, controls, {cell: variants[key] for cell, key in keys.items()}, missing, warnings)


def _outcomes(folders: Sequence[Path], metric: str) -> tuple[Sequence[Outcome], Sequence[str]]:
    """Reads the runs below some folders that have the metric, and says which are left out.

    Raises:
      UsageError: no run logged the metric.
    """
    collected = collect(find_runs(folders), {logged_scalar(metric)})
    kept, without = with_metric(collected.outcomes, metric)
    return [outcome for outcome in kept if not outcome.config.pilot], [*diagnostics.skipped(collected), *without]


def _pair(
    outcomes: Sequence[Outcome], names: tuple[str, str], seeds: int | None
) -> tuple[TrainedVariant, TrainedVariant]:
    """Returns the two variants that are named, with the seeds that they share.

    Raises:
      UsageError: there are no such two, or they cannot be compared.
    """
    variants = group_runs(outcomes).variants
    a, b = (one_variant(variants, name, what) for name, what in zip(names, "AB", strict=True))
    if a is b:
        raise UsageError(f"A and B are both {a.name}; a difference is between two variants")
    shared = [seed for seed in a.runs if seed in b.runs][:seeds]
    if len(shared) < 2:
        has = "one seed" if shared else "no seed"
        raise UsageError(f"{a.name} and {b.name} share {has}, and an interval needs at least two")
    a, b = a.among(shared), b.among(shared)
    images = {run.images for variant in (a, b) for run in variant.runs.values()}
    if len(images) > 1 or a.config.data_transpose != b.config.data_transpose:
        raise UsageError(f"{a.name} and {b.name} were trained on different data")
    if is_of_arrays(b.config.data_dir):
        raise UsageError(f"{b.name} was trained on arrays of a Python program, which this command does not have")
    return a, b


def _fields(a: TrainedVariant, b: TrainedVariant) -> ScaleFields:
    """Returns the settings of the scale in whose head, bound, start or rate two variants differ.

    Raises:
      UsageError: they differ in nothing, or in something else, too.
    """
    settings = [name for name, setting in SETTINGS.items() if setting.outcome and name not in _APART]
    differing = [name for name in settings if getattr(a.config, name) != getattr(b.config, name)]
    if not differing:
        raise UsageError(f"{a.name} and {b.name} have the same settings, so nothing explains a difference")
    for fields in (ENCODER_FIELDS, DECODER_FIELDS):
        if set(differing) <= set(fields):
            return fields
    known = DECODER_FIELDS if differing[0] in DECODER_FIELDS else ENCODER_FIELDS
    others = joined([name for name in differing if name not in known])
    raise UsageError(
        f"{a.name} and {b.name} differ in {others}, too; what can be explained is a difference of one head, its bound, "
        "its start and its rate"
    )


def _configs(
    a: TrainedVariant, b: TrainedVariant, fields: ScaleFields
) -> tuple[dict[Counterfactual, Config], dict[Side, str]]:
    """Returns the config of each counterfactual with the seed 0, and the head of each control.

    A matched start is the same for both: at the σ of the first of the two.

    Raises:
      UsageError: a head cannot be matched.
    """
    variants: dict[Side, TrainedVariant] = {"a": a, "b": b}
    std, weight = (getattr(a.config, name) for name in (fields.std, fields.weight))
    start = {fields.init: "matched", fields.std: std, fields.weight: weight}
    rate = {fields.lr: "matched", fields.eps: 1.0, fields.weight_decay: 1.0, fields.clip: 1.0}
    controls: dict[Side, str] = {}
    for side, variant in variants.items():
        head = _scale(variant.config, fields).head
        if not head.learned:
            raise UsageError(f"{variant.name} has no output u, and so no start or rate that could be matched")
        if control := control_of(head):
            controls[side] = control.name
    configs = {}
    for cell in counterfactuals(controls):
        variant = variants[cell.side]
        changes = {**(start if cell.start == "matched" else {}), **(rate if cell.rate == "matched" else {})}
        changes |= {fields.param: controls[cell.side]} if cell.control else {}
        try:
            configs[cell] = dataclasses.replace(variant.config, **changes)
            _key(configs[cell], fields)
        except ConfigError as error:
            which = joined([f"{field}={value}" for field, value in changes.items()]) or "its own settings"
            raise UsageError(f"{variant.name} with {which}: {error.message}") from error
    return configs, controls


def _scale(config: Config, fields: ScaleFields) -> Scale:
    """Returns the settings of the scale that is asked about."""
    resolved = checked(config)
    scale = resolved.encoder if fields is ENCODER_FIELDS else resolved.decoder
    if scale is None:
        raise ConfigError(fields.param, f"the likelihood {config.likelihood} has no scale")
    return scale


def _others(config: Config, fields: ScaleFields) -> tuple[object, ...]:
    """Returns the values of all settings that decide a run beside those of the scale that is asked about."""
    names = (name for name, setting in SETTINGS.items() if setting.outcome and name not in _APART)
    return tuple(getattr(config, name) for name in names if name not in fields)


def _key(config: Config, fields: ScaleFields) -> Hashable:
    """Returns what is equal for configs whose runs are the same bit for bit.

    Raises:
      ConfigError: its head does not start there, or cannot be matched.
    """
    scale = _scale(config, fields)
    # In float16 a gradient by u that is half as large may have fewer digits.
    rescaled = "float16" not in (config.precision, config.head_precision)
    of_head = numbers(scale, checked(config).optimizer, rescaled=rescaled)
    return _others(config, fields), scale.bound, of_head


def _variants(
    a: TrainedVariant,
    b: TrainedVariant,
    configs: Mapping[Counterfactual, Config],
    keys: Mapping[Counterfactual, Hashable],
    fields: ScaleFields,
    outcomes: Sequence[Outcome],
) -> dict[Hashable, TrainedVariant]:
    """Returns the runs that are there of each counterfactual, by its key."""
    vary = [field for field in fields if len({getattr(config, field) for config in configs.values()}) > 1]
    variants: dict[Hashable, TrainedVariant] = {}
    of_key = _found(a, b, fields, outcomes, set(keys.values()))
    for cell, key in keys.items():
        if key not in variants:
            own = {"a": a, "b": b}[cell.side] if cell.start == cell.rate == "own" and not cell.control else None
            runs = dict(sorted((own.runs if own else of_key.get(key, {})).items()))
            variants[key] = TrainedVariant(
                own.name if own else label(configs[cell], vary), {}, runs, own.twins if own else {}
            )
    return variants


def _found(
    a: TrainedVariant, b: TrainedVariant, fields: ScaleFields, outcomes: Sequence[Outcome], keys: Collection[Hashable]
) -> dict[Hashable, dict[int, Outcome]]:
    """Returns the runs with some keys, by seed; the first of several is taken."""
    others, images = _others(a.config, fields), next(iter(a.runs.values())).images
    heads = {getattr(variant.config, fields.param) for variant in (a, b)}
    key_of: dict[int, Hashable] = {}
    found: dict[Hashable, dict[int, Outcome]] = {}
    for outcome in outcomes:
        config, place = outcome.config, id(outcome.config)
        if place not in key_of:
            # The module of a head that nobody has named here is not imported.
            foreign = is_own(name := getattr(config, fields.param)) and name not in heads
            key_of[place] = None
            if not foreign and _others(config, fields) == others and not config.perturb:
                with contextlib.suppress(ConfigError):
                    key_of[place] = _key(config, fields)
        if outcome.images == images and outcome.seed in a.runs and key_of[place] in keys:
            found.setdefault(key_of[place], {}).setdefault(outcome.seed, outcome)
    return found


def _folder_of_results(variant: TrainedVariant) -> Path:
    """Returns the folder of all results that a variant's runs lie in; the default where they lie otherwise."""
    path = next(iter(variant.runs.values())).path
    return path.parents[2] if path.parents[1].name == (variant.config.name or OWN_DATA) else Path("runs")


def _named(configs: Sequence[Config], fields: ScaleFields) -> Sequence[str]:
    """Returns the settings that the directories name: start, rate, and all that are not at their defaults."""
    unnamed = {*_APART, "param", "data_dir"}
    always = {fields.param, fields.init, fields.lr} - unnamed
    return [
        name
        for name, setting in SETTINGS.items()
        if setting.outcome
        and name not in unnamed
        and (name in always or any(getattr(config, name) != setting.default for config in configs))
    ]


def check_software(study: Study, metric: str, *, allowed: bool) -> None:
    """Makes sure that runs that are trained now can be compared with those that are there.

    Args:
      study: the study.
      metric: what is compared.
      allowed: whether code may differ.

    Raises:
      UsageError: they cannot.
    """
    code = tuple(sorted({**versions(), "commit": git_commit() or "none"}.items()))
    outcomes = study.outcomes
    try:
        diagnostics.mixed(outcomes, metric, allowed)
        diagnostics.mixed([*outcomes, outcomes[0]._replace(code=code)], metric, allowed)
    except UsageError as error:
        raise UsageError(f"counterfactuals that are trained now do not go with these runs: {error}") from error


def seconds_of_run(study: Study) -> float | None:
    """Returns how long one run takes, by those of the two variants; None where they do not say."""
    seconds = []
    for run in (*study.a.runs.values(), *study.b.runs.values()):
        with contextlib.suppress(UsageError):
            summary = read_summary(run.path)
            speed, images = summary.get("images_per_second"), summary.get("data", {}).get("train", {}).get("images")
            if speed and images and run.status == "complete":
                seconds.append(run.config.epochs * images / speed)
    return statistics.median(seconds) if seconds else None


def notes_on_runs(study: Study) -> list[str]:
    """Says what of the way in which the runs came about the intervals do not allow for."""
    folders = {run.path.parent.parent for variant in (study.a, study.b) for run in variant.runs.values()}
    if any(read_plan(folder) for folder in folders):
        return ["a plan of looks decided how many seeds there are, for which these intervals and p do not allow"]
    return []
