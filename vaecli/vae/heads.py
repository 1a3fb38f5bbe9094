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
    from jax import Array

    from vaecli.vae import numerics
else:

    class _Numerics:
        """Imports `numerics`, and jax with it, at its first use: usage errors read this table and must not wait."""

        def __getattr__(self, name: str) -> Any:
            from vaecli.vae import numerics

            return getattr(numerics, name)

    numerics = _Numerics()


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

    def inverse(self, log_scale: "Array") -> "Array":
        """The u at which log σ is `log_scale`, elementwise."""
        return self.f_inverse(log_scale) / self.slope


def _identity(v: "Array") -> "Array":
    return v


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
            f=lambda v: numerics.log_softplus(v),
            f_inverse=lambda log_scale: numerics.log_softplus_inverse(log_scale),
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
