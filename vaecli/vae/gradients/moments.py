"""The estimators of the noise in a gradient: moments over draws of ε, figures of a block, and means over batches.

They know no network. The gradient is that of L = −ELBO averaged over a batch of B images, in nats per image.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float


class Moments(NamedTuple):
    """The moments of K samples.

    Attributes:
      mean: the mean of each leaf.
      covariance: the unbiased covariance of each leaf, by the product that was asked for.
    """

    mean: Any
    covariance: Any


def outer(a: Array, b: Array) -> Array:
    """Returns the products of all components of two arrays, (components, …), as (components, components, …)."""
    return a[:, None] * b[None]


def moments(
    sample: Callable[[Any], Any], draws: Any, product: Callable[[Array, Array], Array] = jnp.multiply
) -> Moments:
    """Computes the mean and the covariance of K samples, by Welford's recurrence.

    covariance = Σ_k product(x_k − x̄, x_k − x̄) / (K − 1): elementwise variances, or with `outer` covariance matrices.
    The difference of two large sums would lose the variance of a quiet block.

    Args:
      sample: the map from a draw to a tree of arrays.
      draws: the K ≥ 2 draws, or their keys, along the leading axis.
      product: the bilinear product of two arrays like a leaf.
    """
    count = len(jax.tree.leaves(draws)[0])
    # Traced once, for its shape here and in the scan.
    sample = jax.jit(sample, inline=True)

    def accumulate(carry, inputs):
        mean, scatter = carry
        number, draw = inputs
        x = sample(draw)
        moved = jax.tree.map(lambda m, v: m + (v - m) / number, mean, x)
        scatter = jax.tree.map(lambda s, v, m, n: s + product(v - m, v - n), scatter, x, mean, moved)
        return (moved, scatter), None

    def zeros(tree):
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), tree)

    shape = jax.eval_shape(sample, jax.tree.map(lambda leaf: leaf[0], draws))
    products = jax.tree.map(lambda leaf: jax.eval_shape(product, leaf, leaf), shape)
    (mean, scatter), _ = lax.scan(accumulate, (zeros(shape), zeros(products)), (jnp.arange(1, count + 1), draws))
    return Moments(mean, jax.tree.map(lambda leaf: leaf / (count - 1), scatter))


# Blocks of parameters -----------------------------------------------------------------------------------------------


class SplitGradient(NamedTuple):
    """A block's gradient at one draw, and what the two halves of the batch say of its noise.

    Attributes:
      whole: the gradient g of the batch, all parameters of the block in one row.
      noise: the noise ‖g₁ − g₂‖² / (1/B₁ + 1/B₂).
      overlap: the overlap g₁ · g₂.
    """

    whole: Float[Array, " parameters"]
    noise: Float[Array, ""]
    overlap: Float[Array, ""]


def split(halves: Any, sizes: tuple[int, ...]) -> SplitGradient:
    """Joins the gradients of two half batches, along the leading axis; a batch of one image has only one half."""
    # One row: statistics of ten arrays take a third of a second longer to compile, and no less to compute.
    rows = [leaf.reshape(len(sizes), -1) for leaf in jax.tree.leaves(halves)]
    g = jnp.concatenate(rows, axis=1) if rows else jnp.zeros((len(sizes), 0), jnp.float32)
    if len(sizes) == 1:
        unknown = jnp.full((), jnp.nan, g.dtype)
        return SplitGradient(g[0], unknown, unknown)
    one, other = sizes
    whole = (one * g[0] + other * g[1]) / (one + other)
    return SplitGradient(whole, ((g[0] - g[1]) ** 2).sum() / (1 / one + 1 / other), (g[0] * g[1]).sum())


class BlockStatistics(NamedTuple):
    """The statistics of a block in one batch; all are unbiased.

    Attributes:
      variance: the estimate of tr Cov_ε(g), the noise that ε brings into the gradient of the batch.
      signal: the estimate of ‖E_ε g‖².
      noise: the estimate of tr Σ, where Σ is the covariance of the gradient of a single random image at a single ε.
      overlap: the estimate of ‖E g‖² over both images and ε.
    """

    variance: Float[Array, "..."]
    signal: Float[Array, "..."]
    noise: Float[Array, "..."]
    overlap: Float[Array, "..."]


def block_statistics(mean: SplitGradient, covariance: SplitGradient, draws: int) -> BlockStatistics:
    """Returns the statistics of a block from the elementwise moments of its `SplitGradient`.

    * variance: tr = Σ_k ‖g_k − ḡ‖² / (K − 1).
    * signal: S² = ‖ḡ‖² − tr/K = (‖Σ g_k‖² − Σ ‖g_k‖²) / (K(K − 1)), negative at times where it is below the noise.
    * noise and overlap: the means over the draws; the halves are independent (McCandlish et al. 2018, appendix A).
    """
    variance = covariance.whole.sum()
    return BlockStatistics(variance, (mean.whole**2).sum() - variance / draws, mean.noise, mean.overlap)


# Over batches, on the host ------------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float


def ratio(numerators: Array | np.ndarray, denominators: Array | np.ndarray | float = 1.0) -> Estimate:
    """Returns the quotient of two means over M independent batches, with its standard error to first order.

    r = Σ n_m / Σ d_m, error² = Σ_m (n_m − r d_m)² / (M (M − 1) d̄²): exact for a plain mean; NaN for one batch.
    """
    n = np.asarray(numerators, np.float64)
    d = np.broadcast_to(np.asarray(denominators, np.float64), n.shape)
    with np.errstate(all="ignore"):  # 0/0 is NaN, and reported as such.
        value = n.mean() / d.mean()
        error = np.sqrt(np.sum((n - value * d) ** 2) / (n.size * (n.size - 1.0))) / abs(d.mean())
    return Estimate(float(value), float(error))


def root(squared: Estimate) -> Estimate:
    """Returns the root of an estimate, √|x| with the sign of x (it may be negative), and its error to first order."""
    value = math.copysign(math.sqrt(abs(squared.value)), squared.value)
    return Estimate(value, squared.error / (2 * abs(value)) if value else math.nan)
