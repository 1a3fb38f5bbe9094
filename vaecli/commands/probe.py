"""`vae probe RUN`: one frozen checkpoint seen through every head."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from vaecli import flags
from vaecli.commands import DONE, Switch
from vaecli.config import ConfigError, UsageError

DESCRIPTION = "See one trained posterior through every head: raw gradient variance beside SNR, Fisher ratio, cosine."
FIELDS = ()


@dataclasses.dataclass(frozen=True)
class Options:
    """Which run, which heads, how many samples, and in which form."""

    path: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar="RUN", help="Directory of a finished run.", help_behavior_hint="(required)"),
    ] = ""
    heads: Annotated[
        str,
        tyro.conf.arg(
            metavar="HEAD,HEAD,…",
            help="Only these: names, or package.module:attribute.",
            help_behavior_hint="(default: all that have an output u)",
        ),
    ] = ""
    draws: Annotated[int, tyro.conf.arg(help="Draws of ε for each batch.")] = 64
    batches: Annotated[int, tyro.conf.arg(help="Batches, the first of the run's training images.")] = 32
    json: Annotated[Switch, tyro.conf.arg(help="Print everything as JSON on stdout, gain histograms included.")] = False
    csv: Annotated[str, tyro.conf.arg(metavar="FILE", help="Write the table there.", help_behavior_hint="")] = ""
    plot: Annotated[
        str,
        tyro.conf.arg(
            metavar="FILE",
            help="Draw the table and the histogram of gains: a .png or .svg file.",
            help_behavior_hint="",
        ),
    ] = ""


def run(instance: Any, source: flags.Source, argv: Sequence[str]) -> int:
    """Probes, and prints, writes or draws what was found."""
    options: Options = instance.command
    if not options.path:
        raise UsageError("a run is needed, as in: vae probe runs/mnist/logvar/seed0")
    if options.plot and Path(options.plot).suffix not in (".png", ".svg"):
        raise UsageError(f"--plot: must name a .png or .svg file, got {options.plot!r}")
    from vaecli.probe import probe

    names = tuple(dict.fromkeys(name.strip() for name in options.heads.split(",") if name.strip()))
    try:
        found = probe(options.path, heads=names, draws=options.draws, batches=options.batches, follow=_progress)
    except ConfigError as error:
        raise UsageError(f"--heads: {error.message}" if error.field == "param" else str(error)) from None
    if options.csv:
        _write_csv(Path(options.csv), found.rows)
    if options.plot:
        from vaecli.report import plots

        plots.save(plots.probe(found.run, found.rows), Path(options.plot))
    if options.json:
        print(json.dumps({"run": found.run, "heads": found.rows}, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print_table(found.run, found.rows)
        for file in filter(None, (options.csv, options.plot)):
            print(file)
    return DONE


def _progress(numbers: Sequence[int]) -> Iterable[int]:
    """A bar over the batches, where stderr is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = not console.is_terminal
    return track(numbers, "probing", console=console, transient=True, disable=hidden, show_speed=False)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from vaecli.runs.directory import write_atomically

    text = io.StringIO()
    writer = csv.DictWriter(text, [name for name in rows[0] if name != "gains"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    try:
        write_atomically(path, text.getvalue())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


_NOISE = {
    "head": "head",
    "Var by u": "raw_variance",
    "by σ": "sigma_variance",
    "by log σ": "log_sigma_variance",
    "unit SNR": "unit_snr",
    "SNR of μ, σ": "mahalanobis_snr",
    "R": "fisher_ratio",
}
_WEIGHTS = {
    "head": "head",
    "Var by weights": "block_variance",
    "SNR": "block_snr",
    "cosine": "cosine",
    "mean γ": "mean_gain",
    "step": "effective_step",
    "over logvar": "step_over_logvar",
}


def _print_table(run: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 160  # For a pipe or a file: one row, one line.
    console.print(
        f"{run['path']}: {run['param']}, seed {run['seed']}, {run['epochs']} epochs; "
        f"{run['batches']} batches of {run['batch_size']} images, {run['draws']} draws of ε each"
    )
    for columns in (_NOISE, _WEIGHTS):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in columns:
            table.add_column(title, justify="left" if title == "head" else "right")
        for row in rows:
            table.add_row(*(_cell(row[name], marked=bool(row["problem"])) for name in columns.values()))
        console.print(table)
    for row in rows:
        if row["problem"]:
            console.print(f"* {row['head']} {row['problem']}")
    power = {1: "|γ|", 2: "γ²"}[run["lr_power"]]
    console.print(
        "Var: over ε, of the derivative of one image's −ELBO, a mean over units. R: that by u over the Fisher\n"
        f"information of u. Step: lr · mean {power}, as {run['optimizer']} moves log σ. Standard errors: --json, --csv."
    )


def _cell(value: float | str | None, *, marked: bool) -> str:
    if isinstance(value, str):
        return f"{value} *" if marked else value
    return "–" if value is None else f"{value:.4g}"
