"""The figure of the map: conditions down, heads across."""

import textwrap
from collections.abc import Collection, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vaecli.report.figures.style import SMALL, TEXT, plain
from vaecli.report.formatting import joined, title
from vaecli.report.map import Map, MapRow
from vaecli.report.map_cells import STEPS, cell_words, losses, shade
from vaecli.report.model import VariantResult, Verdict
from vaecli.report.palette import BLACK, DARK, GREY, GRID, SHADES, VERDICTS, WHITE

MOST_CONDITIONS, MOST_HEADS = 40, 24
"""As many as a reader can take in; the page has more."""

# Inches: a cell, a letter of a name, a line, the room to the right, and that of the key, in which the scale is.
_CELL, _HEIGHT, _LETTER, _LINE = 0.62, 0.4, 0.075, 0.19
_RIGHT, _LEAST, _SCALE = 0.85, 6.5, 0.42

_NAME, _SIGN, _NUMBER, _LOSSES = 30, 9, 8, 6.5


def heat_map(map: Map) -> Figure:
    """Draws a map: the colour of a cell says how far beyond the margin it is, and its sign what the verdict is."""
    rows, heads = map.rows[:MOST_CONDITIONS], map.heads[:MOST_HEADS]
    names, words = [plain(row.name, _NAME) for row in rows], [plain(head, _NAME) for head in heads]
    left = 0.4 + _LETTER * max(12, *(len(name) for name in names))
    top = 0.3 + 0.65 * _LETTER * max(len(word) for word in words)
    width = max(left + len(heads) * _CELL + _RIGHT, _LEAST)
    key = _key(map, rows, int(width / _LETTER))
    bottom = _SCALE + _LINE * len(key)
    height = top + len(rows) * _HEIGHT + bottom
    figure = Figure(figsize=(width, height))
    place = (left / width, bottom / height, len(heads) * _CELL / width, len(rows) * _HEIGHT / height)
    axes = figure.add_axes(place, xlim=(-0.5, len(heads) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_axis_off()
    for x, word in enumerate(words):
        turned: dict[str, Any] = {"rotation": 40, "rotation_mode": "anchor", "ha": "left", "va": "bottom"}
        axes.text(x - 0.12, -0.58, word, fontsize=TEXT, **turned)
    for y, row in enumerate(rows):
        _row_names(axes, y, row, len(heads))
        for x, head in enumerate(heads):
            if head in row.cells:
                _cell(axes, x, y, row, row.cells[head])
    axes.text(len(heads) - 0.4, -0.58, "margin", fontsize=SMALL, color=DARK, va="bottom")
    for line, words_of_key in enumerate(key):
        y = bottom - 0.27 - _LINE * line
        figure.text(0.12 / width, y / height, plain(words_of_key), fontsize=SMALL)
    _scale(figure, {result.verdict for row in rows for result in row.cells.values()})
    return figure


def _row_names(axes: Axes, y: int, row: MapRow, heads: int) -> None:
    """Writes the name of a condition before its cells, and its margin behind them."""
    reference = row.reference
    lost = losses(reference) if reference else ""
    axes.text(-0.62, y - 0.14 * bool(lost), plain(row.name, _NAME), fontsize=TEXT, ha="right", va="center")
    if reference and lost:
        small: dict[str, Any] = {"fontsize": _LOSSES, "ha": "right", "va": "center", "color": DARK}
        axes.text(-0.62, y + 0.24, plain(f"{reference.label} {lost}", 30), **small)
    axes.text(heads - 0.4, y, f"±{row.margin:g}", fontsize=SMALL, va="center", color=DARK)


def _cell(axes: Axes, x: int, y: int, row: MapRow, result: VariantResult) -> None:
    """Draws a cell: its colour, its sign and its number, and below them the runs that were lost."""
    words = cell_words(row, result)
    step = shade(row, result)
    look: dict[str, Any] = {"facecolor": WHITE, "edgecolor": GREY, "linewidth": 0.6}
    if step is not None:
        look["facecolor"] = SHADES[result.verdict][0][step]
    elif result.verdict == "invalid":
        look |= {"facecolor": WHITE, "edgecolor": GRID, "hatch": "////"}
    axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, **look))
    up = 0.16 if words.losses else 0.0
    middle: dict[str, Any] = {"va": "center", "color": BLACK}
    if words.number:
        axes.text(x - 0.4, y - up, words.sign, fontsize=_SIGN - 1, ha="left", **middle)
        axes.text(x + 0.43, y - up, words.number, fontsize=_NUMBER, ha="right", **middle)
    else:
        axes.text(x, y - up, words.sign, fontsize=_SIGN, ha="center", **middle)
    if words.losses:
        axes.text(x, y + 0.24, words.losses, fontsize=_LOSSES, ha="center", weight="bold", **middle)


def _key(map: Map, rows: Sequence[MapRow], letters: int) -> list[str]:
    """Says what the signs and numbers mean, in lines of so many letters."""
    verdicts = {result.verdict for row in rows for result in row.cells.values()}
    signs = ", ".join(f"{style.sign} {verdict}" for verdict, style in VERDICTS.items() if verdict in verdicts)
    of = f" ({map.unit})" if map.unit else ""
    numbers = f"numbers: mean difference from {map.reference} in {title(map.metric)}{of}"
    totals = ("conditions", MOST_CONDITIONS, len(map.rows)), ("heads", MOST_HEADS, len(map.heads))
    if left_out := [f"the first {most} of {total} {what}" for what, most, total in totals if total > most]:
        numbers = f"{numbers}; {joined(left_out)}"
    return [line for part in (signs, numbers) for line in textwrap.wrap(part, letters)]


def _scale(figure: Figure, verdicts: Collection[Verdict]) -> None:
    """Draws the shades of the verdicts, with the number of margins from which each of them holds."""
    scales = [SHADES[verdict][0] for verdict in ("better", "worse", "beyond the margin") if verdict in verdicts]
    if not scales:
        return
    (width, height), y = figure.get_size_inches(), 0.14
    figure.text(0.12 / width, y / height, "from so many margins on:", fontsize=SMALL)
    x, size = 1.75, 0.3
    for of_verdict in dict.fromkeys(scales):
        for step, colour in zip(STEPS, of_verdict, strict=True):
            box = (x / width, (y - 0.05) / height), size / width, 0.18 / height
            figure.add_artist(Rectangle(*box, facecolor=colour, linewidth=0))
            figure.text((x + size / 2) / width, y / height, f"{step}", fontsize=_LOSSES + 0.5, ha="center")
            x += size
        x += 0.12
    figure.text(x / width, y / height, "the strongest: also lost runs", fontsize=SMALL)
