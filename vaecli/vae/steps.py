"""The training step, and the scan over the steps between two log points."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jaxtyping import Float, Int, Key, UInt8

from vaecli.vae.batches import Stream, gather, stream
from vaecli.vae.bounds import Bound
from vaecli.vae.heads import Head
from vaecli.vae.networks import VAE, Architecture, Params, init_params, network
from vaecli.vae.objective import LogLikelihood, bernoulli_log_prob, elbo_terms
from vaecli.vae.optimizers import Rates, Recipe, optimizer
from vaecli.vae.posterior import Posterior, posterior


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What is compiled in. Runs with equal programs share one executable.

    Attributes:
      architecture: the network's shape.
      head: the variance head's form, without its slope.
      bound: on σ.
      optimizer: which one, and what goes with it.
      dynamic: whether each step draws its binary pixels anew.
      grad_draws: draws of ε behind the gradient statistics of a batch.
    """

    architecture: Architecture
    head: Head
    bound: Bound
    optimizer: Recipe
    dynamic: bool
    grad_draws: int


class Operands(NamedTuple):
    """What a program receives at run time, besides its state and data; all scalars.

    Attributes:
      key: of the seed.
      slope: of the head, log σ = f(slope · u).
      start_weight: the factor on the scale head's drawn weights.
      start_bias: the scale head's first bias; log σ itself, before its bound, for a head that is not learned.
      rates: the optimiser's settings.
      head_rates: those of the scale head.
      clip_norm: the greatest norm of the gradient, if the program clips it.
      head_clip: the factor on the scale head's gradient within that norm.
    """

    key: Key[Array, ""]
    slope: Float[Array, ""]
    start_weight: Float[Array, ""]
    start_bias: Float[Array, ""]
    rates: Rates
    head_rates: Rates
    clip_norm: Float[Array, ""]
    head_clip: Float[Array, ""]


class TrainState(NamedTuple):
    """What training changes."""

    params: Params
    opt_state: Any
    step: Int[Array, ""]


class StepSums(NamedTuple):
    """Sums over the images of a step, in nats: reconstruction − kl is their ELBO."""

    reconstruction: Float[Array, ""]
    kl: Float[Array, ""]


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


def log_likelihood(vae: VAE, x: Float[Array, "batch pixels"]) -> LogLikelihood:
    """z ↦ log p(x|z)."""
    return lambda z: bernoulli_log_prob(vae.decode(z), x)


def optimizer_of(program: Program, operands: Operands) -> optax.GradientTransformation:
    """The optimiser of all blocks."""
    return optimizer(program.optimizer, operands.rates, operands.head_rates, operands.clip_norm, operands.head_clip)


def init_state(program: Program, operands: Operands) -> TrainState:
    """The state before the first step: drawn weights, and the scale head at its start."""
    params = init_params(program.architecture, stream(operands.key, Stream.WEIGHTS))
    if drawn := params["scale_head"]:
        bias = jnp.full_like(drawn["bias"], operands.start_bias)
        params["scale_head"] = {"kernel": operands.start_weight * drawn["kernel"], "bias": bias}
    return TrainState(params, optimizer_of(program, operands).init(params), jnp.zeros((), jnp.int32))


def negative_elbo(
    program: Program,
    operands: Operands,
    params: Params,
    x: Float[Array, "batch pixels"],
    weight: Float[Array, " batch"],
    epsilon: Float[Array, "batch latent"],
    shift: Outputs | None = None,
) -> tuple[Float[Array, ""], StepSums]:
    """−ELBO averaged over the images of weight 1, in nats per image, and its two terms summed over them."""
    vae = network(program.architecture, params)
    q, _ = encode(program, operands, vae, x, shift)
    reconstruction, kl = elbo_terms(q, log_likelihood(vae, x), epsilon)
    sums = StepSums((reconstruction * weight).sum(), (kl.sum(axis=-1) * weight).sum())
    return (sums.kl - sums.reconstruction) / weight.sum(), sums


def train_step(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    index: Int[Array, " batch"],
) -> tuple[TrainState, StepSums]:
    """One step of the optimiser on the images at `index`, with the draws that belong to (seed, step)."""
    x, weight = gather(images, index)
    if program.dynamic:
        key = jax.random.fold_in(stream(operands.key, Stream.PIXELS), state.step)
        x = jax.random.bernoulli(key, x).astype(jnp.float32)
    key = jax.random.fold_in(stream(operands.key, Stream.EPSILON), state.step)
    epsilon = jax.random.normal(key, (len(index), program.architecture.latent), jnp.float32)
    loss = jax.value_and_grad(negative_elbo, argnums=2, has_aux=True)
    (_, sums), gradient = loss(program, operands, state.params, x, weight, epsilon)
    # Without the barrier XLA starts updating weights that the backward pass still reads, and copies them first: 5 %.
    gradient = lax.optimization_barrier(gradient)
    update, opt_state = optimizer_of(program, operands).update(gradient, state.opt_state, state.params)
    params = jax.tree.map(jnp.add, state.params, update)
    return TrainState(params, opt_state, state.step + 1), sums


def train_chunk(
    program: Program,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    state: TrainState,
    order: Int[Array, "steps batch"],
) -> tuple[TrainState, StepSums]:
    """Trains on each row of `order` in turn.

    Returns:
      The state after the last step, and the sums of every step, (steps,).
    """
    return lax.scan(lambda state, index: train_step(program, operands, images, state, index), state, order)
