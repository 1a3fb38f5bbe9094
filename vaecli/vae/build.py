"""From a config to what is compiled and what the compiled program receives."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array

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
    """The operands of configs that share a program, along a leading axis.

    They are worked out in float64 and rounded once, so that a factor that is a power of two changes no digit.
    """

    def column(of: Callable[[Config], float]) -> Array:
        return jnp.asarray([of(config) for config in configs], jnp.float32)

    starts = {config: start(config) for config in configs}
    factor = {config: factors(config) for config in configs}
    return Operands(
        key=jax.vmap(seed_key)(jnp.asarray([config.seed for config in configs], jnp.uint32)),
        slope=column(lambda config: head(config.param).slope),
        start_weight=column(lambda config: starts[config].weight),
        start_bias=column(lambda config: starts[config].bias),
        rates=Rates(
            column(lambda config: config.lr),
            column(lambda config: config.eps),
            column(lambda config: config.weight_decay),
        ),
        head_rates=Rates(
            column(lambda config: config.lr * factor[config].lr),
            column(lambda config: config.eps * factor[config].eps),
            column(lambda config: config.weight_decay * factor[config].weight_decay),
        ),
        clip_norm=column(lambda config: config.clip_norm),
        head_clip=column(lambda config: factor[config].clip),
    )
