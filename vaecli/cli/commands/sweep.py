"""`vae sweep`: a grid of heads, seeds and any other settings, trained to the last run."""

import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vaecli.cli import flags
from vaecli.cli.options import DONE, UNEXPECTED, Switch
from vaecli.cli.signals import STOPPING, stopped, stopping_signals
from vaecli.config import SETTINGS, ConfigError, UsageError
from vaecli.config.files import Source
from vaecli.config.naming import flag
from vaecli.config.validators import unusable_text

if TYPE_CHECKING:
    from vaecli.runs.directory import Summary
    from vaecli.sweep.grid import Sweep
    from vaecli.sweep.launcher import Launcher
    from vaecli.sweep.progress import SweepProgress

DESCRIPTION = (
    "Train a grid of settings: every flag of a setting takes several values, as in --param logvar logstd --lr 3e-4 "
    "1e-3. Run it again after a stop: what is done is skipped, and what is not goes on."
)
FIELDS = tuple(SETTINGS)


@dataclasses.dataclass(frozen=True)
class Options:
    """What is swept, where it goes, and how."""

    config: Annotated[
        str,
        tyro.conf.arg(
            metavar="NAME|FILE",
            help="Config or sweep to start from: a TOML file, or the bare name of one in configs/ or configs/sweeps/. "
            "A flag takes the place of what the file says of that setting.",
            help_behavior_hint="(default: mnist)",
        ),
    ] = ""
    seeds: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT",
            help="Runs of each setting, from --seed on.",
            help_behavior_hint="(default: the sweep's, or 1)",
        ),
    ] = None
    chaos_floor: Annotated[
        Switch,
        tyro.conf.arg(help="Add a twin to each run, with one weight moved by 1e-6: no smaller difference means much."),
    ] = False
    launcher: Annotated[Literal["local", "ray"], tyro.conf.arg(help="Where it trains: here, or on a Ray cluster.")] = (
        "local"
    )
    jobs: Annotated[
        int | None,
        tyro.conf.arg(metavar="INT", help="Processes that train at the same time.", help_behavior_hint="(default: 1)"),
    ] = None
    ray_address: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="auto|HOST:PORT",
            help="Cluster to which this machine belongs; without, Ray is started here, for this sweep alone.",
            help_behavior_hint="(with --launcher ray)",
        ),
    ] = None
    cpus_per_run: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="N",
            help="CPUs that Ray sets aside for each setting under way.",
            help_behavior_hint="(with --launcher ray; default: 1)",
        ),
    ] = None
    gpus_per_run: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="F",
            help="GPUs for each setting under way; with a fraction, several share one.",
            help_behavior_hint="(with --launcher ray; default: 0)",
        ),
    ] = None
    runs: Annotated[Path, tyro.conf.arg(help="Folder of all results.")] = Path("runs")
    dry_run: Annotated[Switch, tyro.conf.arg(help="List the runs and what has become of them; train none.")] = False
    commands: Annotated[
        Switch,
        tyro.conf.arg(help="Print a 'vae train' command for each setting that is not done; train none."),
    ] = False
    json: Annotated[Switch, tyro.conf.arg(help="Print the outcomes as JSON on stdout.")] = False


def run(instance: Any, source: Source, argv: Sequence[str]) -> int:
    """Sweeps, and prints how it ended."""
    options: Options = instance.command
    given = {name: values for name, values in flags.settings(instance).items() if values is not None}
    if complaint := unusable_text(str(options.runs)):
        raise UsageError(f"--runs: {complaint}")
    launcher = _launcher(options)
    grids = [{**grid, **given} for grid in source.plan.grids or [{}]]
    plan = source.plan._replace(
        grids=grids,
        chaos_floor=source.plan.chaos_floor or options.chaos_floor,
        **({} if options.seeds is None else {"seeds": options.seeds}),
    )
    # From here on NumPy is needed, and jax in the processes that train alone.
    from vaecli.sweep.grid import expand, outcomes

    base = dataclasses.asdict(source.config)
    try:
        sweep = expand(base, plan, options.runs)
        found = outcomes(sweep)
    except ConfigError as error:
        if error.field == "seeds" and options.seeds is None:
            raise UsageError(f"{source.path}: [sweep] {error}") from None
        if error.field not in given and any(error.field in grid for grid in grids):
            raise UsageError(f"{source.path}: [[grid]] {error}") from None
        raise source.locate(error, base | {name: values[-1] for name, values in given.items()}) from None
    todo = [task for task in sweep.tasks if not all(found[sweep.path(task, seed)] for seed in task.seeds)]
    if options.commands:
        lines = [flags.train_command(task.config, task.seeds, sweep.vary, sweep.runs) for task in todo]
        print(json.dumps(lines, indent=2) + "\n" if options.json else "".join(f"{line}\n" for line in lines), end="")
        return DONE
    if options.dry_run:
        states = {str(path): _state(path, summary) for path, summary in found.items()}
        print(json.dumps(states, indent=2) if options.json else "\n".join(map(": ".join, states.items())))
        return DONE
    from vaecli.sweep.progress import SweepProgress

    folder = options.runs / sweep.tasks[0].config.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--runs: {options.runs} cannot be written ({error.strerror})") from error
    # On a terminal the table says that it stops.
    with stopping_signals(told=not sys.stderr.isatty()) as received:
        progress = SweepProgress(sweep, found, todo, lambda: STOPPING if received else "")
        if todo:
            try:
                with progress.shown():
                    launcher(sweep, todo, progress.handle, lambda: bool(received))
            finally:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # Where no run has begun, nothing is left.
    if len(progress.summaries) < len(found):
        # Another sweep, or a `vae train`, may have finished what was locked here.
        with contextlib.suppress(UsageError):
            progress.summaries |= {path: summary for path, summary in outcomes(sweep).items() if summary}
    if options.json:
        print(json.dumps(_report(sweep, progress), indent=2, ensure_ascii=False))
    else:
        _print(sweep, progress)
    if received and len(progress.summaries) < len(found):
        return stopped(received[0], argv)
    return DONE if len(progress.summaries) == len(found) else UNEXPECTED


def _launcher(options: Options) -> "Launcher":
    """What trains, as the flags of the engine say; nothing is started yet."""
    engine = {"jobs": "local", "ray_address": "ray", "cpus_per_run": "ray", "gpus_per_run": "ray"}
    for name, of in engine.items():
        if getattr(options, name) is not None and of != options.launcher:
            raise UsageError(f"{flag(name)}: goes with --launcher {of}")
    if options.launcher == "local":
        from vaecli.sweep.local import LocalLauncher

        jobs = 1 if options.jobs is None else options.jobs
        if not 1 <= jobs <= 1000:
            raise UsageError(f"--jobs: must lie between 1 and 1000, got {jobs}")
        return LocalLauncher(jobs)
    from vaecli.sweep.ray import RayLauncher

    cpus = 1 if options.cpus_per_run is None else options.cpus_per_run
    gpus = 0 if options.gpus_per_run is None else options.gpus_per_run
    if not 0.01 <= cpus <= 10_000 or (cpus > 1 and cpus % 1):
        raise UsageError(f"--cpus-per-run: must be a whole number or at most 1, at least 0.01, got {cpus:g}")
    if not (gpus == 0 or 0.01 <= gpus <= 1):
        raise UsageError(f"--gpus-per-run: must lie between 0.01 and 1, or be 0, got {gpus:g}; a run uses one at most")
    return RayLauncher(options.ray_address, cpus, gpus)


def _state(path: Path, summary: "Summary | None") -> str:
    return summary["status"] if summary else "to go on" if path.exists() else "new"


def _report(sweep: "Sweep", progress: "SweepProgress") -> list[dict[str, Any]]:
    """What `--json` prints: for each run its path, setting and seed, its summary where it has one, or what failed."""
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


def _print(sweep: "Sweep", progress: "SweepProgress") -> None:
    from vaecli.sweep.progress import describe_outcome

    for task in sweep.tasks:
        paths = [sweep.path(task, seed) for seed in task.seeds]
        known = [progress.summaries.get(path, {"status": "unfinished"}) for path in paths]
        print(f"{paths[0].parent}: {describe_outcome(known)}")
    done = all(sweep.path(task, seed) in progress.summaries for task in sweep.tasks for seed in task.seeds)
    heads = {task.config.param for task in sweep.tasks}
    if done and len({task.config for task in sweep.tasks if not task.config.perturb}) > 1:
        # The reference is logvar, where it is one of several heads.
        chosen = [] if "logvar" in heads and len(heads) > 1 else ["--reference", sweep.label(sweep.tasks[0])]
        print(shlex.join(["vae", "compare", str(sweep.path(sweep.tasks[0], 0).parent.parent), *chosen]))
