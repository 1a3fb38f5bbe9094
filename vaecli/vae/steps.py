"""The training step, and the scan over the steps between two log points."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jaxtyping import Bool, Float, Int, Key, UInt8

from vaecli.vae.batches import Stream, gather, stream
from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import Head
from vaecli.vae.likelihoods import Likelihood
from vaecli.vae.networks import VAE, Architecture, Params, init_params, network
from vaecli.vae.objective import LogLikelihood, Objective, objective_terms
from vaecli.vae.optimizers import Rates, Recipe, optimizer
from vaecli.vae.posterior import Posterior, posterior


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What is compiled in. Runs with equal programs share one executable.

    Attributes:
      architecture: the network's shape.
      head: the variance head's form, without its slope.
      bound: on σ.
      likelihood: p(x|z).
      mean_bias: whether the decoder's last bias starts at the mean training image.
      objective: what is maximised.
      optimizer: which one, and what goes with it.
      dynamic: whether each step draws its binary pixels anew.
      skips: whether an update that is not finite is dropped.
      grad_draws: draws of ε behind the gradient statistics of a batch.
    """

    architecture: Architecture
    head: Head
    bound: Bound
    likelihood: Likelihood
    mean_bias: bool
    objective: Objective
    optimizer: Recipe
    dynamic: bool
    skips: bool
    grad_draws: int


class Operands(NamedTuple):
    """What a program receives at run time, besides its state and data; all scalars.

    Attributes:
      key: of the seed.
      slope: of the head, log σ = f(slope · u).
      start_weight: the factor on the scale head's drawn weights.
      start_bias: the scale head's first bias; log σ itself, before its bound, for a head that is not learned.
      perturb: what is added to one weight at the start.
      decoder_scale_slope: of the head of the likelihood's standard deviation τ.
      decoder_scale_start: its first u; log τ itself for a head that is not learned.
      beta: the factor on the KL.
      rates: the optimiser's settings.
      head_rates: those of the scale head.
      clip_norm: the greatest norm of the gradient, if the program clips it.
      head_clip: the factor on the scale head's gradient within that norm.
    """

    key: Key[Array, ""]
    slope: Float[Array, ""]
    start_weight: Float[Array, ""]
    start_bias: Float[Array, ""]
    perturb: Float[Array, ""]
    decoder_scale_slope: Float[Array, ""]
    decoder_scale_start: Float[Array, ""]
    beta: Float[Array, ""]
    rates: Rates
    head_rates: Rates
    clip_norm: Float[Array, ""]
    head_clip: Float[Array, ""]


class ScheduleValues(NamedTuple):
    """Factors that change from step to step.

    Attributes:
      lr: on every learning rate.
      beta: on the KL.
    """

    lr: Float[Array, "*steps"]
    beta: Float[Array, "*steps"]


class TrainState(NamedTuple):
    """What training changes."""

    params: Params
    opt_state: Any
    step: Int[Array, ""]


class StepSums(NamedTuple):
    """Sums over the images of a step, in nats: reconstruction − kl is their ELBO, objective what was maximised."""

    reconstruction: Float[Array, ""]
    kl: Float[Array, ""]
    objective: Float[Array, ""]


class Step(NamedTuple):
    """What a step leaves besides the state.

    Attributes:
      sums: its loss.
      skipped: whether its update was dropped.
    """

    sums: StepSums
    skipped: Bool[Array, ""]


class Outputs(NamedTuple):
    """What the encoder puts out for each unit: the mean (η₁ under a head that couples it), and u."""

    mean: Float[Array, "batch latent"]
    u: Float[Array, "batch latent"]


def head_of(program: Program, operands: Operands) -> Head:
    """The head, with its slope."""
    return dataclasses.replace(program.head, slope=operands.slope)


def encode(
    program: Program,
    operands: Operands,
    vae: VAE,
    x: Float[Array, "batch pixels"],
    shift: Outputs | None = None,
) -> tuple[Posterior, Float[Array, "batch latent"]]:
    """The posterior q(z|x), and the u behind it (log σ itself for a head that is not learned).

    A `shift` is added to the encoder's outputs: at 0, it is what derivatives by them are taken by.
    """
    mean, u = vae.encode(x)
    u = jnp.full_like(mean, operands.start_bias) if u is None else u
    if shift is not None:
        mean, u = mean + shift.mean, u + shift.u
    return posterior(head_of(program, operands), program.bound, mean, u), u


def decoder_log_scale(program: Program, operands: Operands, vae: VAE) -> Float[Array, ""]:
    """log τ of a Gaussian likelihood."""
    head = program.likelihood.head
    if head is None or not head.learned:
        return operands.decoder_scale_start
    return dataclasses.replace(head, slope=operands.decoder_scale_slope).log_scale(vae.decoder.u[...])


def log_likelihood(program: Program, operands: Operands, vae: VAE, x: Float[Array, "batch pixels"]) -> LogLikelihood:
    """z ↦ log p(x|z)."""
    log_scale = decoder_log_scale(program, operands, vae)
    return lambda z: program.likelihood.log_prob(vae.decode(z), log_scale, x)


def optimizer_of(program: Program, operands: Operands) -> optax.GradientTransformation:
    """The optimiser of all blocks."""
    return optimizer(program.optimizer, operands.rates, operands.head_rates, operands.clip_norm, operands.head_clip)


def init_state(program: Program, operands: Operands, mean: Float[Array, " pixels"]) -> TrainState:
    """The state before the first step: drawn weights, and what does not start at a draw.

    Args:
      program: what is compiled in.
      operands: what it receives.
      mean: the mean training image, in [0, 1].
    """
    params = init_params(program.architecture, stream(operands.key, Stream.WEIGHTS))
    if drawn := params["scale_head"]:
        bias = jnp.full_like(drawn["bias"], operands.start_bias)
        params["scale_head"] = {"kernel": operands.start_weight * drawn["kernel"], "bias": bias}
    # A bias acts on every image; a pixel's weight may never see anything but black.
    bias = params["mean_head"]["bias"]
    params["mean_head"]["bias"] = bias.at[0].add(operands.perturb)
    if program.likelihood.learns:
        params["decoder"]["u"] = operands.decoder_scale_start
    if program.mean_bias:
        last = params["decoder"]["layers"][max(params["decoder"]["layers"])]
        # A convolution has one bias for all pixels.
        last["bias"] = program.likelihood.output(mean if len(last["bias"]) == len(mean) else mean.mean(keepdims=True))
    return TrainState(params, optimizer_of(program, operands).init(params), jnp.zeros((), jnp.int32))


def scheduled(operands: Operands, schedule: ScheduleValues) -> Operands:
    """The operands of one step."""
    return operands._replace(
        beta=operands.beta * schedule.beta,
        rates=operands.rates._replace(lr=operands.rates.lr * schedule.lr),
        head_rates=operands.head_rates._replace(lr=operands.head_rates.lr * schedule.lr),
    )


def loss(
    program: Program,
    operands: Operands,
    params: Params,
    x: Float[Array, "batch pixels"],
    weight: Float[Array, " batch"],
    epsilon: Float[Array, "samples batch latent"],
    shift: Outputs | None = None,
) -> tuple[Float[Array, ""], StepSums]:
    """−objective averaged over the images of weight 1, in nats per image, and its terms summed over them."""
    vae = network(program.architecture, params)
    q, _ = encode(program, operands, vae, x, shift)
    found = objective_terms(program.objective, q, log_likelihood(program, operands, vae, x), epsilon, operands.beta)
    per_image = StepSums(found.reconstruction, found.kl.sum(axis=-1), found.value)
    sums = StepSums(*((values * weight).sum() for values in per_image))
    return -sums.objective / weight.sum(), sums


def step_gradient(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    index: Int[Array, " batch"],
    schedule: ScheduleValues,
) -> tuple[Params, StepSums]:
    """The gradient of a step on the images at `index`, with the draws that belong to (seed, step); and its loss."""
    operands = scheduled(operands, schedule)
    x, weight = gather(images, index)
    if program.dynamic:
        key = jax.random.fold_in(stream(operands.key, Stream.PIXELS), state.step)
        x = jax.random.bernoulli(key, x).astype(jnp.float32)
    key = jax.random.fold_in(stream(operands.key, Stream.EPSILON), state.step)
    shape = (program.objective.samples, len(index), program.architecture.latent)
    epsilon = jax.random.normal(key, shape, jnp.float32)
    return jax.grad(loss, argnums=2, has_aux=True)(program, operands, state.params, x, weight, epsilon)


def finite(tree: Any) -> Bool[Array, ""]:
    """Whether all floating-point numbers of a tree are finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def train_step(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    index: Int[Array, " batch"],
    schedule: ScheduleValues,
) -> tuple[TrainState, Step]:
    """One step of the optimiser."""
    gradient, sums = step_gradient(program, operands, images, state, index, schedule)
    # Without the barrier XLA starts updating weights that the backward pass still reads, and copies them first: 5 %.
    gradient = lax.optimization_barrier(gradient)
    update, opt_state = optimizer_of(program, scheduled(operands, schedule)).update(
        gradient, state.opt_state, state.params
    )
    after = TrainState(jax.tree.map(jnp.add, state.params, update), opt_state, state.step + 1)
    if not program.skips:
        return after, Step(sums, jnp.zeros((), bool))
    # A gradient that is not finite leaves no optimiser's state finite, and no parameter's.
    sound = finite((sums, after))
    kept = state._replace(step=after.step)
    return jax.tree.map(lambda new, old: jnp.where(sound, new, old), after, kept), Step(sums, ~sound)


def train_chunk(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    order: Int[Array, "steps batch"],
    schedule: ScheduleValues,
    until: Int[Array, ""],
) -> tuple[TrainState, Step]:
    """Trains on the first `until` rows of `order` in turn, each at its schedule.

    How many is a run-time value, so that training again up to some step runs the same program, with the same rounding.

    Returns:
      The state after the last step, and what every step left, (steps,); 0 for those that were not taken.
    """

    def body(step, carry):
        state, found = carry
        at = jax.tree.map(lambda rows: rows[step], (order, schedule))
        state, left = train_step(program, operands, images, state, *at)
        return state, jax.tree.map(lambda rows, value: rows.at[step].set(value), found, left)

    nought = jnp.zeros(len(order), jnp.float32)
    found = Step(StepSums(nought, nought, nought), jnp.zeros(len(order), bool))
    return lax.fori_loop(0, until, body, (state, found))
