"""The posterior q(z|x) = N(μ, diag σ²), from what the encoder puts out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import Head
from vaecli.vae.precision import Precision, held


class Posterior(NamedTuple):
    """The posterior q(z|x), one row for each image.

    Attributes:
      loc: the mean μ.
      log_scale: the log σ, from which the KL near 0 and every logarithm comes.
      scale: the σ, which some heads know more exactly than exp(log σ).
    """

    loc: Float[Array, "batch latent"]
    log_scale: Float[Array, "batch latent"]
    scale: Float[Array, "batch latent"]


def bounded_log_scale(head: Head, bound: Bound, u: Array) -> Array:
    """Maps u to log σ as training has it, elementwise."""
    return bound.log_scale(head.log_scale(u) if head.learned else u)


def gain(head: Head, bound: Bound, u: Array) -> Array:
    """Returns γ = d log σ / du, elementwise, as the encoder's output meets it: after the bound."""
    return jax.jvp(lambda values: bounded_log_scale(head, bound, values), (u,), (jnp.ones_like(u),))[1]


def posterior(
    head: Head,
    bound: Bound,
    mean: Float[Array, "batch latent"],
    u: Float[Array, "batch latent"],
    precision: Precision = "float32",
) -> Posterior:
    """Returns the posterior that the encoder's two outputs give.

    Args:
      head: the variance head.
      bound: the bound on σ; the KL and the sampling see the same bounded σ.
      mean: the mean μ, or η₁ = μ/σ² for a head that couples the two.
      u: the head's input; for a head that is not learned, log σ itself.
      precision: the precision in which log σ and σ are held; both are worked out from u in float32.
    """
    log_scale = bounded_log_scale(head, bound, u)
    direct = head.learned and bound.kind == "none"
    scale = head.scale(u) if direct else jnp.exp(log_scale)
    log_scale, scale = held(log_scale, precision), held(scale, precision)
    return Posterior(mean * scale**2 if head.couples_mean else mean, log_scale, scale)
