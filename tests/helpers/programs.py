"""A small network as it is compiled, and what it receives; every function is compiled as a whole, once a program."""

import functools

import jax
import jax.numpy as jnp

from vaecli import Config
from vaecli.vae import build, steps
from vaecli.vae.model import Model
from vaecli.vae.networks import drawn_network, parameters
from vaecli.vae.resolve import resolve
from vaecli.vae.schedules import ScheduleValues

PIXELS, IMAGES, BATCH = 12, 50, 8
MEAN = jnp.full(PIXELS, 0.5)


def config(name="logvar", seed=0, **changes):
    return Config(param=name, seed=seed, hidden=(7,), latent=3, **{"lr": 1e-2, "grad_draws": 3, **changes})


def program(*args, **changes):
    return build.program(resolve(config(*args, **changes)), (3, PIXELS // 3))


def operands(*args, **changes):
    return jax.tree.map(lambda leaf: leaf[0], build.operands([resolve(config(*args, **changes))]))


def schedule_values(count=None):
    """No schedule: for one step, or for so many."""
    return ScheduleValues(*[jnp.ones(() if count is None else count)] * 2)


@functools.partial(jax.jit, static_argnums=0)
def drawn_params(architecture, key):
    """The parameters of a network as they are drawn."""
    return parameters(architecture, drawn_network(architecture, key))


@functools.partial(jax.jit, static_argnums=0)
def initial_state(program, operands, mean):
    """The state before the first step."""
    return steps.initial_state(program, operands, steps.initial_params(program, operands, mean))


train_step = functools.partial(jax.jit, static_argnums=0)(steps.train_step)


def built(config, image):
    """The program of a config, and the operands of one run of it."""
    resolved = resolve(config)
    return build.program(resolved, image), jax.tree.map(lambda leaf: leaf[0], build.operands([resolved]))


def model(config, image, key):
    """The model of a config with parameters as they are drawn."""
    program, operands = built(config, image)
    return Model(program, operands, drawn_params(program.architecture, key))
