"""The figure of the learning rates."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaecli.report.figures.style import MOST, SMALL, TEXT, WIDTH, axis_words, panels, plain, window
from vaecli.report.formatting import finite
from vaecli.report.model import Comparison, RateRow
from vaecli.report.palette import BLUE, DARK, GREEN, ORANGE, PURPLE, SKY, VERMILION

_LINES = [(0, ()), (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5))]
_MARKERS = "oDs^vP*X<>"
_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, DARK, ORANGE, SKY)


class _End(NamedTuple):
    """The last point of a line, and the label that stands to the right of it."""

    rate: float
    y: float
    label: str
    colour: str
    marker: str


def learning_rates(comparison: Comparison) -> Figure | None:
    """Draws the metric against the learning rate, a line for each head; None where no grid was run."""
    rows = comparison.rate_grid[:MOST]
    if not rows:
        return None
    height = max(2.5, 0.17 * len(rows))
    figure, (axes,) = panels(1, 1, height=height, left=0.62, gap=(0, 0), top=0.34, bottom=0.5)
    # Room at the right for the labels.
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, box.width - 1.3 / WIDTH, box.height))
    axes.set(xscale="log", ylim=window(finite(mean) for row in rows for mean in row.mean))
    rates = sorted({rate for row in rows for rate in row.lr})
    axes.set_xlim(rates[0] / 1.25, rates[-1] * 1.25)
    ticks = rates[:: math.ceil(len(rates) / 4)]
    axes.set_xticks(ticks, [f"{rate:g}" for rate in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("learning rate", fontsize=TEXT)
    words = axis_words(comparison.metric, comparison.unit)
    figure.text(0.02, 1 - 0.04 / figure.get_figheight(), words, fontsize=SMALL, va="top", color=DARK)
    ends = [_line(axes, rows, place) for place in range(len(rows))]
    _direct_labels(axes, ends, height)
    return figure


def _line(axes: Axes, rows: Sequence[RateRow], place: int) -> _End:
    """Draws one line of several, and returns where it ends."""
    row = rows[place]
    low, high = axes.get_ylim()
    colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
    heights = [min(max(finite(mean), low), high) for mean in row.mean]
    style = {"color": colour, "linestyle": _LINES[place % len(_LINES)], "marker": marker, "linewidth": 1.3}
    axes.plot(row.lr, heights, markersize=4.5, clip_on=False, **style)
    for rate, y, survived, runs in zip(row.lr, heights, row.survived, row.runs, strict=True):
        if math.isnan(y):
            # Heads that are lost at one rate stand above each other.
            where = 0.03 + 0.06 * sum(_lost_at(rate, other) for other in rows[:place])
            axes.plot(rate, where, "x", color=colour, markersize=6, transform=axes.get_xaxis_transform())
        elif survived < runs:
            axes.plot(rate, y, "o", color=colour, markersize=10, fillstyle="none", clip_on=False)
    known = [(rate, y) for rate, y in zip(row.lr, heights, strict=True) if not math.isnan(y)]
    rate, y = known[-1] if known else (max(row.lr[-1] for row in rows), low)
    return _End(rate, y, plain(row.label, 16), colour, marker)


def _lost_at(rate: float, row: RateRow) -> bool:
    return any(lr == rate and math.isnan(finite(mean)) for lr, mean in zip(row.lr, row.mean, strict=True))


def _direct_labels(axes: Axes, ends: Sequence[_End], height: float) -> None:
    """Names the lines at the right, each as near to its end as the others leave room for."""
    low, high = axes.get_ylim()
    apart = 0.15 / height
    place, places = -apart, []
    ordered = sorted(ends, key=lambda end: end.y)
    for end in ordered:
        place = max(place + apart, (end.y - low) / (high - low))
        places.append(place)
    # What was pushed beyond the top comes down again, and pushes the others.
    ceiling = 1.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - apart
    for end, place in zip(ordered, places, strict=True):
        axes.plot(1.08, place, end.marker, color=end.colour, markersize=4, transform=axes.transAxes, clip_on=False)
        # The pale colours are good for lines, and too pale for text.
        axes.text(1.12, place, end.label, transform=axes.transAxes, fontsize=SMALL, va="center", color=DARK)
        leader = {"arrowstyle": "-", "color": end.colour, "linewidth": 0.6, "linestyle": ":", "shrinkA": 0}
        axes.annotate("", (end.rate, end.y), xytext=(1.06, place), textcoords=axes.transAxes, arrowprops=leader)
