"""From the config file and the flags of a sweep to what is to be trained, as far as it is known."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.cli.command import Invocation
from vaecli.cli.sweep_options import SweepOptions
from vaecli.config import ConfigError, UsageError
from vaecli.config.naming import flag
from vaecli.config.sequential import SequentialPlan
from vaecli.config.study import Study
from vaecli.config.toml import LOOK_KEYS, SweepPlan
from vaecli.report.comparable import several_forms
from vaecli.report.formatting import NATS, unit
from vaecli.runs.directory import Summary
from vaecli.runs.names import default_name
from vaecli.sweep.grid import Sweep, Task, data_of, expand, outcomes, unfinished_tasks
from vaecli.sweep.pilots import tuned
from vaecli.sweep.stages import current_stage, keep_plan, planned
from vaecli.sweep.studies import StudyPart, chosen, parts


class SweepStep(NamedTuple):
    """What a sweep trains before it is known what comes next.

    Attributes:
      sweep: the runs so far.
      summaries: the summary of each; None for one without an outcome.
      unfinished: the tasks that have runs without one.
      data: what a person reads of their data.
      plan: the plan of looks, if there is one.
      looks: what came of each look that has been taken, in words.
      most: how many runs there can be.
      title: which part of a study this is; empty where it is no part of one.
    """

    sweep: Sweep
    summaries: Mapping[Path, Summary | None]
    unfinished: Sequence[Task]
    data: Sequence[str]
    plan: SequentialPlan | None
    looks: Sequence[str]
    most: int
    title: str = ""

    def untried(self, tried: Collection[Path]) -> "SweepStep":
        """Returns the step with those of its tasks that have runs which nobody has tried to train."""
        new = [task for task in self.unfinished if any(self.sweep.path(task, seed) not in tried for seed in task.seeds)]
        return self._replace(unfinished=new, data=())


def expansions(options: SweepOptions, invocation: Invocation) -> Sequence[Callable[[], SweepStep]]:
    """Returns what gives the step that is due, by the outcomes on disk: of a sweep, or of each part of a study.

    Raises:
      UsageError: there is no such sweep; the message names the file and key, or the flag.
    """
    study = invocation.source.plan.study
    if study is None:
        if options.condition:
            raise UsageError("--condition: goes with the --config of a study ('vae docs studies')")
        return [functools.partial(_expand, options, invocation)]
    every = _parts(study, options, invocation)
    these = chosen(every, options.condition)
    for part in every:
        # Those of conditions that are trained elsewhere are written, too: all are one family.
        if part.looks and part not in these:
            plan = planned(part.sweep, part.looks)
            keep_plan(part.sweep, plan, overwrite=options.overwrite, write=not options.dry_run)
    return [functools.partial(_part_step, part, options) for part in these]


def _parts(study: Study, options: SweepOptions, invocation: Invocation) -> Sequence[StudyPart]:
    """Returns the sweeps of a study.

    Raises:
      UsageError: a condition cannot be trained, or a flag does not go with a study.
    """
    source = invocation.source
    several = {name: values for name, values in invocation.settings.items() if values is not None}
    own = {name for condition in study.conditions for name in (condition.field, *condition.matched)}
    for name, values in several.items():
        if name in {*own, "pilot", "perturb"}:
            raise UsageError(f"{flag(name)}: is what the study {source.path} varies itself")
        if len(values) > 1:
            raise UsageError(f"{flag(name)}: takes one value beside a study, in which only heads and conditions vary")
    given = {name: value for name, (value,) in several.items()}
    base = dataclasses.asdict(source.config)
    data_dirs = [given.get("data_dir", base["data_dir"])]
    own_name = source.name if source.names_data(data_dirs) else default_name(data_dirs, source.name)
    name = given.pop("name", "") or base["name"] or own_name
    looks = _looks(options, source.plan)
    assert looks
    _check_null_control(study.null_control, looks.reference)
    try:
        return parts(study, name, base, given, looks, options.runs, chaos_floor=_chaos_floor(options, source.plan))
    except UsageError as error:
        raise UsageError(f"{source.path}: {error}") from error


def _check_null_control(head: str, reference: str) -> None:
    """Checks that a head, matched, is the reference.

    Raises:
      UsageError: it is a head of another form.
    """
    if head and several_forms([head, reference]):
        raise UsageError(
            f"[study] null_control: {head}, matched, is not {reference} bit for bit; take a head that differs from "
            'it by a factor on u only, such as logstd from logvar, or "" for none'
        )


def _part_step(part: StudyPart, options: SweepOptions) -> SweepStep:
    """Returns what is to be trained of a part of a study."""
    return _step(part.sweep, SweepPlan(), part.looks, options)._replace(title=part.title)


def _chaos_floor(options: SweepOptions, plan: SweepPlan) -> bool:
    return plan.chaos_floor or options.chaos_floor


def _expand(options: SweepOptions, invocation: Invocation) -> SweepStep:
    """Returns the sweep that config file and flags describe, as far as it is known, and how far it is.

    Raises:
      UsageError: there is no such sweep; the message names the file and key, or the flag.
    """
    source = invocation.source
    given = {name: values for name, values in invocation.settings.items() if values is not None}
    grids = [{**grid, **given} for grid in source.plan.grids or [{}]]
    looks = _looks(options, source.plan)
    fixed = source.plan.seeds if options.seeds is None else options.seeds
    plan = source.plan._replace(
        grids=grids,
        chaos_floor=_chaos_floor(options, source.plan),
        seeds=looks.looks[-1] if looks else fixed,
        pilot_seeds=source.plan.pilot_seeds if options.pilot_seeds is None else options.pilot_seeds,
    )
    base = dataclasses.asdict(source.config)
    data_dirs = [folder for grid in grids for folder in grid.get("data_dir", [base["data_dir"]])]
    if not base["name"] and source.names_data(data_dirs):
        base["name"] = source.name
    try:
        return _step(expand(base, plan, options.runs, source.name), plan, looks, options)
    except ConfigError as error:
        if error.field in ("seeds", "pilot_seeds") and getattr(options, error.field) is None:
            raise UsageError(f"{source.path}: [sweep] {error}") from None
        if error.field not in given and any(error.field in grid for grid in grids):
            raise UsageError(f"{source.path}: [[grid]] {error}") from None
        raise source.locate(error, base | {name: values[-1] for name, values in given.items()}) from None


def _step(sweep: Sweep, plan: SweepPlan, looks: SequentialPlan | None, options: SweepOptions) -> SweepStep:
    """Returns what is to be trained of a sweep, with the looks that it is decided at, if there are any.

    Raises:
      UsageError: its directories cannot be used.
    """
    of_looks, most = (), 0
    if looks:
        looks, most = planned(sweep, looks), sum(len(task.seeds) for task in sweep.tasks)
        keep_plan(sweep, looks, overwrite=options.overwrite, write=not options.dry_run)
        sweep, summaries, of_looks = current_stage(sweep, looks)
    elif plan.pilot_seeds:
        sweep, summaries = tuned(sweep, plan.pilot_seeds)
    else:
        summaries = outcomes(sweep)
    unfinished = unfinished_tasks(sweep, summaries)
    return SweepStep(sweep, summaries, unfinished, data_of(unfinished), looks, of_looks, most)


def _looks(options: SweepOptions, plan: SweepPlan) -> SequentialPlan | None:
    """Returns the plan of looks that flags and config file describe, or None where the number of seeds is fixed.

    Raises:
      UsageError: a value is wrong, or flags do not go together.
    """
    flags_given = {name: value for name in LOOK_KEYS if (value := getattr(options, name)) is not None}
    if not (options.until_decided or plan.until_decided or plan.study):
        for name in [*flags_given, *["overwrite"] * options.overwrite]:
            raise UsageError(f"{flag(name)}: goes with --until-decided")
        return None
    for name in ("seeds", "pilot_seeds"):
        if getattr(options, name) is not None:
            raise UsageError(f"{flag(name)}: does not go with --until-decided, which takes its seeds from --looks")
    if plan.pilot_seeds:
        raise UsageError("--until-decided: does not go with pilot_seeds")
    if isinstance(text := flags_given.get("looks"), str):
        words = [word.strip() for word in text.split(",")]
        if not all(word.isascii() and word.isdecimal() and len(word) < 9 for word in words):
            raise UsageError(f"--looks: must be numbers of seeds with commas between them, as in 5,8,12, got {text!r}")
        flags_given["looks"] = tuple(map(int, words))
    given = {**plan.looks, **flags_given}
    looks = SequentialPlan(**given)
    if "margin" not in given and unit(looks.metric) != NATS:
        raise UsageError(f"--margin: is needed for {looks.metric}, which is not in nats per image")
    return looks
