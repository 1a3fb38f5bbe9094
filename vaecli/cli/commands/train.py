"""`vae train`: one run, or several that differ only in their seed."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from vaecli.cli import flags, hints, output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.options import ConfigOption, JsonSwitch, RunsFolder, Switch, check_runs_folder
from vaecli.cli.reference import Uncommon
from vaecli.cli.signals import stopped, stopping_signals
from vaecli.config import SETTINGS, Config, ConfigError
from vaecli.config.texts import minus
from vaecli.report.formatting import count
from vaecli.runs.directory import divergence
from vaecli.training.terminal import print_result


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Where the run starts from and where it goes."""

    config: ConfigOption = ""
    seeds: Annotated[int, tyro.conf.arg(help="Number of runs, of seeds from --seed on.")] = 1
    runs: RunsFolder = Path("runs")
    vary: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            metavar="SETTING …",
            help="Settings that the run's folder names, as in logvar,lr=0.001; 'vae sweep' does so for what it varies.",
            help_behavior_hint="",
        ),
        Uncommon(),
    ] = ()
    overwrite: Annotated[Switch, tyro.conf.arg(help="Start again where the directory already holds a run.")] = False
    json: JsonSwitch = False


def run(options: TrainOptions, invocation: Invocation) -> int:
    """Trains, and prints how it ended."""
    check_runs_folder(options.runs)
    try:
        config = Config(**_named(invocation))
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
                observer=on_stderr(lambda: bool(received)),
                stopped=lambda: bool(received),
                config_name=invocation.source.name,
            )
    except ConfigError as error:
        raise invocation.source.locate(error, invocation.settings) from None
    if options.json:
        output.print_json(summaries)
    else:
        _print_summaries(summaries)
        hints.print_runs(by_head=not options.vary)
    statuses = {summary["status"] for summary in summaries}
    if "interrupted" in statuses:
        return stopped(received[0], invocation.argv)
    return ExitCode.DIVERGED if "diverged" in statuses else ExitCode.DONE


def _named(invocation: Invocation) -> Mapping[str, Any]:
    """Returns the settings of a command line, with the name of the config file where that says which data there are."""
    settings, source = invocation.settings, invocation.source
    if not settings["name"] and source.names_data([settings["data_dir"]]):
        return {**settings, "name": source.name}
    return settings


def _print_summaries(summaries: Sequence[Mapping[str, Any]]) -> None:
    """Prints how each run ended, the mean over the seeds, and the command that shows their curves."""
    for summary in summaries:
        print_result(f"{summary['path']}: {_outcome(summary)}")
    elbos = [summary["metrics"]["test/elbo"] for summary in summaries if summary["status"] == "complete"]
    if len(elbos) > 1:
        from statistics import mean, stdev

        from vaecli.report.formatting import level

        complete = f"{len(elbos)} of {len(summaries)} seeds complete"
        spread = level(mean(elbos), stdev(elbos))
        print_result(f"{complete}, their test ELBO {spread} nats per image (mean ± sd)")
    print_result(hints.command(Path(summaries[0]["path"]).parent.parent))


def _outcome(summary: Mapping[str, Any]) -> str:
    """Returns in words how a run ended."""
    if summary["status"] == "diverged":
        return f"diverged, {divergence(summary)}"
    values = [summary["metrics"].get(f"test/{term}") for term in ("elbo", "reconstruction", "kl")]
    elbo, reconstruction, kl = ("not finite" if value is None else minus(f"{value:.2f}") for value in values)
    after = f"{summary['status']} after {count(summary['epochs'], 'epoch')}"
    if not summary["metrics"]:
        return after
    skipped = summary.get("skipped_updates")
    without = f"; {skipped} of {summary['steps']} updates skipped" if skipped else ""
    return f"{after}, test ELBO {elbo} nats (reconstruction {reconstruction}, KL {kl}{without})"


COMMAND = Command(
    summary="Train a VAE, or several that differ only in their seed.",
    description="Train a VAE, or with --seeds several that differ only in their seed.",
    options=TrainOptions,
    run=run,
    examples=[
        Example("vae train --param logstd --seeds 3", "three seeds, in one program"),
        Example("vae train --config pytorch_example", "a config; flags go over it"),
        Example("vae train --lr 3e-4 --name mine", "its folder is in runs/mine"),
    ],
    settings=tuple(SETTINGS),
)
