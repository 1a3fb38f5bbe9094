"""`vae compare DIR...`: equivalent, different or undecided, with the evidence."""

import csv
import dataclasses
import io
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vaecli.cli import flags
from vaecli.cli.options import DONE, Switch, named_path, output_file
from vaecli.config import Config, UsageError
from vaecli.config.files import Source

if TYPE_CHECKING:
    from vaecli.report.model import Comparison, Variant, VariantResult

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
            help="Folders with run directories somewhere in them; runs of one variant differ only in their seed.",
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
    from vaecli.report.compare import compare
    from vaecli.report.model import Question
    from vaecli.runs.directory import write_output

    asked = {field.name: getattr(options, field.name) for field in dataclasses.fields(Question)}

    def commands(variants: "Sequence[Variant]", varies: Sequence[str]) -> list[str]:
        return [shlex.join(["vae", *argv]), *_train_commands(variants, varies)]

    comparison, curves = compare(folders, Question(**asked), commands), {}
    if page:
        from vaecli.report.curves import logged_curves

        curves, warnings = logged_curves(comparison)
        comparison = comparison.with_warnings(warnings)
    for warning in comparison.warnings:
        print(f"vae: {warning}", file=sys.stderr)
    if options.json:
        print(json.dumps(comparison.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(comparison)
    if table:
        write_output(table, _csv(*_variant_table(comparison)))
    if runs:
        write_output(runs, _csv(*_run_table(comparison)))
    if plot:
        from vaecli.report.figures import files, forest

        files.save(forest.forest(comparison), plot)
    if page:
        from vaecli.report import page as pages

        write_output(page, pages.page(comparison, curves))
    return DONE


def _train_commands(variants: "Sequence[Variant]", varies: Sequence[str]) -> list[str]:
    """Returns the commands that train the runs again, one for each variant and one for each kind of its twins."""
    varied = [name for name in varies if name not in ("param", "name", "data_dir")]
    commands = []
    for variant in variants:
        commands.append(flags.train_command(variant.config, list(variant.runs), varied))
        twins: dict[Config, list[int]] = {}
        for twin in variant.twins.values():
            twins.setdefault(twin.config, []).append(twin.seed)
        commands += [flags.train_command(config, sorted(seeds), varied) for config, seeds in twins.items()]
    return commands


def _variant_table(comparison: "Comparison") -> tuple[list[str], list[list[Any]]]:
    """Returns header and rows of `--csv`: what is a single value of a variant, and the fields of its difference."""
    from vaecli.report.model import Difference

    names = ["label", "reference", "is_reference", "runs", "survived", "mean", "sd", "chaos_floor", "seeds_needed"]
    names += ["verdict", "sentence"]
    header = [*names, *comparison.varies]
    measures = [field.name for field in dataclasses.fields(Difference)]
    any_difference = any(result.difference for result in comparison.results)
    if any_difference:
        header += [f"difference_{name}" if name in ("mean", "sd", "low", "high") else name for name in measures]

    def row(result: "VariantResult") -> list[Any]:
        values = [getattr(result, name) for name in names] + [result.values[name] for name in comparison.varies]
        return values + [getattr(result.difference, name, None) for name in measures if any_difference]

    return header, [row(result) for result in comparison.results]


def _run_table(comparison: "Comparison") -> tuple[list[str], list[list[Any]]]:
    """Returns header and rows of `--csv-runs`."""
    from vaecli.report.model import RunRow

    header = [field.name for field in dataclasses.fields(RunRow)]
    return header, [[getattr(run, name) for name in header] for run in comparison.runs]


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return written.getvalue()


def _print(comparison: "Comparison") -> None:
    """Prints a table, and one sentence for each variant."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vaecli.report.formatting import interval, level, number, probability, title

    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=160)
    wide = console.width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    percent = f"{100 * (1 - comparison.alpha):g} %"
    table.add_column("setting", overflow="fold")
    columns = ["survived", f"{title(comparison.metric)}", f"difference [{percent}]"]
    columns += ["ρ", "p (Holm)", "p (TOST)", "chaos floor"] if wide else []
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for result in comparison.results:
        d = result.difference
        cells = [result.label, f"{result.survived}/{result.runs}", level(result.mean, result.sd)]
        cells += [interval(d.mean, d.sd, d.low, d.high) if d else ""]
        if wide:
            cells += ["" if d is None or d.rho is None else number(d.rho)]
            cells += [probability(d.p_holm), probability(d.p_equivalence)] if d else ["", ""]
            cells += [number(result.chaos_floor, 3)]
        table.add_row(*map(Text, cells), Text(result.verdict))
    console.print(table)
    for result in comparison.results:
        console.print(Text(result.sentence))
