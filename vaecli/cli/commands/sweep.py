"""`vae sweep`: a grid of heads, seeds and any other settings, trained to the last run."""

import atexit
import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vaecli.cli import flags, hints, output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.options import check_runs_folder
from vaecli.cli.signals import command_again, stopped
from vaecli.cli.sweep_options import SweepOptions
from vaecli.cli.sweeping import train_tasks
from vaecli.config import SETTINGS, UsageError
from vaecli.config.naming import flag, label
from vaecli.config.sequential import SequentialPlan
from vaecli.config.toml import PackLimit, pack_limit
from vaecli.training.terminal import print_message, print_result, print_uncut

if TYPE_CHECKING:
    from vaecli.cli.expansion import SweepStep
    from vaecli.sweep.grid import Sweep, Task
    from vaecli.sweep.launcher import Launcher
    from vaecli.sweep.progress import SweepProgress


def run(options: SweepOptions, invocation: Invocation) -> int:
    """Sweeps, and prints how it ended."""
    check_runs_folder(options.runs)
    limit = invocation.source.plan.pack if options.pack is None else pack_limit(options.pack, "--pack")
    launcher = _launcher(options, limit)
    # From here on NumPy is needed, and jax only in the processes that train.
    from vaecli.cli.expansion import expansions
    from vaecli.sweep.launcher import ClusterLost

    parts = expansions(options, invocation)
    steps = [part() for part in parts]
    if options.commands or options.dry_run:
        return _show(steps, launcher, options)
    ended: list[_Ended] = []
    for step, part in zip(steps, parts, strict=True):
        try:
            ended.append(_carry_out(step, part, launcher))
        except ClusterLost as error:
            return _give_up(error, step.sweep, invocation.argv)
        if ended[-1].signals:
            break
    if options.json:
        output.print_json([run for one in ended for run in _report(one.step.sweep, one.progress)])
    else:
        _print_outcomes(ended)
    if len(ended) == len(parts) and all(one.complete for one in ended):
        return ExitCode.DONE
    signals = ended[-1].signals
    return stopped(signals[0], invocation.argv) if signals else ExitCode.FAILED


class _Ended(NamedTuple):
    """A sweep that has come to its end, or to where it was stopped.

    Attributes:
      step: its last step.
      progress: the outcomes.
      signals: those that stopped it.
    """

    step: "SweepStep"
    progress: "SweepProgress"
    signals: Sequence[int]

    @property
    def complete(self) -> bool:
        """Whether every run has its outcome."""
        return len(self.progress.summaries) == len(self.step.summaries) + self.step.sweep.unchosen


def _carry_out(step: "SweepStep", expand: "Callable[[], SweepStep]", launcher: "Launcher") -> _Ended:
    """Trains a sweep, step after step.

    Args:
      step: the first step.
      expand: returns the step that is due, by the outcomes on disk.
      launcher: what trains.
    """
    from vaecli.sweep.grid import outcomes

    _announce(step)
    tried: set[Path] = set()
    failed: dict[str, str] = {}
    while True:
        progress, signals = train_tasks(step.sweep, step.summaries, step.unfinished, step.data, launcher)
        failed |= progress.failed
        tried |= {step.sweep.path(task, seed) for task in step.unfinished for seed in task.seeds}
        if signals or not (step.sweep.unchosen or step.plan):
            break
        # What is trained next follows from what the pilots chose, or from what has been decided.
        before, step = step, expand().untried(tried)
        _announce(step, before)
        if not step.unfinished:
            break
    progress.failed |= failed
    ended = _Ended(step, progress, signals)
    if not ended.complete:
        # Another sweep, or a `vae train`, may have finished what was locked here.
        with contextlib.suppress(UsageError):
            progress.summaries |= {path: summary for path, summary in outcomes(step.sweep).items() if summary}
    return ended


def _show(steps: "Sequence[SweepStep]", launcher: "Launcher", options: SweepOptions) -> int:
    """Prints what would be trained."""
    from vaecli.report.formatting import count

    if options.commands:
        _print_commands(steps, as_json=options.json)
    else:
        _print_states(steps, as_json=options.json)
        for step in steps:
            _print_packs(step.sweep, step.unfinished, launcher)
    for step in steps:
        if unchosen := step.sweep.unchosen:
            print_message(f"vae: {count(unchosen, 'more run')} to come, at the rates that the pilots will choose")
        _announce(step)
    if len(steps) > 1:
        print_message(f"vae: at most {count(sum(step.most or len(step.summaries) for step in steps), 'run')} in all")
    return ExitCode.DONE


def _announce(step: "SweepStep", before: "SweepStep | None" = None) -> None:
    """Says which plan of looks there is, what came of looks, and which rates pilots have chosen."""
    from vaecli.report.formatting import count, seed_list

    if before is None and step.title:
        print_message(f"vae: {step.title}")
    if before is None and (plan := step.plan):
        looks = ", ".join(map(str, plan.looks))
        asked = f"{plan.metric} against {plan.reference}, margin {plan.margin:g}, level {plan.alpha:g}, {plan.spending}"
        print_message(f"vae: looks at {looks} seeds; {asked}; at most {count(step.most, 'run')}")
    for look in step.looks[len(before.looks) if before else 0 :]:
        print_message(f"vae: {look}")
    if before and before.sweep.unchosen:
        for task in step.unfinished:
            print_message(f"{step.sweep.label(task)}: the choice of the pilots for {seed_list(task.seeds)}")


def _launcher(options: SweepOptions, limit: PackLimit) -> "Launcher":
    """Returns what trains, as the options say, at most so many runs of several variants together.

    Nothing is started yet.
    """
    belongs_to = {"jobs": "local", "ray_address": "ray", "cpus_per_run": "ray", "gpus_per_run": "ray"}
    for name, launcher in belongs_to.items():
        if getattr(options, name) is not None and launcher != options.launcher:
            raise UsageError(f"{flag(name)}: goes with --launcher {launcher}")
    if options.launcher == "local":
        from vaecli.sweep.local import LocalLauncher

        jobs = 1 if options.jobs is None else options.jobs
        if not 1 <= jobs <= 1000:
            raise UsageError(f"--jobs: must lie between 1 and 1000, got {jobs}")
        return LocalLauncher(jobs, limit)
    from vaecli.sweep.ray import RayLauncher

    cpus = 1 if options.cpus_per_run is None else options.cpus_per_run
    gpus = 0 if options.gpus_per_run is None else options.gpus_per_run
    if not 0.01 <= cpus <= 10_000 or (cpus > 1 and cpus % 1):
        raise UsageError(f"--cpus-per-run: must be a whole number or at most 1, at least 0.01, got {cpus:g}")
    if not (gpus == 0 or 0.01 <= gpus <= 1):
        raise UsageError(f"--gpus-per-run: must lie between 0.01 and 1, or be 0, got {gpus:g}; a run uses one at most")
    return RayLauncher(options.ray_address, cpus, gpus, limit)


def _print_commands(steps: "Sequence[SweepStep]", *, as_json: bool) -> None:
    """Prints a `vae train` command for each task that is not done."""
    commands = [
        flags.train_command(task.config, task.seeds, step.sweep.vary, step.sweep.runs)
        for step in steps
        for task in step.unfinished
    ]
    if as_json:
        output.print_json(commands)
    else:
        for command in commands:
            print_result(command)


def _print_states(steps: "Sequence[SweepStep]", *, as_json: bool) -> None:
    """Prints each run's state: the status that it ended with, or whether it has begun."""
    states = {
        str(path): summary["status"] if summary else "to go on" if path.exists() else "new"
        for step in steps
        for path, summary in step.summaries.items()
    }
    if as_json:
        output.print_json(states)
    else:
        for path, state in states.items():
            print_result(f"{path}: {state}")


def _print_packs(sweep: "Sweep", tasks: "Sequence[Task]", launcher: "Launcher") -> None:
    """Says which variants would train together in one program, on stderr."""
    from vaecli.report.formatting import count

    for pack in launcher.packs(tasks, surely=True):
        if len(pack) > 1:
            runs = count(sum(len(tasks[number].seeds) for number in pack), "run")
            print_message(f"vae: in one program, {runs}: {', '.join(sweep.label(tasks[number]) for number in pack)}")


def _give_up(error: UsageError, sweep: "Sweep", argv: Sequence[str]) -> int:
    """Says what was lost, what goes on by itself, and how the rest does; returns the exit code."""
    from vaecli.sweep.grid import outcomes

    # Ray waits for what was lost, and would keep this process for a minute.
    atexit.register(_leave, ExitCode.USAGE)
    done = ""
    with contextlib.suppress(UsageError):
        summaries = outcomes(sweep).values()
        done = f" {sum(map(bool, summaries))} of {len(summaries)} runs are done, and"
    print_uncut(f"vae: {error};{done} what is under way ends after its epoch; to go on: {command_again(argv)}")
    return ExitCode.USAGE


def _leave(code: ExitCode) -> None:
    """Ends the process at once."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _report(sweep: "Sweep", progress: "SweepProgress") -> list[dict[str, Any]]:
    """Returns what `--json` prints: each run's path, setting and seed, and its summary or what made it fail."""
    return [
        {
            "path": str(path),
            "setting": sweep.label(task),
            "seed": seed,
            "status": (summary or {}).get("status", "unfinished"),
            "failed": None if summary else progress.failed.get(sweep.label(task)),
            "metrics": (summary or {}).get("metrics", {}),
        }
        for task in sweep.tasks
        for seed in task.seeds
        for path in [sweep.path(task, seed)]
        for summary in [progress.summaries.get(path)]
    ]


def _print_outcomes(ended: Sequence[_Ended]) -> None:
    """Prints the outcome of each variant, and the command that compares them where all runs have theirs."""
    from vaecli.report.formatting import count
    from vaecli.sweep.progress import describe_outcome

    for one in ended:
        sweep, summaries = one.step.sweep, one.progress.summaries
        for task in sweep.tasks:
            paths = [sweep.path(task, seed) for seed in task.seeds]
            known = [summaries.get(path, {"status": "unfinished"}) for path in paths]
            print_result(f"{paths[0].parent}: {describe_outcome(known)}")
        if sweep.unchosen:
            more = count(sweep.unchosen, "more run")
            print_result(f"{more} without a rate yet, for which unfinished pilots have to choose one")
    step, folder = ended[-1].step, _folder(ended[-1].step)
    done = all(one.complete and not one.step.sweep.unchosen for one in ended)
    if done and (command := _compare_command(step.sweep, folder, step.plan)):
        print_result(command)
    if folder.is_dir():
        print_uncut(hints.command(folder))
        hints.print_runs(by_head=len({task.config.param for task in step.sweep.tasks}) > 1)


def _folder(step: "SweepStep") -> Path:
    """Returns the folder that holds all runs of a sweep, or of the study that it belongs to."""
    sweep = step.sweep
    return sweep.runs if step.title else sweep.path(sweep.tasks[0], 0).parent.parent


def _compare_command(sweep: "Sweep", folder: Path, plan: SequentialPlan | None) -> str:
    """Returns the command that compares the runs of a sweep in a folder; nothing where there is one variant."""
    if plan:
        return shlex.join(["vae", "compare", str(folder)])
    tuned = any(task.config.pilot for task in sweep.tasks)
    vary = [name for name in sweep.vary if not (tuned and name == "lr")]
    configs = [task.config for task in sweep.tasks if not (task.config.pilot or task.config.perturb)]
    labels, heads = list(dict.fromkeys(label(config, vary) for config in configs)), {c.param for c in configs}
    at = ["--at", "best-lr"] * tuned
    # The default reference is logvar, which does where it is one of several heads.
    reference = [] if "logvar" in heads and len(heads) > 1 else ["--reference", *labels[:1]]
    words = ["vae", "compare", str(folder), *at, *reference]
    return shlex.join(words) if len(labels) > 1 else ""


COMMAND = Command(
    summary="Train a grid of heads, seeds and any other settings; resumable.",
    description="Train a grid of settings: every flag of a setting takes several values, as in --param logvar logstd "
    "--lr 3e-4 1e-3. Run it again after a stop: what is done is skipped, and the rest goes on.",
    options=SweepOptions,
    run=run,
    examples=[
        Example("vae sweep --param logvar logstd --seeds 5", "ten runs"),
        Example("vae sweep --config headline --dry-run", "what it would train"),
        Example("vae sweep --config headline --jobs 4", "four at a time"),
        Example("vae sweep --config when-it-matters --jobs 2", "a study of many conditions"),
    ],
    settings=tuple(SETTINGS),
    several_values=True,
)
