"""One comparison with an exact answer."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

EXACT = 1e-12
"""The bound where nothing but float64's rounding lies between two answers."""


class Check(NamedTuple):
    """What was compared, and how far apart it was.

    Attributes:
      name: of the check.
      error: relative to the greatest of the exact values, absolute where they are 0.
      bound: the greatest error that passes.
    """

    name: str
    error: float
    bound: float

    @property
    def ok(self) -> bool:
        """Whether the error is within its bound; NaN is not."""
        return self.error <= self.bound


def compare(name: str, pairs: Iterable[tuple[Any, Any]], bound: float = EXACT) -> Check:
    """The worst of several pairs of what was found and what is exact."""
    errors = []
    for found, exact in pairs:
        found, exact = np.asarray(found, np.float64), np.asarray(exact, np.float64)
        assert found.shape == exact.shape
        errors.append(np.abs(found - exact).max() / (np.abs(exact).max() or 1.0))
    return Check(name, float(np.max(errors)), bound)
