"""A small network as it is compiled, and what it receives."""

import jax
import jax.numpy as jnp

from vaecli import Config
from vaecli.vae import build, steps

PIXELS, IMAGES, BATCH = 12, 50, 8


MEAN = jnp.full(PIXELS, 0.5)


def config(name="logvar", seed=0, **changes):
    return Config(param=name, seed=seed, hidden=(7,), latent=3, **{"lr": 1e-2, "grad_draws": 3, **changes})


def program(*args, **changes):
    return build.program(config(*args, **changes), (3, PIXELS // 3))


def operands(*args, **changes):
    return jax.tree.map(lambda leaf: leaf[0], build.operands([config(*args, **changes)]))


def schedule_values(count=None):
    """No schedule: for one step, or for so many."""
    return steps.ScheduleValues(*[jnp.ones(() if count is None else count)] * 2)
