"""The bounds on σ, as an axis of their own: the same for any head, and the same for the KL and for sampling.

| bound | log σ, from the head's own log σ = s | from, to |
|---|---|---|
| `none` | s | |
| `clip:LO,HI` | s between LO and HI, without gradient outside | LO, HI |
| `tanh:C` | C tanh(s/C) | −C, C |
| `sigmoid:LO,HI` | M + H tanh((s − M)/H), M = (LO + HI)/2, H = (HI − LO)/2 | LO, HI |
| `soft:LO,HI` | LO + softplus(s′ − LO), s′ = HI − softplus(HI − s) | LO, HI + log(1 + e^(LO − HI)) |
| `floor:EPS` | log(eˢ + EPS): σ is never below EPS | log EPS, ∞ |
| `varfloor:EPS` | ½ log(e²ˢ + EPS): σ² is never below EPS | ½ log EPS, ∞ |

A bound is one entry in `_KINDS`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vaecli.config import ConfigError

if TYPE_CHECKING:
    from jax import Array

    from vaecli.vae.heads import numerics
else:
    from vaecli.vae.lazy import LazyModule

    numerics = LazyModule("vaecli.vae.heads.numerics")


@dataclasses.dataclass(frozen=True)
class _BoundKind:
    """A kind of bound; every function has the numbers after its first argument.

    Attributes:
      form: how it is written.
      log_scale: maps log σ to the bounded one, elementwise.
      limit: the same for one number in float64, which may be infinite.
      inverse: maps a bounded log σ, which lies within the limits, to the one that it comes from.
      needs: what is wrong with the numbers, which are finite, or "".
    """

    form: str
    log_scale: "Callable[..., Array]"
    limit: Callable[..., float]
    inverse: Callable[..., float]
    needs: Callable[..., str] = lambda *numbers: ""

    @property
    def count(self) -> int:
        """How many numbers it has."""
        _, _, numbers = self.form.partition(":")
        return len(numbers.split(",")) if numbers else 0


def _log_add(a: float, b: float) -> float:
    """Returns log(eᵃ + eᵇ), of which b is finite."""
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


def _log_subtract(a: float, b: float) -> float:
    """Returns log(eᵃ − eᵇ), a > b."""
    return a + math.log(-math.expm1(b - a))


def _middle_and_half(low: float, high: float) -> tuple[float, float]:
    return (low + high) / 2, (high - low) / 2


def _soft_clip(x: Any, low: float, high: float, soft_clip: Callable[[Any, float], Any]) -> Any:
    """Returns a soft clip between −H and H, or its inverse, moved to the middle of `low` and `high`."""
    middle, half = _middle_and_half(low, high)
    return middle + soft_clip(x - middle, half)


def _ordered(what: str) -> Callable[[float, float], str]:
    return lambda low, high: "" if low < high else f"{what} needs LO below HI (they bound log σ)"


def _apart(what: str) -> Callable[[float, float], str]:
    def needs(low: float, high: float) -> str:
        between = f"{what} needs HI above LO by 1e-30 to 1e30"
        return _ordered(what)(low, high) or ("" if 1e-30 <= high - low <= 1e30 else between)

    return needs


def _positive(what: str) -> Callable[[float], str]:
    return lambda number: "" if 1e-30 <= number <= 1e30 else f"{what} between 1e-30 and 1e30"


_KINDS = {
    "none": _BoundKind("none", log_scale=lambda s: s, limit=lambda s: s, inverse=lambda y: y),
    "clip": _BoundKind(
        "clip:LO,HI",
        log_scale=lambda s, low, high: numerics.hard_clip(s, low, high),
        limit=lambda s, low, high: min(max(s, low), high),
        inverse=lambda y, low, high: y,
        needs=_ordered("clip:LO,HI"),
    ),
    "tanh": _BoundKind(
        "tanh:C",
        log_scale=lambda s, bound: numerics.soft_clip(s, bound),
        limit=lambda s, bound: bound * math.tanh(s / bound),
        inverse=lambda y, bound: bound * math.atanh(y / bound),
        needs=_positive("tanh needs a positive C (it bounds |log σ|)"),
    ),
    "sigmoid": _BoundKind(
        "sigmoid:LO,HI",
        log_scale=lambda s, low, high: _soft_clip(s, low, high, lambda x, half: numerics.soft_clip(x, half)),
        limit=lambda s, low, high: _soft_clip(s, low, high, lambda x, half: half * math.tanh(x / half)),
        inverse=lambda y, low, high: _soft_clip(y, low, high, lambda x, half: half * math.atanh(x / half)),
        needs=_apart("sigmoid:LO,HI"),
    ),
    # HI − softplus(HI − s) is −log(e⁻ˢ + e^(−HI)), and loses no digits to a large HI in that form.
    "soft": _BoundKind(
        "soft:LO,HI",
        log_scale=lambda s, low, high: numerics.log_add(-numerics.log_add(-s, -high), low),
        limit=lambda s, low, high: _log_add(-_log_add(-s, -high), low),
        inverse=lambda y, low, high: -_log_subtract(-_log_subtract(y, low), -high),
        needs=_apart("soft:LO,HI"),
    ),
    "floor": _BoundKind(
        "floor:EPS",
        log_scale=lambda s, epsilon: numerics.log_add(s, math.log(epsilon)),
        limit=lambda s, epsilon: _log_add(s, math.log(epsilon)),
        inverse=lambda y, epsilon: math.log(math.exp(y) - epsilon),
        needs=_positive("floor needs a positive EPS (the least σ)"),
    ),
    "varfloor": _BoundKind(
        "varfloor:EPS",
        log_scale=lambda s, epsilon: numerics.log_add(2 * s, math.log(epsilon)) / 2,
        limit=lambda s, epsilon: _log_add(2 * s, math.log(epsilon)) / 2,
        inverse=lambda y, epsilon: _log_subtract(2 * y, math.log(epsilon)) / 2,
        needs=_positive("varfloor needs a positive EPS (the least σ²)"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Bound:
    """A bound on σ; hashable, since it is compiled in.

    Attributes:
      kind: the word before the colon.
      numbers: the numbers after the colon.
    """

    kind: str
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Returns the text from which it is read.

        >>> str(Bound("clip", (-5.0, 3.0)))
        'clip:-5,3'
        """
        return ":".join([self.kind, *[",".join(f"{number:g}" for number in self.numbers)] * bool(self.numbers)])

    def log_scale(self, log_scale: "Array") -> "Array":
        """Returns the bounded log σ, elementwise."""
        return _KINDS[self.kind].log_scale(log_scale, *self.numbers)

    def limits(self, low: float, high: float) -> tuple[float, float]:
        """Returns the infimum and supremum of the bounded log σ, from those of the head's log σ."""
        limit = _KINDS[self.kind].limit
        return limit(low, *self.numbers), limit(high, *self.numbers)

    def inverse(self, log_scale: float) -> float:
        """Returns the head's log σ at which the bounded one is `log_scale`, which lies within the limits."""
        return _KINDS[self.kind].inverse(log_scale, *self.numbers)


NO_BOUND = Bound("none")


def parse_bound(text: str) -> Bound:
    """Reads a bound from its text.

    Raises:
      ConfigError: the text is not a bound, or its numbers are impossible.

    >>> parse_bound("clip:-5,3")
    Bound(kind='clip', numbers=(-5.0, 3.0))
    """
    kind, _, rest = text.partition(":")
    try:
        numbers = [float(number) for number in rest.split(",")] if rest else []
    except ValueError:
        numbers = [math.nan]
    if kind not in _KINDS or len(numbers) != _KINDS[kind].count or not all(map(math.isfinite, numbers)):
        *forms, last = (known.form for known in _KINDS.values())
        raise ConfigError("bound", f"must be {', '.join(forms)} or {last} with finite numbers, got {text!r}")
    if wrong := _KINDS[kind].needs(*numbers):
        raise ConfigError("bound", f"{wrong}, got {text!r}")
    return Bound(kind, tuple(numbers))
