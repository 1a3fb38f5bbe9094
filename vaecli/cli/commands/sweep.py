"""`vae sweep`: a grid of heads, seeds and any other settings, trained to the last run."""

import atexit
import contextlib
import dataclasses
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vaecli.cli import flags, hints, output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.options import ConfigOption, JsonSwitch, RunsFolder, Switch, check_runs_folder
from vaecli.cli.reference import Uncommon
from vaecli.cli.signals import STOPPING, command_again, stopped, stopping_signals
from vaecli.config import SETTINGS, ConfigError, UsageError
from vaecli.config.naming import flag, label
from vaecli.config.toml import PackLimit, pack_limit
from vaecli.training.terminal import print_message, print_result, print_uncut

if TYPE_CHECKING:
    from vaecli.runs.directory import Summary
    from vaecli.sweep.grid import Sweep, Task
    from vaecli.sweep.launcher import Launcher
    from vaecli.sweep.progress import SweepProgress


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """What is swept, where it goes, and how."""

    config: ConfigOption = ""
    seeds: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT",
            help="Number of seeds of each variant, from --seed on.",
            help_behavior_hint="(default: the sweep's, or 1)",
        ),
    ] = None
    chaos_floor: Annotated[
        Switch,
        tyro.conf.arg(help="Add a twin to each run, with one weight moved by 1e-6: a smaller difference means little."),
    ] = False
    pilot_seeds: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT",
            help="Tune the learning rate: of each seed, train so many pilots at every --lr, and then the seed itself "
            "only at the rate that its pilots chose on the validation split.",
            help_behavior_hint="(default: the sweep's, or every seed at every rate)",
        ),
    ] = None
    launcher: Annotated[
        Literal["local", "ray"], tyro.conf.arg(help="Where to train: on this machine, or on a Ray cluster.")
    ] = "local"
    jobs: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT", help="Number of processes that train at the same time.", help_behavior_hint="(default: 1)"
        ),
    ] = None
    pack: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="auto|N",
            help="Train at most N runs of several variants in one program, where they share one. auto: as many as an "
            "accelerator holds, and on a CPU those of one variant; 1 turns it off.",
            help_behavior_hint="(default: the sweep's, or auto)",
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="auto|HOST:PORT",
            help="Cluster to which this machine belongs; without it, Ray is started here, for this sweep only.",
            help_behavior_hint="(with --launcher ray)",
        ),
        Uncommon(),
    ] = None
    cpus_per_run: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="N",
            help="CPUs that Ray sets aside for each variant in training.",
            help_behavior_hint="(with --launcher ray; default: 1)",
        ),
        Uncommon(),
    ] = None
    gpus_per_run: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="F",
            help="GPUs for each variant in training; with a fraction, several share one.",
            help_behavior_hint="(with --launcher ray; default: 0)",
        ),
        Uncommon(),
    ] = None
    runs: RunsFolder = Path("runs")
    dry_run: Annotated[Switch, tyro.conf.arg(help="List the runs and the state of each; train none.")] = False
    commands: Annotated[
        Switch,
        tyro.conf.arg(help="Print a 'vae train' command for each variant that is not done; train none."),
    ] = False
    json: JsonSwitch = False


def run(options: SweepOptions, invocation: Invocation) -> int:
    """Sweeps, and prints how it ended."""
    check_runs_folder(options.runs)
    limit = invocation.source.plan.pack if options.pack is None else pack_limit(options.pack, "--pack")
    launcher = _launcher(options, limit)
    # From here on NumPy is needed, and jax only in the processes that train.
    from vaecli.report.formatting import count
    from vaecli.sweep.grid import outcomes
    from vaecli.sweep.launcher import ClusterLost

    sweep, summaries, unfinished, data = _expand(options, invocation)
    if options.commands or options.dry_run:
        if options.commands:
            _print_commands(sweep, unfinished, as_json=options.json)
        else:
            _print_states(summaries, as_json=options.json)
            _print_packs(sweep, unfinished, launcher)
        if sweep.unchosen:
            print_message(f"vae: {count(sweep.unchosen, 'more run')} to come, at the rates that the pilots will choose")
        return ExitCode.DONE
    try:
        progress, signals = _train(sweep, summaries, unfinished, data, launcher)
        if sweep.unchosen and not signals:
            failed = progress.failed
            sweep, summaries, unfinished, _ = _expand(options, invocation)
            progress, signals = _train(sweep, summaries, _after_pilots(sweep, unfinished), (), launcher)
            progress.failed |= failed
    except ClusterLost as error:
        return _give_up(error, sweep, invocation.argv)
    runs = len(summaries) + sweep.unchosen
    if len(progress.summaries) < runs:
        # Another sweep, or a `vae train`, may have finished what was locked here.
        with contextlib.suppress(UsageError):
            progress.summaries |= {path: summary for path, summary in outcomes(sweep).items() if summary}
    if options.json:
        output.print_json(_report(sweep, progress))
    else:
        _print_outcomes(sweep, progress)
    if len(progress.summaries) == runs:
        return ExitCode.DONE
    return stopped(signals[0], invocation.argv) if signals else ExitCode.FAILED


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


def _expand(
    options: SweepOptions, invocation: Invocation
) -> "tuple[Sweep, Mapping[Path, Summary | None], Sequence[Task], Sequence[str]]":
    """Returns the sweep that config file and flags describe, and how far it is.

    That is the summary of each run that has its outcome, the tasks that have runs without one, and what a person reads
    of their data.

    Raises:
      UsageError: there is no such sweep; the message names the file and key, or the flag.
    """
    from vaecli.sweep.grid import data_of, expand, outcomes, unfinished_tasks
    from vaecli.sweep.pilots import tuned

    source = invocation.source
    given = {name: values for name, values in invocation.settings.items() if values is not None}
    grids = [{**grid, **given} for grid in source.plan.grids or [{}]]
    plan = source.plan._replace(
        grids=grids,
        chaos_floor=source.plan.chaos_floor or options.chaos_floor,
        seeds=source.plan.seeds if options.seeds is None else options.seeds,
        pilot_seeds=source.plan.pilot_seeds if options.pilot_seeds is None else options.pilot_seeds,
    )
    base = dataclasses.asdict(source.config)
    data_dirs = [folder for grid in grids for folder in grid.get("data_dir", [base["data_dir"]])]
    if not base["name"] and source.names_data(data_dirs):
        base["name"] = source.name
    try:
        sweep = expand(base, plan, options.runs, source.name)
        if plan.pilot_seeds:
            sweep, summaries = tuned(sweep, plan.pilot_seeds)
        else:
            summaries = outcomes(sweep)
        unfinished = unfinished_tasks(sweep, summaries)
        return sweep, summaries, unfinished, data_of(unfinished)
    except ConfigError as error:
        if error.field in ("seeds", "pilot_seeds") and getattr(options, error.field) is None:
            raise UsageError(f"{source.path}: [sweep] {error}") from None
        if error.field not in given and any(error.field in grid for grid in grids):
            raise UsageError(f"{source.path}: [[grid]] {error}") from None
        raise source.locate(error, base | {name: values[-1] for name, values in given.items()}) from None


def _print_commands(sweep: "Sweep", tasks: "Sequence[Task]", *, as_json: bool) -> None:
    """Prints a `vae train` command for each task."""
    commands = [flags.train_command(task.config, task.seeds, sweep.vary, sweep.runs) for task in tasks]
    if as_json:
        output.print_json(commands)
    else:
        for command in commands:
            print_result(command)


def _print_states(summaries: "Mapping[Path, Summary | None]", *, as_json: bool) -> None:
    """Prints each run's state: the status that it ended with, or whether it has begun."""
    states = {
        str(path): summary["status"] if summary else "to go on" if path.exists() else "new"
        for path, summary in summaries.items()
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


def _after_pilots(sweep: "Sweep", unfinished: "Sequence[Task]") -> "Sequence[Task]":
    """Returns the unfinished tasks that pilots have chosen the rates of, and says which."""
    from vaecli.report.formatting import seed_list

    tasks = [task for task in unfinished if not task.config.pilot]
    for task in tasks:
        print_message(f"{sweep.label(task)}: the choice of the pilots for {seed_list(task.seeds)}")
    return tasks


def _train(
    sweep: "Sweep",
    summaries: "Mapping[Path, Summary | None]",
    tasks: "Sequence[Task]",
    data: Sequence[str],
    launcher: "Launcher",
) -> "tuple[SweepProgress, Sequence[int]]":
    """Trains tasks, and shows it; returns the outcomes, and the signals that stopped it.

    Raises:
      UsageError: the folder of results cannot be written.
    """
    from vaecli.runs.checkpoint import tidy
    from vaecli.sweep.progress import SweepProgress
    from vaecli.sweep.remote import remove_dead_markers

    folder = sweep.runs / sweep.tasks[0].config.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--runs: {sweep.runs} cannot be written ({error.strerror})") from error
    remove_dead_markers(sweep.runs)
    for path, summary in summaries.items():
        if summary:
            tidy(path, summary["steps"])
    for line in data:
        print_message(line)
    displays: list[SweepProgress] = []

    def erasure() -> str:
        return "".join(display.erasure() for display in displays)

    # On a terminal the table says that it stops.
    with stopping_signals(announce=not sys.stderr.isatty(), erasure=erasure) as received:
        progress = SweepProgress(sweep, summaries, tasks, lambda: STOPPING if received else "")
        displays.append(progress)
        if tasks:
            try:
                with progress.shown():
                    launcher(sweep, tasks, progress.handle, lambda: bool(received))
            finally:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # Where no run has begun, nothing is left.
    return progress, received


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


def _print_outcomes(sweep: "Sweep", progress: "SweepProgress") -> None:
    """Prints the outcome of each variant, and the command that compares them where all runs have theirs."""
    from vaecli.report.formatting import count
    from vaecli.sweep.progress import describe_outcome

    for task in sweep.tasks:
        paths = [sweep.path(task, seed) for seed in task.seeds]
        known = [progress.summaries.get(path, {"status": "unfinished"}) for path in paths]
        print_result(f"{paths[0].parent}: {describe_outcome(known)}")
    if sweep.unchosen:
        print_result(
            f"{count(sweep.unchosen, 'more run')} without a rate yet, for which unfinished pilots have to choose one"
        )
    done = all(sweep.path(task, seed) in progress.summaries for task in sweep.tasks for seed in task.seeds)
    if done and not sweep.unchosen and (command := _compare_command(sweep)):
        print_result(command)
    folder = sweep.path(sweep.tasks[0], 0).parent.parent
    if folder.is_dir():
        print_uncut(hints.command(folder))
        hints.print_runs(by_head=len({task.config.param for task in sweep.tasks}) > 1)


def _compare_command(sweep: "Sweep") -> str:
    """Returns the command that compares the runs of a sweep; nothing where there is one variant."""
    tuned = any(task.config.pilot for task in sweep.tasks)
    vary = [name for name in sweep.vary if not (tuned and name == "lr")]
    configs = [task.config for task in sweep.tasks if not (task.config.pilot or task.config.perturb)]
    labels, heads = list(dict.fromkeys(label(config, vary) for config in configs)), {c.param for c in configs}
    at = ["--at", "best-lr"] * tuned
    # The default reference is logvar, which does where it is one of several heads.
    reference = [] if "logvar" in heads and len(heads) > 1 else ["--reference", *labels[:1]]
    words = ["vae", "compare", str(sweep.path(sweep.tasks[0], 0).parent.parent), *at, *reference]
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
    ],
    settings=tuple(SETTINGS),
    several_values=True,
)
