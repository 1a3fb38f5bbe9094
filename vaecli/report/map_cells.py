"""What a cell of the map shows, in the shell, in the figure and in the page: a sign, a number, and lost runs."""

import math
from typing import NamedTuple

from vaecli.report.answer import kind
from vaecli.report.formatting import decimals, finite, signed
from vaecli.report.map import MapRow
from vaecli.report.model import VariantResult
from vaecli.report.palette import SHADES, VERDICTS

STEPS = (1, 3, 10, 30)
"""From how many margins on a difference has each of the shades of its verdict."""


class CellWords(NamedTuple):
    """What a cell shows.

    Attributes:
      sign: that of the verdict.
      number: the mean difference; empty where there is none, or it is no evidence.
      losses: how many of how many runs were lost; empty where none were.
    """

    sign: str
    number: str
    losses: str

    @property
    def first_line(self) -> str:
        """The sign and the number."""
        return f"{self.sign} {self.number}".rstrip()


def cell_words(row: MapRow, result: VariantResult) -> CellWords:
    """Returns what a cell shows."""
    return CellWords(VERDICTS[result.verdict].sign, _number(row, result), losses(result))


def losses(result: VariantResult) -> str:
    """Returns `3/8 lost` where runs were lost, and otherwise nothing."""
    return f"{result.runs - result.survived}/{result.runs} lost" if result.survived < result.runs else ""


def shade(row: MapRow, result: VariantResult) -> int | None:
    """Returns which of the shades of its verdict a cell has; None for a verdict without any.

    That is by how many margins it differs. A verdict on lost runs has the strongest one.
    """
    shades = SHADES.get(result.verdict)
    if shades is None:
        return None
    last = len(shades[0]) - 1
    if last and kind(result, row.comparison.alpha) == "lost runs":
        return last
    margins = abs(finite(result.difference and result.difference.mean)) / row.margin
    return min(last, sum(margins >= step for step in STEPS[1:]))


def _number(row: MapRow, result: VariantResult) -> str:
    """Shows a mean difference with two significant digits but, of one that is not beyond, down to 1 % of the margin."""
    mean = finite(result.difference and result.difference.mean)
    if math.isnan(mean) or result.verdict == "invalid":
        return ""
    if abs(mean) >= 1e7:
        # A cell has room for one digit and the power of ten.
        return signed(float(f"{mean:.0e}"), 0).replace(".0·", "·")
    places = decimals(mean)
    if result.verdict in ("equivalent", "undecided"):
        places = min(places, max(0, round(2 - math.log10(row.margin))))
    while places < 6 and abs(mean) != row.margin and abs(float(f"{mean:.{places}f}")) == row.margin:
        places += 1
    return signed(mean, places)
