"""What commands print and write: tables, CSV and JSON, each in one form."""

import csv
import io
import json
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_FILE_WIDTH = 160


def print_json(value: Any) -> None:
    """Prints a result for machines; JSON knows no NaN and no infinity, so the value must be free of them."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]], *, line_end: str = "\n") -> str:
    """Returns a table as CSV; a cell that is None stays empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def stdout_console() -> "Console":
    """Returns a console on stdout that prints texts as they are; in a pipe or a file a row of a table is one line."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console


def print_table(
    console: "Console",
    header: Iterable[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Collection[str] = (),
    unbroken: Collection[str] = (),
) -> None:
    """Prints a table; where the console is narrow, cells are wrapped and nothing of them is lost.

    Args:
      console: where to print.
      header: the names of the columns.
      rows: the cells, as they are to be seen.
      left: the columns that are flush left, as texts are; the others are flush right, as numbers are.
      unbroken: the columns whose cells are not wrapped.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        justify = "left" if name in left else "right"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in unbroken)
    for row in rows:
        table.add_row(*row)
    console.print(table)
