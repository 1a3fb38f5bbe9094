"""The properties of a head that are known before anything is trained: gains, inverse, safe ranges and curves."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaecli.vae.heads.table import Head
from vaecli.vae.matching import inverse_and_gain
from vaecli.vae.posterior import Posterior
from vaecli.vae.precision import Precision
from vaecli.vae.terms import kl_divergence

GAIN_AT = (0.05, 0.2, 1.0, 5.0)
RESOLUTION_AT = (0.05, 1.0)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
_POINTS = 8192


class Characteristics(NamedTuple):
    """The figures of a head.

    Attributes:
      sigma_at_zero: the value of σ(0).
      gain: the gain γ = d log σ / du at each σ of `GAIN_AT`; None where the head does not reach it.
      inverse_at_1: the u at which σ is 1; None where it does not exist.
      safe_float32: the ends of the safe range of u in float32; None where that u does not exist.
      safe_bfloat16: the ends of the safe range in bfloat16.
      resolution: by precision, the relative distance between neighbouring values of σ, at each σ of `RESOLUTION_AT`;
        None where the head does not reach it.
    """

    sigma_at_zero: float
    gain: tuple[float | None, ...]
    inverse_at_1: float | None
    safe_float32: tuple[float, float] | None
    safe_bfloat16: tuple[float, float] | None
    resolution: Mapping[Precision, tuple[float | None, ...]]


def characteristics(chosen: Head) -> Characteristics:
    """Measures a head."""
    u, gain = inverse_and_gain(chosen, np.log([*GAIN_AT, 1.0]))
    known = chosen.learned & np.isfinite(u)
    start = float(u[-1]) if known[-1] else None
    at = [GAIN_AT.index(sigma) for sigma in RESOLUTION_AT]
    return Characteristics(
        sigma_at_zero=float(_sigma_at_zero(chosen)),
        gain=tuple(_gain(chosen, value, reached) for value, reached in zip(gain[:-1], known[:-1], strict=True)),
        inverse_at_1=start,
        safe_float32=None if start is None else safe_range(chosen, start, jnp.float32),
        safe_bfloat16=None if start is None else safe_range(chosen, start, jnp.bfloat16),
        resolution={
            precision: tuple(resolution(u[k], gain[k], precision) if known[k] else None for k in at)
            for precision in PRECISIONS
        },
    )


def resolution(u: float, gain: float, precision: Precision) -> float:
    """Returns |γ| times the distance between neighbouring numbers of a precision at u, seen away from 0.

    It is the relative distance between the neighbouring values that σ can have there, to first order.
    """
    limits = jnp.finfo(precision)
    exponent = max(math.frexp(u)[1] - 1, limits.minexp) if u else limits.minexp
    return abs(gain) * 2.0 ** (exponent - limits.nmant)


@functools.partial(jax.jit, static_argnums=0)
def _sigma_at_zero(chosen: Head) -> Array:
    return jnp.exp(chosen.log_scale(jnp.zeros((), jnp.float32)))


def _gain(chosen: Head, gain: float, reached: bool) -> float | None:
    return float(gain) if reached else None if chosen.learned else 0.0


@functools.partial(jax.jit, static_argnums=0)
def _safe(form: Head, slope: Array, u: Array) -> Array:
    """Returns whether σ > 0, log σ, γ ≠ 0, the KL and dKL/du are finite at each u, (values,), in the type of u.

    The slope is an argument, so that heads of one form are one program.
    """
    chosen = dataclasses.replace(form, slope=slope)

    def kl(values):
        log_scale, scale = chosen.log_scale(values)[None], chosen.scale(values)[None]
        return kl_divergence(Posterior(jnp.zeros_like(scale), log_scale, scale))[0], scale[0]

    # All are elementwise, so that a pull of ones gives the derivative at each u: each function is traced once.
    log_scale, pull = jax.vjp(chosen.log_scale, u)
    (gain,) = pull(jnp.ones_like(log_scale))
    divergence, pull, scale = jax.vjp(kl, u, has_aux=True)
    (by_u,) = pull(jnp.ones_like(divergence))
    finite = jnp.isfinite(jnp.stack([scale, log_scale, gain, divergence, by_u])).all(axis=0)
    return finite & (scale > 0) & (gain != 0)


def safe_range(chosen: Head, start: float, dtype: jax.typing.DTypeLike) -> tuple[float, float]:
    """Measures the widest interval around `start` on which a head is safe in a floating-point type.

    Safe means that σ, log σ, γ, the KL and dKL/du are finite, σ > 0 and γ ≠ 0. Steps that grow by 2 % lead outwards to
    the first u that is not safe; the interval before it is searched again until its ends are neighbours.
    """
    return _edge(chosen, start, -1, dtype), _edge(chosen, start, 1, dtype)


def _edge(chosen: Head, start: float, sign: int, dtype: jax.typing.DTypeLike) -> float:
    def rounded(u: np.ndarray) -> np.ndarray:
        return np.asarray(jnp.asarray(u, dtype), np.float64)

    largest = float(jnp.finfo(dtype).max)
    growing = np.geomspace(1e-30, 2 * largest, _POINTS - 2)
    # Where 0 lies ahead, it is one of the points: a singular point there is narrower than any step.
    distances = np.sort(np.concatenate([[0.0, max(0.0, -sign * start)], growing]))
    path = rounded(np.clip(start + sign * distances, -largest, largest))
    inside = start
    while (path != inside).any():
        # The number of points is always the same, so that one program serves.
        safe = _safe(chosen.form, np.asarray(chosen.slope, dtype), jnp.asarray(path, dtype))
        unsafe = np.flatnonzero(~np.asarray(safe))
        if not unsafe.size:
            return float(path[-1])
        if unsafe[0] == 0:
            return math.nan
        inside, outside = path[unsafe[0] - 1], path[unsafe[0]]
        path = rounded(np.linspace(inside, outside, _POINTS))
        if (np.isin(path, (inside, outside))).all():
            return float(inside)
    return float(inside)


class SampledCurves(NamedTuple):
    """The points of the curves that `vae heads --plot` draws of a head.

    Attributes:
      u: the values of u, from −6 to 6, (points,).
      sigma: the σ(u); NaN where it is not a number.
      sigma_axis: the values of σ at which the gain is given, (points,).
      gain: the |γ| at them; NaN where the head does not reach them.
    """

    u: np.ndarray
    sigma: np.ndarray
    sigma_axis: np.ndarray
    gain: np.ndarray


def curves(chosen: Head, points: int = 481) -> SampledCurves:
    """Samples a head's σ(u) and |γ|(σ)."""
    u = np.linspace(-6, 6, points)
    sigma = np.asarray(chosen.scale(jnp.asarray(u, jnp.float32)), np.float64)
    axis = np.geomspace(0.02, 10, points)
    gain = np.abs(inverse_and_gain(chosen, np.log(axis))[1]) if chosen.learned else np.zeros(points)
    return SampledCurves(u, sigma, axis, gain)


def table(heads: Sequence[Head]) -> list[dict[str, object]]:
    """Returns the heads with their figures to seven digits, as `vae heads --json` prints them.

    A figure that does not exist is None.
    """
    rows = []
    for chosen in heads:
        figures = jax.tree.map(lambda x: float(f"{x:.7g}") + 0.0 if math.isfinite(x) else None, characteristics(chosen))
        row = {key: getattr(chosen, key) for key in ("name", "quantity", "formula")} | figures._asdict()
        row["gain"] = {f"{sigma:g}": gain for sigma, gain in zip(GAIN_AT, figures.gain, strict=True)}
        row["resolution"] = {
            precision: dict(zip(map("{:g}".format, RESOLUTION_AT), figures.resolution[precision], strict=True))
            for precision in PRECISIONS
        }
        rows.append(row | {"note": chosen.note})
    return rows
