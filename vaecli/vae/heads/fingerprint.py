"""What a head computes, as a few characters: heads with other values, derivatives or settings have other ones."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_REACH, _POINTS = 100.0, 4001
_DIGITS = 9


def fingerprint(head: Any) -> str:
    """Returns the fingerprint of a head: twelve hexadecimal digits of what it maps a grid of arguments to.

    The same formula has the same one in every process, and wherever it is written. The functions are computed in
    float64 and rounded to nine digits, so that another processor or version of jax does not change it.
    """
    # Odd steps, so that no kink or constant of a formula lies on a point, where its sides may be chosen by rounding.
    grid = np.linspace(-_REACH, _REACH * 0.9993, _POINTS)
    parts = [repr((float(head.slope), tuple(map(float, head.limits)), bool(head.couples_mean), bool(head.learned)))]
    with jax.enable_x64(True):
        for function in (head.f, head.f_scale, head.f_inverse):
            parts.append("none" if function is None else _values(function, grid))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _values(function: Any, grid: np.ndarray) -> str:
    """Returns the values of a function and its derivatives, as text."""
    values, slopes = jax.jit(lambda v: jax.jvp(function, (v,), (jnp.ones_like(v),)))(jnp.asarray(grid))
    return " ".join(map(_rounded, np.concatenate([np.asarray(values, np.float64), np.asarray(slopes, np.float64)])))


def _rounded(value: float) -> str:
    """Returns a number with nine digits, of which none is further behind the point than the ninth."""
    text = f"{value:.{_DIGITS}g}" if abs(value) >= 1 else f"{value:.{_DIGITS}f}"
    return text.lstrip("-") if float(text) == 0 else text
