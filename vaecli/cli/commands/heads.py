"""`vae heads`: the table of heads, and a picture of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tyro

from vaecli.cli import output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.options import PICTURES, JsonSwitch, file_option, output_file
from vaecli.config import ConfigError, UsageError
from vaecli.config.texts import minus
from vaecli.environment import require_default_jax
from vaecli.training.terminal import print_result


@dataclasses.dataclass(frozen=True)
class HeadsOptions:
    """Which heads are listed, and how."""

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="[HEAD …]",
            help="Only these: names, or package.module:attribute.",
            help_behavior_hint="(default: all)",
        ),
    ] = ()
    json: JsonSwitch = False
    plot: Annotated[str, file_option("Draw σ(u) and the gain of every head: a .png or .svg file.")] = ""


def run(options: HeadsOptions, invocation: Invocation) -> int:
    """Measures the heads, and prints or draws them."""
    from vaecli.vae.heads.resolve import resolve_head
    from vaecli.vae.heads.table import HEADS

    try:
        heads = [resolve_head(name) for name in dict.fromkeys(options.names or HEADS)]
    except ConfigError as error:
        raise UsageError(error.message) from None
    plot = output_file("--plot", options.plot, PICTURES)

    # From here on jax is needed.
    require_default_jax()
    from vaecli.vae import characteristics

    if plot:
        from vaecli.report.figures import files
        from vaecli.report.figures import heads as picture

        curves = {head.name: characteristics.curves(head)._asdict() for head in heads}
        files.save(lambda: picture.heads(curves), plot)
    rows = characteristics.table(heads)
    if options.json:
        output.print_json(rows)
    else:
        _print_tables(rows)
        if plot:
            print_result(str(plot))
    return ExitCode.DONE


def _print_tables(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints what the heads are, their values and gains, their safe ranges, and their resolution, as four tables."""
    names = {"head": lambda row: row["name"]}
    meanings = {
        "u stands for": lambda row: row["quantity"],
        "σ(u)": lambda row: row["formula"],
        "note": lambda row: row["note"],
    }
    gains = {f"γ, σ={sigma}": lambda row, sigma=sigma: _number(row["gain"][sigma]) for sigma in rows[0]["gain"]}
    values = {
        "σ(0)": lambda row: _number(row["sigma_at_zero"]),
        **gains,
        "u at σ=1": lambda row: _number(row["inverse_at_1"]),
    }
    ranges = {
        "safe u in float32": lambda row: _range(row["safe_float32"]),
        "in bfloat16": lambda row: _range(row["safe_bfloat16"]),
    }
    resolutions = {
        f"{precision}, σ={sigma}": lambda row, of=(precision, sigma): _share(row["resolution"][of[0]][of[1]])
        for precision, by_sigma in rows[0]["resolution"].items()
        for sigma in by_sigma
    }
    console = output.stdout_console()
    for columns in (names | meanings, names | values, names | ranges, names | resolutions):
        cells = [[cell(row) for cell in columns.values()] for row in rows]
        output.print_table(console, columns, cells, left=names | meanings)
    output.print_words(console, "γ = d log σ / du. Safe: σ, log σ, γ, the KL and dKL/du are finite, σ > 0 and γ ≠ 0.")
    output.print_words(console, "The last table: the relative step of σ from one u to the next that a precision holds.")


def _number(value: float | None) -> str:
    return "–" if value is None else minus(f"{value:.3g}")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}" if value >= 1e-4 else f"{value:.1e}"


def _range(ends: Sequence[float] | None) -> str:
    return "–" if ends is None or None in ends else " to ".join(map(_number, ends))


COMMAND = Command(
    summary="List the variance heads, or draw them.",
    description="List the variance heads: what u stands for, σ(u), gains and safe ranges of u, measured here.",
    options=HeadsOptions,
    run=run,
    examples=[
        Example("vae heads", "all of them"),
        Example("vae heads logvar logstd --plot heads.svg", "two of them, drawn"),
        Example("vae heads my_heads:mine", "one of your own"),
    ],
)
