"""Builds a program, which is compiled, from a resolved config, and the operands that it receives at run time."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Key

from vaecli.config import Config
from vaecli.vae.batches import pilot_key, seed_key
from vaecli.vae.loss_scale import first_loss_scale
from vaecli.vae.matching import decoder_scale_start, factors, gradient_unit, start
from vaecli.vae.model import Operands, Program
from vaecli.vae.networks import Architecture
from vaecli.vae.resolve import Resolved
from vaecli.vae.steps import TrainState, initial_params, initial_state
from vaecli.vae.updates import OptimizerSpec, Rates

_LEAST = float(jnp.finfo(jnp.float32).smallest_normal)


def program(resolved: Resolved, image: tuple[int, int]) -> Program:
    """Returns the program of a config for images of so many rows and columns.

    Raises:
      ConfigError: the images are too small for the network.
    """
    config, scale_head = resolved.config, resolved.likelihood.scale_head
    return Program(
        architecture=Architecture(
            image=image,
            channels=config.channels,
            hidden=config.hidden,
            activation=config.activation,
            weight_init=config.weight_init,
            latent=config.latent,
            scale_output=resolved.head.learned,
            decoder_scale=scale_head is not None and scale_head.learned,
            precision=config.precision,
        ),
        head=resolved.head.form,
        bound=resolved.bound,
        likelihood=resolved.likelihood,
        mean_bias=config.decoder_bias == "mean",
        objective=resolved.objective,
        optimizer=OptimizerSpec(resolved.optimizer, decays=config.weight_decay > 0, clips=config.clip_norm > 0),
        dynamic=config.binarisation == "dynamic",
        skips=config.on_nonfinite == "skip",
        grad_draws=config.grad_draws,
        head_precision=config.head_precision,
        loss_scale=config.loss_scale if isinstance(config.loss_scale, str) else "fixed",
    )


def state_like(program: Program, operands: Operands) -> TrainState:
    """Returns the shapes and types of the state of one run."""
    mean = jax.ShapeDtypeStruct((program.architecture.pixels,), jnp.float32)

    def state(given, image):
        return initial_state(program, given, initial_params(program, given, image))

    return jax.eval_shape(state, operands, mean)


def _keys(configs: Sequence[Config]) -> Key[Array, " runs"]:
    """Returns the keys from which all random numbers of runs come."""
    keys = jax.vmap(seed_key)(jnp.asarray([config.seed for config in configs], jnp.uint32))
    if not any(config.pilot for config in configs):
        return keys
    pilots = jnp.asarray([config.pilot for config in configs], jnp.uint32)
    return jnp.where(pilots > 0, jax.vmap(pilot_key)(keys, pilots), keys)


def operands(runs: Sequence[Resolved]) -> Operands:
    """Returns the operands of runs that share a program, along a leading axis.

    They are worked out in float64 and rounded once, so that a factor that is a power of two changes no digit.
    """
    configs = [resolved.config for resolved in runs]
    starts, units = [start(resolved) for resolved in runs], [gradient_unit(resolved) for resolved in runs]
    ratios = [factors(of_run).in_unit(unit, of_run.optimizer) for of_run, unit in zip(runs, units, strict=True)]

    def column(values: Sequence[float]) -> Array:
        # A conversion on the device would have to be compiled.
        return jax.device_put(np.asarray(values, np.float32))

    def of_config(value: Callable[[Config], float]) -> Array:
        return column([value(config) for config in configs])

    return Operands(
        key=_keys(configs),
        slope=column([resolved.head.slope for resolved in runs]),
        start_weight=column([of_run.weight for of_run in starts]),
        start_bias=column([of_run.bias for of_run in starts]),
        perturb=of_config(lambda config: config.perturb),
        decoder_scale_slope=column([head.slope if (head := resolved.decoder_head) else 1.0 for resolved in runs]),
        decoder_scale_start=column([decoder_scale_start(resolved) for resolved in runs]),
        beta=of_config(lambda config: config.beta),
        rates=Rates(
            of_config(lambda config: config.lr),
            of_config(lambda config: config.eps),
            of_config(lambda config: config.weight_decay),
        ),
        head_rates=Rates(
            column([config.lr * ratio.lr for config, ratio in zip(configs, ratios, strict=True)]),
            # XLA takes what is below for 0, and 0/0 would follow.
            column([max(config.eps * ratio.eps, _LEAST) for config, ratio in zip(configs, ratios, strict=True)]),
            column([config.weight_decay * ratio.weight_decay for config, ratio in zip(configs, ratios, strict=True)]),
        ),
        clip_norm=of_config(lambda config: config.clip_norm),
        head_clip=column([ratio.clip for ratio in ratios]),
        head_unit=column(units),
        loss_scale=of_config(first_loss_scale),
    )
