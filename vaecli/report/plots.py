"""Figures, drawn by Matplotlib without a display."""

import io
import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaecli.config import UsageError
from vaecli.runs.directory import write_atomically

# Okabe & Ito's blue and vermilion: apart for colour-blind readers, and in grey print.
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#999999"


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG or SVG, by the suffix of the path.

    Raises:
      UsageError: the file cannot be written.
    """
    drawn = io.BytesIO()
    # Text stays text, and one figure is always the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vaecli"}):
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(drawn, format=path.suffix[1:], dpi=150, metadata=metadata)
    try:
        write_atomically(path, drawn.getvalue())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def heads(curves: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Small multiples of the heads: σ(u) and the gain |γ|(σ), each over those of all the others in grey.

    Args:
      curves: for each head, `u` and `sigma`, `sigma_axis` and `gain`, (points,) each.
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
        _panel(axes[0], curves, name, ("u", "sigma"), _BLUE)
        _panel(axes[1], curves, name, ("sigma_axis", "gain"), _VERMILION)
        axes[1].set_xscale("log")
        axes[0].set_title(name, loc="left", fontweight="bold", fontsize=10)
        axes[0].set(xlim=(-6, 6), ylim=(0.004, 400), xticks=(-4, 0, 4), xlabel="u", ylabel="σ")
        axes[1].set(xlim=(0.02, 10), ylim=(0.003, 60), xlabel="σ", ylabel="|γ|")
    figure.suptitle(
        "Left: σ(u). Right: the gain |γ| = |d log σ / du| as a function of σ. Grey: the other heads.", fontsize=11
    )
    return figure


def _panel(
    axis: Axes, curves: Mapping[str, Mapping[str, np.ndarray]], name: str, keys: tuple[str, str], colour: str
) -> None:
    x, y = keys
    for other in curves.values():
        axis.plot(other[x], _drawable(other[y]), color=_GREY, linewidth=0.4, alpha=0.6)
    axis.plot(curves[name][x], _drawable(curves[name][y]), color=colour, linewidth=2)
    axis.axhline(1, color="black", linewidth=0.4, linestyle=":")
    axis.set_yscale("log")
    axis.tick_params(labelsize=7)
    if not (curves[name][y] > 0).any():
        axis.text(0.5, 0.06, "0 everywhere", transform=axis.transAxes, ha="center", fontsize=8)


def _drawable(values: np.ndarray) -> np.ndarray:
    """The values that a logarithmic axis can show."""
    return np.where(values > 0, values, np.nan)
