"""The terms of the objective, one number for each image; the caller reduces."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from vaecli.vae.objectives import ObjectiveSpec
from vaecli.vae.posterior import Posterior
from vaecli.vae.scaled_gradient import scale_gradient

LogLikelihood = Callable[[Float[Array, "samples batch latent"]], Float[Array, "samples batch"]]
"""The function z ↦ log p(x|z) of the images at hand, in nats."""


class Terms(NamedTuple):
    """The objective of each image and its terms, in nats.

    Attributes:
      value: the value that is maximised.
      reconstruction: the mean of log p(x|z) over the draws.
      kl: the KL's term of each latent dimension, the mean over the draws; reconstruction − KL estimates the ELBO.
    """

    value: Float[Array, " batch"]
    reconstruction: Float[Array, " batch"]
    kl: Float[Array, "batch latent"]


def kl_divergence(q: Posterior) -> Float[Array, "batch latent"]:
    """Returns KL(N(μ, σ²) ‖ N(0, 1)) = ½(μ² + σ² − 1 − log σ²) for each latent dimension, in nats.

    With v = 2 log σ, σ² − 1 is expm1(v) up to v = 1: within 4e-9 of the truth for |log σ| < 0.01, where the plain form
    is off by 1e-7 and turns negative. Above, σ itself has more digits: rounding log σ = 9 is an error of 1e-6 in σ².
    """
    wide = q.log_scale > 0.5
    near = 0.5 * jnp.expm1(2 * jnp.where(wide, 0.0, q.log_scale))
    # Half first: ½σ² may be a float32 where σ² is not.
    far = 0.5 * jnp.where(wide, q.scale, 1.0) * q.scale - 0.5
    return 0.5 * q.loc**2 + (jnp.where(wide, far, near) - q.log_scale)


def objective_terms(
    spec: ObjectiveSpec,
    q: Posterior,
    log_likelihood: LogLikelihood,
    epsilon: Float[Array, "samples batch latent"],
    beta: Float[Array, ""] | float = 1.0,
) -> Terms:
    """Returns the objective and its terms, in nats per image, from K draws of z = μ + σ ε.

    With log w_k = log p(x|z_k) − β (log q(z_k|x) − log p(z_k)),

    * `elbo` is E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z)) (Kingma & Welling 2013; β: Higgins et al. 2017): the mean of
      log w_k, or with the KL in closed form;
    * `iwae` is log (1/K) Σ_k w_k (Burda et al. 2016), which at K = 1 is the former.

    | `estimator` | the KL's term | in the gradient for the encoder |
    |---|---|---|
    | `analytic` | closed form; only `elbo` | all of it |
    | `mc` | log q(z|x) − log p(z) | all of it |
    | `stl` | the same | only the path through z: μ and σ within log q are held fixed (Roeder et al. 2017) |
    | `dreg` | the same | that path, of each draw times (1 − β) w̃_k + β w̃_k², w̃_k = w_k/Σ w (Tucker et al. 2018) |

    All estimators of an objective have the same expectation, and so have their gradients; but `stl` is unbiased
    only for the ELBO. As to `dreg`: under the reparameterisation the derivative by what q's own parameters do to
    log w_k is −β w̃_k ∂ log q/∂φ, whose expectation is that of −β ∂w̃_k/∂z ∂z/∂φ, and
    ∂w̃_k/∂z_k = w̃_k (1 − w̃_k) ∂ log w_k/∂z_k.

    Args:
      spec: the objective, and how its gradient is estimated.
      q: the posterior q(z|x).
      log_likelihood: the function z ↦ log p(x|z).
      epsilon: the standard normal draws.
      beta: the factor β on the KL.
    """
    # q(z|x)
    z = q.loc[None] + q.scale[None] * epsilon
    if spec.estimator == "dreg":
        # The same numbers as below once more, which XLA works out once.
        log_weights = log_likelihood(z) - beta * log_ratio(q, z, epsilon, stick=True).sum(axis=-1)
        weights = lax.stop_gradient(jax.nn.softmax(log_weights, axis=0))
        z = scale_gradient(z, ((1 - beta) + beta * weights)[..., None])
    # p(x|z)
    reconstruction = log_likelihood(z)
    mean = reconstruction.mean(axis=0)
    if spec.estimator == "analytic":
        kl = kl_divergence(q)
        return Terms(mean - beta * kl.sum(axis=-1), mean, kl)
    ratio = log_ratio(q, z, epsilon, stick=spec.estimator in ("stl", "dreg"))
    log_weights = reconstruction - beta * ratio.sum(axis=-1)
    return Terms(spec.objective.value(log_weights), mean, ratio.mean(axis=0))


def log_ratio(
    q: Posterior, z: Float[Array, "samples batch latent"], epsilon: Float[Array, "samples batch latent"], *, stick: bool
) -> Float[Array, "samples batch latent"]:
    """Returns log q(z|x) − log p(z) of each latent dimension; with `stick`, q's own parameters are held fixed in it."""
    # The constants −½ log 2π cancel.
    log_q = -0.5 * epsilon**2 - q.log_scale[None]
    if stick:
        # Its slope along z is −ε/σ; written out, since (z − μ)/σ loses the digits that μ has above σ.
        least = jnp.finfo(z.dtype).tiny  # Where σ is 0 in float32, no 0/0.
        moved = (z - lax.stop_gradient(z)) / jnp.maximum(lax.stop_gradient(q.scale), least)[None]
        log_q = lax.stop_gradient(log_q) - epsilon * moved
    return log_q + 0.5 * z**2
