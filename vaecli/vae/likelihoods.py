"""The likelihood p(x|z), one number for each image, from what the decoder puts out for each pixel."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from vaecli.vae.heads.numerics import softplus
from vaecli.vae.heads.table import Head


class Likelihood(NamedTuple):
    """Which likelihood; what is compiled in.

    Attributes:
      head: the form of the head of a Gaussian's standard deviation τ; None for a Bernoulli likelihood.
    """

    head: Head | None

    @property
    def learns(self) -> bool:
        """Whether τ is learned."""
        return self.head is not None and self.head.learned

    def log_prob(
        self,
        outputs: Float[Array, "samples batch pixels"],
        log_scale: Float[Array, ""],
        x: Float[Array, "batch pixels"],
    ) -> Float[Array, "samples batch"]:
        """log p(x|z), nats per image.

        Args:
          outputs: logits, or means of a Gaussian.
          log_scale: log τ of a Gaussian.
          x: pixels.
        """
        return bernoulli_log_prob(outputs, x) if self.head is None else gaussian_log_prob(outputs, log_scale, x)

    def mean(self, outputs: Float[Array, "*batch pixels"]) -> Float[Array, "*batch pixels"]:
        """E[x|z]."""
        return jax.nn.sigmoid(outputs) if self.head is None else outputs

    def output(self, mean: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """The decoder's output at which E[x|z] is `mean`; a Bernoulli's is kept within 0.001 and 0.999.

        So does the code of Burda et al. (2016): pixels that are black in every image would begin at −∞.
        """
        kept = jnp.clip(mean, 0.001, 0.999)
        return jnp.log(kept) - jnp.log1p(-kept) if self.head is None else mean


def bernoulli_log_prob(
    logits: Float[Array, "samples batch pixels"], x: Float[Array, "batch pixels"]
) -> Float[Array, "samples batch"]:
    """log p(x|z) = Σ_j x_j l_j − log(1 + e^{l_j}), nats per image.

    Finite, with finite gradients, at every logit l; log(sigmoid(l)) is -inf below -87.
    Grey pixels x in [0, 1] make it the cross-entropy that the tutorials train on.
    """
    return (x[None] * logits - softplus(logits)).sum(axis=-1)


def gaussian_log_prob(
    mean: Float[Array, "samples batch pixels"], log_scale: Float[Array, ""], x: Float[Array, "batch pixels"]
) -> Float[Array, "samples batch"]:
    """log p(x|z) = −Σ_j (x_j − m_j)²/(2τ²) − log τ − ½ log 2π, nats per image; a density over pixels in [0, 1]."""
    standard = (x[None] - mean) * jnp.exp(-log_scale)
    return -0.5 * (standard**2).sum(axis=-1) - x.shape[-1] * (log_scale + 0.5 * math.log(2 * math.pi))
