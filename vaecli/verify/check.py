"""The comparison of a computed value with an exact answer."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

EXACT = 1e-12
"""The bound where nothing but float64's rounding lies between two answers."""


class Check(NamedTuple):
    """The result of a comparison.

    Attributes:
      name: the name of the check.
      error: the greatest error, relative to the greatest of the exact values, absolute where they are 0.
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
    """Compares pairs of a computed and an exact value; the error is that of the worst pair."""
    errors = []
    for computed, exact in pairs:
        computed, exact = np.asarray(computed, np.float64), np.asarray(exact, np.float64)
        assert computed.shape == exact.shape
        errors.append(np.abs(computed - exact).max() / (np.abs(exact).max() or 1.0))
    return Check(name, float(np.max(errors)), bound)
