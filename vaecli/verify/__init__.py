"""Checks the program against exact answers: the same functions as in training, at models whose answers are known.

Expectations over ε are sums over Gauss–Hermite grids, exact for the polynomials at hand; chance enters only the last
checks, with fixed keys.
"""

from collections.abc import Iterator

import jax

from vaecli.verify import estimators, exact, network, training, weights
from vaecli.verify.check import Check


def checks() -> Iterator[Check]:
    """Runs the checks one after the other."""
    for group in (*exact.GROUPS, *weights.GROUPS, *network.GROUPS, *estimators.GROUPS, training.stationary_sgd):
        with jax.enable_x64(True):
            group_checks = list(group())  # In full here, so that the caller stays outside of float64.
        yield from group_checks
    yield from training.null_control()
