"""The evidence lower bound, one number for each image; the caller reduces."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from vaecli.vae.numerics import softplus
from vaecli.vae.posterior import Posterior

Estimator = Literal["analytic", "mc", "stl"]
"""How the KL enters: in closed form, at the one draw of z, or at that draw with q's own parameters held fixed."""

LogLikelihood = Callable[[Float[Array, "batch latent"]], Float[Array, " batch"]]
"""z ↦ log p(x|z) for the images at hand, nats."""


def bernoulli_log_prob(logits: Float[Array, "batch pixels"], x: Float[Array, "batch pixels"]) -> Float[Array, " batch"]:
    """log p(x|z) = Σ_j x_j l_j − log(1 + e^{l_j}), nats per image.

    Finite, with finite gradients, at every logit l; log(sigmoid(l)) is -inf below -87.
    Grey pixels x in [0, 1] make it the cross-entropy that the tutorials train on.
    """
    return (x * logits - softplus(logits)).sum(axis=-1)


def kl_divergence(q: Posterior) -> Float[Array, "batch latent"]:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½(μ² + σ² − 1 − log σ²) for each latent dimension, nats.

    With v = 2 log σ, σ² − 1 is expm1(v) up to v = 1: within 4e-9 of the truth for |log σ| < 0.01, where the plain form
    is off by 1e-7 and turns negative. Above, σ itself has more digits: rounding log σ = 9 is an error of 1e-6 in σ².
    """
    wide = q.log_scale > 0.5
    near = 0.5 * jnp.expm1(2 * jnp.where(wide, 0.0, q.log_scale))
    # Half first: ½σ² may be a float32 where σ² is none.
    far = 0.5 * jnp.where(wide, q.scale, 1.0) * q.scale - 0.5
    return 0.5 * q.loc**2 + (jnp.where(wide, far, near) - q.log_scale)


def elbo_terms(
    q: Posterior,
    log_likelihood: LogLikelihood,
    epsilon: Float[Array, "batch latent"],
    estimator: Estimator = "analytic",
) -> tuple[Float[Array, " batch"], Float[Array, "batch latent"]]:
    """The two terms of ELBO(x) = E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), nats per image, from one draw of z = μ + σ ε.

    | `estimator` | the KL's term | in the gradient |
    |---|---|---|
    | `analytic` | closed form | all of it |
    | `mc` | log q(z|x) − log p(z) | all of it |
    | `stl` | the same | the path through z alone: μ and σ within log q are held fixed (Roeder et al. 2017) |

    All three have the same expectation, and so have their gradients.

    Args:
      q: the posterior q(z|x).
      log_likelihood: log p(x|z).
      epsilon: standard normal draws.
      estimator: how the KL enters.

    Returns:
      The reconstruction log p(x|z), and the KL's term of each latent dimension.
    """
    # q(z|x)
    z = q.loc + q.scale * epsilon
    # p(x|z)
    reconstruction = log_likelihood(z)
    if estimator == "analytic":
        return reconstruction, kl_divergence(q)
    # log q(z|x) − log p(z); their constants −½ log 2π cancel.
    log_q = -0.5 * epsilon**2 - q.log_scale
    if estimator == "stl":
        # Its slope along z is −ε/σ; written out, since (z − μ)/σ loses the digits that μ has above σ.
        moved = (z - lax.stop_gradient(z)) / lax.stop_gradient(q.scale)
        log_q = lax.stop_gradient(log_q) - epsilon * moved
    return reconstruction, log_q + 0.5 * z**2
