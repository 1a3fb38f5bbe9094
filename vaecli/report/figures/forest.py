"""The figure of the verdicts: where the variants end, against their references."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from vaecli.report.figures.style import (
    MOST,
    SMALL,
    TEXT,
    axis_words,
    effect_survival,
    panels,
    plain,
    shown,
    survival,
    window,
)
from vaecli.report.formatting import decimals, finite, number
from vaecli.report.model import Comparison, Difference, GridEffects, Verdict
from vaecli.report.palette import BLUE, DARK, GREY, SKY, VERDICTS, VerdictStyle

_HALO = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}

# Inches beside the axis, for what lies off its scale.
_GUTTER = 0.62
_LEFT, _RIGHT = 0.14, 0.12


class ForestRow(NamedTuple):
    """One row: its label, how many survived where not all did, and what was concluded from which numbers."""

    label: str
    survival: str
    difference: Difference | None
    chaos_floor: float | None
    verdict: Verdict


def forest(comparison: Comparison) -> Figure:
    """Draws each variant's mean difference from its reference, with both intervals, the margin and the verdict."""
    rows = [
        ForestRow(result.label, survival(result), result.difference, result.chaos_floor, result.verdict)
        for result in shown(comparison.results)
        if result.reference is not None
    ]
    return _forest(rows, comparison, "difference from the reference")


def effects_forest(comparison: Comparison, grid: GridEffects) -> Figure:
    """Draws the effects within a grid, as `forest` draws variants."""
    rows = [
        ForestRow(effect.label, effect_survival(effect), effect.difference, effect.chaos_floor, effect.verdict)
        for effect in grid.effects[:MOST]
    ]
    return _forest(rows, comparison, "effect")


def _forest(rows: Sequence[ForestRow], comparison: Comparison, what: str) -> Figure:
    """Draws rows of differences.

    A row that lies far from the others is off the scale: its number stands beside the axis, with an arrow, and the axis
    has a break.

    Args:
      rows: what is drawn, from top to bottom.
      comparison: gives the margin, the level and the metric.
      what: names the differences.
    """
    margin = comparison.margin
    key = _key(comparison.alpha, rows)
    height = 0.38 * max(len(rows), 1)
    differences = [row.difference for row in rows if row.difference]
    ends = [finite(end) for difference in differences for end in (difference.mean, difference.low, difference.high)]
    low, high = window(ends, (-1.3 * margin, 1.3 * margin))
    means = [finite(difference.mean) for difference in differences]
    below, above = any(mean < low for mean in means), any(mean > high for mean in means)
    figure, (axes,) = panels(
        1,
        1,
        height=height,
        left=_LEFT + _GUTTER * below,
        right=_RIGHT + _GUTTER * above,
        gap=(0, 0),
        top=0.36,
        bottom=0.72 + 0.17 * math.ceil(len(key) / 2),
    )
    axes.set(xlim=(low, high), ylim=(max(len(rows), 1) - 0.5, -0.5), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.axvspan(-margin, margin, color=SKY, alpha=0.25, linewidth=0)
    axes.axvline(0, color=DARK, linewidth=0.8)
    for edge in (-margin, margin):
        axes.axvline(edge, color=BLUE, linewidth=0.7, linestyle=(0, (4, 2)))
    _breaks(axes, [0.0] * below + [1.0] * above)
    for place, row in enumerate(rows):
        if place:
            axes.axhline(place - 0.5, color="white", linewidth=2)
            axes.axhline(place - 0.5, color=GREY, linewidth=0.4)
        _row(axes, place, row)
    if not rows:
        axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center", va="center", fontsize=TEXT)
    zero = -low / (high - low)
    side = "left" if zero < 0.3 else "right" if zero > 0.7 else "center"
    words = f"margin ±{margin:g}"
    axes.text(zero, 1 + 0.05 / height, words, transform=axes.transAxes, ha=side, fontsize=SMALL, color=BLUE)
    metric = axis_words(comparison.metric, comparison.unit)
    axes.set_xlabel(f"{what} in\n{metric}", fontsize=TEXT)
    figure.legend(handles=key, loc="lower center", ncols=2, fontsize=SMALL, frameon=False, columnspacing=1.5)
    return figure


def _breaks(axes: Axes, ends: Sequence[float]) -> None:
    """Marks the ends of the axis, 0 and 1, beyond which there are values that it does not reach."""
    slashes: dict[str, Any] = {"marker": [(-1, -2), (1, 2)], "markersize": 7, "color": DARK, "linestyle": "none"}
    for end in ends:
        outwards = 0.02 * (2 * end - 1)
        axes.plot([end, end + outwards], [0, 0], transform=axes.transAxes, clip_on=False, zorder=4, **slashes)


def _row(axes: Axes, place: int, row: ForestRow) -> None:
    """Draws a row: its label above, its intervals below."""
    line = place + 0.2
    texts: dict[str, Any] = {"fontsize": SMALL, "va": "center", "transform": axes.get_yaxis_transform(), "bbox": _HALO}
    # Without a survival at its right, a label has the whole row.
    axes.text(0.01, place - 0.23, plain(row.label, 34 if row.survival else 52), **texts)
    axes.text(0.99, place - 0.23, row.survival, ha="right", weight="bold", **texts)
    difference = row.difference
    if difference is None or math.isnan(finite(difference.mean)):
        axes.text(0.99, line, "no pair of survivors", ha="right", color=DARK, style="italic", **texts)
        return
    floor = finite(row.chaos_floor)
    if not math.isnan(floor):
        axes.add_patch(Rectangle((-floor, line - 0.17), 2 * floor, 0.34, facecolor=GREY, alpha=0.55, linewidth=0))
    mark = VERDICTS[row.verdict]
    _intervals(axes, line, difference, mark.colour)
    _mean(axes, line, difference, mark)


def _intervals(axes: Axes, line: float, difference: Difference, colour: str) -> None:
    """Draws both intervals as far as they lie within the axis, and an arrow where the wider one goes on."""
    low, high = axes.get_xlim()
    wide = finite(difference.low), finite(difference.high)
    narrow = finite(difference.tost_low), finite(difference.tost_high)
    for (left, right), width in ((wide, 1.2), (narrow, 3.2)):
        if max(left, low) < min(right, high):
            axes.hlines(line, max(left, low), min(right, high), color=colour, linewidth=width)
    for end, edge, marker in ((wide[0], low, "<"), (wide[1], high, ">")):
        if end < low or end > high:
            beyond = low if end < low else high
            # Where the mean is off the scale, its number has the arrow.
            if beyond == edge and low <= finite(difference.mean) <= high:
                axes.plot(edge, line, marker=marker, color=colour, markersize=4, clip_on=False)


def _mean(axes: Axes, line: float, difference: Difference, mark: VerdictStyle) -> None:
    """Draws the mean as the sign of the verdict or, where it lies off the scale, writes it beside the axis."""
    low, high = axes.get_xlim()
    mean = finite(difference.mean)
    if low <= mean <= high:
        face = mark.colour if mark.filled else "white"
        axes.plot(mean, line, mark.marker, color=mark.colour, markerfacecolor=face, markersize=6, zorder=3)
        if math.isnan(finite(difference.low)):
            side, align = (7, "left") if mean < (low + high) / 2 else (-7, "right")
            beside: dict[str, Any] = {"xytext": (side, 0), "textcoords": "offset points", "ha": align, "va": "center"}
            axes.annotate("one pair: no interval", (mean, line), fontsize=SMALL, style="italic", bbox=_HALO, **beside)
        return
    left = mean < low
    shown = number(mean, min(decimals(difference.sd, mean), decimals(mean)))
    beside: dict[str, Any] = {"xytext": (-7 if left else 7, 0), "textcoords": "offset points", "va": "center"}
    beside |= {"xycoords": axes.get_yaxis_transform(), "ha": "right" if left else "left", "annotation_clip": False}
    text = f"◀ {shown}" if left else f"{shown} ▶"
    axes.annotate(text, (0 if left else 1, line), fontsize=SMALL, color=mark.colour, weight="bold", **beside)


def _key(alpha: float, rows: Sequence[ForestRow]) -> list[Any]:
    """Returns what the signs of the forest mean: the handles of its legend."""
    handles: list[Any] = []
    for verdict, mark in VERDICTS.items():
        if any(row.verdict == verdict for row in rows):
            face = mark.colour if mark.filled else "white"
            style: dict[str, Any] = {
                "marker": mark.marker,
                "color": mark.colour,
                "markerfacecolor": face,
                "linestyle": "none",
            }
            handles.append(Line2D([], [], label=verdict, markersize=6, **style))
    handles.append(Line2D([], [], color=DARK, linewidth=1.2, label=f"{100 * (1 - alpha):g} % interval"))
    handles.append(Line2D([], [], color=DARK, linewidth=3.2, label=f"{100 * (1 - 2 * alpha):g} %, for equivalence"))
    if any(row.chaos_floor is not None for row in rows):
        handles.append(Patch(facecolor=GREY, alpha=0.55, label="chaos floor"))
    return handles
