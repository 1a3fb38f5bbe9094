"""The picture of `vae heads`."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaecli.report.figures.style import plain
from vaecli.report.palette import BLUE, GREY, VERMILION

HeadCurves = Mapping[str, np.ndarray]
"""The curves of a head: `u` and `sigma`, `sigma_axis` and `gain`, (points,) each."""


def heads(curves: Mapping[str, HeadCurves]) -> Figure:
    """Draws small multiples of the heads: σ(u) and the gain |γ|(σ), each over those of all the others in grey.

    Args:
      curves: those of each head, by name.
    """
    columns = min(4, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(4.4 * columns, 2.2 * rows + 1.1), layout="constrained")
    grid = figure.subplots(rows, 2 * columns, squeeze=False)
    for index, axes in enumerate(grid.reshape(rows * columns, 2)):
        if index >= len(curves):
            for axis in axes:
                axis.set_axis_off()
            continue
        name = list(curves)[index]
        _panel(axes[0], curves, name, ("u", "sigma"), BLUE)
        _panel(axes[1], curves, name, ("sigma_axis", "gain"), VERMILION)
        axes[1].set_xscale("log")
        axes[0].set_title(plain(name, 40), loc="left", fontweight="bold", fontsize=10)
        axes[0].set(xlim=(-6, 6), ylim=(0.004, 400), xticks=(-4, 0, 4), xlabel="u", ylabel="σ")
        axes[1].set(xlim=(0.02, 10), ylim=(0.003, 60), xlabel="σ", ylabel="|γ|")
    figure.suptitle(
        "Left: σ(u). Right: the gain |γ| = |d log σ / du| as a function of σ. Grey: the other heads.", fontsize=11
    )
    return figure


def _panel(axis: Axes, curves: Mapping[str, HeadCurves], name: str, keys: tuple[str, str], colour: str) -> None:
    x, y = keys
    for other in curves.values():
        axis.plot(other[x], _drawable(other[y]), color=GREY, linewidth=0.4, alpha=0.6)
    axis.plot(curves[name][x], _drawable(curves[name][y]), color=colour, linewidth=2)
    axis.axhline(1, color="black", linewidth=0.4, linestyle=":")
    axis.set_yscale("log")
    axis.tick_params(labelsize=7)
    if not (curves[name][y] > 0).any():
        axis.text(0.5, 0.06, "0 everywhere", transform=axis.transAxes, ha="center", fontsize=8)


def _drawable(values: np.ndarray) -> np.ndarray:
    """Returns the values that a logarithmic axis can show, and NaN for the others."""
    return np.where(values > 0, values, np.nan)
