"""Numbers that `vae probe` has of an encoder's heads and of a decoder's: steps, cosines, and how gains are spread."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vaecli.vae.resolve import Resolved, Scale

# The bins of log₁₀ |γ|; 1/2, 1 and 2 lie in the middle of one.
_GAIN_EDGES = np.linspace(-8.025, 8.025, 322)


def step_power(resolved: Resolved, scale: Scale) -> int:
    """Returns the power of |γ| with which a step of a run's optimiser moves the logarithm of a scale."""
    power = resolved.optimizer.lr_power
    # A natural gradient by u has 1/γ where a plain one has γ.
    return 2 - power if scale.natural else power


def step_size(gain: np.ndarray, power: int, lr: float) -> float:
    """Returns lr times the mean of |γ| to that power."""
    return lr * float((np.abs(np.asarray(gain, np.float64)) ** power).mean())


def cosine_with_error(one: ArrayLike, other: ArrayLike) -> tuple[float, float]:
    """Returns the cosine between the means of two gradients, (batches, …), with the jackknife's standard error."""

    def flat(gradients: ArrayLike) -> np.ndarray:
        values = np.asarray(gradients, np.float64)
        return values.reshape(len(values), -1)

    def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))

    a, b = flat(one), flat(other)
    value, count = float(cosine(a.sum(axis=0), b.sum(axis=0))), len(a)
    if count == 1:
        return value, math.nan
    without = cosine(a.sum(axis=0) - a, b.sum(axis=0) - b)
    return value, float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))


def gain_histogram(size: np.ndarray) -> dict[str, Any]:
    """Counts log₁₀ |γ| over the units, in the bins that hold any; `zero` counts those without gain."""
    logs = np.log10(size[size > 0])
    counts, _ = np.histogram(np.clip(logs, _GAIN_EDGES[0], _GAIN_EDGES[-1]), _GAIN_EDGES)
    used = np.flatnonzero(counts)
    first, last = (used[0], used[-1]) if used.size else (0, -1)
    edges = [round(float(edge), 10) for edge in _GAIN_EDGES[first : last + 2]]
    return {"log10_edges": edges, "counts": counts[first : last + 1].tolist(), "zero": int((size == 0).sum())}
