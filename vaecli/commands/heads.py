"""`vae heads`: the table of heads, and a picture of them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from vaecli import flags
from vaecli.commands import DONE, Switch
from vaecli.config import ConfigError, UsageError

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


def run(instance: Any, source: flags.Source, argv: Sequence[str]) -> int:
    """Measures the heads, and prints or draws them."""
    from vaecli.vae.heads import HEADS
    from vaecli.vae.lookup import head

    options: Options = instance.command
    try:
        heads = [head(name) for name in dict.fromkeys(options.names or HEADS)]
    except ConfigError as error:
        raise UsageError(error.message) from None
    if options.plot and Path(options.plot).suffix not in (".png", ".svg"):
        raise UsageError(f"--plot: must name a .png or .svg file, got {options.plot!r}")

    # From here on jax is needed.
    from vaecli.vae import characteristics

    if options.plot:
        from vaecli.report import plots

        drawn = {chosen.name: characteristics.curves(chosen)._asdict() for chosen in heads}
        plots.save(plots.heads(drawn), Path(options.plot))
    rows = characteristics.table(heads)
    if options.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print_tables(rows)
        if options.plot:
            print(options.plot)
    return DONE


def _print_tables(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # For a pipe or a file: one row, one line.
    told, measured = (Table(box=box.SIMPLE_HEAD, pad_edge=False) for _ in range(2))
    for column in ("head", "u stands for", "σ(u)", "note"):
        told.add_column(column)
    measured.add_column("head")
    for column in ("σ(0)", *(f"γ, σ={sigma}" for sigma in rows[0]["gain"]), "u at σ=1", "safe u, float32", "bfloat16"):
        measured.add_column(column, justify="right")
    for row in rows:
        told.add_row(*(row[key] for key in ("name", "quantity", "formula", "note")))
        gains = [_number(gain) for gain in row["gain"].values()]
        ranges = [_range(row[key]) for key in ("safe_float32", "safe_bfloat16")]
        measured.add_row(row["name"], _number(row["sigma_at_zero"]), *gains, _number(row["inverse_at_1"]), *ranges)
    console.print(told)
    console.print(measured)
    console.print("γ = d log σ / du. Safe: σ, log σ, γ, the KL and dKL/du are finite, σ > 0 and γ ≠ 0.")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _range(ends: Sequence[float] | None) -> str:
    return "–" if ends is None else " … ".join(map(_number, ends))
