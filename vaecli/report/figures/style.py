"""What the figures of a comparison share: sizes, labels, limits, and the variants that they show."""

import functools
import math
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from vaecli.report.model import Effect, VariantResult
from vaecli.report.palette import GREY, GRID

# Inches: on a phone 360 pixels wide, a point of such a figure is slightly more than a pixel.
WIDTH = 4.0
TEXT, SMALL = 9, 8.5
# As many variants as a reader takes in at once; the tables hold the rest.
MOST = 24


def plain(text: str, width: int | None = None) -> str:
    """Returns a text that Matplotlib draws as it stands; an ellipsis replaces the middle of one that is too long."""
    # A control character would break the SVG or turn the text, and one that the font lacks makes Matplotlib warn.
    text = " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in text).split())
    text = "".join(c if c.isprintable() and ord(c) in _drawable() else "□" for c in text)
    if width is not None and len(text) > width:
        text = f"{text[: width // 2]}…{text[len(text) - (width - 1 - width // 2) :]}"
    # Matplotlib takes what stands between two dollars for a formula.
    return text.replace("$", r"\$")


def wrapped(label: str, width: int) -> str:
    """Breaks a label that is long into two lines, after a comma: the head, then the other fields."""
    head, comma, fields = label.partition(",")
    if len(label) <= width or not comma:
        return plain(label, width)
    return f"{plain(head + comma, width)}\n{plain(fields, width)}"


def survival(result: VariantResult) -> str:
    """Returns `4/5 survived` where runs were lost, and otherwise nothing."""
    return f"{result.survived}/{result.runs} survived" if result.survived < result.runs else ""


def effect_survival(effect: Effect) -> str:
    """Returns `4/5 seeds` where runs were lost, and otherwise nothing."""
    return f"{effect.difference.pairs}/{len(effect.seeds)} seeds" if effect.lost else ""


def axis_words(metric: str, unit: str) -> str:
    """Returns the metric and its unit, if it has one."""
    return plain(f"{metric} ({unit})" if unit else metric, 56)


def shown(results: Sequence[VariantResult]) -> list[VariantResult]:
    """Returns the variants that figures show, with their references.

    Where there are too many, those that are not equivalent come before others.
    """
    labels = {result.label for result in results}
    taken: dict[str, None] = {}
    for result in sorted(results, key=lambda result: result.verdict == "equivalent"):
        wanted = {result.label, result.reference} & labels - taken.keys()
        if len(taken) + len(wanted) > MOST:
            break
        taken |= dict.fromkeys(wanted)
    return [result for result in results if result.label in taken]


def window(values: Iterable[float], always: Sequence[float] = ()) -> tuple[float, float]:
    """Returns the limits of an axis: what lies far beyond most values is left out, and all of `always` is within."""
    known = np.array([value for value in values if math.isfinite(value)])
    kept = known
    if known.size:
        distances = np.abs(known - np.median(known))
        reach = max(6 * float(np.median(distances)), float(np.ptp(always)) if len(always) else 0.0)
        near = np.concatenate([known[distances <= reach], always])
        # Cutting is worth it only where it gives the others much more room.
        low, high = near.min(), near.max()
        kept = known[np.maximum(high, known) - np.minimum(low, known) <= 3 * (high - low)]
    kept = np.concatenate([kept, always])
    low, high = (float(kept.min()), float(kept.max())) if kept.size else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - pad, high + pad


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation over the seeds (the first axis) that have a value; NaN for too few."""
    known = ~np.isnan(values)
    count = known.sum(0)
    filled = np.where(known, values, 0.0)
    mean = np.where(count > 0, filled.sum(0) / np.maximum(count, 1), np.nan)
    squares = np.where(known, (values - mean) ** 2, 0.0).sum(0)
    return mean, np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def panels(
    count: int,
    columns: int,
    *,
    height: float,
    left: float,
    gap: tuple[float, float],
    top: float,
    bottom: float,
    right: float = 0.12,
) -> tuple[Figure, list[Axes]]:
    """Makes a figure of `WIDTH` with a grid of axes, all lengths in inches.

    Fixed lengths, and no layout engine: many panels are laid out at once, and no text can squeeze them to nothing.

    Args:
      count: the number of axes.
      columns: the number of axes side by side.
      height: the height of each.
      left: the room to the left of the first column.
      gap: the room between two columns, and between two rows.
      top: the room above all.
      bottom: the room below all.
      right: the room to the right of the last column.
    """
    rows = math.ceil(count / columns)
    total = top + rows * height + (rows - 1) * gap[1] + bottom
    width = (WIDTH - left - right - (columns - 1) * gap[0]) / columns
    figure = Figure(figsize=(WIDTH, total))
    made = []
    for index in range(count):
        row, column = divmod(index, columns)
        x, y = left + column * (width + gap[0]), total - top - row * (height + gap[1]) - height
        axes = figure.add_axes((x / WIDTH, y / total, width / WIDTH, height / total))
        axes.tick_params(labelsize=SMALL, length=2.5, color=GREY)
        axes.grid(color=GRID, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.ticklabel_format(useOffset=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GREY)
        made.append(axes)
    return figure, made


@functools.cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
