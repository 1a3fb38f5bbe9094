"""The gradient statistics of a log point."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Key, Real

from vaecli.vae.architecture import DECODER_SCALE, Params
from vaecli.vae.batches import Stream, gather, pad, stream
from vaecli.vae.gradients.moments import BlockStatistics, Estimate, block_statistics, moments, ratio, root, split
from vaecli.vae.gradients.units import Units, UnitStatistics, sensitivity, unit_estimates, unit_statistics
from vaecli.vae.loss import loss
from vaecli.vae.loss_scale import scaled_grad
from vaecli.vae.model import EncoderOutputs, Model
from vaecli.vae.scale_score import squared_score
from vaecli.vae.schedules import ScheduleValues


class BatchStatistics(NamedTuple):
    """The gradient statistics of one batch.

    Attributes:
      blocks: the statistics of each block of parameters.
      units: the statistics of the scale head's outputs.
      decoder_fisher_ratio: the mean square of a pixel's ∂ log p/∂ log τ, over the Fisher information; None where the
        likelihood has no scale.
    """

    blocks: Mapping[str, BlockStatistics]
    units: UnitStatistics
    decoder_fisher_ratio: Float[Array, "..."] | None = None


class HalfBatches(NamedTuple):
    """What one draw of ε gives for the halves of a batch.

    Attributes:
      by_params: the gradient of each half's mean −ELBO, by blocks of parameters.
      by_u: the same by u.
      squared_score: the sum over the images of each half of a pixel's mean squared ∂ log p/∂ log τ, over the Fisher
        information; None where the likelihood has no scale.
    """

    by_params: Params
    by_u: Float[Array, "halves half latent"]
    squared_score: Float[Array, " halves"] | None = None


def gradient_statistics(
    model: Model, probe: Real[Array, "batches batch pixels"], schedule: ScheduleValues
) -> BatchStatistics:
    """Returns the statistics of each batch of the probe, along a leading axis, with the schedules' factors of one step.

    The draws depend only on the key: every log point, and every head, meets the same ε.
    """
    key = stream(model.operands.key, Stream.GRADIENTS)
    model = dataclasses.replace(model, operands=model.operands.at(schedule))

    def one(inputs):
        images, number = inputs
        return batch_statistics(model, images, jax.random.fold_in(key, number))

    return lax.map(one, (probe, jnp.arange(len(probe))))


def batch_statistics(model: Model, images: Real[Array, "batch pixels"], key: Key[Array, ""]) -> BatchStatistics:
    """Returns the statistics of one batch from the program's `grad_draws` draws of ε.

    All of them come from the same gradients: those of a training step, by the parameters and by the encoder's outputs,
    with the batch in two halves.
    """
    program = model.program
    index = pad(np.arange(len(images)), -(-len(images) // 2))
    sizes = tuple(int(size) for size in (index >= 0).sum(axis=1))
    x, weight = jax.vmap(gather, in_axes=(None, 0))(images, jnp.asarray(index))
    # Derivatives by the encoder's outputs are taken at this shift of them.
    zero = EncoderOutputs(*[jnp.zeros((*index.shape, program.architecture.latent), jnp.float32)] * 2)

    def loss_at(params, shift, x, weight, epsilon):
        return loss(dataclasses.replace(model, params=params), x, weight, epsilon, shift)

    scale = None if program.loss_scale == "off" else model.operands.loss_scale
    gradient = scaled_grad(loss_at, scale, argnums=(0, 1))
    of_half = jax.vmap(lambda x, weight, epsilon, shift: gradient(model.params, shift, x, weight, epsilon)[0])

    def by_half(epsilon):
        by_params, by_outputs = of_half(x, weight, epsilon, zero)
        if program.optimizer.decoder_scale == "set":
            # What stands there for a gradient is a distance.
            by_params = {block: of_block for block, of_block in by_params.items() if block != DECODER_SCALE}
        if program.likelihood.scale_head is None:
            return HalfBatches(by_params, by_outputs.u)
        return HalfBatches(by_params, by_outputs.u, jax.vmap(of_scores)(x, weight, epsilon))

    def of_scores(x, weight, epsilon):
        return (squared_score(model, x, epsilon) * weight).sum()

    rows = x.reshape(-1, x.shape[-1])
    q, u = model.encode(rows)
    natural = program.natural_head
    units = sensitivity(model.head, program.bound, q, u, model.features(rows), weight.ravel(), natural=natural)
    halves, *shape = zero.u.shape

    def draw(key):
        return jax.random.normal(key, (halves, program.objective.samples, *shape), jnp.float32)

    # All before the scan over them, where XLA would draw once for each kernel that reads them.
    return from_halves(by_half, jax.vmap(draw)(jax.random.split(key, program.grad_draws)), sizes, units)


def from_halves(
    by_half: Callable[[Any], HalfBatches],
    draws: Any,
    sizes: tuple[int, ...],
    units: Units,
) -> BatchStatistics:
    """Returns the statistics of one batch from the gradients of its halves.

    Args:
      by_half: maps a draw to what it gives for the halves.
      draws: the K draws, along the leading axis.
      sizes: the number of images of each half; a smaller one is padded.
      units: the units, in the order of the halves.
    """

    def sample(draw):
        by_params, by_u, squared_score = by_half(draw)
        # ∂L_i/∂u, from the derivative of the mean over a half.
        by_image = (by_u * jnp.asarray(sizes, by_u.dtype)[:, None, None]).reshape(units.gain.shape)
        blocks = {name: split(gradient, sizes) for name, gradient in by_params.items()}
        return blocks, by_image / units.divisor, None if squared_score is None else squared_score.sum() / sum(sizes)

    count = len(jax.tree.leaves(draws)[0])
    (mean, unit_mean, fisher_ratio), (covariance, unit_covariance, _) = moments(sample, draws)
    return BatchStatistics(
        {name: block_statistics(mean[name], covariance[name], count) for name in mean},
        unit_statistics(unit_mean, unit_covariance, units, count),
        fisher_ratio,
    )


def estimates(batches: BatchStatistics, images: int, *, learned: bool) -> dict[str, float]:
    """Returns the values that are logged, `grad/…`, and their errors, `grad_se/…`.

    Numerators and denominators are averaged over the batches before they are divided. A value that needs two images or
    an output u, and an error, which needs two batches, are left out where these are missing.

    Args:
      batches: the statistics of M batches, (M,).
      images: the number B of images in each.
      learned: whether the head has an output u.
    """
    logged: dict[str, Estimate] = {}
    for name, block in batches.blocks.items():
        logged[f"variance/{name}"] = ratio(block.variance)
        logged[f"signal/{name}"] = ratio(block.signal)
        logged[f"snr/{name}"] = root(ratio(block.signal, block.variance))
        if images > 1:
            # The noise of ε and of the data together, in the gradient of a batch, is tr Σ / B.
            logged[f"epsilon_fraction/{name}"] = ratio(block.variance, block.noise / images)
            logged[f"noise_scale/{name}"] = ratio(block.noise, block.overlap)
    if images > 1:
        noise, overlap = (
            np.sum([getattr(block, part) for block in batches.blocks.values()], axis=0) for part in ("noise", "overlap")
        )
        logged["noise_scale"] = ratio(noise, overlap)
    if learned:
        units = unit_estimates(batches.units)
        logged |= {f"scale_variance/{what}": units[what] for what in ("raw", "sigma", "log_sigma", "weights")}
        logged |= {"unit_snr": units["snr"], "fisher_ratio": units["fisher_ratio"]}
    if batches.decoder_fisher_ratio is not None:
        logged["decoder_fisher_ratio"] = ratio(batches.decoder_fisher_ratio)
    values = {f"grad/{tag}": estimate.value for tag, estimate in logged.items()}
    errors = {f"grad_se/{tag}": estimate.error for tag, estimate in logged.items()}
    return values | errors if np.size(batches.units.raw) > 1 else values
