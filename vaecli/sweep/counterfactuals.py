"""The counterfactuals of two variants: which runs they are, which of them are there, and which have to be trained."""

import contextlib
import dataclasses
import statistics
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.config import UsageError
from vaecli.config.naming import OWN_DATA, label
from vaecli.data import is_of_arrays
from vaecli.report import diagnostics
from vaecli.report.compare import logged_scalar, with_metric
from vaecli.report.evaluations import METRIC as EVALUATED
from vaecli.report.lr_window import window
from vaecli.report.model import TrainedVariant
from vaecli.report.parts import Counterfactual, Side
from vaecli.report.variants import group_runs, one_variant
from vaecli.runs.collection import Outcome, collect, find_runs
from vaecli.runs.directory import read_summary
from vaecli.runs.plans import read_plan
from vaecli.runs.provenance import git_commit, versions
from vaecli.sweep.grid import Sweep, Task
from vaecli.training.counterfactuals import Design, design, run_key


class ExplainedPair(NamedTuple):
    """Two variants and their counterfactuals, as far as they have runs.

    Attributes:
      a, b: the two, with the seeds that they share.
      controls: the head of the control of each of the two that moves the mean, where there is one.
      uncontrolled: the names of those that move the mean and have none.
      runs: the runs of all counterfactuals; those that are the same runs bit for bit are the same object.
      missing: the runs that are not there.
      warnings: which runs are left out.
    """

    a: TrainedVariant
    b: TrainedVariant
    controls: Mapping[Side, str]
    uncontrolled: Sequence[str]
    runs: Mapping[Counterfactual, TrainedVariant]
    missing: Sweep
    warnings: Sequence[str]

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """The runs that are there."""
        variants = {id(variant): variant for variant in self.runs.values()}
        return [run for variant in variants.values() for run in variant.runs.values()]


def explained_pair(
    names: tuple[str, str], folders: Sequence[Path], metric: str, *, seeds: int | None = None, runs: Path | None = None
) -> ExplainedPair:
    """Finds two variants and their counterfactuals.

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
    of = design(a, b)
    folder = runs or b.results_folder
    name = f"{b.config.name or OWN_DATA}-explained"
    if (folder / name).is_dir():
        known = {outcome.path.resolve() for outcome in outcomes}
        further, more = _outcomes([folder / name], metric)
        outcomes = [*outcomes, *(outcome for outcome in further if outcome.path.resolve() not in known)]
        warnings = [*warnings, *(warning for warning in more if warning not in warnings)]
    a, b = (_named_shortly(one, other, of) for one, other in ((a, b), (b, a)))
    variants = _variants(a, b, of, outcomes)
    original = next(outcome.config for outcome in outcomes if outcome.path == next(iter(b.runs.values())).path)
    tasks: dict[int, Task] = {}
    for cell, config in of.configs.items():
        lacking = [seed for seed in a.runs if seed not in variants[cell].runs]
        if lacking and id(variants[cell]) not in tasks:
            trained_as = dataclasses.replace(config, name=name, data_dir=original.data_dir, seed=lacking[0])
            tasks[id(variants[cell])] = Task(trained_as, lacking)
    missing = Sweep([*tasks.values()], of.named, folder)
    return ExplainedPair(a, b, of.controls, of.uncontrolled, variants, missing, warnings)


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


def _named_shortly(one: TrainedVariant, other: TrainedVariant, of: Design) -> TrainedVariant:
    """Returns a variant without the settings of the scale in its name in which the other one does not differ.

    They are there for the sake of counterfactuals among the same folders.
    """
    vary = [name for name in one.values if name not in of.fields or one.value(name) != other.value(name)]
    return dataclasses.replace(one, name=label(one.config, [name for name in vary if name not in ("param", "name")]))


def _variants(
    a: TrainedVariant, b: TrainedVariant, of: Design, outcomes: Sequence[Outcome]
) -> dict[Counterfactual, TrainedVariant]:
    """Returns the runs that are there of each counterfactual, the same object for those that have the same runs."""
    heads = {head for variant in (a, b) for head in (variant.config.param, variant.config.decoder_param)}
    keys = {cell: run_key(config, heads) for cell, config in of.configs.items()}
    images = next(iter(b.runs.values())).images
    key_of: dict[int, Hashable] = {}
    found: dict[Hashable, dict[int, Outcome]] = {key: {} for key in keys.values()}
    for outcome in outcomes:
        if outcome.images == images and outcome.seed in b.runs and not outcome.config.perturb:
            # Runs that differ only in their seed share their config.
            if (config := id(outcome.config)) not in key_of:
                key_of[config] = run_key(outcome.config, heads)
            if (key := key_of[config]) in found:
                found[key].setdefault(outcome.seed, outcome)
    variants: dict[Hashable, TrainedVariant] = {}
    for cell, key in keys.items():
        if key not in variants and (cell.control or "matched" in (cell.start, cell.rate)):
            runs = dict(sorted(found[key].items()))
            variants[key] = TrainedVariant(label(of.configs[cell], of.vary), {}, runs, {})
        elif key not in variants:
            variants[key] = a if cell.side == "a" else b
    return {cell: variants[key] for cell, key in keys.items()}


def check_software(pair: ExplainedPair, metric: str, *, allowed: bool) -> None:
    """Makes sure that runs that are trained now can be compared with those that are there.

    Args:
      pair: the two variants and their counterfactuals.
      metric: what is compared.
      allowed: whether code may differ.

    Raises:
      UsageError: they cannot.
    """
    code = tuple(sorted({**versions(), "commit": git_commit() or "none"}.items()))
    outcomes = pair.outcomes
    try:
        diagnostics.mixed(outcomes, metric, allowed)
        diagnostics.mixed([*outcomes, outcomes[0]._replace(code=code)], metric, allowed)
    except UsageError as error:
        raise UsageError(f"counterfactuals that are trained now do not go with these runs: {error}") from error


def seconds_of_run(pair: ExplainedPair) -> float | None:
    """Returns how long one run takes, by those of the two variants; None where they do not say."""
    seconds = []
    for run in (*pair.a.runs.values(), *pair.b.runs.values()):
        with contextlib.suppress(UsageError):
            summary = read_summary(run.path)
            speed, images = summary.get("images_per_second"), summary.get("data", {}).get("train", {}).get("images")
            if speed and images and run.status == "complete":
                seconds.append(run.config.epochs * images / speed)
    return statistics.median(seconds) if seconds else None


def notes_on_runs(pair: ExplainedPair) -> list[str]:
    """Says what the parts have in them that is not theirs, and for what the intervals do not allow."""
    lines = [
        f"shape has in it that u of {name} moves the mean, since no head with the same map leaves it alone"
        for name in pair.uncontrolled
    ]
    folders = {run.path.parent.parent for variant in (pair.a, pair.b) for run in variant.runs.values()}
    if any(read_plan(folder) for folder in folders):
        lines.append("a plan of looks decided how many seeds there are, for which these intervals and p do not allow")
    return lines
