"""The colours of figures and pages, and how each verdict looks in a figure, in a table and in text."""

from typing import NamedTuple

# Okabe & Ito's colours: colour-blind readers can tell them apart, and blue and vermilion also in grey print.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
GREY, DARK, GRID = "#999999", "#444444", "#dddddd"

WHITE, BLACK = "#ffffff", "#000000"

# The same colours on a dark page: light, and as far apart.
ON_DARK = {
    BLUE: "#5ab4f0",
    VERMILION: "#ff8f4a",
    GREEN: "#3ccf9f",
    PURPLE: "#eaa6d3",
    ORANGE: "#f0b429",
    SKY: "#7cc4f5",
    GREY: "#8d9297",
    DARK: "#c8cbce",
    GRID: "#3a3e42",
    WHITE: "#17191b",
    BLACK: "#e8e8e8",
}


class VerdictStyle(NamedTuple):
    """The look of a verdict: its marker in a figure, its sign in text, its colour, and whether it is filled."""

    marker: str
    sign: str
    colour: str
    filled: bool


VERDICTS = {
    "equivalent": VerdictStyle("o", "●", BLUE, True),
    "better": VerdictStyle("^", "▲", GREEN, True),
    "worse": VerdictStyle("v", "▼", VERMILION, True),
    "beyond the margin": VerdictStyle("D", "◆", VERMILION, True),
    "different": VerdictStyle("D", "◇", PURPLE, False),
    "undecided": VerdictStyle("s", "□", DARK, False),
    "reference": VerdictStyle("|", "–", DARK, True),
    "no reference": VerdictStyle("x", "×", DARK, True),
    "invalid": VerdictStyle("x", "✕", DARK, True),
}

# The shades of the map: for each verdict that has any those on paper and those on a dark page, from the weakest to the
# strongest. They are steps of equal lightness, on which black and, of the first two on a dark page, white is read;
# colour-blind people tell better from worse at each of them.
_HIGHER = ("#a0e5e0", "#51cec7", "#17aea8", "#06908a"), ("#015350", "#01736e", "#0e9791", "#07c0b9")
_LOWER = ("#fec9af", "#f1a179", "#e1773c", "#c65807"), ("#6a391e", "#954d25", "#c5652e", "#fb813a")
SHADES = {
    "equivalent": (("#e1f1ff",), ("#192d3e",)),
    "better": _HIGHER,
    "worse": _LOWER,
    "beyond the margin": _LOWER,
}
