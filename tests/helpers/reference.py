"""The heads again, with 100 digits: their formulas evaluated by mpmath, and derivatives by differences."""

import functools

import mpmath
import numpy as np

from helpers.heads import ONE_SIDED
from vaecli.vae.heads.table import HEADS

_NAMES = {name: getattr(mpmath, name) for name in ("exp", "log", "sqrt", "tanh")} | {
    "abs": abs,
    "min": min,
    "max": max,
    "__builtins__": {},
}
FLOAT32_MAX = 3.0e38


@functools.cache
def _formula(name):
    return compile(HEADS[name].formula, name, "eval")


def sigma(name, u):
    """σ(u), straight from the formula that users read; NaN where it is negative."""
    value = mpmath.mpf(eval(_formula(name), _NAMES, {"u": u}))
    return value if value >= 0 else mpmath.nan


def log_sigma(name, u):
    value = sigma(name, u)
    return mpmath.log(value) if value else -mpmath.inf


def domain(name, u):
    """The u at which a head has a σ, of some."""
    return u[u >= 0] if name in ONE_SIDED else u


@functools.cache
def derivatives(name, u):
    """log σ and its first and second derivative; None for a derivative that does not exist there."""
    u = mpmath.mpf(u)
    h = max(abs(u), mpmath.mpf("1e-10")) * mpmath.mpf("1e-20")
    lower, low, middle, high, higher = (log_sigma(name, u + k * h) for k in (-2, -1, 0, 1, 2))
    if not all(map(mpmath.isfinite, (lower, low, middle, high, higher))):
        return middle, None, None
    first = _agreed((middle - low) / h, (high - middle) / h)
    second = _agreed((lower - 2 * low + middle) / h**2, (middle - 2 * high + higher) / h**2)
    return middle, first, second if first is not None else None


def _agreed(left, right):
    """The mean of two one-sided differences, unless there is a kink between them."""
    return (left + right) / 2 if abs(left - right) <= 1e-9 * max(1, abs(left), abs(right)) else None


def quantities(name, u):
    """What float32 must have right at u: by name, in mpmath; None where it does not exist."""
    log_scale, gain, bend = derivatives(name, u)
    scale = mpmath.exp(log_scale)

    def given(function, *values):
        return None if None in values else function(*values)

    return {
        "log_scale": log_scale,
        "scale": scale,
        "gain": gain,
        "scale_gradient": given(lambda g: g * scale, gain),
        "gain_gradient": bend,
        "kl": (scale**2 - 1) / 2 - log_scale,
        "kl_gradient": given(lambda g: g * (scale**2 - 1), gain),
    }


def check(actual, expected, u):
    """Within 1e-6 of the reference relative to max(1, |value|), wherever there is one that float32 can hold."""
    for name, values in actual.items():
        for value, point, reference in zip(np.asarray(values, np.float64), u, expected, strict=True):
            wanted = reference[name]
            if wanted is None or not mpmath.isfinite(wanted):
                continue
            if name == "gain_gradient" and abs(point) < 1.1e-19:
                continue  # Beside a singular point: float32 holds no u².
            if abs(wanted) > FLOAT32_MAX:
                assert not np.isnan(value), (name, point)
                continue
            error = abs(value - float(wanted)) / max(1, abs(float(wanted)))
            assert error <= 1e-6, (name, float(point), value, float(wanted), error)
