"""The map as a table of a page: each cell has a shade, a sign, a number, and a link to its evidence."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vaecli.report.formatting import joined
from vaecli.report.map import Map, MapRow
from vaecli.report.map_cells import STEPS, CellWords, cell_words, losses, shade
from vaecli.report.model import VariantResult

MOST_CONDITIONS, MOST_HEADS = 200, 40
"""As many as the table of a page has."""


class HeatCell(NamedTuple):
    """A cell of the table.

    Attributes:
      verdict: the verdict.
      words: what stands in the cell.
      style: the class that gives it its shade.
      link: the id of its evidence; empty where the page has none.
    """

    verdict: str
    words: CellWords
    style: str
    link: str


class HeatRow(NamedTuple):
    """A condition, or a row of the table.

    Attributes:
      name: the name of the condition.
      link: the id of its section; empty where it has none.
      reference: how many runs the reference lost; empty where none.
      margin: the margin.
      cells: one for each head; None where there is none.
    """

    name: str
    link: str
    reference: str
    margin: str
    cells: Sequence[HeatCell | None]


class HeatTable(NamedTuple):
    """The table.

    Attributes:
      heads: the names of the columns.
      rows: the conditions.
      verdicts: those that there are.
      left_out: how much of the map the table does not have, in words; empty where it has all.
      steps: from how many margins on there is each shade.
    """

    heads: Sequence[str]
    rows: Sequence[HeatRow]
    verdicts: Sequence[str]
    left_out: str
    steps: Sequence[int] = STEPS


def heat_table(
    map: Map, evidence: Callable[[MapRow, VariantResult], str], section: Callable[[MapRow], str] = lambda row: ""
) -> HeatTable:
    """Returns the table of a map.

    Args:
      map: what is shown.
      evidence: gives the id of what stands behind a cell, or nothing.
      section: gives the id of what stands behind a condition, or nothing.
    """
    heads = map.heads[:MOST_HEADS]
    rows = []
    for row in map.rows[:MOST_CONDITIONS]:
        reference = row.reference
        lost = losses(reference) if reference else ""
        cells = [_cell(row, row.cells[head], evidence) if head in row.cells else None for head in heads]
        note = f"{reference.label} {lost}" if reference and lost else ""
        rows.append(HeatRow(row.name, section(row), note, f"±{row.margin:g}", cells))
    totals = ("conditions", MOST_CONDITIONS, len(map.rows)), ("heads", MOST_HEADS, len(map.heads))
    left_out = [f"the first {most} of {total} {what}" for what, most, total in totals if total > most]
    verdicts = {cell.verdict for row in rows for cell in row.cells if cell}
    return HeatTable(heads, rows, sorted(verdicts), joined(left_out) if left_out else "")


def _cell(row: MapRow, result: VariantResult, evidence: Callable[[MapRow, VariantResult], str]) -> HeatCell:
    step = shade(row, result)
    verdict = result.verdict.replace(" ", "-")
    style = verdict if step is None else f"{verdict}-{step}"
    return HeatCell(result.verdict, cell_words(row, result), f"heat-{style}", evidence(row, result))
