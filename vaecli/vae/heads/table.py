"""The variance heads: maps from the encoder's unconstrained output u to log σ.

A head is one entry in `HEADS`. Its map is log σ = f(slope · u), where f belongs to the program that is compiled
and `slope` is a number that the program receives. Heads with the same f therefore share one compiled program, and
`logvar`, `logstd` and `logprec` (f the identity) can be matched to the last bit; two programs would drift by rounding.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from vaecli.config.naming import folder_name

if TYPE_CHECKING:
    import jax.numpy as jnp
    from jax import Array

    from vaecli.vae.heads import check, fingerprint, numerics
else:
    from vaecli.vae.lazy import LazyModule

    jnp, numerics = LazyModule("jax.numpy"), LazyModule("vaecli.vae.heads.numerics")
    check, fingerprint = LazyModule("vaecli.vae.heads.check"), LazyModule("vaecli.vae.heads.fingerprint")

LN2 = math.log(2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """A map u ↦ log σ = f(slope · u). Only f is needed; the gain γ = d log σ / du is its derivative.

    Attributes:
      f: the map v ↦ log σ, elementwise, for v = slope · u: made of jax functions, for any shape, finite with finite
        derivatives.
      f_inverse: the map log σ ↦ v, elementwise; where it is not given, v comes from bisection between −87 and 87.
      f_scale: the map v ↦ σ, where there is a more exact form than exp(f(v)).
      slope: the slope dv/du.
      limits: the infimum and supremum of log σ.
      couples_mean: whether the encoder's mean output is η₁ = μ/σ² and not μ itself.
      learned: whether the encoder has an output u at all; without one, σ stays as it starts, and f is not used.
      name: the name that `--param` takes.
      quantity: the quantity that u stands for.
      formula: the σ as an expression in u, which tests evaluate with many digits.
      note: a line on the head.
    """

    f: "Callable[[Array], Array]"
    f_inverse: "Callable[[Array], Array] | None" = None
    f_scale: "Callable[[Array], Array] | None" = None
    slope: float = 1.0
    limits: tuple[float, float] = (-math.inf, math.inf)
    couples_mean: bool = False
    learned: bool = True
    name: str = ""
    quantity: str = ""
    formula: str = ""
    note: str = ""

    def config_name(self) -> str:
        """Returns the name under which a config records this head, by which this process knows it again.

        A head of the table has its own name. Another one has a fingerprint of what it computes, too: two heads never
        share a run's directory, and the same head is recognised in every process that gives it.

        Raises:
          ConfigError: a field is wrong, or a function does not map an array to one of its shape and type.
        """
        called = folder_name(str(self.name)) or "head"
        check.check_head(called, self)
        if HEADS.get(self.name) == self:
            return self.name
        if self not in _NAMES:
            _NAMES[self] = f"{called}@{fingerprint.fingerprint(self)}"
            GIVEN[_NAMES[self]] = self
        return _NAMES[self]

    @property
    def form(self) -> "Head":
        """The part that is compiled in: the head without its slope and texts."""
        return dataclasses.replace(self, slope=1.0, name="", quantity="", formula="", note="")

    def log_scale(self, u: "Array") -> "Array":
        """Returns log σ at u, elementwise."""
        return self.f(self.slope * u)

    def scale(self, u: "Array") -> "Array":
        """Returns σ at u, elementwise."""
        return jnp.exp(self.log_scale(u)) if self.f_scale is None else self.f_scale(self.slope * u)

    def inverse(self, log_scale: "Array") -> "Array":
        """Returns a u at which log σ is `log_scale`, elementwise; NaN where there is none, or where f at it differs."""
        inverse = numerics.bracketed_inverse(self.f) if self.f_inverse is None else self.f_inverse
        v = inverse(log_scale)
        close = jnp.abs(self.f(v) - log_scale) <= 1e-4 * jnp.maximum(1, jnp.abs(log_scale))
        return jnp.where(close, v, math.nan) / self.slope


def _precision_softplus(v: "Array") -> "Array":
    """Returns log σ for 1/σ² = softplus(v)."""
    return numerics.log_softplus(v) / -2


def _precision_softplus_inverse(log_scale: "Array") -> "Array":
    return numerics.log_softplus_inverse(-2 * log_scale)


HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head(
            name="logvar",
            quantity="log σ²",
            formula="exp(u/2)",
            note="the usual choice (Kingma & Welling 2013; the tutorials of TensorFlow and PyTorch)",
            f=numerics.identity,
            f_inverse=numerics.identity,
            slope=0.5,
        ),
        Head(
            name="logstd",
            quantity="log σ",
            formula="exp(u)",
            note="twice logvar's gain (Burda et al. 2016)",
            f=numerics.identity,
            f_inverse=numerics.identity,
        ),
        Head(
            name="logprec",
            quantity="log 1/σ²",
            formula="exp(-u/2)",
            note="logvar with the sign of u turned",
            f=numerics.identity,
            f_inverse=numerics.identity,
            slope=-0.5,
        ),
        Head(
            name="softplus_std",
            quantity="σ",
            formula="log(1+exp(u))",
            note="σ(0) = 0.693; grows like u, not like its exponential",
            f=numerics.log_softplus,
            f_inverse=numerics.log_softplus_inverse,
            f_scale=numerics.softplus,
        ),
        Head(
            name="softplus_var",
            quantity="σ²",
            formula="sqrt(log(1+exp(u)))",
            note="a variance through softplus; σ(0) = 0.833",
            f=lambda v: numerics.log_softplus(v) / 2,
            f_inverse=lambda log_scale: numerics.log_softplus_inverse(2 * log_scale),
        ),
        Head(
            name="softplus_prec",
            quantity="1/σ²",
            formula="1/sqrt(log(1+exp(u)))",
            note="a precision through softplus; σ falls as u rises",
            f=_precision_softplus,
            f_inverse=_precision_softplus_inverse,
        ),
        Head(
            name="softplus_ln2",
            quantity="σ",
            formula="log(1+exp(u*log(2)))/log(2)",
            note="softplus with β = ln 2, so σ(0) = 1 (Efficient-VDVAE, Hazami et al. 2022)",
            f=lambda v: numerics.log_softplus(v) - math.log(LN2),
            f_inverse=lambda log_scale: numerics.log_softplus_inverse(log_scale + math.log(LN2)),
            f_scale=lambda v: numerics.softplus(v) / LN2,
            slope=LN2,
        ),
        Head(
            name="elu_std",
            quantity="σ",
            formula="exp(u) if u < 0 else 1+u",
            note="ELU(u) + 1: exponential below σ = 1, linear above",
            f=numerics.log_explin,
            f_inverse=numerics.log_explin_inverse,
            f_scale=numerics.explin,
        ),
        Head(
            name="squareplus_std",
            quantity="σ",
            formula="(u+sqrt(u**2+4))/2",
            note="smooth, with polynomial tails; log σ = arsinh(u/2)",
            f=jnp.arcsinh,
            f_inverse=jnp.sinh,
            slope=0.5,
        ),
        Head(
            name="sigmoid_std",
            quantity="σ",
            formula="2/(1+exp(-u))",
            note="bounded: σ < 2",
            f=numerics.log_double_sigmoid,
            f_inverse=numerics.log_double_sigmoid_inverse,
            limits=(-math.inf, LN2),
        ),
        Head(
            name="tanh_logstd",
            quantity="log σ, softly clipped",
            formula="exp(5*tanh(u/5))",
            note="|log σ| < 5 (the soft clamp of NVAE, Vahdat & Kautz 2020)",
            f=lambda v: numerics.soft_clip(v, 5.0),
            f_inverse=lambda log_scale: numerics.soft_clip_inverse(log_scale, 5.0),
            f_scale=lambda v: numerics.exp_soft_clip(v, 5.0),
            limits=(-5.0, 5.0),
        ),
        Head(
            name="clip_logvar",
            quantity="log σ², clipped",
            formula="exp(min(max(u, -30), 20)/2)",
            note="no gradient outside [-30, 20] (latent diffusion, Rombach et al. 2022)",
            f=lambda v: numerics.hard_clip(v, -15.0, 10.0),
            f_inverse=numerics.identity,
            slope=0.5,
            limits=(-15.0, 10.0),
        ),
        Head(
            name="std",
            quantity="σ",
            formula="u",
            note="raw: no number for u < 0, and singular at u = 0; the run diverges there",
            f=lambda v: jnp.log(numerics.non_negative(v)),
            f_inverse=jnp.exp,
            f_scale=numerics.non_negative,
        ),
        Head(
            name="abs_std",
            quantity="±σ",
            formula="abs(u)",
            note="linear; singular at u = 0, where the KL is infinite and the run diverges",
            f=lambda v: jnp.log(numerics.absolute(v)),
            f_inverse=jnp.exp,
            f_scale=numerics.absolute,
        ),
        Head(
            name="square_std",
            quantity="±√σ",
            formula="u**2",
            note="singular at u = 0, where the KL is infinite and the run diverges",
            f=lambda v: 2 * jnp.log(numerics.absolute(v)),
            f_inverse=lambda log_scale: jnp.exp(log_scale / 2),
            f_scale=lambda v: v * v,
        ),
        Head(
            name="natural",
            quantity="1/σ², and η₁ = μ/σ²",
            formula="1/sqrt(log(1+exp(u)))",
            note="natural parameters: η₂ = -softplus(u)/2, σ² = -1/(2η₂), and μ = η₁σ² moves with u",
            f=_precision_softplus,
            f_inverse=_precision_softplus_inverse,
            couples_mean=True,
        ),
        Head(
            name="fixed",
            quantity="nothing",
            formula="1",
            note="control: no output u; σ stays at --init-std",
            f=jnp.zeros_like,
            f_inverse=lambda log_scale: math.nan * log_scale,
            learned=False,
        ),
    )
}

GIVEN: dict[str, Head] = {}
"""Heads that this process was given as objects, by the names that configs have for them."""

_NAMES: dict[Head, str] = {}

LOGVAR = HEADS["logvar"]
"""The head that others are matched to, and compared with."""


def control_of(head: Head) -> Head | None:
    """Returns the head with the map of one that moves the mean, which leaves it alone; None where there is none."""
    alone = dataclasses.replace(head.form, couples_mean=False)
    same = (one for one in HEADS.values() if one.form == alone and one.slope == head.slope)
    return next(same, None) if head.couples_mean else None
