"""Checks that bfloat16 and float16 are rounded on this device as they are anywhere: by conversions in NumPy."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaecli.vae.precision import Precision, product, rounded
from vaecli.verify.check import Check, compare

_PRECISIONS: tuple[Precision, ...] = ("bfloat16", "float16")
_SUMS = 3e-6
"""What float32 sums of some hundred products may lose; those of bfloat16 would lose a thousand times as much."""


def _narrow(x: np.ndarray, precision: Precision) -> np.ndarray:
    return x.astype(jnp.dtype(precision)).astype(np.float64)


def roundings() -> Iterator[Check]:
    """Checks numbers of all sizes, each by itself, between two operations that a compiler may fuse; both are exact."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=20_000) * np.exp2(rng.uniform(-26, 13, 20_000))).astype(np.float32)
    for precision in _PRECISIONS:
        computed = _halves(jnp.asarray(x), precision)
        pairs = zip(np.asarray(computed, np.float64), 2 * _narrow(x / 4, precision), strict=True)
        yield compare(f"rounding to {precision}", pairs, 0.0)


@functools.partial(jax.jit, static_argnums=1)
def _halves(x: Array, precision: Precision) -> Array:
    return 2 * rounded(x / 4, precision)


def products() -> Iterator[Check]:
    """Checks a product and its derivatives: factors and arriving gradient are rounded, and sums are float32."""
    rng = np.random.default_rng(1)
    given = [rng.normal(size=shape).astype(np.float32) for shape in ((64, 400), (400, 40), (64, 40))]
    for precision in _PRECISIONS:
        x, kernel, arriving = (_narrow(values, precision) for values in given)
        computed = _product_and_derivative(*map(jnp.asarray, given), precision)
        pairs = zip(computed, (x @ kernel, x.T @ arriving), strict=True)
        yield compare(f"products in {precision}, summed in float32", pairs, _SUMS)


@functools.partial(jax.jit, static_argnums=3)
def _product_and_derivative(x: Array, kernel: Array, arriving: Array, precision: Precision) -> tuple[Array, Array]:
    value, back = jax.vjp(lambda kernel: product(x, kernel, precision), kernel)
    return value, back(arriving)[0]


GROUPS = (roundings, products)
