"""The variance heads: maps from the encoder's unconstrained output u to log σ.

A head is one entry in `HEADS`. Its map is log σ = f(slope · u), where f belongs to the program that is compiled
and `slope` is a number that the program receives. Heads with the same f therefore share one compiled program, and
`logvar`, `logstd` and `logprec` (f the identity) can be matched to the last bit; two programs would drift by rounding.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vaecli.config import ConfigError, nearest

if TYPE_CHECKING:
    import jax.numpy as jnp
    from jax import Array
else:

    class _LazyModule:
        """Imports jax.numpy at its first use: usage errors read this table and must not wait for jax."""

        def __getattr__(self, name: str) -> Any:
            import jax.numpy

            return getattr(jax.numpy, name)

    jnp = _LazyModule()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """A map u ↦ log σ = f(slope · u).

    Attributes:
      name: as `--param` takes it.
      quantity: what u stands for.
      formula: σ(u).
      note: one line on where the head is used.
      f: v ↦ log σ, elementwise, for v = slope · u.
      f_inverse: log σ ↦ v.
      slope: dv/du.
    """

    name: str
    quantity: str
    formula: str
    note: str
    f: "Callable[[Array], Array]"
    f_inverse: "Callable[[Array], Array]"
    slope: float = 1.0

    def log_scale(self, u: "Array") -> "Array":
        """log σ at u, elementwise."""
        return self.f(self.slope * u)

    def inverse(self, log_scale: "Array") -> "Array":
        """The u at which log σ is `log_scale`, elementwise."""
        return self.f_inverse(log_scale) / self.slope


def _identity(v: "Array") -> "Array":
    return v


def _log_softplus(v: "Array") -> "Array":
    # log(1 + eᵛ) rounds to 0 below v = -16, and its logarithm to -inf. There, with e = eᵛ,
    # log log(1 + e) = v - e/2 + 5e²/24 + O(e³). Each branch sees arguments at which it and its gradient are finite.
    far = v < -12
    e = jnp.exp(jnp.where(far, v, -12.0))
    near = jnp.where(far, 0.0, v)
    softplus = jnp.maximum(near, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(near)))
    return jnp.where(far, v - e / 2 + 5 * e**2 / 24, jnp.log(softplus))


def _log_softplus_inverse(log_scale: "Array") -> "Array":
    # σ = log(1 + eᵛ) gives v = log(e^σ - 1) = σ + log(1 - e^-σ); below σ = 1e-6, v = log σ + σ/2 to 1e-13.
    small = log_scale < -13.8
    scale = jnp.exp(jnp.where(small, 0.0, log_scale))
    return jnp.where(small, log_scale + jnp.exp(log_scale) / 2, scale + jnp.log(-jnp.expm1(-scale)))


HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head(
            name="logvar",
            quantity="log σ²",
            formula="exp(u/2)",
            note="the usual choice (Kingma & Welling 2013; the tutorials of TensorFlow and PyTorch)",
            f=_identity,
            f_inverse=_identity,
            slope=0.5,
        ),
        Head(
            name="logstd",
            quantity="log σ",
            formula="exp(u)",
            note="half of logvar's u (Burda et al. 2016)",
            f=_identity,
            f_inverse=_identity,
        ),
        Head(
            name="logprec",
            quantity="log 1/σ²",
            formula="exp(-u/2)",
            note="logvar with the sign of u turned",
            f=_identity,
            f_inverse=_identity,
            slope=-0.5,
        ),
        Head(
            name="softplus_std",
            quantity="σ through softplus",
            formula="log(1+exp(u))",
            note="σ(0) = 0.693; grows like u, not like its exponential",
            f=_log_softplus,
            f_inverse=_log_softplus_inverse,
        ),
    )
}


def head(name: str) -> Head:
    """Looks up a head.

    Raises:
      ConfigError: there is no such head; the message names the nearest one.
    """
    if name not in HEADS:
        raise ConfigError("param", f"unknown head {name!r}{nearest(name, HEADS)} (heads: {', '.join(HEADS)})")
    return HEADS[name]
