"""The estimators of the noise in the derivatives by the encoder's outputs.

A *unit* is one latent dimension of one image i; its derivative is that of the image's own L_i = −ELBO(x_i), in nats, by
the encoder's output u_ij. It costs a backward pass only down to the heads, and no gradient by any weight.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from vaecli.vae.gradient_rules import natural_factor
from vaecli.vae.gradients.moments import Estimate, ratio, root
from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import Head
from vaecli.vae.posterior import Posterior, gain

# Below this gain, a derivative by u is lost in float32; such a unit counts as one without gain.
_LEAST_GAIN = 1e-30


class Units(NamedTuple):
    """The properties of the units of a batch; all but `square` and `weight` are (batch, latent).

    Attributes:
      scale: the standard deviation σ.
      gain: the gain γ = d log σ / du.
      coupling: the derivative dμ / d log σ along u, with the encoder's other output held fixed: 0, or 2μ where the head
        couples the mean.
      square: the ‖h_i‖² of the features that the scale head receives, (batch,).
      weight: the weight of each image, (batch,): 1, or 0 for padding.
      natural: the factor on the derivative by u on its way to the weights, where the gradient is the natural one.
    """

    scale: Float[Array, "batch latent"]
    gain: Float[Array, "batch latent"]
    coupling: Float[Array, "batch latent"]
    square: Float[Array, " batch"]
    weight: Float[Array, " batch"]
    natural: Float[Array, "batch latent"] | None = None

    @property
    def divisor(self) -> Float[Array, "batch latent"]:
        """The γ, or 1 for a unit without gain: ∂/∂u over it is ∂/∂ log σ, with the other output held fixed."""
        return jnp.where(self.responds, self.gain, 1.0)

    @property
    def responds(self) -> Bool[Array, "batch latent"]:
        """Whether the unit exists and has a gain (it has none beyond a clip, say)."""
        return (jnp.abs(self.gain) > _LEAST_GAIN) & (self.weight[:, None] > 0)


def sensitivity(
    head: Head,
    bound: Bound,
    q: Posterior,
    u: Float[Array, "batch latent"],
    features: Float[Array, "batch features"],
    weight: Float[Array, " batch"],
    *,
    natural: bool = False,
) -> Units:
    """Returns the units of a posterior at the head's inputs u, with the features that the scale head receives."""
    # μ = η₁ σ².
    coupling = 2 * q.loc if head.couples_mean else jnp.zeros_like(q.loc)
    factor = natural_factor(head, bound, u, 2.0) if natural else None
    return Units(q.scale, gain(head, bound, u), coupling, (features**2).sum(axis=-1), weight, factor)


class UnitStatistics(NamedTuple):
    """The statistics of the units of one batch: sums over them, unbiased. V is Var_ε(∂L_i/∂u_ij).

    Attributes:
      raw: the sum of V.
      log_sigma: the sum of V/γ², the variance by log σ with the encoder's other output held fixed.
      sigma: the sum of V/(γσ)², the variance by σ.
      signal: the sum of S²/γ², the squared mean by log σ.
      fisher_ratio: the sum of V/I(u).
      weights: the noise that ε brings into the scale head's weights and biases, B⁻² Σ_i (‖h_i‖² + 1) Σ_j V_ij; with
        the square of `Units.natural` on each V_ij where there is one.
      units: the number of units.
      responding: the number of units that have a gain; only they are in the sums from `log_sigma` to `fisher_ratio`.
    """

    raw: Float[Array, "..."]
    log_sigma: Float[Array, "..."]
    sigma: Float[Array, "..."]
    signal: Float[Array, "..."]
    fisher_ratio: Float[Array, "..."]
    weights: Float[Array, "..."]
    units: Float[Array, "..."]
    responding: Float[Array, "..."]


def unit_statistics(
    mean: Float[Array, "batch latent"], variance: Float[Array, "batch latent"], units: Units, draws: int
) -> UnitStatistics:
    """Returns the statistics of the units from the moments of ∂L_i/∂u_ij / `units.divisor` over K draws.

    The division comes before the moments: V may be below float32 where V/γ² is not. S² = mean² − V/K. `weights` is what
    `block_statistics` estimates for the scale head, from only the encoder's outputs and with less noise: the features
    are free of ε, and the ε of different images are independent.
    """
    raw = variance * units.divisor**2 * units.weight[:, None]
    of_weights = raw if units.natural is None else raw * units.natural**2

    def total(values):
        return jnp.where(units.responds, values, 0.0).sum()

    return UnitStatistics(
        raw=raw.sum(),
        log_sigma=total(variance),
        sigma=total(variance / units.scale**2),
        signal=total(mean**2 - variance / draws),
        fisher_ratio=total(fisher_ratio(variance, units)),
        weights=((units.square + 1) * of_weights.sum(axis=1)).sum() / units.weight.sum() ** 2,
        units=units.weight.sum() * variance.shape[1],
        responding=units.responds.sum().astype(variance.dtype),
    )


def unit_estimates(units: UnitStatistics) -> dict[str, Estimate]:
    """Returns the means over the units of M batches, (M,), and the SNR by log σ, each with its standard error."""
    return {
        "raw": ratio(units.raw, units.units),
        "sigma": ratio(units.sigma, units.responding),
        "log_sigma": ratio(units.log_sigma, units.responding),
        "weights": ratio(units.weights),
        "snr": root(ratio(units.signal, units.log_sigma)),
        "fisher_ratio": ratio(units.fisher_ratio, units.responding),
    }


def fisher_ratio(variance: Float[Array, "batch latent"], units: Units) -> Float[Array, "batch latent"]:
    """Returns V/I(u) of each unit, with the Fisher information I(u) = 2γ² + (dμ/du)²/σ² of q, from V/γ².

    It is the same for all heads that leave μ as it is; and for every head it is 1 where q is the posterior and the KL's
    estimate is that of the same draw.
    """
    return variance / (2 + (units.coupling / units.scale) ** 2)


def mahalanobis_squared(
    mean: Float[Array, "2 batch latent"], covariance: Float[Array, "2 2 batch latent"], draws: int
) -> Float[Array, "batch latent"]:
    """Returns the squared SNR of two derivatives of a unit together, mᵀ Σ⁻¹ m.

    No invertible linear change of the two alters it.

    It is m̄ᵀ C⁻¹ m̄ (K − 4)/(K − 1) − 2/K, which is unbiased for normal noise; for a noise with products of ε, such as
    that of a gradient, it is too great by a few in K. It is NaN for K ≤ 4.
    """
    (a, b), (_, d) = covariance
    # In units of the standard deviations, so that no product of two variances leaves float32.
    x, y = mean[0] / jnp.sqrt(a), mean[1] / jnp.sqrt(d)
    rho = b / jnp.sqrt(a) / jnp.sqrt(d)
    square = (x**2 - 2 * rho * x * y + y**2) / ((1 - rho) * (1 + rho))
    return square * ((draws - 4) / (draws - 1)) - 2 / draws if draws > 4 else jnp.full_like(x, jnp.nan)
