"""Arithmetic on sums of two numbers, where a difference of larger terms must keep its digits in float32.

A log density is such a difference: at log τ = −15 it is 15 less half a squared residual, which may be 15 as well, and
one rounding of either is 1e-6. The first word of a pair has at most half of the digits of its type, so that the product
of two first words is exact; the second holds the rest, up to 2 % of the first (after Dekker 1971). A compiler may
compute a value twice, once with its last product fused into a sum and once without: a first word is therefore rounded
only from what no fusion changes, an exact number, one operation on such numbers, or an argument.

No derivative is meant to be taken through these functions.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Pair = tuple[Array, Array]

# The bits of log 2 that a whole number below 128 multiplies exactly in float32, and the rest.
_LOG2_FIRST = 355 / 512
_LOG2_REST = math.log(2) - _LOG2_FIRST
# The coefficients of (eᶠ − 1 − f − f²/2)/f³ and of (f − log(1 + f))/f², in powers of f.
_EXP = tuple(1 / math.factorial(power + 3) for power in range(9))
_LOG1P = tuple((-1) ** power / (power + 2) for power in range(11))


def _polynomial(coefficients: tuple[float, ...], f: Array) -> Array:
    return functools.reduce(lambda total, term: total * f + term, reversed(coefficients), jnp.zeros_like(f))


def first_word(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns x rounded to half of the digits of its type."""
    kind = jnp.finfo(x.dtype)
    return jax.lax.reduce_precision(x, exponent_bits=kind.nexp, mantissa_bits=(kind.nmant - 1) // 2)


def two_sum(x: Array, y: Array) -> Pair:
    """Returns x + y, rounded, and exactly what the rounding took from it."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def number_pair(number: float) -> tuple[float, float]:
    """Returns a number as a first word that float32 splits in half as well, and the rest."""
    mantissa, exponent = math.frexp(number)
    first = math.ldexp(round(mantissa * 2**12) / 2**12, exponent)
    return first, number - first


def product(x: Pair, y: Pair | tuple[float, float]) -> Pair:
    """Returns the product of two pairs: that of the first words exactly, with all digits of its type, and the rest."""
    return x[0] * y[0], x[0] * y[1] + x[1] * (y[0] + y[1])


def square(x: Pair) -> Pair:
    """Returns the square of a product, as `product` does."""
    first = first_word(x[0])
    second = (x[0] - first) + x[1]
    return first * first, second * (first + (first + second))


def quotient(x: Pair, number: float) -> Pair:
    """Returns a product, or a square, by a number."""
    number_first, number_rest = number_pair(number)
    first = first_word(x[0] / number)
    return first, (((x[0] - number_first * first) - number_rest * first) + x[1]) / number


def sum_of(x: Array, y: Array, *rest: Array) -> Array:
    """Returns x + y + rest, rounded about once: the first two may cancel, and the others are small; ±∞ stays."""
    total, lost = two_sum(x, y)
    return total + jnp.where(jnp.isfinite(total), functools.reduce(jnp.add, rest, lost), 0)


def difference_pair(x: Array, y: Array) -> Pair:
    """Returns x − y, exactly where it has no more than 36 digits."""
    total, lost = two_sum(x, -y)
    first = first_word(total)
    return first, (total - first) + lost


def _power_of_two(n: Array) -> Array:
    """Returns 2ⁿ of whole numbers, by their bits, since `exp2` rounds; ∞ above, and the least normal number below."""
    kind = jnp.finfo(n.dtype)
    biased = jnp.clip(n, kind.minexp, kind.maxexp).astype(f"int{kind.bits}") + (kind.maxexp - 1)
    return jax.lax.bitcast_convert_type(biased << kind.nmant, n.dtype)


def exp_pair(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Returns eˣ, exact to 2e-9 of itself in float32, for |x| < 70.

    x is n log 2 + f, |f| < 0.35, and f is k/32 + d. The first word is 2ⁿ (1 + k/32 + (k/32)²/2), which has 12 bits.
    """
    n = jnp.round(x / math.log(2))
    leading = x - n * _LOG2_FIRST
    coarse = jnp.round(leading * 32) / 32
    d = (leading - coarse) - n * _LOG2_REST
    f = coarse + d
    first = 1 + (coarse + coarse * coarse / 2)
    second = d + (d * (f + coarse) / 2 + f * f * f * _polynomial(_EXP, f))
    factor = _power_of_two(n)
    return factor * first, factor * second


def log1p_pair(y: Pair) -> Pair:
    """Returns log(1 + y) of a pair y ≥ 0: below 1/8 by its series, above as L + log((1 + y) e⁻ᴸ), L ≈ log(1 + y)."""
    small = y[0] < 1 / 8
    near = jnp.where(small, y[0] + y[1], 0)
    first = first_word(jnp.log1p(y[0]))
    inverse = exp_pair(-first)
    shrunk = product(y, inverse)
    total, lost = two_sum(shrunk[0], inverse[0])
    second = jnp.log1p((total - 1) + (lost + (shrunk[1] + inverse[1])))
    return jnp.where(small, y[0], first), jnp.where(small, y[1] - near * near * _polynomial(_LOG1P, near), second)
