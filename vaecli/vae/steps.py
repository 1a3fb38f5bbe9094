"""The training step, and the scan over the steps between two log points."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int, UInt8

from vaecli.vae.architecture import DECODER_SCALE, Params
from vaecli.vae.batches import Stream, gather, redrawn, stream
from vaecli.vae.lazy import LazyModule
from vaecli.vae.loss import StepSums, loss
from vaecli.vae.loss_scale import LEAST, LossScale, scaled_grad
from vaecli.vae.model import Model, Operands, Program
from vaecli.vae.schedules import ScheduleValues
from vaecli.vae.undefined import undefined
from vaecli.vae.updates import BlockRates, GradientTransformation, measured_norm, norm_factors, optimizer

# Flax is imported by who traces a network, and a process that finds its programs compiled traces none.
_networks = LazyModule("vaecli.vae.networks")


class TrainState(NamedTuple):
    """The values that training changes; the factor on the loss only where it is dynamic."""

    params: Params
    opt_state: Any
    step: Int[Array, ""]
    loss_scale: LossScale | None = None


class Step(NamedTuple):
    """The record that a step leaves besides the state.

    Attributes:
      sums: the terms of its loss.
      skipped: whether its update was dropped.
      above_norm: whether the norm of its gradient was above the limit, where the program has one.
    """

    sums: StepSums
    skipped: Bool[Array, ""]
    above_norm: Bool[Array, ""] | None = None


def optimizer_of(program: Program, operands: Operands) -> GradientTransformation:
    """Returns the optimiser of all blocks."""
    head, decoder_scale = _own_rates(operands)
    return optimizer(program.optimizer, operands.rates, head, operands.clip_norm, decoder_scale)


def _own_rates(operands: Operands) -> tuple[BlockRates, BlockRates]:
    """Returns the settings of the blocks that have their own: the scale head, and the likelihood's scale."""
    return (
        BlockRates(operands.head_rates, operands.head_clip),
        BlockRates(operands.decoder_scale_rates, operands.decoder_scale_clip),
    )


def initial_params(program: Program, operands: Operands, mean: Float[Array, " pixels"]) -> Params:
    """Returns the parameters before the first step: drawn weights, and the values that do not start at a draw.

    Args:
      program: the part that is compiled in.
      operands: the values that it receives.
      mean: the mean training image, in [0, 1].
    """
    vae = _networks.drawn_network(program.architecture, stream(operands.key, Stream.WEIGHTS))
    kernel, bias = vae.scale_head.kernel, vae.scale_head.bias
    kernel[...] = operands.start_weight * kernel[...]
    bias[...] = jnp.full_like(bias[...], operands.start_bias)
    # A bias acts on every image; a pixel's weight may never see anything but black.
    perturbed = vae.mean_head.bias
    perturbed[...] = perturbed[...].at[0].add(operands.perturb)
    if vae.decoder_scale is not None:
        bias = vae.decoder_scale.bias
        bias[...] = jnp.full_like(bias[...], operands.decoder_scale_start)
        if program.architecture.decoder_scale == "network":
            kernel = vae.decoder_scale.kernel
            kernel[...] = operands.decoder_scale_weight * kernel[...]
    if program.mean_bias:
        bias = vae.decoder.output_bias
        # A convolution has one bias for all pixels.
        bias[...] = program.likelihood.outputs_at(mean if len(bias) == len(mean) else mean.mean(keepdims=True))
    return _networks.parameters(program.architecture, vae)


def initial_state(program: Program, operands: Operands, params: Params) -> TrainState:
    """Returns the state before the first step, at these parameters."""
    zero = jnp.zeros((), jnp.int32)
    scale = LossScale(jnp.asarray(operands.loss_scale), zero) if program.loss_scale == "dynamic" else None
    return TrainState(params, optimizer_of(program, operands).init(params), zero, scale)


def step_images(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    index: Int[Array, " batch"],
) -> tuple[Float[Array, "batch pixels"], Float[Array, " batch"]]:
    """Returns the pixels of the images at `index` as a step sees them, and their weights."""
    x, weight = gather(images, index)
    if program.redraws != "none":
        key = jax.random.fold_in(stream(operands.key, Stream.PIXELS), state.step)
        x = redrawn(program.redraws, key, x)
    return x, weight


def undefined_at_step(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    index: Int[Array, " batch"],
) -> Bool[Array, " kinds"]:
    """Returns which of `UNDEFINED` a step meets on the images at `index`."""
    x, weight = step_images(program, operands, images, state, index)
    return undefined(Model(program, operands, state.params), x, weight)


def step_gradient(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    index: Int[Array, " batch"],
    schedule: ScheduleValues,
) -> tuple[Params, StepSums]:
    """Returns the gradient of a step on the images at `index`, and its loss; the draws belong to (seed, step)."""
    operands = operands.at(schedule)
    x, weight = step_images(program, operands, images, state, index)
    key = jax.random.fold_in(stream(operands.key, Stream.EPSILON), state.step)
    shape = (program.objective.samples, len(index), program.architecture.latent)
    epsilon = jax.random.normal(key, shape, jnp.float32)

    def loss_at(params):
        return loss(Model(program, operands, params), x, weight, epsilon)

    scale = state.loss_scale.factor if state.loss_scale else operands.loss_scale
    return scaled_grad(loss_at, None if program.loss_scale == "off" else scale)(state.params)


def finite(tree: Any) -> Bool[Array, ""]:
    """Returns whether all floating-point numbers of a tree are finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    # 0 times a number is 0 only if it is finite; `isfinite(…).all()` takes three times as long to compile.
    return jnp.isfinite(jnp.stack([(0 * leaf).sum() for leaf in leaves]).sum())


def finite_at_once(tree: Any) -> Bool[Array, ""]:
    """Returns what `finite` does: compiled in a fifth of the time, but too slow for every step, since it copies all."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return finite(jnp.concatenate([leaf.ravel() for leaf in leaves]))


def train_step(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    index: Int[Array, " batch"],
    schedule: ScheduleValues,
) -> tuple[TrainState, Step]:
    """Takes one step of the optimiser."""
    gradient, sums = step_gradient(program, operands, images, state, index, schedule)
    # Without the barrier XLA starts updating weights that the backward pass still reads, and copies them first: 5 %.
    gradient = lax.optimization_barrier(gradient)
    if program.optimizer.optimizer.takes_signs:
        units = {"scale_head": operands.head_unit, DECODER_SCALE: operands.decoder_scale_unit}
        gradient |= {
            block: jax.tree.map(lambda g, unit=unit: g / unit, gradient[block])
            for block, unit in units.items()
            if block in gradient and not (block == DECODER_SCALE and program.optimizer.decoder_scale == "set")
        }
    schedule = _known_after(gradient, state.step, schedule)
    update, opt_state = optimizer_of(program, operands.at(schedule)).update(gradient, state.opt_state, state.params)
    after = TrainState(jax.tree.map(jnp.add, state.params, update), opt_state, state.step + 1, state.loss_scale)
    if state.loss_scale is None and not program.skips and not program.skips_by_norm:
        return after, Step(sums, jnp.zeros((), bool))
    kept, skipped, above_norm = state._replace(step=after.step), jnp.zeros((), bool), None
    if program.skips:
        # After a gradient that is not finite, no optimiser's state is finite, and no parameter.
        skipped = ~finite((sums, after))
    if program.skips_by_norm:
        # The squares of a finite gradient may overflow; one that is not finite is no matter of its norm.
        norm = measured_norm(gradient, norm_factors(program.optimizer, *_own_rates(operands)))
        above_norm = (norm > operands.skip_norm) & finite((sums, gradient))
        skipped |= above_norm
    if state.loss_scale is not None:
        # A loss that is not finite is no fault of its factor, nor is a gradient at the least one.
        overflowed = finite(sums) & ~finite(gradient) & (state.loss_scale.factor > LEAST)
        skipped |= overflowed
        scale = state.loss_scale.after(overflowed)
        after, kept = after._replace(loss_scale=scale), kept._replace(loss_scale=scale)
    return jax.tree.map(lambda new, old: jnp.where(skipped, old, new), after, kept), Step(sums, skipped, above_norm)


def _known_after(gradient: Params, step: Int[Array, ""], schedule: ScheduleValues) -> ScheduleValues:
    """Returns the factors of a step, bit for bit, in a form that XLA cannot compute before the whole gradient.

    On a CPU XLA drops the barrier above before it decides what to copy, and would copy the decoder's weights in every
    step, because their update depends on no gradient by the hidden layer before them, which is computed from them: 3 %.
    """
    if jax.default_backend() != "cpu":
        return schedule
    bits = [lax.bitcast_convert_type(leaf.ravel()[0], jnp.int32) for leaf in jax.tree.leaves(gradient)]
    # The sign of a step's number, which is 0, though XLA does not know that.
    zero = sum(bits[1:], bits[0]) * lax.shift_right_logical(step, jnp.int32(31))
    lr = lax.bitcast_convert_type(jnp.asarray(schedule.lr, jnp.float32), jnp.int32)
    return schedule._replace(lr=lax.bitcast_convert_type(lr | zero, jnp.float32))


def train_chunk(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    order: Int[Array, "steps batch"],
    schedule: ScheduleValues,
    until: Int[Array, ""],
) -> tuple[TrainState, Step]:
    """Trains on the first `until` rows of `order` in turn, each with its factors of the schedules.

    `until` is a run-time value, so that training again up to some step runs the same program, with the same rounding.

    Returns:
      The state after the last step, and what every step left, (steps,); 0 for those that were not taken.
    """

    def body(number, carry):
        state, steps = carry
        at = jax.tree.map(lambda rows: rows[number], (order, schedule))
        state, step = train_step(program, operands, images, state, *at)
        return state, jax.tree.map(lambda rows, value: rows.at[number].set(value), steps, step)

    zeros = jnp.zeros(len(order), jnp.float32)
    none = jnp.zeros(len(order), bool)
    steps = Step(StepSums(zeros, zeros, zeros), none, none if program.skips_by_norm else None)
    return lax.fori_loop(0, until, body, (state, steps))
