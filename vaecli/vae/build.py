"""From a config to what is compiled and what the compiled program receives."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vaecli.config import Config
from vaecli.vae.batches import seed_key
from vaecli.vae.bounds import bound
from vaecli.vae.lookup import head
from vaecli.vae.matching import factors, start
from vaecli.vae.networks import Architecture
from vaecli.vae.optimizers import Rates, Recipe
from vaecli.vae.steps import Operands, Program


def program(config: Config, pixels: int) -> Program:
    """The program of a config for images of so many pixels."""
    chosen = head(config.param)
    return Program(
        architecture=Architecture(
            pixels=pixels, hidden=config.hidden, latent=config.latent, scale_output=chosen.learned
        ),
        head=chosen.form,
        bound=bound(config.bound),
        optimizer=Recipe(config.optimizer, decays=config.weight_decay > 0, clips=config.clip_norm > 0),
        dynamic=config.binarisation == "dynamic",
        grad_draws=config.grad_draws,
    )


def operands(configs: Sequence[Config]) -> Operands:
    """The operands of configs that share a program, along a leading axis."""
    seeds = jnp.asarray([config.seed for config in configs], jnp.uint32)
    numbers = [_numbers(config) for config in configs]
    stacked = jax.tree.map(lambda *values: jnp.asarray(values, jnp.float32), *numbers)
    return stacked._replace(key=jax.vmap(seed_key)(seeds))


def _numbers(config: Config) -> Operands:
    """In float64, to be rounded once: a factor that is a power of two then leaves the digits as they are."""
    begin = start(config)
    lr, eps, weight_decay, clip = factors(config)
    return Operands(
        key=None,
        slope=head(config.param).slope,
        start_weight=begin.weight,
        start_bias=begin.bias,
        rates=Rates(config.lr, config.eps, config.weight_decay),
        head_rates=Rates(config.lr * lr, config.eps * eps, config.weight_decay * weight_decay),
        clip_norm=config.clip_norm,
        head_clip=clip,
    )
