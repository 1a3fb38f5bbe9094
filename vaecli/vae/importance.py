"""Estimates log p(x) by importance sampling from the posterior (Burda et al. 2016), streaming over the draws."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int, Key, UInt8

from vaecli.vae.batches import gather
from vaecli.vae.model import Model
from vaecli.vae.networks import Architecture
from vaecli.vae.posterior import Posterior
from vaecli.vae.terms import LogLikelihood, kl_divergence, log_ratio


class Weighing(NamedTuple):
    """The summary of K draws of z from q(z|x) for each image, in nats; w_k = p(x|z_k) p(z_k)/q(z_k|x).

    Attributes:
      log_mean: the logarithm of the mean weight, log (1/K) Σ_k w_k, which estimates log p(x).
      effective: the number of equal weights that they are worth, (Σ w_k)² / Σ w_k².
      elbo: the mean log weight, (1/K) Σ_k log w_k; never above `log_mean`.
      reconstruction: the mean log likelihood, (1/K) Σ_k log p(x|z_k).
    """

    log_mean: Float[Array, " batch"]
    effective: Float[Array, " batch"]
    elbo: Float[Array, " batch"]
    reconstruction: Float[Array, " batch"]


class Importance(NamedTuple):
    """The results of importance sampling for each image.

    Attributes:
      weighing: the summary of the draws.
      kl: the closed-form KL of each latent dimension.
      loc: the mean μ of q(z|x).
      scale: the standard deviation σ of q(z|x).
    """

    weighing: Weighing
    kl: Float[Array, "batch latent"]
    loc: Float[Array, "batch latent"]
    scale: Float[Array, "batch latent"]


class Sums(NamedTuple):
    """The sums over the draws so far: the weights are relative to the greatest of them, and the means are moved along.

    So float32 loses no more over a million draws than over a few.
    """

    greatest: Float[Array, " batch"]
    weights: Float[Array, " batch"]
    squares: Float[Array, " batch"]
    elbo: Float[Array, " batch"]
    reconstruction: Float[Array, " batch"]


# The floats of the widest layer that are alive at a time: 5,000 images of MNIST, 16 MB.
_FLOATS = 5000 * 784


def chunk(architecture: Architecture, images: int) -> int:
    """Returns how many draws of z for each of so many images are decoded at a time."""
    widest = max(architecture.pixels, *architecture.hidden, architecture.latent)
    if architecture.channels:
        # The taps of a transposed convolution, on a quarter of the pixels.
        widest = max(widest, 9 * max(architecture.channels) * architecture.pixels // 4)
    return max(1, _FLOATS // (widest * images))


def importance(
    model: Model,
    images: UInt8[Array, "batch pixels"],
    key: Key[Array, ""],
    sums: Sums,
    span: Int[Array, "2"],
    samples: Int[Array, ""],
) -> tuple[Sums, Importance]:
    """Weighs some chunks of the K = `samples` draws for each image, and adds them to those before.

    Memory does not grow with K, and one program serves every K.

    Args:
      model: the VAE to evaluate.
      images: the batch.
      key: the key of its draws.
      sums: the sums over the chunks before; `no_draws` at the start.
      span: the first chunk, and the one after the last.
      samples: the number K of draws.

    Returns:
      The sums, and what they say once all chunks are in.
    """
    x, _ = gather(images, jnp.arange(len(images)))
    q, _ = model.encode(x)
    log_likelihood, size = model.log_likelihood(x), chunk(model.program.architecture, len(images))
    sums = _add_chunks(sums, (span[0], span[1]), q, log_likelihood, key, samples, size)
    return sums, Importance(_weighing(sums, samples), kl_divergence(q), q.loc, q.scale)


def no_draws(images: int, dtype: Any = jnp.float32) -> Sums:
    """Returns the sums before the first draw."""
    zero = jnp.zeros(images, dtype)
    return Sums(zero - jnp.inf, zero, zero, zero, zero)


def weigh(
    q: Posterior, log_likelihood: LogLikelihood, key: Key[Array, ""], samples: Int[Array, ""], size: int
) -> Weighing:
    """Weighs K = `samples` draws of z, `size` of them at a time: chunk c is drawn from the key folded with c."""
    empty = no_draws(len(q.loc), q.loc.dtype)
    return _weighing(_add_chunks(empty, (0, -(-samples // size)), q, log_likelihood, key, samples, size), samples)


def _add_chunks(
    sums: Sums,
    span: tuple[Int[Array, ""] | int, Int[Array, ""]],
    q: Posterior,
    log_likelihood: LogLikelihood,
    key: Key[Array, ""],
    samples: Int[Array, ""],
    size: int,
) -> Sums:
    """Returns the sums with the chunks of a span added, each of `size` draws."""

    def add(number: Array, sums: Sums) -> Sums:
        return _add(sums, q, log_likelihood, key, number, samples, size)

    return lax.fori_loop(*span, add, sums)


def _add(
    sums: Sums,
    q: Posterior,
    log_likelihood: LogLikelihood,
    key: Key[Array, ""],
    number: Int[Array, ""],
    samples: Int[Array, ""],
    size: int,
) -> Sums:
    """Returns the sums with chunk `number` added; of the last chunk only the draws that K still has count."""
    epsilon = jax.random.normal(jax.random.fold_in(key, number), (size, *q.loc.shape), q.loc.dtype)
    z = q.loc[None] + q.scale[None] * epsilon
    reconstruction = log_likelihood(z)
    log_weights = reconstruction - log_ratio(q, z, epsilon, stick=False).sum(axis=-1)
    counts = (number * size + jnp.arange(size) < samples)[:, None]
    done = jnp.minimum((number + 1) * size, samples)

    def moved(mean: Array, values: Array) -> Array:
        change = jnp.where(counts, values - mean[None], 0.0).sum(axis=0) / done
        return jnp.where(mean == -jnp.inf, mean, mean + change)

    greatest = jnp.maximum(sums.greatest, jnp.where(counts, log_weights, -jnp.inf).max(axis=0))
    # While every weight is 0, no −∞ − (−∞).
    base = jnp.where(greatest == -jnp.inf, 0.0, greatest)
    relative = jnp.where(counts, jnp.exp(log_weights - base[None]), 0.0)
    shrink = jnp.exp(sums.greatest - base)
    return Sums(
        greatest,
        shrink * sums.weights + relative.sum(axis=0),
        shrink**2 * sums.squares + (relative**2).sum(axis=0),
        moved(sums.elbo, log_weights),
        moved(sums.reconstruction, reconstruction),
    )


def _weighing(sums: Sums, samples: Int[Array, ""]) -> Weighing:
    log_mean = sums.greatest + jnp.log(sums.weights) - jnp.log(samples.astype(sums.weights.dtype))
    return Weighing(log_mean, sums.weights**2 / sums.squares, sums.elbo, sums.reconstruction)
