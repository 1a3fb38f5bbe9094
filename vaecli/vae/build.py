"""Builds a program, which is compiled, from a resolved config, and the operands that it receives at run time."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Key

from vaecli.config import Config
from vaecli.vae.architecture import Architecture
from vaecli.vae.batches import Redraw, pilot_key, seed_key
from vaecli.vae.heads.bounds import NO_BOUND
from vaecli.vae.loss_scale import first_loss_scale
from vaecli.vae.matching import ScaleHeadStart, factors, gradient_unit, start
from vaecli.vae.model import Operands, Program
from vaecli.vae.resolve import Resolved, Scale
from vaecli.vae.steps import TrainState, initial_params, initial_state
from vaecli.vae.updates import OptimizerSpec, Rates

_REDRAWS: dict[str, Redraw] = {"dynamic": "binary", "dequantised": "uniform"}
_LEAST = float(jnp.finfo(jnp.float32).smallest_normal)


def program(resolved: Resolved, image: tuple[int, int]) -> Program:
    """Returns the program of a config for images of so many rows and columns.

    Raises:
      ConfigError: the images are too small for the network.
    """
    config, decoder = resolved.config, resolved.decoder
    granularity = config.decoder_scale if decoder and decoder.head.learned else "none"
    scale_is = "none" if granularity == "none" else "set" if granularity == "optimal" else "learned"
    return Program(
        architecture=Architecture(
            image=image,
            channels=config.channels,
            hidden=config.hidden,
            activation=config.activation,
            weight_init=config.weight_init,
            latent=config.latent,
            scale_output=("network" if config.encoder_scale == "network" else "free")
            if resolved.head.learned
            else "none",
            decoder_scale=granularity,
            precision=config.precision,
        ),
        head=resolved.head.form,
        bound=resolved.bound,
        likelihood=resolved.likelihood,
        mean_bias=config.decoder_bias == "mean",
        objective=resolved.objective,
        optimizer=OptimizerSpec(resolved.optimizer, config.weight_decay > 0, config.clip_norm > 0, scale_is),
        redraws=_REDRAWS.get(config.binarisation, "none"),
        skips=config.on_nonfinite == "skip",
        grad_draws=config.grad_draws,
        decoder_bound=decoder.bound if decoder else NO_BOUND,
        decoder_gradient=resolved.decoder_gradient,
        natural_head=resolved.encoder.natural,
        head_precision=config.head_precision,
        loss_scale=config.loss_scale if isinstance(config.loss_scale, str) else "fixed",
        skips_by_norm=config.skip_norm > 0,
    )


def state_like(program: Program, operands: Operands) -> TrainState:
    """Returns the shapes and types of the state of one run."""
    return _state_like(program, jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), operands))


@functools.cache
def _state_like(program: Program, operands: Operands) -> TrainState:
    """As `state_like`, of operands that are shapes and types; to trace it takes a tenth of a second."""
    mean = jax.ShapeDtypeStruct((program.architecture.pixels,), jnp.float32)

    def state(given, image):
        return initial_state(program, given, initial_params(program, given, image))

    return jax.eval_shape(state, operands, mean)


def _keys(configs: Sequence[Config]) -> Key[Array, " runs"]:
    """Returns the keys from which all random numbers of runs come."""
    # As in `column` below.
    seeds = jax.device_put(np.asarray([config.seed for config in configs], np.uint32))
    keys = jax.vmap(seed_key)(seeds)
    if not any(config.pilot for config in configs):
        return keys
    pilots = jnp.asarray([config.pilot for config in configs], jnp.uint32)
    return jnp.where(pilots > 0, jax.vmap(pilot_key)(keys, pilots), keys)


def operands(runs: Sequence[Resolved]) -> Operands:
    """Returns the operands of runs that share a program, along a leading axis.

    They are worked out in float64 and rounded once, so that a factor that is a power of two changes no digit.
    """
    configs = [resolved.config for resolved in runs]
    heads = [_HeadOperands.of(resolved, resolved.encoder) for resolved in runs]
    decoders = [_HeadOperands.of(resolved, resolved.decoder) for resolved in runs]

    def column(values: Sequence[float]) -> Array:
        # A conversion on the device would have to be compiled.
        return jax.device_put(np.asarray(values, np.float32))

    def of_config(value: Callable[[Config], float]) -> Array:
        return column([value(config) for config in configs])

    def rates(of_runs: Sequence[_HeadOperands]) -> Rates:
        return Rates(*map(column, zip(*[of_run.rates for of_run in of_runs], strict=True)))

    return Operands(
        key=_keys(configs),
        slope=column([of_run.slope for of_run in heads]),
        start_weight=column([of_run.start.weight for of_run in heads]),
        start_bias=column([of_run.start.bias for of_run in heads]),
        perturb=of_config(lambda config: config.perturb),
        decoder_scale_slope=column([of_run.slope for of_run in decoders]),
        decoder_scale_weight=column([of_run.start.weight for of_run in decoders]),
        decoder_scale_start=column([of_run.start.bias for of_run in decoders]),
        beta=of_config(lambda config: config.beta),
        rates=Rates(
            of_config(lambda config: config.lr),
            of_config(lambda config: config.eps),
            of_config(lambda config: config.weight_decay),
        ),
        head_rates=rates(heads),
        decoder_scale_rates=rates(decoders),
        clip_norm=of_config(lambda config: config.clip_norm),
        head_clip=column([of_run.clip for of_run in heads]),
        decoder_scale_clip=column([of_run.clip for of_run in decoders]),
        head_unit=column([of_run.unit for of_run in heads]),
        decoder_scale_unit=column([of_run.unit for of_run in decoders]),
        loss_scale=of_config(first_loss_scale),
        skip_norm=of_config(lambda config: config.skip_norm),
    )


class _HeadOperands(NamedTuple):
    """The numbers of one head of one run.

    Attributes:
      slope: its slope.
      start: where it starts.
      unit: the unit of its gradient.
      rates: the optimiser's settings, in that unit.
      clip: the factor on its gradient within the norm that is clipped.
    """

    slope: float
    start: ScaleHeadStart
    unit: float
    rates: Rates
    clip: float

    @classmethod
    def of(cls, resolved: Resolved, scale: Scale | None) -> "_HeadOperands":
        """Returns the numbers of a scale's head; without a scale, numbers that nothing uses."""
        config, optimizer = resolved.config, resolved.optimizer
        if scale is None:
            return cls(1.0, ScaleHeadStart(1.0, 0.0), 1.0, Rates(config.lr, config.eps, config.weight_decay), 1.0)
        unit = gradient_unit(scale, optimizer)
        ratio = factors(scale, optimizer).in_unit(unit, optimizer)
        # XLA takes what is below for 0, and 0/0 would follow.
        eps = max(config.eps * ratio.eps, _LEAST)
        rates = Rates(config.lr * ratio.lr, eps, config.weight_decay * ratio.weight_decay)
        return cls(scale.head.slope, start(scale, optimizer), unit, rates, ratio.clip)
