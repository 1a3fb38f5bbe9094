"""What is shown of progress in the room that a terminal has: which words give way, and to what."""

import time
from collections.abc import Sequence
from typing import NamedTuple

MARGIN = 3
"""Columns that stay free, since a terminal writes ^C behind a bar, and a bar that goes over two lines stays there."""

_LEAST_BAR, _MOST_BAR = 10, 40
_LEAST_TITLES = (20, 12)
"""A longer title gives way before what is behind the bar; a shorter one only where there is no room at all."""


class ProgressLine(NamedTuple):
    """A line with a bar in it.

    Attributes:
      title: what stands before the bar.
      bar: the width of the bar.
      rest: what stands behind it.
    """

    title: str
    bar: int
    rest: str

    def text(self, done: float) -> str:
        """Returns the line, with a bar of which a share is done."""
        full = round(self.bar * min(max(done, 0.0), 1.0))
        return " ".join([*[self.title] * bool(self.title), "━" * full + "─" * (self.bar - full), self.rest])


def fit(width: int, title: str, needed: str, wanted: Sequence[str]) -> ProgressLine:
    """Fits a line into a width: what is only wanted gives way, and a long title.

    Args:
      width: the columns of the terminal.
      title: what stands before the bar, in parts with a dot between: the name, the head, the seeds.
      needed: what always stands behind the bar.
      wanted: what may stand behind that, from its longest form to its shortest.

    >>> forms = ["test ELBO −105.51 nats · 40,000 images/s", "test ELBO −105.51 nats", "ELBO −105.51"]
    >>> fit(80, "mnist · logvar · seed 0", "epoch 3/10 · 0:12 left", forms)
    ProgressLine(title='mnist · logvar · seed 0', bar=15, rest='epoch 3/10 · 0:12 left · ELBO −105.51')
    >>> fit(40, "mnist · logvar · seed 0", "epoch 3/10 · 0:12 left", forms)
    ProgressLine(title='', bar=14, rest='epoch 3/10 · 0:12 left')
    """
    room = width - MARGIN
    rests = [*(f"{needed} · {words}" for words in wanted), needed]
    for least in _LEAST_TITLES:
        for rest in rests:
            for_title = room - _LEAST_BAR - len(rest) - 2
            if for_title >= min(len(title), least):
                shown = _short_title(title, for_title)
                return ProgressLine(shown, min(room - len(shown) - len(rest) - 2, _MOST_BAR), rest)
    return ProgressLine("", max(min(room - len(needed) - 1, _MOST_BAR), 1), needed)


def _short_title(title: str, width: int) -> str:
    """Returns a title without its first part, then without those from the last on, then without its middle."""
    _, _, shorter = title.partition(" · ")
    title = shorter if len(title) > width and shorter else title
    while len(title) > width and " · " in title:
        title = title.rpartition(" · ")[0]
    return without_middle(title, width)


def without_middle(text: str, width: int) -> str:
    """Returns a text in at most so many characters; an ellipsis stands for what is left out of its middle.

    >>> without_middle("softplus_std,lr=0.0003", 13), without_middle("logvar", 13)
    ('softpl…0.0003', 'logvar')
    """
    if len(text) <= width:
        return text
    tail = max(width - 1, 0) // 2
    return f"{text[: max(width - 1 - tail, 0)]}…{text[len(text) - tail :]}"[:width]


def told_apart(labels: Sequence[str], width: int) -> list[str]:
    """Returns labels, each in at most so many characters, that differ where the labels do.

    What all have in common gives way first, then the middle of each and, where that is what differs, the beginning.

    >>> told_apart(["logvar,hidden=400x200,lr=0.001", "logstd,hidden=400x200,lr=0.001"], 20)
    ['logvar,…', 'logstd,…']
    >>> told_apart(["logvar,eps=1e-08,hidden=400x400x400x400x200"], 20)
    ['logvar,eps…0x400x200']
    """
    if all(len(label) <= width for label in labels):
        return list(labels)
    split = [label.split(",") for label in labels]
    common = set.intersection(*map(set, split)) if len(set(labels)) > 1 else set()
    shorter = [",".join([*(part for part in parts if part not in common), *["…"] * bool(common)]) for parts in split]
    cut = [without_middle(label, width) for label in shorter]
    if len(set(cut)) == len(set(labels)):
        return cut
    # From the first character on in which any two differ.
    first = next(k for k, characters in enumerate(zip(*shorter, strict=False)) if len(set(characters)) > 1)
    ends = [without_middle(f"…{label[first:]}", width) for label in shorter]
    if len(set(ends)) == len(set(labels)):
        return ends
    return [without_middle(f"{number} {label}", width) for number, label in enumerate(labels, 1)]


class TimeLeft:
    """The time that is left, from that of the epochs so far."""

    def __init__(self, epochs: int):
        self._epochs = epochs
        self._seen: list[tuple[int, float]] = []

    def add(self, epoch: int) -> None:
        """Takes the number of an epoch that has just ended."""
        self._seen.append((epoch, time.monotonic()))

    def __str__(self) -> str:
        if len(self._seen) < 2 or self._seen[-1][0] == self._seen[0][0]:
            return "–:–– left"
        (first, begun), (last, ended) = self._seen[0], self._seen[-1]
        left = (self._epochs - last) * (ended - begun) / (last - first)
        return f"{clock(left - (time.monotonic() - ended) if left else 0)} left"


def clock(seconds: float) -> str:
    """Returns a duration as a clock shows it.

    >>> clock(12.4), clock(754), clock(7384)
    ('0:12', '12:34', '2:03:04')
    """
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
