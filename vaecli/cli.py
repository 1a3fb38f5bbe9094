"""The command `vae`: what each command does, its messages and its exit codes. Nothing heavy is imported at the top."""

import contextlib
import dataclasses
import io
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
from vaecli.config import Config, ConfigError, UsageError, unusable_text

DONE, UNEXPECTED, USAGE, DIVERGED = 0, 1, 2, 3

_DESCRIPTION = (
    "Does it matter how a VAE parameterises the variance of its encoder? Train one, and see.\n\n"
    "'vae COMMAND --help' explains a command, 'vae --version' names the version."
)

_Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclasses.dataclass(frozen=True)
class TrainOptions:
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
    overwrite: Annotated[_Switch, tyro.conf.arg(help="Start anew where the directory holds a run.")] = False
    json: Annotated[_Switch, tyro.conf.arg(help="Print the summaries as JSON on stdout.")] = False


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal without σ is no reason to stop.
    try:
        return _run(arguments or ["--help"])
    except UsageError as error:
        print(f"vae: {_printable(str(error))}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        # Whoever read our output has left; what is still buffered for them goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNEXPECTED
    except Exception as error:
        if "VAE_TRACEBACK" in os.environ:
            raise
        text = _printable(" ".join(f"{type(error).__name__}: {error}".split()))
        print(f"vae: unexpected {text[:500]} (set VAE_TRACEBACK=1 to see where)", file=sys.stderr)
        return UNEXPECTED


def _printable(text: str) -> str:
    """The text on one line, whatever a file name or a config put into it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _run(argv: Sequence[str]) -> int:
    if argv[0] in ("--version", "-V"):
        from importlib.metadata import version

        print(f"vae {version('vaecli')}")
        return DONE
    source = flags.read_source(argv)
    train = flags.command(
        TrainOptions, "Train a VAE, or with --seeds several that differ in their seed alone.", source.config
    )
    return _train(argv, source, flags.parse({"train": train}, argv, _DESCRIPTION))


def _train(argv: Sequence[str], source: flags.Source, instance: Any) -> int:
    options: TrainOptions = instance.command
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
        again = shlex.join(["vae", *argv] + ["--overwrite"] * (not options.overwrite))
        print(f"vae: stopped by {signal.Signals(received[0]).name}; to start again: {again}", file=sys.stderr)
        return 128 + received[0]
    return DIVERGED if "diverged" in statuses else DONE


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, so that training ends after its epoch; a second one ends the process at once."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)
        print("vae: stopping after this epoch; once more stops at once", file=sys.stderr)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
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
        first = summary["first_non_finite"]
        return f"diverged, {first['quantity']} is not finite at step {first['step']}"
    metrics = summary["metrics"]
    terms = f"reconstruction {metrics['test/reconstruction']:.2f}, KL {metrics['test/kl']:.2f}"
    return f"{summary['status']} after {summary['epochs']} epochs, test ELBO {metrics['test/elbo']:.2f} nats ({terms})"
