"""`vae probe RUN`: one frozen checkpoint seen through every head."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from vaecli.cli.options import DONE, RunPath, Switch, output_file, progress
from vaecli.config import ConfigError, UsageError
from vaecli.config.files import Source

DESCRIPTION = "See one trained posterior through every head: raw gradient variance beside SNR, Fisher ratio, cosine."
FIELDS = ()


@dataclasses.dataclass(frozen=True)
class Options:
    """Which run, which heads, how many samples, and in which form."""

    path: RunPath = ""
    heads: Annotated[
        str,
        tyro.conf.arg(
            metavar="HEAD,HEAD,…",
            help="Only these: names, or package.module:attribute.",
            help_behavior_hint="(default: all with an output u, and the run's own)",
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


def run(instance: Any, source: Source, argv: Sequence[str]) -> int:
    """Probes, and prints, writes or draws what was found."""
    options: Options = instance.command
    if not options.path:
        raise UsageError("a run is needed, as in: vae probe runs/mnist/logvar/seed0")
    table = output_file("--csv", options.csv)
    plot = output_file("--plot", options.plot, (".png", ".svg"))
    for flag, file in {"--csv": table, "--plot": plot}.items():
        if file and file.resolve().is_relative_to(Path(options.path).resolve()):
            raise UsageError(f"{flag}: {file} lies in the run's own directory; name a file outside of it")
    if table and plot and table.resolve() == plot.resolve():
        raise UsageError("--csv and --plot name the same file")
    names = tuple(dict.fromkeys(name.strip() for name in options.heads.split(",") if name.strip()))
    if options.heads and not names:
        raise UsageError(f"--heads: names no head, got {options.heads!r}")
    from vaecli.analysis.probe import probe

    try:
        found = probe(
            options.path, heads=names, draws=options.draws, batches=options.batches, follow=progress("probing")
        )
    except ConfigError as error:
        raise UsageError(f"--heads: {error.message}" if error.field == "param" else str(error)) from None
    if table:
        _write_csv(table, found.rows)
    if plot:
        from vaecli.report.figures import files
        from vaecli.report.figures import probe as picture

        files.save(picture.probe(found.run, found.rows), plot)
    if options.json:
        print(json.dumps({"run": found.run, "heads": found.rows}, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print_table(found.run, found.rows)
        for file in filter(None, (table, plot)):
            print(file)
    return DONE


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from vaecli.runs.directory import write_output

    text = io.StringIO()
    writer = csv.DictWriter(text, [name for name in rows[0] if name != "gains"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_output(path, text.getvalue())


_UNITS = {
    "head": "head",
    "Var by u": "raw_variance",
    "Var by σ": "sigma_variance",
    "Var by log σ": "log_sigma_variance",
    "SNR of u": "unit_snr",
    "SNR of μ, σ": "mahalanobis_snr",
    "Fisher ratio": "fisher_ratio",
}
_WEIGHTS = {
    "head": "head",
    "Var of weights": "block_variance",
    "SNR of weights": "block_snr",
    "cosine": "cosine",
    "mean γ": "mean_gain",
    "step": "effective_step",
    "over logvar's": "step_over_logvar",
}


def _print_table(run: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 160  # For a pipe or a file: one row, one line.
    console.print(
        f"{run['path']}: {run['param']}, seed {run['seed']}, epochs: {run['epochs']}; "
        f"batches: {run['batches']} of {run['batch_size']} images, draws of ε: {run['draws']} each"
    )
    for columns in (_UNITS, _WEIGHTS):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in columns:
            table.add_column(title, justify="left" if title == "head" else "right")
        for row in rows:
            name = f"{row['head']} *" if row["problem"] else row["head"]
            table.add_row(name, *(_cell(row[field], row.get(f"{field}_se")) for field in list(columns.values())[1:]))
        console.print(table)
    for row in rows:
        if row["problem"]:
            console.print(f"* {row['head']} {row['problem']}")
    power = {1: "|γ|", 2: "γ²"}[run["lr_power"]]
    console.print(
        "Above: of the derivative of one image's loss by its u, over ε; means over units. Below: of the gradient by\n"
        f"the scale head's weights. Step: lr · mean {power}, as {run['optimizer']} moves log σ. In brackets: the\n"
        "standard error in the last digits."
    )


def _cell(value: float | None, error: float | None) -> str:
    """A number, with its standard error in units of its last digits: 0.437(16) is 0.437 ± 0.016."""
    if value is None:
        return "–"
    if not error:
        return f"{value:.4g}"
    places = max(0, 1 - math.floor(math.log10(error)))
    if places > 6 or abs(value) >= 1e6:
        return f"{value:.4g} ± {error:.1g}"
    return f"{value:.{places}f}({round(error * 10**places)})"
