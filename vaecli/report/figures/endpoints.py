"""The figures of a comparison: where the settings end, against their references."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from vaecli.report.figures.style import (
    BLUE,
    DARK,
    GREEN,
    GREY,
    MOST,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    TEXT,
    VERDICTS,
    VERMILION,
    WIDTH,
    axis_words,
    panels,
    plain,
    shown,
    survival,
    window,
    wrapped,
)
from vaecli.report.formatting import finite, number

Report = Mapping[str, Any]


def forest(report: Report) -> Figure:
    """For each setting its mean difference from the reference, with both intervals, the margin and the verdict.

    A row that lies far from the others is drawn as an arrow with its number, at the edge it lies beyond.
    """
    rows = [setting for setting in shown(report) if setting["reference"] is not None]
    margin = report["margin"]
    key = _key(report, rows)
    step = 0.38
    height = step * max(len(rows), 1)
    figure, (axes,) = panels(
        1, 1, height=height, left=0.14, gap=(0, 0), top=0.36, bottom=0.72 + 0.17 * math.ceil(len(key) / 2)
    )
    ends = [finite((row["difference"] or {}).get(key)) for row in rows for key in ("mean", "low", "high")]
    low, high = window(ends, (-1.3 * margin, 1.3 * margin))
    axes.set(xlim=(low, high), ylim=(max(len(rows), 1) - 0.5, -0.5), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.axvspan(-margin, margin, color=SKY, alpha=0.25, linewidth=0)
    axes.axvline(0, color=DARK, linewidth=0.8)
    for edge in (-margin, margin):
        axes.axvline(edge, color=BLUE, linewidth=0.7, linestyle=(0, (4, 2)))
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
    axes.set_xlabel(f"difference from the reference in\n{axis_words(report)}", fontsize=TEXT)
    figure.legend(handles=key, loc="lower center", ncols=2, fontsize=SMALL, frameon=False, columnspacing=1.5)
    return figure


def _row(axes: Axes, place: int, row: Mapping[str, Any]) -> None:
    """One setting of the forest: its label above, its intervals below."""
    low, high = axes.get_xlim()
    across = axes.get_yaxis_transform()
    found = row["difference"] or {}
    mean, mark = finite(found.get("mean")), VERDICTS[row["verdict"]]
    line = place + 0.2
    halo = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
    texts = {"fontsize": SMALL, "va": "center", "transform": across}
    axes.text(0.01, place - 0.23, plain(row["label"], 34), bbox=halo, **texts)
    axes.text(0.99, place - 0.23, survival(row), ha="right", weight="bold", bbox=halo, **texts)
    if math.isnan(mean):
        axes.text(0.99, line, "no pair of survivors", ha="right", color=DARK, style="italic", bbox=halo, **texts)
        return
    floor = finite(row["chaos_floor"])
    if not math.isnan(floor):
        axes.add_patch(Rectangle((-floor, line - 0.17), 2 * floor, 0.34, facecolor=GREY, alpha=0.55, linewidth=0))
    for ends, width in ((("low", "high"), 1.2), (("tost_low", "tost_high"), 3.2)):
        left, right = (finite(found.get(end)) for end in ends)
        if max(left, low) < min(right, high):
            axes.hlines(line, max(left, low), min(right, high), color=mark.colour, linewidth=width)
    for end, edge, marker in (("low", low, "<"), ("high", high, ">")):
        beyond = finite(found.get(end))
        if beyond < low or beyond > high:
            beyond_edge = low if beyond < low else high
            # Both ends may lie beyond the same edge; the mean then has the arrow.
            if beyond_edge == edge:
                axes.plot(edge, line, marker=marker, color=mark.colour, markersize=4, clip_on=False)
    if low <= mean <= high:
        face = mark.colour if mark.filled else "white"
        axes.plot(mean, line, mark.marker, color=mark.colour, markerfacecolor=face, markersize=6, zorder=3)
        if math.isnan(finite(found.get("low"))):
            side, align = (7, "left") if mean < (low + high) / 2 else (-7, "right")
            beside: dict[str, Any] = {"xytext": (side, 0), "textcoords": "offset points", "ha": align, "va": "center"}
            axes.annotate("one pair: no interval", (mean, line), fontsize=SMALL, style="italic", bbox=halo, **beside)
        return
    left = mean < low
    axes.plot(low if left else high, line, "<" if left else ">", color=mark.colour, markersize=7, clip_on=False)
    text = f"{mark.sign} {number(mean, 1)}: off the scale"
    texts |= {"color": mark.colour, "weight": "bold", "bbox": halo}
    axes.text(0.035 if left else 0.965, line, text, ha="left" if left else "right", **texts)


def _key(report: Report, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What the signs of the forest mean: the handles of its legend."""
    alpha = report["alpha"]
    handles: list[Any] = []
    for verdict, mark in VERDICTS.items():
        if any(row["verdict"] == verdict for row in rows):
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
    if any(row["chaos_floor"] is not None for row in rows):
        handles.append(Patch(facecolor=GREY, alpha=0.55, label="chaos floor"))
    return handles


_LINES = [(0, ()), (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5))]
_MARKERS = "oDs^vP*X<>"
_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, DARK, ORANGE, SKY)


def learning_rates(report: Report) -> Figure | None:
    """The metric against the learning rate, a line for each head; None where no grid was run."""
    lines = (report["lr_grid"] or [])[:MOST]
    if not lines:
        return None
    height = max(2.5, 0.17 * len(lines))
    figure, (axes,) = panels(1, 1, height=height, left=0.62, gap=(0, 0), top=0.34, bottom=0.5)
    # Room at the right for the labels.
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, box.width - 1.3 / WIDTH, box.height))
    low, high = window(finite(mean) for line in lines for mean in line["mean"])
    axes.set(xscale="log", ylim=(low, high))
    rates = sorted({rate for line in lines for rate in line["lr"]})
    axes.set_xlim(rates[0] / 1.25, rates[-1] * 1.25)
    ticks = rates[:: math.ceil(len(rates) / 4)]
    axes.set_xticks(ticks, [f"{rate:g}" for rate in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("learning rate", fontsize=TEXT)
    figure.text(0.02, 1 - 0.04 / figure.get_figheight(), axis_words(report), fontsize=SMALL, va="top", color=DARK)
    ends = []
    crosses: Counter[float] = Counter()
    for place, line in enumerate(lines):
        colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
        drawn = [min(max(finite(mean), low), high) for mean in line["mean"]]
        style = {"color": colour, "linestyle": _LINES[place % len(_LINES)], "marker": marker, "linewidth": 1.3}
        axes.plot(line["lr"], drawn, markersize=4.5, clip_on=False, **style)
        for rate, y, survived, runs in zip(line["lr"], drawn, line["survived"], line["runs"], strict=True):
            if math.isnan(y):
                # Heads that are lost at one rate stand above each other.
                where = 0.03 + 0.06 * crosses[rate]
                crosses[rate] += 1
                axes.plot(rate, where, "x", color=colour, markersize=6, transform=axes.get_xaxis_transform())
            elif survived < runs:
                axes.plot(rate, y, "o", color=colour, markersize=10, fillstyle="none", clip_on=False)
        known = [(rate, y) for rate, y in zip(line["lr"], drawn, strict=True) if not math.isnan(y)]
        ends.append((known[-1] if known else (rates[-1], low), plain(line["label"], 16), colour, marker))
    _direct_labels(axes, ends, height)
    return figure


def _direct_labels(axes: Axes, ends: Sequence[tuple[tuple[float, float], str, str, str]], height: float) -> None:
    """Names the lines at the right, each as near to its end as the others leave room for."""
    low, high = axes.get_ylim()
    apart = 0.15 / height
    place, places = -apart, []
    ordered = sorted(ends, key=lambda end: end[0][1])
    for (_, y), *_ in ordered:
        place = max(place + apart, (y - low) / (high - low))
        places.append(place)
    # What was pushed beyond the top comes down again, and pushes the others.
    ceiling = 1.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - apart
    for ((rate, y), label, colour, marker), place in zip(ordered, places, strict=True):
        axes.plot(1.08, place, marker, color=colour, markersize=4, transform=axes.transAxes, clip_on=False)
        # The pale colours are good for lines, and too pale for text.
        axes.text(1.12, place, label, transform=axes.transAxes, fontsize=SMALL, va="center", color=DARK)
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "linestyle": ":", "shrinkA": 0}
        axes.annotate("", (rate, y), xytext=(1.06, place), textcoords=axes.transAxes, arrowprops=leader)


def lost_runs(report: Report) -> Figure | None:
    """How many runs of each setting survived, for the settings that lost any; None where none did."""
    rows = [setting for setting in report["settings"] if setting["survived"] < setting["runs"]][:MOST]
    if not rows:
        return None
    figure, (axes,) = panels(1, 1, height=0.3 * len(rows), left=1.32, gap=(0, 0), top=0.12, bottom=0.5)
    most = max(row["runs"] for row in rows)
    for place, row in enumerate(rows):
        survived, runs = row["survived"], row["runs"]
        axes.barh(place, survived, height=0.55, color=BLUE)
        lost = {"facecolor": "white", "edgecolor": VERMILION, "hatch": "////", "linewidth": 0.8}
        axes.barh(place, runs - survived, left=survived, height=0.55, **lost)
        axes.text(runs + 0.02 * most, place, f"{survived}/{runs}", va="center", fontsize=SMALL)
    axes.set(xlim=(0, 1.14 * most), ylim=(len(rows) - 0.5, -0.5), xlabel="runs: survived (blue), lost (hatched)")
    axes.xaxis.label.set_fontsize(TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(rows)), [wrapped(row["label"], 16) for row in rows])
    return figure
