"""The program checked against exact answers: the very functions that training uses, at models whose answers are known.

Expectations over ε are sums over Gauss–Hermite grids, exact for the polynomials at hand; chance enters the last checks
alone, with fixed keys.
"""

from collections.abc import Iterator

import jax

from vaecli.verify import estimators, exact, training
from vaecli.verify.check import Check


def checks() -> Iterator[Check]:
    """Runs the checks one after the other."""
    for group in (*exact.GROUPS, *estimators.GROUPS):
        with jax.enable_x64(True):
            yield from group()
    yield from training.null_control()
    with jax.enable_x64(True):
        yield from training.stationary_sgd()
