"""Estimators of the noise in the derivatives by the encoder's outputs.

A *unit* is one latent dimension of one image i; its derivative is that of the image's own L_i = −ELBO(x_i), in nats, by
the encoder's output u_ij. It costs a backward pass down to the heads alone, and no gradient by any weight.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from vaecli.vae.bounds import Bound
from vaecli.vae.heads import Head
from vaecli.vae.posterior import Posterior, gain


class Units(NamedTuple):
    """Where the units of a batch are; all but the last two (batch, latent).

    Attributes:
      scale: σ.
      gain: γ = d log σ / du.
      coupling: dμ/du, 0 unless the head couples the mean.
      square: ‖h_i‖² of the features that the scale head receives, (batch,).
      weight: 1 for each image, 0 for padding, (batch,).
    """

    scale: Float[Array, "batch latent"]
    gain: Float[Array, "batch latent"]
    coupling: Float[Array, "batch latent"]
    square: Float[Array, " batch"]
    weight: Float[Array, " batch"]


class UnitStatistics(NamedTuple):
    """Of one batch: means over its units, unbiased.

    Attributes:
      raw: of V = Var_ε(∂L_i/∂u_ij).
      log_sigma: of V/γ², the variance by log σ with the encoder's other output held fixed.
      sigma: of V/(γσ)², by σ.
      signal: of S²/γ², the squared mean by log σ.
      fisher_ratio: of V/I(u).
      weights: B⁻² Σ_i (‖h_i‖² + 1) Σ_j V_ij, the noise that ε brings into the scale head's weights and biases.
    """

    raw: Float[Array, "..."]
    log_sigma: Float[Array, "..."]
    sigma: Float[Array, "..."]
    signal: Float[Array, "..."]
    fisher_ratio: Float[Array, "..."]
    weights: Float[Array, "..."]


def sensitivity(
    head: Head,
    bound: Bound,
    q: Posterior,
    u: Float[Array, "batch latent"],
    features: Float[Array, "batch features"],
    weight: Float[Array, " batch"],
) -> Units:
    """The units of a posterior at the head's inputs u, with the features that the scale head receives."""
    gamma = gain(head, bound, u)
    # μ = η₁ σ², at fixed η₁.
    coupling = 2 * gamma * q.loc if head.couples_mean else jnp.zeros_like(gamma)
    return Units(q.scale, gamma, coupling, (features**2).sum(axis=-1), weight)


def unit_statistics(
    mean: Float[Array, "batch latent"], variance: Float[Array, "batch latent"], units: Units, draws: int
) -> UnitStatistics:
    """Statistics of the units from the moments of ∂L_i/∂u_ij over K draws.

    S² = mean² − V/K. A unit without gain (clipped, say) has no derivative by σ and no Fisher information, and is left
    out of those means. `weights` estimates what `block_statistics` does for the scale head, from the encoder's outputs
    alone and with less noise: the features are free of ε, and the ε of different images are independent.
    """
    there = jnp.broadcast_to(units.weight[:, None], variance.shape)
    gains = there * (units.gain != 0)
    gamma = jnp.where(units.gain == 0, 1.0, units.gain)
    log_sigma = variance / gamma / gamma

    def average(values, weights):
        return (values * weights).sum() / weights.sum()

    return UnitStatistics(
        raw=average(variance, there),
        log_sigma=average(log_sigma, gains),
        sigma=average(log_sigma / units.scale / units.scale, gains),
        signal=average((mean / gamma) ** 2 - log_sigma / draws, gains),
        fisher_ratio=average(fisher_ratio(variance, units), gains),
        weights=((units.square + 1) * units.weight * variance.sum(axis=1)).sum() / units.weight.sum() ** 2,
    )


def fisher_ratio(variance: Float[Array, "batch latent"], units: Units) -> Float[Array, "batch latent"]:
    """V/I(u) of each unit, with the Fisher information I(u) = 2γ² + (dμ/du)²/σ² of q; 0 where γ is.

    It is the same for all heads that leave μ alone; and for every head 1 where q is the posterior and the KL's estimate
    is that of the same draw.
    """
    gamma = jnp.where(units.gain == 0, 1.0, units.gain)
    return variance / gamma / gamma / (2 + (units.coupling / gamma / units.scale) ** 2)


def mahalanobis_squared(
    mean: Float[Array, "2 batch latent"], covariance: Float[Array, "2 2 batch latent"], draws: int
) -> Float[Array, "batch latent"]:
    """The squared SNR of a unit's two derivatives together, by both outputs of the encoder: μᵀ Σ⁻¹ μ.

    m̄ᵀ C⁻¹ m̄ (K − 4)/(K − 1) − 2/K, unbiased for normal noise; NaN for K ≤ 4. An invertible linear change of the two
    outputs leaves it as it is, and so it is the same for every head, `natural` among them.
    """
    (a, b), (_, d) = covariance
    # In units of the standard deviations, so that no product of two variances leaves float32.
    x, y = mean[0] / jnp.sqrt(a), mean[1] / jnp.sqrt(d)
    rho = b / jnp.sqrt(a) / jnp.sqrt(d)
    square = (x**2 - 2 * rho * x * y + y**2) / ((1 - rho) * (1 + rho))
    return square * ((draws - 4) / (draws - 1)) - 2 / draws if draws > 4 else jnp.full_like(x, jnp.nan)
