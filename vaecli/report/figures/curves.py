"""The figures over epochs: how the variants get to where they end."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaecli.report.curves import Curve, Curves, curve, differences_by_epoch
from vaecli.report.figures.style import SMALL, axis_words, moments, panels, plain, shown, survival, window, wrapped
from vaecli.report.formatting import finite, number
from vaecli.report.model import Comparison, VariantResult
from vaecli.report.palette import BLUE, DARK, GREY, SKY, VERDICTS


def differences(comparison: Comparison, curves: Curves) -> Figure | None:
    """Draws the mean difference from the reference at each epoch, a panel for each variant.

    Returns:
      None where no variant and its reference have an epoch in common, and runs that are compared there.
    """
    every = [(result, mean_differences(comparison, curves, result)) for result in shown(comparison.results)]
    rows = [(result, values) for result, values in every if values.size]
    if not rows:
        return None
    margin = comparison.margin
    late = (value for _, values in rows for value in _late(values[:, 1:]).flat)
    low, high = window(late, (-1.3 * margin, 1.3 * margin))
    # Where a line ends off the scale is written beyond all that is on it, and so beyond the margin.
    room = 0.22 * (high - low)
    ends = [finite(known[-1]) for _, values in rows if (known := values[:, 1][~np.isnan(values[:, 1])]).size]
    limits = low - room * any(end < low for end in ends), high + room * any(end > high for end in ends)
    words = axis_words(comparison.metric, comparison.unit)
    figure, grid = _multiples([result for result, _ in rows], f"difference in {words}", _time(comparison))
    for axes, (result, values) in zip(grid, rows, strict=True):
        epochs, mean, low, high = values.T
        axes.set_ylim(limits)
        axes.axhspan(-margin, margin, color=SKY, alpha=0.25, linewidth=0)
        axes.axhline(0, color=DARK, linewidth=0.8)
        for edge in (-margin, margin):
            axes.axhline(edge, color=BLUE, linewidth=0.7, linestyle=(0, (4, 2)))
        colour = VERDICTS[result.verdict].colour
        axes.fill_between(epochs, low, high, color=colour, alpha=0.3, linewidth=0)
        axes.plot(epochs, mean, color=colour, linewidth=1.5, marker="o", markersize=2.5)
        _heading(axes, result, mean)
    return figure


def progress(comparison: Comparison, curves: Curves, tag: str) -> Figure | None:
    """Draws a scalar over the epochs: each variant over its reference in grey.

    Mean over the seeds that have the epoch, a band of one standard deviation, and the single seeds.

    Returns:
      None where no variant has it.
    """
    rows = [result for result in shown(comparison.results) if _logged(curve(curves, result.label, tag))]
    # A reference has no panel of its own: it is in those of the others.
    rows = [result for result in rows if not result.is_reference] or rows
    if not rows:
        return None
    late = [_late(curve(curves, result.label, tag).values.T) for result in rows]
    limits = window(value for values in late for value in values.flat)
    unit = " (nats per image)" if tag in ("test/elbo", "test/kl") and not comparison.of_logs else ""
    figure, grid = _multiples(rows, f"{plain(tag, 40)}{unit}", _time(comparison))
    # The dashes of the reference are above, so that both are seen where they agree.
    dashed = {"color": DARK, "linewidth": 1.0, "linestyle": (0, (3, 2)), "zorder": 3}
    for axes, result in zip(grid, rows, strict=True):
        axes.set_ylim(limits)
        own = curve(curves, result.label, tag)
        _band(axes, curve(curves, result.reference, tag), GREY, dashed)
        _band(axes, own, BLUE, {"color": BLUE, "linewidth": 2.0})
        _heading(axes, result, moments(own.values)[0])
    return figure


def _band(axes: Axes, logged: Curve, colour: str, style: dict[str, Any]) -> None:
    """Draws the seeds of a curve, their mean in a style of its own, and one standard deviation around it."""
    if not logged.values.size:
        return
    mean, spread = moments(logged.values)
    axes.plot(logged.epochs, logged.values.T, color=colour, linewidth=0.5, alpha=0.6)
    axes.fill_between(logged.epochs, mean - spread, mean + spread, color=colour, alpha=0.25, linewidth=0)
    axes.plot(logged.epochs, mean, **style)


def _logged(one: Curve) -> bool:
    return bool(np.isfinite(one.values).any())


def _time(comparison: Comparison) -> str:
    return "step" if comparison.of_logs else "epoch"


def _multiples(results: Sequence[VariantResult], y: str, x: str) -> tuple[Figure, list[Axes]]:
    """Makes panels with one scale, the names of the axes written once."""
    count = len(results)
    # Room for a second line of a name.
    long = 0.14 if any("\n" in _name(result) for result in results) else 0.0
    sizes = {"height": 1.1, "left": 0.62, "gap": (0.14, 0.42 + long), "top": 0.42 + long, "bottom": 0.5}
    figure, grid = panels(count, 2, **sizes)
    for index, axes in enumerate(grid):
        axes.tick_params(labelleft=index % 2 == 0)
        axes.locator_params(axis="y", nbins=4)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        if index >= count - 2:
            axes.set_xlabel(x, fontsize=SMALL)
    # A name along a single row of panels would be longer than they are high.
    figure.text(0.02, 1 - 0.04 / figure.get_figheight(), y, fontsize=SMALL, va="top", color=DARK)
    return figure, grid


def _name(result: VariantResult) -> str:
    return wrapped(result.label, 20)


def _heading(axes: Axes, result: VariantResult, mean: np.ndarray) -> None:
    """Writes the label and the survival of a panel, and where its line ends if that is beyond the scale."""
    axes.set_title(_name(result), loc="left", fontsize=SMALL, fontweight="bold", pad=3)
    halo = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
    words = {"transform": axes.transAxes, "fontsize": SMALL, "ha": "right", "bbox": halo}
    if lost := survival(result):
        axes.text(0.99, 0.96, lost, va="top", weight="bold", **words)
    known = mean[~np.isnan(mean)]
    low, high = axes.get_ylim()
    if known.size and not low <= known[-1] <= high:
        sign, height, side = ("↓", 0.04, "bottom") if known[-1] < low else ("↑", 0.8, "top")
        axes.text(0.99, height, f"{sign} ends at {number(known[-1], 1)}", va=side, style="italic", **words)


def _late(values: np.ndarray) -> np.ndarray:
    """Returns the second half of the epochs (the first axis): what comes before would set the scale."""
    return values[len(values) // 2 :]


def mean_differences(comparison: Comparison, curves: Curves, result: VariantResult) -> np.ndarray:
    """Returns epoch, mean difference and the ends of its interval, for each epoch that has runs to compare."""
    rows = [
        (epoch, finite(test.mean), finite(test.low), finite(test.high))
        for epoch, test in differences_by_epoch(comparison, curves, result)
        if test.mean is not None
    ]
    return np.array(rows).reshape(-1, 4)
