"""What commands print and write: tables, CSV and JSON, each in one form."""

import csv
import io
import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vaecli.config.texts import printable

if TYPE_CHECKING:
    from rich.console import Console

_FILE_WIDTH = 160


def print_json(value: Any) -> None:
    """Prints a result for machines; JSON knows no NaN and no infinity, so the value must be free of them.

    A character that is not printable, or that stdout cannot encode, is printed as its escape.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(re.sub(r"[^\n -~]", lambda match: _escaped(match[0], encoding), text))


def _escaped(character: str, encoding: str) -> str:
    """Returns a character of a JSON string, by its escape where it would not arrive or would act on a terminal."""
    if character.isprintable() and character.encode(encoding, "ignore"):
        return character
    return json.dumps(character)[1:-1]


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]], *, line_end: str = "\n") -> str:
    """Returns a table as CSV; a cell that is None stays empty, and a text is no formula for a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(header)
    writer.writerows([_cell(value) if isinstance(value, str) else value for value in row] for row in rows)
    return text.getvalue()


def _cell(text: str) -> str:
    return printable(f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text)


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
    widest: Mapping[str, int] = MappingProxyType({}),
    several_lines: bool = False,
) -> None:
    """Prints a table; where the console is narrow, cells are wrapped and nothing of them is lost.

    Args:
      console: where to print.
      header: the names of the columns.
      rows: the cells, as they are to be seen.
      left: the columns that are flush left, as texts are; the others are flush right, as numbers are.
      unbroken: the columns whose cells are not wrapped.
      widest: the most characters in a line of a column, for those that have a limit.
      several_lines: whether a line end within a cell begins another line of it.
    """
    from rich import box
    from rich.table import Table

    shown = _lines if several_lines else printable
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        justify = "left" if name in left else "right"
        unwrapped, most = name in unbroken, widest.get(name)
        table.add_column(shown(name), justify=justify, overflow="fold", no_wrap=unwrapped, max_width=most)
    for row in rows:
        table.add_row(*map(shown, row))
    console.print(table)


def _lines(cell: str) -> str:
    """Returns a cell of one or several lines, made harmless."""
    return "\n".join(map(printable, cell.split("\n")))


def print_words(console: "Console", line: str) -> None:
    """Prints a line below or above a table, wrapped as the table is."""
    console.print(printable(line))


def plain(markdown: str, width: int) -> str:
    """Returns a page of Markdown as plain text, wrapped at a width."""
    from rich.console import Console
    from rich.markdown import Markdown

    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(Markdown(markdown))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
