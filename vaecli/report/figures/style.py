"""What the figures of a comparison share: colours, sizes, labels and limits."""

import functools
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

# Okabe & Ito's colours: apart for colour-blind readers; blue and vermilion also in grey print.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
GREY, DARK, GRID = "#999999", "#444444", "#dddddd"

# Inches: on a phone 360 pixels wide, a point of such a figure is slightly more than a pixel.
WIDTH = 4.0
TEXT, SMALL = 9, 8.5
# As many settings as a reader takes in at once; the tables hold the rest.
MOST = 24


class Mark(NamedTuple):
    """How a verdict looks: its marker in a figure, its sign in text, its colour, and whether it is filled."""

    marker: str
    sign: str
    colour: str
    filled: bool


VERDICTS = {
    "equivalent": Mark("o", "●", BLUE, True),
    "different": Mark("D", "◆", VERMILION, True),
    "undecided": Mark("s", "□", DARK, False),
    "reference": Mark("|", "–", DARK, True),
    "no reference": Mark("x", "×", DARK, True),
}


def plain(text: str, width: int | None = None) -> str:
    """A text that Matplotlib draws as it stands; the middle of one that is too long gives way to an ellipsis."""
    # A control character would break the SVG, and one that the font lacks makes Matplotlib warn.
    text = " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in text).split())
    text = "".join(c if ord(c) in _drawable() else "□" for c in text)
    if width is not None and len(text) > width:
        text = f"{text[: width // 2]}…{text[len(text) - (width - 1 - width // 2) :]}"
    # Matplotlib takes what stands between two dollars for a formula.
    return text.replace("$", r"\$")


def wrapped(label: str, width: int) -> str:
    """A label in one line, or in two where it is long, broken after a comma: the head, then the other fields."""
    head, comma, fields = label.partition(",")
    if len(label) <= width or not comma:
        return plain(label, width)
    return f"{plain(head + comma, width)}\n{plain(fields, width)}"


def survival(setting: Mapping[str, Any]) -> str:
    """`4/5 survived` where runs were lost, else nothing."""
    lost = setting["survived"] < setting["runs"]
    return f"{setting['survived']}/{setting['runs']} survived" if lost else ""


def axis_words(report: Mapping[str, Any]) -> str:
    """The metric and its unit."""
    unit = f" ({report['unit']})" if report["unit"] else ""
    return plain(f"{report['metric']}{unit}", 56)


def shown(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The settings that figures show, with their references: where there are too many, what is not equivalent first."""
    settings = report["settings"]
    by_label = {setting["label"]: setting for setting in settings}
    taken: dict[str, None] = {}
    for setting in sorted(settings, key=lambda setting: setting["verdict"] == "equivalent"):
        wanted = {setting["label"], setting["reference"]} & by_label.keys() - taken.keys()
        if len(taken) + len(wanted) > MOST:
            break
        taken |= dict.fromkeys(wanted)
    return [setting for setting in settings if setting["label"] in taken]


def window(values: Iterable[float], always: Sequence[float] = ()) -> tuple[float, float]:
    """Limits of an axis, with what lies far beyond most values left out, and all of `always` within."""
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


def panels(
    count: int, columns: int, *, height: float, left: float, gap: tuple[float, float], top: float, bottom: float
) -> tuple[Figure, list[Axes]]:
    """A figure of `WIDTH` with a grid of axes, all lengths in inches.

    Fixed lengths, and no layout engine: many panels are laid out at once, and no text can squeeze them to nothing.

    Args:
      count: number of axes.
      columns: axes side by side.
      height: of one of them.
      left: room to the left of the first column.
      gap: between two columns, and between two rows.
      top: room above all.
      bottom: room below all.
    """
    rows = math.ceil(count / columns)
    total = top + rows * height + (rows - 1) * gap[1] + bottom
    width = (WIDTH - left - 0.12 - (columns - 1) * gap[0]) / columns
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
