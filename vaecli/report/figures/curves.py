"""The figures of a comparison: how the settings get there, epoch by epoch, and the noise of their gradients."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from vaecli.report.figures.style import (
    BLUE,
    DARK,
    GREY,
    SKY,
    SMALL,
    TEXT,
    VERDICTS,
    WIDTH,
    axis_words,
    panels,
    plain,
    shown,
    survival,
    window,
    wrapped,
)
from vaecli.report.formatting import finite, number, power
from vaecli.report.statistics import paired

Report = Mapping[str, Any]
Curves = Mapping[str, Mapping[str, Mapping[str, Any]]]

BLOCKS = ("encoder", "mean_head", "scale_head", "decoder")


def differences(report: Report, curves: Curves) -> Figure | None:
    """The mean paired difference from the reference at each epoch, a panel for each setting.

    None where no setting and its reference have an epoch and a seed in common.
    """
    rows = []
    for setting in shown(report):
        found = _paired(report, curves, setting)
        if found:
            rows.append((setting, np.array(found)))
    if not rows:
        return None
    margin = report["margin"]
    limits = window((value for _, found in rows for value in _late(found[:, 1:]).flat), (-1.3 * margin, 1.3 * margin))
    figure, grid = _multiples([setting for setting, _ in rows], f"difference in {axis_words(report)}")
    for axes, (setting, (epochs, mean, low, high)) in zip(grid, [(s, f.T) for s, f in rows], strict=True):
        axes.set_ylim(limits)
        axes.axhspan(-margin, margin, color=SKY, alpha=0.25, linewidth=0)
        axes.axhline(0, color=DARK, linewidth=0.8)
        for edge in (-margin, margin):
            axes.axhline(edge, color=BLUE, linewidth=0.7, linestyle=(0, (4, 2)))
        colour = VERDICTS[setting["verdict"]].colour
        axes.fill_between(epochs, low, high, color=colour, alpha=0.3, linewidth=0)
        axes.plot(epochs, mean, color=colour, linewidth=1.5, marker="o", markersize=2.5)
        _heading(axes, setting, mean)
    return figure


def progress(report: Report, curves: Curves, tag: str) -> Figure | None:
    """A scalar over the epochs: each setting over its reference in grey; None where no setting has it.

    Mean over the seeds that have the epoch, a band of one standard deviation, and the single seeds.
    """
    rows = [setting for setting in shown(report) if np.isfinite(_values(curves, setting["label"], tag)[1]).any()]
    # A reference has no panel of its own: it is in those of the others.
    rows = [setting for setting in rows if not setting["is_reference"]] or rows
    if not rows:
        return None
    late = [_late(_values(curves, setting["label"], tag)[1].T) for setting in rows]
    limits = window(value for values in late for value in values.flat)
    unit = " (nats per image)" if tag in ("test/elbo", "test/kl") else ""
    figure, grid = _multiples(rows, f"{plain(tag, 40)}{unit}")
    for axes, setting in zip(grid, rows, strict=True):
        axes.set_ylim(limits)
        # The dashes of the reference are above, so that both are seen where they agree.
        for label, colour, style in (
            (setting["reference"], GREY, {"color": DARK, "linewidth": 1.0, "linestyle": (0, (3, 2)), "zorder": 3}),
            (setting["label"], BLUE, {"color": BLUE, "linewidth": 2.0}),
        ):
            epochs, values = _values(curves, label, tag)
            if not values.size:
                continue
            mean, spread = _moments(values)
            axes.plot(epochs, values.T, color=colour, linewidth=0.5, alpha=0.6)
            axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.25, linewidth=0)
            axes.plot(epochs, mean, **style)
        _heading(axes, setting, _moments(_values(curves, setting["label"], tag)[1])[0])
    return figure


def gradients(report: Report, curves: Curves, statistic: str) -> Figure | None:
    """SNR or variance of the gradient by block, at the last epoch that has it: mean and spread over the seeds.

    None where no setting has it.

    Args:
      report: that of the comparison.
      curves: its curves.
      statistic: `snr` or `variance`.
    """
    rows = shown(report)
    found = [[_last(curves, row["label"], f"grad/{statistic}/{block}") for block in BLOCKS] for row in rows]
    if not any(place is not None for row in found for place in row):
        return None
    labels = [wrapped(row["label"], 16) for row in rows]
    step = 0.3 if any("\n" in label for label in labels) else 0.2
    sizes = {"height": step * len(rows), "left": 1.26, "gap": (0.22, 0.62), "top": 0.3, "bottom": 0.5}
    figure, grid = panels(len(BLOCKS), 2, **sizes)
    for number_, (axes, block) in enumerate(zip(grid, BLOCKS, strict=True)):
        axes.set_title(block, loc="left", fontsize=TEXT, fontweight="bold")
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), labels if number_ % 2 == 0 else [""] * len(rows))
        axes.tick_params(axis="y", length=0)
        column = [row[number_] for row in found]
        dots = [dot for dot in column if dot is not None]
        means = [mean for mean, _ in dots]
        # One head beyond the others must not crush them.
        logarithmic = statistic == "variance" or (bool(means) and min(means) > 0 and max(means) > 20 * min(means))
        if logarithmic:
            _logarithmic(axes, dots)
        for place, (row, dot) in enumerate(zip(rows, column, strict=True)):
            if dot is None:
                continue
            mean, spread = dot
            colour, marker = (DARK, "s") if row["is_reference"] else (BLUE, "o")
            low = mean - spread
            if logarithmic:
                if mean <= 0:
                    continue
                low = max(low, axes.get_xlim()[0])
            axes.hlines(place, low, mean + spread, color=colour, linewidth=1.4)
            axes.plot(mean, place, marker, color=colour, markersize=4.5)
        if not logarithmic:
            left, right = axes.get_xlim()
            axes.set_xlim(min(0.0, left), max(right, 0.05))
            axes.locator_params(axis="x", nbins=3)
    unit = "signal-to-noise ratio over ε" if statistic == "snr" else "variance over ε"
    figure.supxlabel(unit, fontsize=TEXT, y=0.06 / figure.get_figheight(), va="bottom", x=(1.26 / WIDTH + 1) / 2)
    return figure


def _logarithmic(axes: Axes, dots: Sequence[tuple[float, float]]) -> None:
    """A logarithmic axis from one power of ten to another, around all dots."""
    known = [mean + sign * spread for mean, spread in dots for sign in (-1, 0, 1) if mean + sign * spread > 0]
    # Beyond a tenth of the least mean, a spread only says that it is as large as the mean.
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


def _multiples(settings: Sequence[Mapping[str, Any]], y: str) -> tuple[Figure, list[Axes]]:
    """Panels with one scale, the names of the axes written once."""
    count = len(settings)
    # Room for a second line of a name.
    long = 0.14 if any("\n" in _name(setting) for setting in settings) else 0.0
    sizes = {"height": 1.1, "left": 0.62, "gap": (0.14, 0.42 + long), "top": 0.42 + long, "bottom": 0.5}
    figure, grid = panels(count, 2, **sizes)
    for index, axes in enumerate(grid):
        axes.tick_params(labelleft=index % 2 == 0)
        axes.locator_params(axis="y", nbins=4)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        if index >= count - 2:
            axes.set_xlabel("epoch", fontsize=SMALL)
    # A name along a single row of panels would be longer than they are high.
    figure.text(0.02, 1 - 0.04 / figure.get_figheight(), y, fontsize=SMALL, va="top", color=DARK)
    return figure, grid


def _name(setting: Mapping[str, Any]) -> str:
    return wrapped(setting["label"], 20)


def _heading(axes: Axes, setting: Mapping[str, Any], mean: np.ndarray) -> None:
    """Label and survival of a panel, and where its line ends if that is beyond the scale."""
    axes.set_title(_name(setting), loc="left", fontsize=SMALL, fontweight="bold", pad=3)
    halo = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
    words = {"transform": axes.transAxes, "fontsize": SMALL, "ha": "right", "bbox": halo}
    if lost := survival(setting):
        axes.text(0.99, 0.96, lost, va="top", weight="bold", **words)
    known = mean[~np.isnan(mean)]
    low, high = axes.get_ylim()
    if known.size and not low <= known[-1] <= high:
        sign, height, side = ("↓", 0.04, "bottom") if known[-1] < low else ("↑", 0.8, "top")
        axes.text(0.99, height, f"{sign} ends at {number(known[-1], 1)}", va=side, style="italic", **words)


def _values(curves: Curves, label: str | None, tag: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs, and the values (seeds, epochs) with NaN for those that there are not."""
    found = curves.get(label, {}).get(tag) if label is not None else None
    if not found or not found["epochs"]:
        return np.zeros(0), np.zeros((0, 0))
    values = np.array([[finite(value) for value in row] for row in found["values"]])
    return np.array(found["epochs"], float), values.reshape(len(found["values"]), len(found["epochs"]))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the seeds (the first axis) that have a value; NaN where there are too few."""
    known = ~np.isnan(values)
    count = known.sum(0)
    filled = np.where(known, values, 0.0)
    mean = np.where(count > 0, filled.sum(0) / np.maximum(count, 1), np.nan)
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(0)
    return mean, np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def _late(values: np.ndarray) -> np.ndarray:
    """The second half of the epochs (the first axis): what comes before would set the scale."""
    return values[len(values) // 2 :]


def _last(curves: Curves, label: str, tag: str) -> tuple[float, float] | None:
    """Mean and spread over the seeds at the last epoch with a value; no spread is 0."""
    _, values = _values(curves, label, tag)
    logged = np.flatnonzero((~np.isnan(values)).any(0)) if values.size else []
    if not len(logged):
        return None
    mean, spread = _moments(values[:, logged[-1] : logged[-1] + 1])
    return float(mean[0]), float(np.nan_to_num(spread[0]))


def _paired(report: Report, curves: Curves, setting: Mapping[str, Any]) -> list[tuple[float, float, float, float]]:
    """Epoch, mean difference and its interval, for each epoch at which a seed has both values."""
    tag = report["metric"]
    sides = []
    for label in (setting["label"], setting["reference"]):
        epochs, values = _values(curves, label, tag)
        if not values.size:
            return []
        seeds = curves[label][tag]["seeds"]
        sides.append(
            {epoch: dict(zip(seeds, column, strict=True)) for epoch, column in zip(epochs, values.T, strict=True)}
        )
    rows = []
    for epoch in [epoch for epoch in sides[0] if epoch in sides[1]]:
        head, reference = (
            {seed: value for seed, value in side[epoch].items() if not math.isnan(value)} for side in sides
        )
        seeds = [seed for seed in head if seed in reference]
        if seeds:
            values = ([side[seed] for seed in seeds] for side in (head, reference))
            found = paired(*values, margin=report["margin"], alpha=report["alpha"])
            rows.append((float(epoch), finite(found.mean), finite(found.low), finite(found.high)))
    return rows
