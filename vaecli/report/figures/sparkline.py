"""The differences of one head over the epochs as a small drawing, of which a page can have hundreds.

Matplotlib takes a tenth of a second and twenty kilobytes for what is here a few points.
"""

from typing import NamedTuple

import numpy as np

from vaecli.report.curves import Curves
from vaecli.report.figures.curves import mean_differences
from vaecli.report.figures.style import window
from vaecli.report.model import Comparison, VariantResult

WIDTH, HEIGHT = 200, 60


class Sparkline(NamedTuple):
    """A drawing, in the units of a box of `WIDTH` by `HEIGHT`.

    Attributes:
      mean: the points of the line of the mean, as the attribute of SVG has them.
      interval: those of the area of its interval; empty where there is none.
      zero: where zero is.
      margin: the upper end of the margin, and its height.
      epochs: the first and the last.
    """

    mean: str
    interval: str
    zero: float
    margin: tuple[float, float]
    epochs: tuple[float, float]


def sparkline(comparison: Comparison, curves: Curves, result: VariantResult) -> Sparkline | None:
    """Draws the mean difference of a head from its reference at each epoch, with its interval.

    Its scale is its own: the margin is the measure.

    Returns:
      None where there is no epoch at which both have runs to compare.
    """
    values = mean_differences(comparison, curves, result)
    if not len(values):
        return None
    margin = comparison.margin
    # As in the figure of a comparison: what is early would set the scale.
    low, high = window(values[len(values) // 2 :, 1:].flat, (-1.3 * margin, 1.3 * margin))
    first, last = float(values[0, 0]), float(values[-1, 0])

    def point(epoch: float, value: float) -> str:
        x = WIDTH * (epoch - first) / (last - first) if last > first else WIDTH / 2
        return f"{x:.1f},{y(value):.1f}"

    def y(value: float) -> float:
        # What is off the scale goes on at its edge.
        return HEIGHT * (high - min(max(value, low), high)) / (high - low)

    known = values[~np.isnan(values[:, 2])]
    around = [*zip(known[:, 0], known[:, 3], strict=True), *zip(known[::-1, 0], known[::-1, 2], strict=True)]
    return Sparkline(
        mean=" ".join(point(epoch, mean) for epoch, mean, *_ in values),
        interval=" ".join(point(epoch, end) for epoch, end in around),
        zero=round(y(0.0), 1),
        margin=(round(y(margin), 1), round(y(-margin) - y(margin), 1)),
        epochs=(first, last),
    )
