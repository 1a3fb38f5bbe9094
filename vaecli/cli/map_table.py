"""The map in the shell: conditions down, heads across, and in each cell a sign and a number."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vaecli.cli import output
from vaecli.config.texts import printable

if TYPE_CHECKING:
    from rich.console import Console

    from vaecli.report.map import Map, MapRow

# The width of a name, of which a longer one takes several lines, and between two columns.
_MOST_NAME, _GAP = 30, 3
_LEFT = "condition"

# As many conditions as are printed of a comparison, below its own table.
_SHORT = 12


def print_map(console: "Console", map: "Map") -> None:
    """Prints a map as a table, or as several where the console is too narrow for all heads side by side."""
    for columns in _blocks(console, map):
        _print_block(console, columns)
    output.print_words(console, _legend(map))


def is_short(console: "Console", map: "Map") -> bool:
    """Returns whether a map is one table of a few lines."""
    return len(map.rows) <= _SHORT and len(_blocks(console, map)) == 1


def _blocks(console: "Console", map: "Map") -> list[list[list[str]]]:
    """Returns the columns of each table: those of the conditions, and of as many heads as there is room for."""
    # In a file, a row of a table is one line.
    newline = "\n" if console.is_terminal else " "
    left = [
        [_LEFT, *(_condition(row, newline) for row in map.rows)],
        ["margin", *(f"±{row.margin:g}" for row in map.rows)],
    ]
    room = console.width - sum(min(_width(column), _widest(console)) + _GAP for column in left)
    blocks, used = [[*left]], 0
    for head in map.heads:
        column = [_head(head, newline), *(_cell(row, head, newline) for row in map.rows)]
        width = _width(column) + _GAP
        if used and used + width > room:
            blocks.append([*left])
            used = 0
        blocks[-1].append(column)
        used += width
    return blocks


def _cell(row: "MapRow", head: str, newline: str) -> str:
    from vaecli.report.map_cells import cell_words

    if head not in row.cells:
        return ""
    words = cell_words(row, row.cells[head])
    return newline.join(filter(None, (words.first_line, words.losses)))


def _condition(row: "MapRow", newline: str) -> str:
    """Names a condition and, below, how many runs the reference lost under it, if it did."""
    from vaecli.report.map_cells import losses

    reference = row.reference
    lines = [row.name]
    if reference and (lost := losses(reference)):
        lines.append(f"({reference.label} {lost})")
    return newline.join(printable(line) for line in lines)


def _head(name: str, newline: str) -> str:
    """Names a head, a long name on two lines."""
    name = printable(name)
    halves = re.match(r"(.{3,}?[_:])(.{3,})$", name) if len(name) > 10 and newline == "\n" else None
    return newline.join(halves.groups()) if halves else name


def _widest(console: "Console") -> int:
    """Returns the width of the names of conditions, which are not wrapped in a file."""
    return _MOST_NAME if console.is_terminal else console.width


def _width(cells: Iterable[str]) -> int:
    from rich.cells import cell_len

    return max(cell_len(line) for cell in cells for line in cell.split("\n"))


def _print_block(console: "Console", columns: Sequence[Sequence[str]]) -> None:
    header = [name for name, *_ in columns]
    rows = zip(*(cells for _, *cells in columns), strict=True)
    widest = {_LEFT: _widest(console)}
    unbroken = [*{*header} - {_LEFT}]
    output.print_table(console, header, rows, left=[_LEFT], unbroken=unbroken, widest=widest, several_lines=True)


def _legend(map: "Map") -> str:
    """Says what the signs that there are mean, and the numbers."""
    from vaecli.report.palette import VERDICTS

    verdicts = {result.verdict for _, _, result in map.cells}
    signs = ", ".join(f"{style.sign} {verdict}" for verdict, style in VERDICTS.items() if verdict in verdicts)
    unit = f", in {map.unit}" if map.unit else ""
    return f"{signs}. The numbers are mean differences in {map.metric} from {map.reference}{unit}."
