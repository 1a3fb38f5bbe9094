"""The figure of lost runs."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaecli.report.figures.style import MOST, SMALL, TEXT, panels, wrapped
from vaecli.report.model import Comparison
from vaecli.report.palette import BLUE, VERMILION


def lost_runs(comparison: Comparison) -> Figure | None:
    """Draws how many runs of each variant survived, for the variants that lost any; None where none did."""
    rows = [result for result in comparison.results if result.survived < result.runs][:MOST]
    if not rows:
        return None
    figure, (axes,) = panels(1, 1, height=0.3 * len(rows), left=1.32, gap=(0, 0), top=0.12, bottom=0.5)
    most = max(row.runs for row in rows)
    for place, row in enumerate(rows):
        axes.barh(place, row.survived, height=0.55, color=BLUE)
        lost = {"facecolor": "white", "edgecolor": VERMILION, "hatch": "////", "linewidth": 0.8}
        axes.barh(place, row.runs - row.survived, left=row.survived, height=0.55, **lost)
        axes.text(row.runs + 0.02 * most, place, f"{row.survived}/{row.runs}", va="center", fontsize=SMALL)
    axes.set(xlim=(0, 1.14 * most), ylim=(len(rows) - 0.5, -0.5), xlabel="runs: survived (blue), lost (hatched)")
    axes.xaxis.label.set_fontsize(TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(rows)), [wrapped(row.label, 16) for row in rows])
    return figure
