"""The heads as training has them, and one that diverges."""

import dataclasses

import jax.numpy as jnp

from vaecli import Head
from vaecli.vae.heads.table import HEADS

SINGULAR = {"std", "abs_std", "square_std"}
"""The heads whose σ is 0 at u = 0, where log σ and the KL are infinite."""

ONE_SIDED = {"std"}
"""Those that have a σ for u ≥ 0 only: below, nothing is asked of them but NaN."""

LEARNED = [name for name, head in HEADS.items() if head.learned]

cliff = Head(f=lambda u: -jnp.sqrt(jnp.maximum(0.6 - u, 0)), limits=(-jnp.inf, 0.0))
"""Above u = 0.6 log σ is 0, and its derivative is that of √0 times 0, which is not a number."""


def as_trained(name):
    """The head with its slope as an array, as a training step has it."""
    return dataclasses.replace(HEADS[name].form, slope=jnp.float32(HEADS[name].slope))
