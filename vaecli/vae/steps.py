"""The training step, and the scan over the steps between two log points."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int, Key, UInt8

from vaecli.vae.batches import Stream, gather, stream
from vaecli.vae.networks import Architecture, Params, init_params, network
from vaecli.vae.objective import elbo_terms
from vaecli.vae.optimizers import optimizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What is compiled in. Runs with equal programs share one executable.

    Attributes:
      architecture: the network's shape.
      f: the head's map, log σ = f(slope · u).
      dynamic: whether each step draws its binary pixels anew.
      grad_draws: draws behind the gradient statistics; 0 for none.
    """

    architecture: Architecture
    f: Callable[[Array], Array]
    dynamic: bool
    grad_draws: int


class Operands(NamedTuple):
    """What a program receives at run time, besides its state and data."""

    key: Key[Array, ""]
    slope: Float[Array, ""]
    lr: Float[Array, ""]


class TrainState(NamedTuple):
    """What training changes."""

    params: Params
    opt_state: Any
    step: Int[Array, ""]


class StepSums(NamedTuple):
    """Sums over the images of a step, in nats: reconstruction − kl is their ELBO."""

    reconstruction: Float[Array, ""]
    kl: Float[Array, ""]


def head_of(program: Program, operands: Operands) -> Callable[[Array], Array]:
    """The head u ↦ log σ."""
    return lambda u: program.f(operands.slope * u)


def init_state(program: Program, operands: Operands) -> TrainState:
    """The state before the first step."""
    params = init_params(program.architecture, stream(operands.key, Stream.WEIGHTS))
    return TrainState(params, optimizer(operands.lr).init(params), jnp.zeros((), jnp.int32))


def negative_elbo(
    program: Program,
    operands: Operands,
    params: Params,
    x: Float[Array, "batch pixels"],
    weight: Float[Array, " batch"],
    epsilon: Float[Array, "batch latent"],
) -> tuple[Float[Array, ""], StepSums]:
    """−ELBO averaged over the images of weight 1, in nats per image, and its two terms summed over them."""
    vae, head = network(program.architecture, params), head_of(program, operands)
    reconstruction, kl = elbo_terms(vae, head, x, epsilon)
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
    update, opt_state = optimizer(operands.lr).update(gradient, state.opt_state, state.params)
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
