"""`vae heads`: the table of heads, and a picture of them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tyro

from vaecli.cli.options import DONE, Switch, output_file
from vaecli.config import ConfigError, UsageError
from vaecli.config.files import Source

DESCRIPTION = "List the variance heads: what u stands for, σ(u), gains and safe ranges of u, measured here."
FIELDS = ()


@dataclasses.dataclass(frozen=True)
class Options:
    """Which heads, and in which form."""

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="[HEAD …]",
            help="Only these: names, or package.module:attribute.",
            help_behavior_hint="(default: all)",
        ),
    ] = ()
    json: Annotated[Switch, tyro.conf.arg(help="Print the table as JSON on stdout.")] = False
    plot: Annotated[
        str,
        tyro.conf.arg(
            metavar="FILE", help="Draw σ(u) and the gain of every head: a .png or .svg file.", help_behavior_hint=""
        ),
    ] = ""


def run(instance: Any, source: Source, argv: Sequence[str]) -> int:
    """Measures the heads, and prints or draws them."""
    from vaecli.vae.heads.resolve import resolve_head
    from vaecli.vae.heads.table import HEADS

    options: Options = instance.command
    try:
        heads = [resolve_head(name) for name in dict.fromkeys(options.names or HEADS)]
    except ConfigError as error:
        raise UsageError(error.message) from None
    plot = output_file("--plot", options.plot, (".png", ".svg"))

    # From here on jax is needed.
    from vaecli.vae import characteristics

    if plot:
        from vaecli.report.figures import files
        from vaecli.report.figures import heads as picture

        drawn = {chosen.name: characteristics.curves(chosen)._asdict() for chosen in heads}
        files.save(picture.heads(drawn), plot)
    rows = characteristics.table(heads)
    if options.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print_tables(rows)
        if plot:
            print(plot)
    return DONE


def _print_tables(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 160  # For a pipe or a file: one row, one line.
    columns = {
        "head": lambda row: row["name"],
        "u stands for": lambda row: row["quantity"],
        "σ(u)": lambda row: row["formula"],
        "note": lambda row: row["note"],
    }
    gains = {f"γ, σ={sigma}": lambda row, sigma=sigma: _number(row["gain"][sigma]) for sigma in rows[0]["gain"]}
    figures = {"σ(0)": lambda row: _number(row["sigma_at_zero"]), **gains}
    figures["u at σ=1"] = lambda row: _number(row["inverse_at_1"])
    ranges = {
        "safe u in float32": lambda row: _range(row["safe_float32"]),
        "in bfloat16": lambda row: _range(row["safe_bfloat16"]),
    }
    for chosen in (columns, figures, ranges):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in {"head": None} | chosen:
            table.add_column(title, justify="left" if title in columns else "right", overflow="fold")
        for row in rows:
            table.add_row(*(cell(row) for cell in ({"head": columns["head"]} | chosen).values()))
        console.print(table)
    console.print("γ = d log σ / du. Safe: σ, log σ, γ, the KL and dKL/du are finite, σ > 0 and γ ≠ 0.")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _range(ends: Sequence[float] | None) -> str:
    return "–" if ends is None or None in ends else " to ".join(map(_number, ends))
