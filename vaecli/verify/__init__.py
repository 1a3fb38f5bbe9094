"""Checks the program against exact answers: the same functions as in training, at models whose answers are known.

Expectations over ε are sums over Gauss–Hermite grids, exact for the polynomials at hand; where chance enters, it does
so with fixed keys.
"""

from collections.abc import Callable, Iterable, Iterator

import jax

from vaecli.verify import draws, estimators, exact, likelihoods, network, precision, training, weights
from vaecli.verify.check import Check

Group = Callable[[], Iterator[Check]]

IN_FLOAT64: tuple[Group, ...] = (
    *exact.GROUPS,
    *weights.GROUPS,
    *network.GROUPS,
    *likelihoods.GROUPS,
    *estimators.GROUPS,
    training.stationary_sgd,
)
AS_TRAINED: tuple[Group, ...] = (*draws.GROUPS, training.null_control, training.decoder_null_control, *precision.GROUPS)
"""The programs that `vae train` runs, in float32."""


def checks(groups: Iterable[Group] = (*IN_FLOAT64, *AS_TRAINED)) -> Iterator[Check]:
    """Runs the checks one after the other."""
    for group in groups:
        with jax.enable_x64(group in IN_FLOAT64):
            group_checks = list(group())  # In full here, so that the caller stays outside of float64.
        yield from group_checks
