"""Figures, drawn by Matplotlib without a display."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaecli.report.figures.style import BLUE, GREY, VERMILION
from vaecli.runs.directory import write_output


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG or SVG, by the suffix of the path.

    Raises:
      UsageError: the file cannot be written.
    """
    write_output(path, drawn(figure, path.suffix[1:].lower()))


def drawn(figure: Figure, form: str) -> bytes:
    """A figure as a file of the format `png` or `svg`: text stays text, and one figure is always the same bytes."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vaecli"}):
        metadata = {"Date": None} if form == "svg" else {}
        figure.savefig(file, format=form, dpi=150, metadata=metadata)
    return file.getvalue()


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
        _panel(axes[0], curves, name, ("u", "sigma"), BLUE)
        _panel(axes[1], curves, name, ("sigma_axis", "gain"), VERMILION)
        axes[1].set_xscale("log")
        axes[0].set_title(name, loc="left", fontweight="bold", fontsize=10)
        axes[0].set(xlim=(-6, 6), ylim=(0.004, 400), xticks=(-4, 0, 4), xlabel="u", ylabel="σ")
        axes[1].set(xlim=(0.02, 10), ylim=(0.003, 60), xlabel="σ", ylabel="|γ|")
    figure.suptitle(
        "Left: σ(u). Right: the gain |γ| = |d log σ / du| as a function of σ. Grey: the other heads.", fontsize=11
    )
    return figure


def probe(run: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """What `vae probe` found: a line for each head, with its variances, its SNRs, its cosine and its gains.

    Args:
      run: `path`, `batches`, `batch_size` and `draws`.
      rows: of the table; None for a number that there is not.
    """
    figure = Figure(figsize=(15, 0.36 * max(len(rows), 4) + 2.4), layout="constrained")
    variances, signals, cosines, gains = figure.subplots(1, 4, sharey=True, width_ratios=(1.3, 1, 0.7, 1.3))
    _dots(variances, rows, {"by u": "raw_variance", "by σ": "sigma_variance", "by log σ": "log_sigma_variance"})
    signal = {"of a unit's u": "unit_snr", "of its μ and σ": "mahalanobis_snr", "of the weights": "block_snr"}
    _dots(signals, rows, signal)
    _dots(cosines, rows, {"of the weights": "cosine"})
    for place, row in enumerate(rows):
        if row["gains"] is None:
            where = variances.get_yaxis_transform()
            variances.text(0.02, place, row["problem"], transform=where, va="center", fontsize=8)
            continue
        edges, counts = 10 ** np.asarray(row["gains"]["log10_edges"]), np.asarray(row["gains"]["counts"])
        if counts.size:
            height = 0.42 * np.concatenate([counts, counts[-1:]]) / counts.max()
            gains.fill_between(edges, place - height, place + height, step="post", color=BLUE, linewidth=0.8)
    variances.set(xscale="log", title="Variance over ε", xlabel="nats² per squared unit of the coordinate")
    variances.set_yticks(range(len(rows)), [row["head"] for row in rows])
    variances.set_ylim(len(rows) - 0.4, -0.6)
    signals.set(title="Signal-to-noise ratio", xlabel="over the draws of ε")
    signals.set_xlim(min(0.0, signals.get_xlim()[0]), 1.05 * signals.get_xlim()[1])
    cosines.set(title="Cosine with logvar", xlabel="between mean gradients", xlim=(-1.15, 1.15))
    gains.set(xscale="log", title="Histogram of the gains", xlabel="|γ| of the units (height: their share)")
    low, high = gains.get_xlim()
    gains.set_xlim(min(low, 0.08), max(high, 12))
    for axis in (variances, signals, cosines, gains):
        axis.grid(color="#dddddd", linewidth=0.5)
        axis.set_axisbelow(True)
    size = f"batches: {run['batches']} of {run['batch_size']} images, draws of ε: {run['draws']} each"
    figure.suptitle(f"{run['path']}: one posterior through {len(rows)} heads; {size}", fontsize=11)
    return figure


def _dots(axis: Axes, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """A dot with its standard error for each row and column, the columns slightly above each other."""
    for number, (label, name) in enumerate(columns.items()):
        places = [place for place, row in enumerate(rows) if row[name] is not None]
        values = [rows[place][name] for place in places]
        errors = [rows[place][f"{name}_se"] or 0.0 for place in places]
        height = [place + 0.2 * (number - (len(columns) - 1) / 2) for place in places]
        colour, marker = (BLUE, VERMILION, "black")[number], "os^"[number]
        axis.errorbar(
            values, height, xerr=errors, fmt=marker, color=colour, markersize=5, fillstyle="none", label=label
        )
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -72 / axis.bbox.height), ncols=3, fontsize=8, frameon=False)


def _panel(
    axis: Axes, curves: Mapping[str, Mapping[str, np.ndarray]], name: str, keys: tuple[str, str], colour: str
) -> None:
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
    """The values that a logarithmic axis can show."""
    return np.where(values > 0, values, np.nan)
