"""The figures of the noise of the gradients."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from vaecli.report.curves import Curve, Curves, curve
from vaecli.report.figures.style import TEXT, WIDTH, moments, panels, shown, wrapped
from vaecli.report.formatting import power
from vaecli.report.model import Comparison, VariantResult
from vaecli.report.palette import BLUE, DARK

BLOCKS = ("encoder", "mean_head", "scale_head", "decoder")
_DECODER_SCALE = "decoder_scale"
"""The block of a likelihood's scale, which is drawn only where a variant has one."""

_UNITS = {"snr": "signal-to-noise ratio over ε", "variance": "variance over ε"}
_LEFT = 1.26

# The mean over the seeds, and their standard deviation; None where nothing was logged.
_Dot = tuple[float, float] | None


def gradients(comparison: Comparison, curves: Curves, statistic: str) -> Figure | None:
    """Draws SNR or variance of the gradient by block, at the last epoch that has it: mean and spread over the seeds.

    Args:
      comparison: whose variants are drawn.
      curves: what they logged.
      statistic: `snr` or `variance`.

    Returns:
      None where no variant has it.
    """
    rows = shown(comparison.results)
    dots = {
        block: [_last(curve(curves, row.label, f"grad/{statistic}/{block}")) for row in rows]
        for block in (*BLOCKS, _DECODER_SCALE)
    }
    if not any(dots[_DECODER_SCALE]):
        del dots[_DECODER_SCALE]
    if all(dot is None for column in dots.values() for dot in column):
        return None
    labels = [wrapped(row.label, 16) for row in rows]
    step = 0.3 if any("\n" in label for label in labels) else 0.2
    sizes = {"height": step * len(rows), "left": _LEFT, "gap": (0.22, 0.62), "top": 0.3, "bottom": 0.5}
    figure, grid = panels(len(dots), 2, **sizes)
    for place, (axes, (block, column)) in enumerate(zip(grid, dots.items(), strict=True)):
        axes.set_title(block, loc="left", fontsize=TEXT, fontweight="bold")
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), labels if place % 2 == 0 else [""] * len(rows))
        axes.tick_params(axis="y", length=0)
        if statistic == "variance" or _far_apart(column):
            _logarithmic(axes, [dot for dot in column if dot is not None])
            _dots(axes, rows, column, axes.get_xlim()[0])
        else:
            _dots(axes, rows, column, None)
            left, right = axes.get_xlim()
            axes.set_xlim(min(0.0, left), max(right, 0.05))
            axes.locator_params(axis="x", nbins=3)
    where = {"y": 0.06 / figure.get_figheight(), "va": "bottom", "x": (_LEFT / WIDTH + 1) / 2}
    figure.supxlabel(_UNITS[statistic], fontsize=TEXT, **where)
    return figure


def _far_apart(dots: Sequence[_Dot]) -> bool:
    """Returns whether one head lies so far beyond the others that it would crush them on a linear axis."""
    means = [dot[0] for dot in dots if dot is not None]
    return bool(means) and min(means) > 0 and max(means) > 20 * min(means)


def _dots(axes: Axes, rows: Sequence[VariantResult], dots: Sequence[_Dot], least: float | None) -> None:
    """Draws the mean and the spread of each variant; from `least` up, where the axis is logarithmic."""
    for place, (row, dot) in enumerate(zip(rows, dots, strict=True)):
        if dot is None:
            continue
        mean, spread = dot
        colour, marker = (DARK, "s") if row.is_reference else (BLUE, "o")
        low = mean - spread
        if least is not None:
            if mean <= 0:
                continue
            low = max(low, least)
        axes.hlines(place, low, mean + spread, color=colour, linewidth=1.4)
        axes.plot(mean, place, marker, color=colour, markersize=4.5)


def _logarithmic(axes: Axes, dots: Sequence[tuple[float, float]]) -> None:
    """Makes the axis logarithmic, from one power of ten to another, around all dots."""
    known = [mean + sign * spread for mean, spread in dots for sign in (-1, 0, 1) if mean + sign * spread > 0]
    # Beyond a tenth of the least mean, a spread says no more than that it is as large as the mean.
    least = min((mean for mean, _ in dots if mean > 0), default=1.0)
    low, high = max(min(known, default=1.0), least / 10), max(known, default=10.0)
    low, high = math.floor(math.log10(low)), math.ceil(math.log10(high))
    high = max(high, low + 1)
    # Room beyond the outer ticks, for what stands on them and for their numbers.
    room = 0.08 * (high - low)
    axes.set(xscale="log", xlim=(10 ** (low - room), 10 ** (high + room)))
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power(round(math.log10(value)))))
    axes.set_xticks([], minor=True)


def _last(logged: Curve) -> _Dot:
    """Returns mean and spread over the seeds at the last epoch with a value; the spread is 0 where there is none."""
    values = logged.values
    epochs = np.flatnonzero((~np.isnan(values)).any(0)) if values.size else []
    if not len(epochs):
        return None
    mean, spread = moments(values[:, epochs[-1] : epochs[-1] + 1])
    return float(mean[0]), float(np.nan_to_num(spread[0]))
