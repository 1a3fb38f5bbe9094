"""What the pixels of a data set are, and whether they can be what 0 (black) to 255 (white) means."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vaecli.config import UsageError

_KNOWN = {
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db": (0, 255, 33.318421449829934),
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7": (0, 255, 33.791224489795916),
}
"""The least, the greatest and the mean pixel of MNIST's files, so that a run on them need not wait for these."""


_DARK, _MOSTLY_WHITE = 128, 150
"""A set whose greatest pixel is less, or whose mean pixel is greater, is doubted; Fashion-MNIST's mean is 73."""


class Pixels(NamedTuple):
    """The pixels of a file of images, as they were read.

    Attributes:
      images: how many images there are.
      least: the least pixel.
      greatest: the greatest pixel.
      mean: the mean of all.
    """

    images: int
    least: int
    greatest: int
    mean: float

    @classmethod
    def of(cls, images: np.ndarray, sha256: str) -> "Pixels":
        """Returns those of images, uint8, whose file has a SHA-256."""
        values = _KNOWN.get(sha256) or (int(images.min()), int(images.max()), float(images.mean()))
        return cls(len(images), *values)

    def __str__(self) -> str:
        """Returns the pixels in words.

        >>> str(Pixels(60000, 0, 255, 33.318))
        'pixels 0 to 255, mean 33.32'
        """
        return f"pixels {self.least} to {self.greatest}, mean {self.mean:.2f}"


def check_contrast(what: str, pixels: Pixels) -> None:
    """Refuses pixels from which nothing can be learned.

    Args:
      what: the images.
      pixels: theirs.

    Raises:
      UsageError: all are equal, or none is greater than 1.
    """
    if pixels.least == pixels.greatest:
        raise UsageError(f"{what}: every pixel is {pixels.least}; nothing can be learned from such images")
    if pixels.greatest <= 1:
        raise UsageError(f"{what}: the pixels are 0 and 1, but white is 255; multiply them by 255")


def doubts(what: str, pixels: Pixels) -> Iterator[str]:
    """Yields what makes it unlikely that the pixels are what they should be."""
    if pixels.greatest < _DARK:
        yield f"{what}: no pixel is greater than {pixels.greatest}, but white is 255; are they on another scale?"
    if pixels.mean > _MOSTLY_WHITE:
        mostly = f"mostly white (mean pixel {pixels.mean:.1f})"
        yield f"{what}: {mostly}; if they are dark on a light ground and MNIST's light on dark is wanted, invert them"
