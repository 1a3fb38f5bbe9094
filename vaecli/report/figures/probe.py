"""The picture of `vae probe`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaecli.report.figures.style import plain
from vaecli.report.palette import BLUE, VERMILION


def probe(run: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws what `vae probe` measured: a line for each head, with its variances, SNRs, cosine and gains.

    Args:
      run: its `path`, `batches`, `batch_size` and `draws`, and whose heads they are.
      rows: those of the table; None for a number that there is not.
    """
    figure = Figure(figsize=(15, 0.36 * max(len(rows), 4) + 2.4), layout="constrained")
    variances, signals, cosines, gains = figure.subplots(1, 4, sharey=True, width_ratios=(1.3, 1, 0.7, 1.3))
    of_decoder = run["of"] == "decoder"
    variance = {"by u": "raw_variance", "by σ": "sigma_variance", "by log σ": "log_sigma_variance"}
    signal = {"of a unit's u": "unit_snr", "of its μ and σ": "mahalanobis_snr", "of the weights": "block_snr"}
    if of_decoder:
        variance = {"by u": "raw_variance", "by log τ": "log_tau_variance"}
        signal = {"of a pixel's log τ": "unit_snr", "of the weights": "block_snr"}
    _dots(variances, rows, variance)
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
    variances.set_yticks(range(len(rows)), [plain(row["head"], 60) for row in rows])
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
    what = "likelihood" if of_decoder else "posterior"
    figure.suptitle(f"{plain(run['path'], 80)}: one {what} through {len(rows)} heads; {size}", fontsize=11)
    return figure


def _dots(axis: Axes, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Draws a dot with its standard error for each row and column, the columns slightly above each other."""
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
