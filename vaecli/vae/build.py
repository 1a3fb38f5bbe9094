"""From a config to what is compiled and what the compiled program receives."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaecli.config import Config
from vaecli.vae.batches import seed_key
from vaecli.vae.heads.bounds import bound
from vaecli.vae.heads.resolve import decoder_head, head
from vaecli.vae.likelihoods import Likelihood
from vaecli.vae.matching import decoder_scale_start, factors, start
from vaecli.vae.networks import Architecture
from vaecli.vae.objective import Estimator, Objective
from vaecli.vae.optimizers import Rates, Recipe
from vaecli.vae.schedules import step_factors
from vaecli.vae.steps import Operands, Program, ScheduleValues, TrainState, init_state


def program(config: Config, image: tuple[int, int]) -> Program:
    """The program of a config for images of so many rows and columns.

    Raises:
      ConfigError: the images are too small for the network.
    """
    chosen, noise = head(config.param), decoder_head(config)
    return Program(
        architecture=Architecture(
            image=image,
            channels=config.channels,
            hidden=config.hidden,
            activation=config.activation,
            weight_init=config.weight_init,
            latent=config.latent,
            scale_output=chosen.learned,
            decoder_scale=noise is not None and noise.learned,
        ),
        head=chosen.form,
        bound=bound(config.bound),
        likelihood=Likelihood(noise and noise.form),
        mean_bias=config.decoder_bias == "mean",
        objective=Objective(config.objective, estimator(config), config.samples),
        optimizer=Recipe(config.optimizer, decays=config.weight_decay > 0, clips=config.clip_norm > 0),
        dynamic=config.binarisation == "dynamic",
        skips=config.on_nonfinite == "skip",
        grad_draws=config.grad_draws,
    )


def estimator(config: Config) -> Estimator:
    """The estimator of a config's KL and gradient; `auto` is the closed form where there is a choice."""
    if config.estimator != "reparam":
        return config.estimator
    return "analytic" if config.kl != "mc" and config.objective == "elbo" else "mc"


def schedule_values(configs: Sequence[Config], epoch: int, steps: int) -> ScheduleValues:
    """What changes from step to step in an epoch of so many steps, (configs, steps)."""
    return ScheduleValues(*np.stack([step_factors(config, epoch, steps) for config in configs], axis=1))


def state_like(program: Program, operands: Operands) -> TrainState:
    """The shapes and types of the state of one run."""
    mean = jax.ShapeDtypeStruct((program.architecture.pixels,), jnp.float32)
    return jax.eval_shape(lambda given, image: init_state(program, given, image), operands, mean)


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
        perturb=column(lambda config: config.perturb),
        decoder_scale_slope=column(lambda config: noise.slope if (noise := decoder_head(config)) else 1.0),
        decoder_scale_start=column(decoder_scale_start),
        beta=column(lambda config: config.beta),
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
