"""log p(x) by importance sampling from the posterior (Burda et al. 2016), streaming over the draws."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int, Key, UInt8

from vaecli.vae.batches import gather
from vaecli.vae.networks import Architecture, Params, network
from vaecli.vae.objective import LogLikelihood, kl_divergence, log_ratio
from vaecli.vae.posterior import Posterior
from vaecli.vae.steps import Operands, Program, encode, log_likelihood


class Weighing(NamedTuple):
    """What K draws of z from q(z|x) say of each image, nats; w_k = p(x|z_k) p(z_k)/q(z_k|x).

    Attributes:
      log_mean: log (1/K) Σ_k w_k, an estimate of log p(x).
      effective: (Σ w_k)² / Σ w_k², as how many equal weights they count.
      elbo: (1/K) Σ_k log w_k; never above `log_mean`.
      reconstruction: (1/K) Σ_k log p(x|z_k).
    """

    log_mean: Float[Array, " batch"]
    effective: Float[Array, " batch"]
    elbo: Float[Array, " batch"]
    reconstruction: Float[Array, " batch"]


class Importance(NamedTuple):
    """Of each image.

    Attributes:
      weighing: of the draws.
      kl: the closed-form KL of each latent dimension.
      loc: μ, the mean of q(z|x).
      scale: σ.
    """

    weighing: Weighing
    kl: Float[Array, "batch latent"]
    loc: Float[Array, "batch latent"]
    scale: Float[Array, "batch latent"]


def rows(architecture: Architecture) -> int:
    """How many draws of z are decoded at a time: about 20 MB of activations for an MLP of MNIST's size."""
    return 1000 if architecture.channels else 5000


def importance(
    program: Program,
    operands: Operands,
    params: Params,
    images: UInt8[Array, "batch pixels"],
    key: Key[Array, ""],
    samples: Int[Array, ""],
) -> Importance:
    """Evaluates images with K = `samples` draws each; memory does not grow with K, and one program serves every K."""
    vae = network(program.architecture, params)
    x, _ = gather(images, jnp.arange(len(images)))
    q, _ = encode(program, operands, vae, x)
    chunk = max(1, rows(program.architecture) // len(images))
    return Importance(
        weigh(q, log_likelihood(program, operands, vae, x), key, samples, chunk), kl_divergence(q), q.loc, q.scale
    )


def weigh(
    q: Posterior, log_likelihood: LogLikelihood, key: Key[Array, ""], samples: Int[Array, ""], chunk: int
) -> Weighing:
    """Weighs K draws of z, `chunk` of them at a time: chunk c from the key folded with c.

    The sums of weights are kept relative to the greatest weight so far, the means are moved and not summed up, so that
    float32 loses no more over 5,000 draws than over a few.
    """

    class Sums(NamedTuple):
        greatest: Array
        weights: Array
        squares: Array
        elbo: Array
        reconstruction: Array

    def add(number: Array, sums: Sums) -> Sums:
        epsilon = jax.random.normal(jax.random.fold_in(key, number), (chunk, *q.loc.shape), q.loc.dtype)
        z = q.loc[None] + q.scale[None] * epsilon
        reconstruction = log_likelihood(z)
        log_weights = reconstruction - log_ratio(q, z, epsilon, stick=False).sum(axis=-1)
        counts = (number * chunk + jnp.arange(chunk) < samples)[:, None]
        done = jnp.minimum((number + 1) * chunk, samples)

        def moved(mean: Array, values: Array) -> Array:
            return mean + jnp.where(counts, values - mean[None], 0.0).sum(axis=0) / done

        greatest = jnp.maximum(sums.greatest, jnp.where(counts, log_weights, -jnp.inf).max(axis=0))
        relative = jnp.where(counts, jnp.exp(log_weights - greatest[None]), 0.0)
        shrink = jnp.exp(sums.greatest - greatest)
        return Sums(
            greatest,
            shrink * sums.weights + relative.sum(axis=0),
            shrink**2 * sums.squares + (relative**2).sum(axis=0),
            moved(sums.elbo, log_weights),
            moved(sums.reconstruction, reconstruction),
        )

    zero = jnp.zeros(len(q.loc), q.loc.dtype)
    sums = lax.fori_loop(0, -(-samples // chunk), add, Sums(zero - jnp.inf, zero, zero, zero, zero))
    log_mean = sums.greatest + jnp.log(sums.weights) - jnp.log(samples.astype(q.loc.dtype))
    return Weighing(log_mean, sums.weights**2 / sums.squares, sums.elbo, sums.reconstruction)
