"""`vae train`: one run, or several that differ in their seed alone."""

import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import tyro

from vaecli import flags
from vaecli.checks import unusable_text
from vaecli.commands import DIVERGED, DONE, Switch
from vaecli.config import SETTINGS, Config, ConfigError
from vaecli.runs.directory import divergence

DESCRIPTION = "Train a VAE, or with --seeds several that differ in their seed alone."
FIELDS = tuple(SETTINGS)


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the run starts from and where it goes."""

    config: Annotated[
        str,
        tyro.conf.arg(
            metavar="NAME|FILE",
            help="Config to start from: a TOML file, or the bare name of one in configs/. Flags go over it.",
            help_behavior_hint="(default: mnist)",
        ),
    ] = ""
    seeds: Annotated[int, tyro.conf.arg(help="How many runs, with the seeds --seed, --seed + 1, …")] = 1
    runs: Annotated[Path, tyro.conf.arg(help="Folder of all results.")] = Path("runs")
    overwrite: Annotated[Switch, tyro.conf.arg(help="Start anew where the directory holds a run.")] = False
    json: Annotated[Switch, tyro.conf.arg(help="Print the summaries as JSON on stdout.")] = False


def run(instance: Any, source: flags.Source, argv: Sequence[str]) -> int:
    """Trains, and prints how it ended."""
    options: Options = instance.command
    settings = flags.settings(instance)
    try:
        if complaint := unusable_text(str(options.runs)):
            raise ConfigError("runs", complaint)
        config = Config(**settings)
        # From here on NumPy is needed, and jax once everything that was given is known to be good.
        from vaecli.experiment import train_seeds
        from vaecli.progress import on_stderr

        with _signals() as received:
            summaries = train_seeds(
                config,
                options.seeds,
                runs=options.runs,
                overwrite=options.overwrite,
                observer=on_stderr(),
                stopped=lambda: bool(received),
            )
    except ConfigError as error:
        raise source.locate(error, settings) from None
    if options.json:
        print(json.dumps(summaries, indent=2, ensure_ascii=False))
    else:
        _print_summaries(summaries, Path(options.runs, settings["name"]))
    statuses = {summary["status"] for summary in summaries}
    if "interrupted" in statuses:
        again = shlex.join(["vae", *(word for word in argv if word != flags.flag("overwrite"))])
        print(f"vae: stopped by {signal.Signals(received[0]).name}; to go on: {again}", file=sys.stderr)
        return 128 + received[0]
    return DIVERGED if "diverged" in statuses else DONE


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, so that training ends after its epoch; a second one ends the process at once."""
    received: list[int] = []
    # What was started with a signal ignored, as by nohup or in the background of a script, leaves it so.
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN}

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for n in before:
            signal.signal(n, signal.SIG_DFL)
        # The progress bar hides the cursor, and a second signal leaves it no time to show it again.
        cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
        with contextlib.suppress(OSError, ValueError):  # As a handler, not through a buffer that may be in use.
            os.write(sys.stderr.fileno(), f"{cursor}vae: stopping after this epoch; once more stops at once\n".encode())

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_summaries(summaries: Sequence[Mapping[str, Any]], folder: Path) -> None:
    for summary in summaries:
        print(f"{summary['path']}: {_outcome(summary)}")
    elbos = [summary["metrics"]["test/elbo"] for summary in summaries if summary["status"] == "complete"]
    if len(elbos) > 1:
        from statistics import mean, stdev

        complete = f"{len(elbos)} of {len(summaries)} seeds complete"
        print(f"{complete}, their test ELBO {mean(elbos):.2f} ± {stdev(elbos):.2f} nats per image (mean ± sd)")
    print(f"tensorboard --logdir {shlex.quote(str(folder))}")


def _outcome(summary: Mapping[str, Any]) -> str:
    if summary["status"] == "diverged":
        return f"diverged, {divergence(summary)}"
    values = [summary["metrics"].get(f"test/{term}") for term in ("elbo", "reconstruction", "kl")]
    elbo, reconstruction, kl = ("not finite" if value is None else f"{value:.2f}" for value in values)
    after = f"{summary['status']} after {summary['epochs']} epochs"
    if not summary["metrics"]:
        return after
    skipped = summary.get("skipped_updates")
    behind = f"; {skipped} of {summary['steps']} updates skipped" if skipped else ""
    return f"{after}, test ELBO {elbo} nats (reconstruction {reconstruction}, KL {kl}{behind})"
