"""The rules by which the gradient of a scale is not the objective's own; each changes no value, only gradients.

| rule of the decoder | gradient |
|---|---|
| `nll` | that of log p |
| `beta:B` | of each pixel's part, times τ^2B held fixed (β-NLL, Seitzer et al. 2022) |
| `faithful` | locations: that of −(x − m)²/2; scale: that of log p, all else held fixed (Stirn et al. 2023) |
| `natural` | that of what gives u: the part by u over the information about u, I γ², I being a pixel's about log τ |

With β = 1, a Gaussian's mean has the gradient of the squared error; with β = 0 the rule is `nll`.

`natural` is the encoder's too, with q's information 2γ². It is the gradient of u's own layer, or of u itself where that
is a parameter. The layers before it, which serve the mean, too, receive that of the objective: they would otherwise see
the head's slope again, and matched heads would differ.

A step of SGD then moves log σ by −(η/I) ∂L/∂log σ to first order, in every head, where σ is a parameter of its own.
Where weights are shared over images with different γ, it is not: the step of one image's log σ still depends on the
gains at the others.
"""

from typing import TYPE_CHECKING, Literal, NamedTuple

from vaecli.config import ConfigError
from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import Head

if TYPE_CHECKING:
    import jax.numpy as jnp
    from jax import Array, lax

    from vaecli.vae import posterior
else:
    from vaecli.vae.lazy import LazyModule

    jnp, lax, posterior = LazyModule("jax.numpy"), LazyModule("jax.lax"), LazyModule("vaecli.vae.posterior")

DAMPING = 1e-8
"""The number added to I (γ/slope)² in `natural`, in units of a head of slope 1: it matters where |γ| < 1e-3 |slope|,
and keeps the factor finite where a head has no gain. In these units it leaves matched heads alike."""


class GradientRule(NamedTuple):
    """The rule by which the decoder's scale is learned; hashable, since it is compiled in.

    Attributes:
      kind: the word before the colon.
      beta: the number after it.
    """

    kind: Literal["nll", "beta", "faithful", "natural"] = "nll"
    beta: float = 0.0


NLL = GradientRule()


def parse_gradient_rule(text: str) -> GradientRule:
    """Reads a rule from its text.

    Raises:
      ConfigError: the text is not a rule, or β is not between 0 and 10.

    >>> parse_gradient_rule("beta:0.5")
    GradientRule(kind='beta', beta=0.5)
    >>> parse_gradient_rule("beta:0")
    GradientRule(kind='nll', beta=0.0)
    """
    kind, colon, rest = text.partition(":")
    if kind in ("nll", "faithful", "natural") and not colon:
        return GradientRule(kind)
    try:
        beta = float(rest)
    except ValueError:
        beta = -1.0
    if kind != "beta" or not 0 <= beta <= 10:
        raise ConfigError(
            "decoder_gradient", f"must be nll, beta:B with B from 0 to 10, faithful or natural, got {text!r}"
        )
    return GradientRule("beta", beta) if beta else NLL


def natural_factor(head: Head, bound: Bound, u: "Array", information: float) -> "Array":
    """Returns 1/(I γ²), elementwise and held fixed: what a natural gradient by u is multiplied by.

    Args:
      head: the head, with its slope.
      bound: the bound on what it gives.
      u: the head's input.
      information: the information I about log σ.
    """
    gain = posterior.gain(head, bound, u)
    return lax.stop_gradient(1 / (head.slope**2 * (information * (gain / head.slope) ** 2 + DAMPING)))
