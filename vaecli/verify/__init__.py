"""The program checked against exact answers: the very functions that training uses, at models whose answers are known.

Expectations over ε are sums over Gauss–Hermite grids, exact for the polynomials at hand; chance enters the last checks
alone, with fixed keys.
"""

from collections.abc import Iterator

import jax

from vaecli.verify import estimators, exact, network, training, weights
from vaecli.verify.check import Check


def checks() -> Iterator[Check]:
    """Runs the checks one after the other."""
    for group in (*exact.GROUPS, *weights.GROUPS, *network.GROUPS, *estimators.GROUPS, training.stationary_sgd):
        with jax.enable_x64(True):
            done = list(group())  # Whoever takes the checks one by one is outside of float64.
        yield from done
    yield from training.null_control()
