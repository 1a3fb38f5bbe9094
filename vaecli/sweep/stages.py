"""A sweep that stops when it is decided: at each planned look, the variants without a verdict get their next seeds.

Which runs there are follows from the plan and from the outcomes on disk, look by look, so that a sweep goes on wherever
it was stopped, and ends with the same runs and verdicts.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.config import ConfigError, UsageError
from vaecli.config.naming import label
from vaecli.config.sequential import SequentialPlan
from vaecli.report.compare import compare
from vaecli.report.evaluations import METRIC as EVALUATED
from vaecli.report.formatting import count, joined
from vaecli.report.lr_window import window
from vaecli.report.model import TrainedVariant, VariantResult
from vaecli.report.planned import question_of
from vaecli.report.variants import references
from vaecli.runs.directory import Summary
from vaecli.runs.plans import PLAN, read_plan, write_plan
from vaecli.sweep.grid import Sweep, Task, outcomes

DECIDED = "equivalent", "better", "worse", "beyond the margin"
"""The verdicts after which a variant gets no further seeds."""


class Stage(NamedTuple):
    """How far a sweep with a plan of looks has come.

    Attributes:
      sweep: the runs up to the look that is due or, where there is none, all that were needed.
      summaries: the summary of each of them; None for one without an outcome.
      looks: what came of each look that has been taken, in words.
    """

    sweep: Sweep
    summaries: Mapping[Path, Summary | None]
    looks: Sequence[str]


def planned(grid: Sweep, plan: SequentialPlan) -> SequentialPlan:
    """Returns the plan of looks with the seeds and the variants of a grid.

    Args:
      grid: the sweep that would train every variant with all seeds.
      plan: the looks, and what is asked at them.

    Raises:
      UsageError: they do not go together.
    """
    if plan.metric == EVALUATED:
        raise UsageError(f"--metric: {EVALUATED} comes from vae evaluate; a sweep is decided by what its runs log")
    if window(plan.metric):
        raise UsageError(f"--metric: {plan.metric} is over all rates, and goes with a fixed number of seeds")
    if any(task.config.pilot for task in grid.tasks):
        raise ConfigError("pilot", "has no place beside a plan of looks, since pilots are not compared")
    seeds = {tuple(task.seeds) for task in grid.tasks}
    if len(seeds) > 1 or len(next(iter(seeds))) != plan.looks[-1]:
        raise ConfigError("seed", "takes one value beside a plan of looks, which says how many seeds there are")
    names = tuple(grid.label(task) for task in grid.tasks if not task.config.perturb)
    if other := {_name(grid, task) for task in grid.tasks} - {*names}:
        raise ConfigError("perturb", f"beside a plan of looks the runs of {min(other)} need their unperturbed ones")
    complete = dataclasses.replace(plan, seed=min(next(iter(seeds))), variants=names)
    if alone := [name for name, partner in _partners(grid, complete).items() if partner is None]:
        raise UsageError(f"--reference: {alone[0]} could never be decided: no {plan.reference} has its other settings")
    return complete


def _partners(grid: Sweep, plan: SequentialPlan) -> Mapping[str, str | None]:
    """Returns the name of the reference of each variant that is not one itself."""
    unperturbed = [task.config for task in grid.tasks if not task.config.perturb]
    settings = [dataclasses.asdict(dataclasses.replace(config, seed=0)) for config in unperturbed]
    variants = [
        TrainedVariant(label(config, grid.vary), values, {}, {})
        for config, values in zip(unperturbed, settings, strict=True)
    ]
    partners = references(variants, plan.reference)
    return {name: partner and partner.name for name, partner in partners.items()}


def keep_plan(grid: Sweep, plan: SequentialPlan, *, overwrite: bool, write: bool = True) -> None:
    """Writes a plan into the folder of its sweep, or checks that it is there already.

    Args:
      grid: the sweep that would train every variant with all seeds.
      plan: the plan, complete.
      overwrite: whether it may replace another plan, or come after the first run.
      write: whether to write it.

    Raises:
      UsageError: another plan is there, or runs without one.
    """
    folder = grid.runs / grid.tasks[0].config.name
    before = read_plan(folder)
    unlike = before.differences(plan) if before else []
    if before and not unlike:
        return
    ended = sum(summary is not None for summary in outcomes(grid).values())
    if not overwrite:
        if before:
            raise UsageError(
                f"{folder / PLAN}: is another plan ({'; '.join(unlike)}); a plan is kept once it is made. Give another "
                "--name, or --overwrite to replace it, which vae compare will say"
            )
        if ended:
            raise UsageError(
                f"{folder}: has {count(ended, 'run')} of this sweep, and no plan of looks; it is made before the first "
                "run. Give another --name, or --overwrite to make it now, which vae compare will say"
            )
    if write:
        write_plan(folder, dataclasses.replace(plan, replaced_after=ended))


def current_stage(grid: Sweep, plan: SequentialPlan) -> Stage:
    """Goes through the looks as far as the runs on disk allow.

    Args:
      grid: the sweep that would train every variant with all seeds.
      plan: the plan, complete.

    Raises:
      UsageError: a directory cannot be used, or what is in it cannot be compared.
    """
    partners = _partners(grid, plan)
    seeds = dict.fromkeys(plan.variants, 0)
    looks: list[str] = []
    verdicts: dict[str, str] = {}
    while True:
        look = plan.looks[len(looks)]
        undecided = [name for name in partners if name not in verdicts]
        seeds |= dict.fromkeys([*undecided, *(partners[name] or name for name in undecided)], look)
        sweep = grid._replace(tasks=[_first(task, seeds[_name(grid, task)]) for task in grid.tasks])
        summaries = outcomes(sweep)
        if not all(summaries.values()):
            return Stage(sweep, summaries, looks)
        results = _judged(sweep, plan)
        if unlogged := [name for name in undecided if name not in results]:
            raise UsageError(f"--metric: no run of {joined(unlogged)} logged {plan.metric}")
        new = {name: results[name].verdict for name in undecided if results[name].verdict in DECIDED}
        verdicts |= new
        looks.append(_description(plan, len(looks), new, len(undecided) - len(new)))
        if len(verdicts) == len(partners) or len(looks) == len(plan.looks):
            return Stage(sweep, summaries, looks)


def _name(grid: Sweep, task: Task) -> str:
    """Returns the name of the variant that a task belongs to; a perturbed twin belongs to that of its original."""
    return label(dataclasses.replace(task.config, perturb=0.0), grid.vary)


def _first(task: Task, number: int) -> Task:
    return task._replace(seeds=task.seeds[:number])


def _judged(sweep: Sweep, plan: SequentialPlan) -> Mapping[str, VariantResult]:
    """Returns what comes of comparing the runs of a sweep, by the names of its variants."""
    names = {str(sweep.path(task, seed)): sweep.label(task) for task in sweep.tasks for seed in task.seeds}
    # Whether runs of two versions of the program go together is asked where they are compared.
    question = question_of({"allow_mixed": True}, plan)
    comparison = compare([Path(path) for path in names], question, plan=plan)
    return {names[result.paths[0]]: result for result in comparison.results}


def _description(plan: SequentialPlan, number: int, decided: Mapping[str, str], left: int) -> str:
    """Says what came of a look."""
    by_verdict: dict[str, list[str]] = {}
    for name, verdict in decided.items():
        by_verdict.setdefault(verdict, []).append(name)
    parts = [f"{verdict}: {joined(names)}" for verdict, names in by_verdict.items()]
    last = number + 1 == len(plan.looks)
    if left:
        parts.append(f"{left} undecided" if last else f"{left} to go on")
    return f"look {number + 1} of {len(plan.looks)}, at {plan.looks[number]} seeds: {'; '.join(parts)}"
