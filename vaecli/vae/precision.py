"""Arithmetic in fewer bits than float32: what is rounded, and where.

* A product (of a dense layer, or of a convolution) rounds its two factors and adds up in float32. On the way back it
  rounds the gradient that arrives, and the one that it hands on to its input; that of the weights stays a float32.
* A value that is `held` in a precision is rounded, and so is its gradient.

What lies between is float32: biases, activations, heads, losses, the parameters and the optimiser. A rounded number is
kept as a float32, since XLA may leave out a conversion to fewer bits and back (`xla_allow_excess_precision`), on some
devices and not on others; `rounded` is arithmetic, which it may not leave out.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

Precision = Literal["float32", "bfloat16", "float16"]

_EXPONENT_BITS, _MANTISSA_BITS = {"bfloat16": 8, "float16": 5}, {"bfloat16": 7, "float16": 10}
# The least normal float16, and the spacing of those below it.
_LEAST_HALF, _HALF_SPACING = 2.0**-14, 2.0**-24


def rounded(x: Float[Array, "*shape"], precision: Precision) -> Float[Array, "*shape"]:
    """Rounds to the nearest number of a precision, ties to even, as a conversion does; beyond its range it is ±∞.

    `lax.reduce_precision` takes subnormal numbers for 0. So does XLA with those of bfloat16, whose range is float32's;
    but a float16 below 6e-5 is subnormal, and there a gradient often is.
    """
    if precision == "float32":
        return x
    near = lax.reduce_precision(x, _EXPONENT_BITS[precision], _MANTISSA_BITS[precision])
    if precision == "bfloat16":
        return near
    small = jnp.abs(x) < _LEAST_HALF
    steps = lax.round(jnp.where(small, x, 0.0) / _HALF_SPACING, lax.RoundingMethod.TO_NEAREST_EVEN)
    return jnp.where(small, steps * _HALF_SPACING, near)


def held(x: Float[Array, "*shape"], precision: Precision) -> Float[Array, "*shape"]:
    """Returns a value as a variable of a precision holds it: rounded, and so is the gradient by it."""
    return x if precision == "float32" else _held(x, precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _held(x: Array, precision: Precision) -> Array:
    return rounded(x, precision)


_held.defvjp(
    lambda x, precision: (rounded(x, precision), None),
    lambda precision, _, gradient: (rounded(gradient, precision),),
)


def product(x: Array, kernel: Float[Array, "inputs outputs"], precision: Precision, *, columns: bool = False) -> Array:
    """Returns a matrix product of factors in a precision, added up and returned in float32.

    It maps (rows, inputs) to (rows, outputs) or, if these are `columns`, (inputs, columns) to (outputs, columns).
    """
    if precision == "float32":
        return kernel.T @ x if columns else x @ kernel
    return _product(x, kernel, precision, columns)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _product(x: Array, kernel: Array, precision: Precision, columns: bool) -> Array:
    return _product_forwards(x, kernel, precision, columns)[0]


def _product_forwards(
    x: Array, kernel: Array, precision: Precision, columns: bool
) -> tuple[Array, tuple[Array, Array]]:
    x, kernel = _narrow(x, precision), _narrow(kernel, precision)
    return _dot(kernel.T, x) if columns else _dot(x, kernel), (x, kernel)


def _product_backwards(
    precision: Precision, columns: bool, factors: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    (x, kernel), gradient = factors, _narrow(gradient, precision)
    if columns:
        return rounded(_dot(kernel, gradient), precision), _dot(x, gradient.T)
    return rounded(_dot(gradient, kernel.T), precision), _dot(x.T, gradient)


_product.defvjp(_product_forwards, _product_backwards)


def _narrow(x: Array, precision: Precision) -> Array:
    """Returns an array of the precision's own type, in which products are fast and memory is saved."""
    return rounded(x, precision).astype(precision)


def _dot(x: Array, y: Array) -> Array:
    # Of factors that are narrow already; float32 sums need no other setting.
    return lax.dot(x, y, precision=lax.Precision.DEFAULT, preferred_element_type=jnp.float32)


@functools.cache
def dot_general(precision: Precision) -> Callable[..., Array]:
    """Returns the product of a dense layer, as `nnx.Linear` calls it."""
    if precision == "float32":
        return lax.dot_general

    def of_rows(x: Array, kernel: Array, dimension_numbers: Any, **_: Any) -> Array:
        assert dimension_numbers == (((1,), (0,)), ((), ()))
        return product(x, kernel, precision)

    return of_rows
