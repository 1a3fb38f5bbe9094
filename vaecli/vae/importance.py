"""Estimates log p(x) by importance sampling from the posterior (Burda et al. 2016), streaming over the draws."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int, Key, Real

from vaecli.vae.architecture import Architecture
from vaecli.vae.batches import gather
from vaecli.vae.model import Model
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
# Chunks of draws in one call of the device, between which a signal is heard and the progress shown: a few seconds. Of
# a narrow network there are fewer, since the weights of a call are kept: 4 MB.
_CHUNKS = 100
_KEPT = 2**20


def chunk(architecture: Architecture, images: int) -> int:
    """Returns how many draws of z for each of so many images are decoded at a time."""
    widest = max(architecture.pixels, *architecture.hidden, architecture.latent)
    if architecture.channels:
        # The taps of a transposed convolution, on a quarter of the pixels.
        widest = max(widest, 9 * max(architecture.channels) * architecture.pixels // 4)
    return max(1, _FLOATS // (widest * images))


def chunks_per_call(architecture: Architecture, images: int) -> int:
    """Returns how many chunks of draws for each of so many images one call of `importance` can weigh."""
    return max(1, min(_CHUNKS, _KEPT // (chunk(architecture, images) * images)))


def importance(
    model: Model,
    images: Real[Array, "batch pixels"],
    key: Key[Array, ""],
    sums: Sums,
    span: Int[Array, "2"],
    samples: Int[Array, ""],
) -> tuple[Sums, Importance, Float[Array, "draws batch"]]:
    """Weighs some chunks of the K = `samples` draws for each image, and adds them to those before.

    Memory does not grow with K, and one program serves every K.

    Args:
      model: the VAE to evaluate.
      images: the batch.
      key: the key of its draws.
      sums: the sums over the chunks before; `no_draws` at the start.
      span: the first chunk, and the one after the last; at most `chunks_per_call`.
      samples: the number K of draws.

    Returns:
      The sums; what they say once all chunks are in; and log w_k of the chunks' draws, in their order. What comes after
      the K-th draw, and after the last chunk, has no meaning.
    """
    x, _ = gather(images, jnp.arange(len(images)))
    q, _ = model.encode(x)
    architecture = model.program.architecture
    log_likelihood, size = model.log_likelihood(x), chunk(architecture, len(images))

    def add(number: Array, state: tuple[Sums, Array]) -> tuple[Sums, Array]:
        sums, log_weights = _add(state[0], q, log_likelihood, key, number, samples, size)
        return sums, lax.dynamic_update_index_in_dim(state[1], log_weights, number - span[0], 0)

    kept = jnp.zeros((chunks_per_call(architecture, len(images)), size, len(images)), q.loc.dtype)
    sums, kept = lax.fori_loop(span[0], span[1], add, (sums, kept))
    result = Importance(_weighing(sums, samples), kl_divergence(q), q.loc, q.scale)
    return sums, result, kept.reshape(-1, len(images))


def no_draws(images: int, dtype: Any = jnp.float32) -> Sums:
    """Returns the sums before the first draw."""
    zero = jnp.zeros(images, dtype)
    return Sums(zero - jnp.inf, zero, zero, zero, zero)


def weigh(
    q: Posterior, log_likelihood: LogLikelihood, key: Key[Array, ""], samples: Int[Array, ""], size: int
) -> Weighing:
    """Weighs K = `samples` draws of z, `size` of them at a time: chunk c is drawn from the key folded with c."""

    def add(number: Array, sums: Sums) -> Sums:
        return _add(sums, q, log_likelihood, key, number, samples, size)[0]

    return _weighing(lax.fori_loop(0, -(-samples // size), add, no_draws(len(q.loc), q.loc.dtype)), samples)


def _add(
    sums: Sums,
    q: Posterior,
    log_likelihood: LogLikelihood,
    key: Key[Array, ""],
    number: Int[Array, ""],
    samples: Int[Array, ""],
    size: int,
) -> tuple[Sums, Float[Array, "draws batch"]]:
    """Returns the sums with chunk `number` added, and its log w; only the draws that K still has are in the sums."""
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
    added = Sums(
        greatest,
        shrink * sums.weights + relative.sum(axis=0),
        shrink**2 * sums.squares + (relative**2).sum(axis=0),
        moved(sums.elbo, log_weights),
        moved(sums.reconstruction, reconstruction),
    )
    return added, log_weights


def _weighing(sums: Sums, samples: Int[Array, ""]) -> Weighing:
    log_mean = sums.greatest + jnp.log(sums.weights) - jnp.log(samples.astype(sums.weights.dtype))
    return Weighing(log_mean, sums.weights**2 / sums.squares, sums.elbo, sums.reconstruction)
