"""The gradient statistics of a log point."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Key, UInt8

from vaecli.vae.batches import Stream, gather, pad, stream
from vaecli.vae.gradients.moments import BlockStatistics, Estimate, block_statistics, moments, ratio, root, split
from vaecli.vae.gradients.units import Units, UnitStatistics, sensitivity, unit_estimates, unit_statistics
from vaecli.vae.networks import Params, network
from vaecli.vae.steps import Operands, Outputs, Program, ScheduleValues, encode, head_of, loss, scheduled


class BatchStatistics(NamedTuple):
    """Of one batch.

    Attributes:
      blocks: by block of parameters.
      units: of the scale head's outputs.
    """

    blocks: Mapping[str, BlockStatistics]
    units: UnitStatistics


def gradient_statistics(
    program: Program,
    operands: Operands,
    params: Params,
    probe: UInt8[Array, "batches batch pixels"],
    schedule: ScheduleValues,
) -> BatchStatistics:
    """The statistics of each batch of the probe, along a leading axis, at the schedule of one step.

    The draws depend on the key alone: every log point, and every head, meets the same ε.
    """
    key = stream(operands.key, Stream.GRADIENTS)
    operands = scheduled(operands, schedule)

    def one(inputs):
        images, number = inputs
        return batch_statistics(program, operands, params, images, jax.random.fold_in(key, number))

    return lax.map(one, (probe, jnp.arange(len(probe))))


def batch_statistics(
    program: Program,
    operands: Operands,
    params: Params,
    images: UInt8[Array, "batch pixels"],
    key: Key[Array, ""],
) -> BatchStatistics:
    """The statistics of one batch from `program.grad_draws` draws of ε.

    All come from the same gradients: those of a training step, by the parameters and by the encoder's outputs, with the
    batch in two halves.
    """
    index = pad(np.arange(len(images)), -(-len(images) // 2))
    sizes = tuple(int(size) for size in (index >= 0).sum(axis=1))
    x, weight = jax.vmap(gather, in_axes=(None, 0))(images, jnp.asarray(index))
    # At this shift of the encoder's outputs the derivatives by them are taken.
    nought = Outputs(*[jnp.zeros((*index.shape, program.architecture.latent), jnp.float32)] * 2)
    gradient = jax.grad(loss, argnums=(2, 6), has_aux=True)
    of_half = jax.vmap(lambda *half: gradient(program, operands, params, *half)[0])

    def by_half(draw):
        halves, *shape = nought.u.shape
        epsilon = jax.random.normal(draw, (halves, program.objective.samples, *shape), jnp.float32)
        by_params, by_outputs = of_half(x, weight, epsilon, nought)
        return by_params, by_outputs.u

    vae = network(program.architecture, params)
    rows = x.reshape(-1, x.shape[-1])
    q, u = encode(program, operands, vae, rows)
    at = sensitivity(head_of(program, operands), program.bound, q, u, vae.encoder(rows), weight.ravel())
    return from_halves(by_half, jax.random.split(key, program.grad_draws), sizes, at)


def from_halves(
    by_half: Callable[[Any], tuple[Params, Float[Array, "halves half latent"]]],
    draws: Any,
    sizes: tuple[int, ...],
    at: Units,
) -> BatchStatistics:
    """The statistics of one batch from the gradients of its halves.

    Args:
      by_half: a draw ↦ the gradient of each half's mean −ELBO, by blocks of parameters and by u.
      draws: K of them, along the leading axis.
      sizes: how many images the halves have; a smaller one is padded.
      at: the units, in the order of the halves.
    """

    def sample(draw):
        by_params, by_u = by_half(draw)
        # ∂L_i/∂u, from the derivative of the mean over a half.
        alone = (by_u * jnp.asarray(sizes, by_u.dtype)[:, None, None]).reshape(at.gain.shape)
        return {name: split(gradient, sizes) for name, gradient in by_params.items()}, alone / at.divisor

    count = len(jax.tree.leaves(draws)[0])
    (mean, unit_mean), (covariance, unit_covariance) = moments(sample, draws)
    return BatchStatistics(
        {name: block_statistics(mean[name], covariance[name], count) for name in mean},
        unit_statistics(unit_mean, unit_covariance, at, count),
    )


def estimates(batches: BatchStatistics, images: int, *, learned: bool) -> dict[str, float]:
    """What is logged, from the statistics of M batches of B `images` each, (M,): `grad/…` and its error `grad_se/…`.

    Numerators and denominators are averaged over the batches before they are divided. What needs two images, an output
    u or, for the errors, two batches is left out where there is none.
    """
    found: dict[str, Estimate] = {}
    for name, block in batches.blocks.items():
        found[f"variance/{name}"] = ratio(block.variance)
        found[f"signal/{name}"] = ratio(block.signal)
        found[f"snr/{name}"] = root(ratio(block.signal, block.variance))
        if images > 1:
            # The noise of ε and of the data together, in the gradient of a batch, is tr Σ / B.
            found[f"epsilon_fraction/{name}"] = ratio(block.variance, block.noise / images)
            found[f"noise_scale/{name}"] = ratio(block.noise, block.overlap)
    if images > 1:
        noise, overlap = (
            np.sum([getattr(block, part) for block in batches.blocks.values()], axis=0) for part in ("noise", "overlap")
        )
        found["noise_scale"] = ratio(noise, overlap)
    if learned:
        units = unit_estimates(batches.units)
        found |= {f"scale_variance/{what}": units[what] for what in ("raw", "sigma", "log_sigma", "weights")}
        found |= {"unit_snr": units["snr"], "fisher_ratio": units["fisher_ratio"]}
    values = {f"grad/{tag}": estimate.value for tag, estimate in found.items()}
    errors = {f"grad_se/{tag}": estimate.error for tag, estimate in found.items()}
    return values | errors if np.size(batches.units.raw) > 1 else values
