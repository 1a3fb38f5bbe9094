"""`vae train`: one run, or several that differ in their seed alone."""

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from vaecli.cli import flags
from vaecli.cli.options import DIVERGED, DONE, Switch
from vaecli.cli.signals import stopped, stopping_signals
from vaecli.config import SETTINGS, Config, ConfigError
from vaecli.config.files import Source
from vaecli.config.validators import unusable_text
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
    vary: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            metavar="SETTING …",
            help="Settings that the run's folder names, as in logvar,lr=0.001; 'vae sweep' does so for what it varies.",
        ),
    ] = ()
    overwrite: Annotated[Switch, tyro.conf.arg(help="Start anew where the directory holds a run.")] = False
    json: Annotated[Switch, tyro.conf.arg(help="Print the summaries as JSON on stdout.")] = False


def run(instance: Any, source: Source, argv: Sequence[str]) -> int:
    """Trains, and prints how it ended."""
    options: Options = instance.command
    settings = flags.settings(instance)
    try:
        if complaint := unusable_text(str(options.runs)):
            raise ConfigError("runs", complaint)
        config = Config(**settings)
        # From here on NumPy is needed, and jax once everything that was given is known to be good.
        from vaecli.training.progress import on_stderr
        from vaecli.training.train import train_seeds

        with stopping_signals() as received:
            summaries = train_seeds(
                config,
                options.seeds,
                runs=options.runs,
                vary=flags.setting_names("vary", options.vary),
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
        return stopped(received[0], argv)
    return DIVERGED if "diverged" in statuses else DONE


def _print_summaries(summaries: Sequence[Mapping[str, Any]], folder: Path) -> None:
    for summary in summaries:
        print(f"{summary['path']}: {_outcome(summary)}")
    elbos = [summary["metrics"]["test/elbo"] for summary in summaries if summary["status"] == "complete"]
    if len(elbos) > 1:
        from statistics import mean, stdev

        from vaecli.report.formatting import level

        complete = f"{len(elbos)} of {len(summaries)} seeds complete"
        spread = level(mean(elbos), stdev(elbos))
        print(f"{complete}, their test ELBO {spread} nats per image (mean ± sd)")
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
