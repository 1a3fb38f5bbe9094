"""The bounds on σ, as an axis of their own: the same for any head, and the same for the KL and for sampling.

| bound | log σ, from the head's own log σ = s |
|---|---|
| `none` | s |
| `clip:LO,HI` | s between LO and HI, without gradient outside |
| `tanh:C` | C tanh(s/C), between −C and C |
| `floor:EPS` | log(eˢ + EPS): σ is never below EPS |
"""

import dataclasses
import math
from typing import TYPE_CHECKING

from vaecli.config import ConfigError

if TYPE_CHECKING:
    from jax import Array

_NUMBERS = {"none": 0, "clip": 2, "tanh": 1, "floor": 1}
_FORMS = "none, clip:LO,HI, tanh:C or floor:EPS"


@dataclasses.dataclass(frozen=True)
class Bound:
    """A bound on σ; hashable, since it is compiled in.

    Attributes:
      kind: the word before the colon.
      numbers: the numbers after the colon.
    """

    kind: str
    numbers: tuple[float, ...] = ()

    def log_scale(self, log_scale: "Array") -> "Array":
        """Returns the bounded log σ, elementwise."""
        from vaecli.vae.heads import numerics

        match self.kind:
            case "clip":
                return numerics.hard_clip(log_scale, *self.numbers)
            case "tanh":
                return numerics.soft_clip(log_scale, *self.numbers)
            case "floor":
                return numerics.log_add(log_scale, math.log(self.numbers[0]))
        return log_scale

    def limits(self, low: float, high: float) -> tuple[float, float]:
        """Returns the infimum and supremum of the bounded log σ, from those of the head's log σ."""
        return self._limit(low), self._limit(high)

    def _limit(self, log_scale: float) -> float:
        match self.kind:
            case "clip":
                return min(max(log_scale, self.numbers[0]), self.numbers[1])
            case "tanh":
                return self.numbers[0] * math.tanh(log_scale / self.numbers[0])
            case "floor":
                epsilon = math.log(self.numbers[0])
                return max(log_scale, epsilon) + math.log1p(math.exp(-abs(log_scale - epsilon)))
        return log_scale

    def inverse(self, log_scale: float) -> float:
        """Returns the head's log σ at which the bounded one is `log_scale`, which lies within the limits."""
        match self.kind:
            case "tanh":
                return self.numbers[0] * math.atanh(log_scale / self.numbers[0])
            case "floor":
                return math.log(math.exp(log_scale) - self.numbers[0])
        return log_scale


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
    if kind not in _NUMBERS or len(numbers) != _NUMBERS[kind] or not all(map(math.isfinite, numbers)):
        raise ConfigError("bound", f"must be {_FORMS} with finite numbers, got {text!r}")
    if kind == "clip" and numbers[0] >= numbers[1]:
        raise ConfigError("bound", f"clip:LO,HI needs LO below HI (they bound log σ), got {text!r}")
    if kind in ("tanh", "floor") and not 1e-30 <= numbers[0] <= 1e30:
        what = "C (it bounds |log σ|)" if kind == "tanh" else "EPS (the least σ)"
        raise ConfigError("bound", f"{kind} needs a positive {what} between 1e-30 and 1e30, got {text!r}")
    return Bound(kind, tuple(numbers))
