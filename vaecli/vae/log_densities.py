"""The log densities of the likelihoods, one number for each image."""

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from vaecli.vae.heads.numerics import softplus


def bernoulli_log_prob(
    logits: Float[Array, "samples batch pixels"], x: Float[Array, "batch pixels"]
) -> Float[Array, "samples batch"]:
    """Returns log p(x|z) = Σ_j x_j l_j − log(1 + e^{l_j}), in nats per image.

    It is finite, with finite gradients, at every logit l; log(sigmoid(l)) is -inf below -87.
    With grey pixels x in [0, 1] it is the cross-entropy that the tutorials train on.
    """
    return (x[None] * logits - softplus(logits)).sum(axis=-1)


def clipped_logit(mean: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Returns the logit of a mean that is kept between 0.001 and 0.999.

    The code of Burda et al. (2016) does the same: pixels that are black in every image would begin at −∞.
    """
    kept = jnp.clip(mean, 0.001, 0.999)
    return jnp.log(kept) - jnp.log1p(-kept)


def gaussian_log_prob(
    mean: Float[Array, "samples batch pixels"], log_scale: Float[Array, ""], x: Float[Array, "batch pixels"]
) -> Float[Array, "samples batch"]:
    """Returns log p(x|z) = −Σ_j (x_j − m_j)²/(2τ²) − log τ − ½ log 2π, in nats per image.

    It is a density over pixels in [0, 1].
    """
    standard = (x[None] - mean) * jnp.exp(-log_scale)
    return -0.5 * (standard**2).sum(axis=-1) - x.shape[-1] * (log_scale + 0.5 * math.log(2 * math.pi))
