"""The heads as training has them."""

import dataclasses

import jax.numpy as jnp

from vaecli.vae.heads.table import HEADS

LEARNED = [name for name, head in HEADS.items() if head.learned]


def as_trained(name):
    """The head with its slope as an array, as a training step has it."""
    return dataclasses.replace(HEADS[name].form, slope=jnp.float32(HEADS[name].slope))
