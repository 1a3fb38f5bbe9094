"""`vae compare DIR...`: equivalent, different or undecided, with the evidence."""

import csv
import dataclasses
import io
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vaecli.cli import flags
from vaecli.cli.options import DONE, Switch, named_path, output_file
from vaecli.config import Config, UsageError
from vaecli.config.files import Source

if TYPE_CHECKING:
    from vaecli.report.compare import Comparison

DESCRIPTION = (
    "Compare heads, or any settings, over the runs below some folders: each with the reference, paired by seed. The "
    "verdicts are equivalent, different and undecided; docs/statistics.md has the tests behind them."
)
FIELDS = ()
_WIDE = 110


@dataclasses.dataclass(frozen=True)
class Options:
    """Which runs, what is asked of them, and where the answer goes."""

    dirs: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="DIR …",
            help="Folders with run directories somewhere in them; runs of one setting differ in their seed alone.",
            help_behavior_hint="(required)",
        ),
    ] = ()
    metric: Annotated[str, tyro.conf.arg(help="Any logged scalar, as it was last.")] = "test/elbo"
    margin: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="FLOAT",
            help="The least difference that matters, in the metric's unit; choose it before you look.",
            help_behavior_hint="(default: 0.5 where the unit is nats, else required)",
        ),
    ] = None
    alpha: Annotated[float, tyro.conf.arg(help="Level of the tests; intervals have 1 - alpha.")] = 0.05
    reference: Annotated[
        str, tyro.conf.arg(help="What the others are compared with: a head, or HEAD,field=value,… or field=value,…")
    ] = "logvar"
    at: Annotated[
        Literal["each", "best-lr"],
        tyro.conf.arg(
            help="Where the learning rate varies. each: at each rate with the reference at the same; best-lr: each "
            "head and the reference at its own best, chosen on the validation split."
        ),
    ] = "each"
    allow_mixed: Annotated[Switch, tyro.conf.arg(help="Compare runs of different data or code all the same.")] = False
    json: Annotated[Switch, tyro.conf.arg(help="Print the comparison as JSON on stdout.")] = False
    csv: Annotated[str, tyro.conf.arg(metavar="FILE", help="Write a row for each setting as CSV.")] = ""
    csv_runs: Annotated[str, tyro.conf.arg(metavar="FILE", help="Write a row for each run as CSV.")] = ""
    plot: Annotated[
        str, tyro.conf.arg(metavar="FILE", help="Draw the differences and their intervals as .png or .svg.")
    ] = ""
    html: Annotated[
        str,
        tyro.conf.arg(metavar="FILE", help="Write a page with tables and figures, in one file and for any browser."),
    ] = ""


def run(instance: Any, source: Source, argv: Sequence[str]) -> int:
    """Compares, and prints the verdicts."""
    options: Options = instance.command
    if not options.dirs:
        raise UsageError("a folder with runs is needed, as in: vae compare runs/mnist")
    if options.margin is not None and not 0 < options.margin < float("inf"):
        raise UsageError(f"--margin: must be a positive number, got {options.margin}")
    if not 0 < options.alpha < 0.5:
        raise UsageError(f"--alpha: must lie between 0 and 0.5, got {options.alpha}")
    folders = [named_path("DIR", word) for word in options.dirs]
    table, runs = (output_file(name, text) for name, text in (("--csv", options.csv), ("--csv-runs", options.csv_runs)))
    plot, page = output_file("--plot", options.plot, (".png", ".svg")), output_file("--html", options.html)
    outputs = [path.resolve() for path in (table, runs, plot, page) if path]
    if len(set(outputs)) < len(outputs):
        raise UsageError("--csv, --csv-runs, --plot and --html: must name different files")
    from vaecli.report.compare import Question, compare

    asked = {name: getattr(options, name) for name in Question._fields}
    comparison = compare(folders, Question(**asked))
    report = comparison.report
    report["provenance"]["commands"] = [shlex.join(["vae", *argv]), *_train_commands(comparison)]
    logged = None
    if page:
        from vaecli.report.curves import curves

        logged = curves(comparison)
    for warning in report["warnings"]:
        print(f"vae: {warning}", file=sys.stderr)
    if options.json:
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(report)
    from vaecli.runs.directory import write_output

    if table:
        write_output(table, _csv(map(_flat, report["settings"])))
    if runs:
        write_output(runs, _csv(report["runs"]))
    if plot:
        from vaecli.report.figures import endpoints, plots

        plots.save(endpoints.forest(report), plot)
    if page:
        from vaecli.report import page as pages

        write_output(page, pages.page(report, logged or {}))
    return DONE


def _train_commands(comparison: "Comparison") -> list[str]:
    """The commands that train the runs again, one for each setting."""
    varied = [name for name in comparison.report["varies"] if name not in ("param", "name", "data_dir")]
    commands = []
    for setting in comparison.settings:
        commands.append(flags.train_command(setting.config, list(setting.runs), varied))
        twins: dict[Config, list[int]] = {}
        for twin in setting.twins.values():
            twins.setdefault(twin.setting, []).append(twin.seed)
        commands += [flags.train_command(config, sorted(seeds), varied) for config, seeds in twins.items()]
    return commands


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A setting without what is no single value; the fields of its difference beside the others."""
    flat = {name: value for name, value in row.items() if name != "difference" and not isinstance(value, list | dict)}
    for name, value in (row["difference"] or {}).items():
        flat[f"difference_{name}" if name in ("mean", "sd", "low", "high") else name] = value
    return {**flat, **row["settings"]}


def _csv(rows: Any) -> str:
    rows = list(rows)
    written = io.StringIO()
    writer = csv.DictWriter(written, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


def _print(report: Mapping[str, Any]) -> None:
    """A table, and one sentence for each setting."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vaecli.report.formatting import interval, level, number, probability, title

    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=160)
    wide = console.width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    percent = f"{100 * (1 - report['alpha']):g} %"
    table.add_column("setting", overflow="fold")
    columns = ["survived", f"{title(report['metric'])}", f"difference [{percent}]"]
    columns += ["ρ", "p (Holm)", "p (TOST)", "chaos floor"] if wide else []
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in report["settings"]:
        found = row["difference"] or {}
        cells = [row["label"], f"{row['survived']}/{row['runs']}", level(row), interval(found) if found else ""]
        if wide:
            cells += ["" if found.get("rho") is None else number(found["rho"])]
            cells += [probability(found[p]) if found else "" for p in ("p_holm", "p_equivalence")]
            cells += [number(row["chaos_floor"], 3)]
        table.add_row(*map(Text, cells), Text(row["verdict"]))
    console.print(table)
    for row in report["settings"]:
        console.print(Text(row["sentence"]))
