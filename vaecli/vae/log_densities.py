"""The log densities of the likelihoods: log p of each pixel, in nats, with samplers and what is known of the scale.

Arguments of one rank, or scalars, broadcast. In float32, over outputs in [−87, 87] and log scales in [−15, 15], values
and derivatives are within 1e-6 · max(1, |value|) of the exact ones. They are densities over real pixels, except that
`bernoulli` and `discretised_logistic` are probabilities of a pixel's levels.

r stands for the residual x − m, τ for the scale, whose logarithm is the argument `log_scale`.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from vaecli.vae import double_word as dw
from vaecli.vae.heads.numerics import absolute, softplus

# Bernoulli -----------------------------------------------------------------------------------------------------------


def bernoulli(logits: Float[Array, "*#shape"], x: Float[Array, "*#shape"]) -> Float[Array, "*#shape"]:
    """Returns log p(x) = x l − log(1 + eˡ).

    It is finite, with finite gradients, at every logit l; log(sigmoid(l)) is −inf below −87. With grey pixels x in
    [0, 1] it is the cross-entropy that the tutorials train on, which is no log density (Loaiza-Ganem & Cunningham
    2019), and its rounding is that of x l.
    """
    return x * logits - softplus(logits)


def sample_bernoulli(key: Key[Array, ""], logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Draws pixels that are 0 or 1."""
    return jax.random.bernoulli(key, jax.nn.sigmoid(logits)).astype(logits.dtype)


def clipped_logit(mean: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Returns the logit of a mean that is kept between 0.001 and 0.999.

    The code of Burda et al. (2016) does the same: pixels that are black in every image would begin at −∞.
    """
    kept = jnp.clip(mean, 0.001, 0.999)
    return jnp.log(kept) - jnp.log1p(-kept)


# What is known of a scale --------------------------------------------------------------------------------------------


class ScaleFacts(NamedTuple):
    """What a likelihood's scale τ does, in closed form.

    Attributes:
      score: maps r/τ to ∂ log p/∂ log τ.
      information: the Fisher information of log τ, the expectation of the squared score.
    """

    score: Callable[[Array], Array]
    information: float


def _ratio(location: Array, log_scale: Array, x: Array) -> Array:
    return (x - location) * jnp.exp(-log_scale)


def _ratio_pair(location: Array, log_scale: Array, x: Array) -> tuple[Array, Array]:
    """Returns |r|/τ, with the digits that a rounded r and τ would have lost."""
    first, second = dw.product(dw.difference_pair(x, location), dw.exp_pair(-log_scale))
    return jnp.where(first < 0, -first, first), jnp.where(first < 0, -second, second)


# Gaussian ------------------------------------------------------------------------------------------------------------


def _gaussian_score(ratio: Array) -> Array:
    return ratio * ratio - 1


def gaussian_scale() -> ScaleFacts:
    """Returns what is known of a scale whose score r²/τ² − 1 is unbounded as τ → 0 (Rybkin et al. 2021)."""
    return ScaleFacts(score=_gaussian_score, information=2.0)


@jax.custom_jvp
def gaussian(
    mean: Float[Array, "*#shape"], log_scale: Float[Array, "*#shape"], x: Float[Array, "*#shape"]
) -> Float[Array, "*#shape"]:
    """Returns log p(x) = −r²/2τ² − log τ − ½ log 2π (Rybkin et al. 2021).

    Where r is a few τ and log τ = −15, the plain form subtracts numbers near 15, and is 5e-6 off.
    """
    squared, rest = dw.square(_ratio_pair(mean, log_scale, x))
    return dw.sum_of(-squared / 2, -log_scale, -rest / 2) - 0.5 * math.log(2 * math.pi)


@gaussian.defjvp
def _gaussian_jvp(primals, tangents):
    mean, log_scale, x = primals
    d_mean, d_log_scale, d_x = tangents
    ratio = _ratio(mean, log_scale, x)
    force = ratio * jnp.exp(-log_scale)
    return gaussian(*primals), force * (d_mean - d_x) + _gaussian_score(ratio) * d_log_scale


def sample_gaussian(
    key: Key[Array, ""], mean: Float[Array, "*#shape"], log_scale: Float[Array, "*#shape"]
) -> Float[Array, "*#shape"]:
    """Draws real pixels, m + τ ε with a standard normal ε."""
    return mean + jnp.exp(log_scale) * jax.random.normal(key, *_drawn(mean, log_scale))


def _drawn(location: Array, log_scale: Array) -> tuple[tuple[int, ...], jnp.dtype]:
    """Returns shape and type of the noise of a likelihood with a location and a scale."""
    return jnp.broadcast_shapes(location.shape, log_scale.shape), jnp.result_type(location, log_scale)


# Laplace -------------------------------------------------------------------------------------------------------------


def _laplace_score(ratio: Array) -> Array:
    return jnp.abs(ratio) - 1


def laplace_scale() -> ScaleFacts:
    """Returns what is known of a scale whose score |r|/τ − 1 is unbounded as τ → 0."""
    return ScaleFacts(score=_laplace_score, information=1.0)


@jax.custom_jvp
def laplace(
    median: Float[Array, "*#shape"], log_scale: Float[Array, "*#shape"], x: Float[Array, "*#shape"]
) -> Float[Array, "*#shape"]:
    """Returns log p(x) = −|r|/τ − log 2τ; its derivative by the median is 0 at r = 0.

    The plain form loses digits where |r|/τ cancels −log τ, as the Gaussian's does.
    """
    ratio, rest = _ratio_pair(median, log_scale, x)
    return dw.sum_of(-ratio, -log_scale, -rest) - math.log(2)


@laplace.defjvp
def _laplace_jvp(primals, tangents):
    median, log_scale, x = primals
    d_median, d_log_scale, d_x = tangents
    ratio = _ratio(median, log_scale, x)
    force = jnp.sign(x - median) * jnp.exp(-log_scale)
    return laplace(*primals), force * (d_median - d_x) + _laplace_score(ratio) * d_log_scale


def sample_laplace(
    key: Key[Array, ""], median: Float[Array, "*#shape"], log_scale: Float[Array, "*#shape"]
) -> Float[Array, "*#shape"]:
    """Draws real pixels, m + τ ε with a standard Laplace ε."""
    return median + jnp.exp(log_scale) * jax.random.laplace(key, *_drawn(median, log_scale))


# Student's t ---------------------------------------------------------------------------------------------------------

_FAR = 2.0**30
"""Where r/τ is larger, 1 + r²/ντ² is r²/ντ² in float32, and its square may overflow."""


def _student_score(ratio: Array, df: float) -> Array:
    squared = jnp.clip(ratio, -_FAR, _FAR) ** 2
    return (df + 1) * (squared / (df + squared)) - 1


def student_scale(df: float) -> ScaleFacts:
    """Returns what is known of a scale with ν = df: the score (ν+1) r²/(ντ² + r²) − 1 is between −1 and ν."""
    return ScaleFacts(score=functools.partial(_student_score, df=df), information=2 * df / (df + 3))


def _student_constant(df: float) -> float:
    """Returns lnΓ((ν+1)/2) − lnΓ(ν/2) − ½ log νπ; from ν = 1000 by its expansion, where two large numbers cancel."""
    if df < 1000:
        return math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    return -0.5 * math.log(2 * math.pi) - 1 / (4 * df) + 1 / (24 * df**3)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def student(
    location: Float[Array, "*#shape"], log_scale: Float[Array, "*#shape"], x: Float[Array, "*#shape"], df: float
) -> Float[Array, "*#shape"]:
    """Returns log p(x) = lnΓ((ν+1)/2) − lnΓ(ν/2) − ½ log νπ − log τ − ½(ν+1) log(1 + r²/ντ²), ν = df.

    It is Student's t, for ν from 0.5 to 1e6 (of decoders: Takahashi et al. 2018), and tends to `gaussian` as ν rises.
    The plain form loses digits where the last two terms cancel, and overflows where r²/τ² does.
    """
    ratio, rest = _ratio_pair(location, log_scale, x)
    far = ratio > _FAR
    beyond = jnp.where(far, ratio + rest, _FAR) / _FAR
    near = jnp.where(far, _FAR, ratio), jnp.where(far, 0, rest)
    logarithm, part = dw.log1p_pair(dw.quotient(dw.square(near), df))
    large, small = dw.product((logarithm, part + 2 * jnp.log(beyond)), dw.number_pair((df + 1) / 2))
    return dw.sum_of(-large, -log_scale, -small) + _student_constant(df)


@student.defjvp
def _student_jvp(df, primals, tangents):
    location, log_scale, x = primals
    d_location, d_log_scale, d_x = tangents
    ratio = _ratio(location, log_scale, x)
    near = jnp.clip(ratio, -_FAR, _FAR)
    beyond = jnp.maximum(jnp.abs(ratio), _FAR) / _FAR
    force = (df + 1) * (near / (df + near * near)) * (jnp.exp(-log_scale) / beyond)
    return student(*primals, df), force * (d_location - d_x) + _student_score(ratio, df) * d_log_scale


def sample_student(
    key: Key[Array, ""], location: Float[Array, "*#shape"], log_scale: Float[Array, "*#shape"], df: float
) -> Float[Array, "*#shape"]:
    """Draws real pixels, m + τ ε with an ε from Student's t: a normal over √(2g/ν), g from Gamma(ν/2).

    For small ν a g is often too small for float32, so that its logarithm is drawn.
    """
    shape, kind = _drawn(location, log_scale)
    normals, gammas = jax.random.split(key)
    log_gamma = jax.random.loggamma(gammas, df / 2, shape, kind)
    noise = jax.random.normal(normals, shape, kind) * jnp.exp((math.log(df / 2) - log_gamma) / 2)
    return location + jnp.exp(log_scale) * noise


# Discretised logistic ------------------------------------------------------------------------------------------------

LEVELS = 256
"""The levels of a pixel: 0, 1/255, …, 1."""


def _logistic_score(ratio: Array) -> Array:
    return ratio * jnp.tanh(ratio / 2) - 1


def logistic_scale() -> ScaleFacts:
    """Returns what is known of the logistic density's scale, whose score is r/τ tanh(r/2τ) − 1.

    The scores of the bins tend to it for τ ≫ 1/255, away from the ends.
    """
    return ScaleFacts(score=_logistic_score, information=(3 + math.pi**2) / 9)


def _bin(location: Array, x: Array) -> tuple[Array, Array, Array]:
    """Returns the level k, and how far the lower and upper edge of its bin are from m, in levels: k ± ½ − 255 m.

    k ± ½ − 256 m has no rounding where it nearly cancels, nor has the sum with m; x ± 1/510 would be rounded, by up to
    0.1 τ for log τ = −15.
    """
    last = LEVELS - 1
    level = jnp.clip(jnp.round(x * last), 0, last)
    lower, upper = (((level + half) - LEVELS * location) + location for half in (-0.5, 0.5))
    return level, lower, upper


def _log_share(log_width: Array, width: Array) -> Array:
    """Returns log(1 − e^{−w}) of a width w, given with its logarithm; the plain form is −inf where w underflows."""
    narrow = width < 1e-3
    wide = jnp.where(narrow, 1.0, width)
    return jnp.where(narrow, log_width - width / 2 + width * width / 24, jnp.log(-jnp.expm1(-wide)))


@jax.custom_jvp
def discretised_logistic(
    location: Float[Array, "*#shape"], log_scale: Float[Array, "*#shape"], x: Float[Array, "*#shape"]
) -> Float[Array, "*#shape"]:
    """Returns log P(k) of the level k = round(255 x): the mass of a logistic in the bin of k, open at both ends.

    With a = (x + ½/255 − m)/τ and c = (x − ½/255 − m)/τ it is log[sigmoid(a) − sigmoid(c)] = −log(1 + e^{−a})
    − log(1 + eᶜ) + log(1 − e^{−1/255τ}); for level 0 its first term, for level 255 its second (Salimans et al. 2017).
    The difference of sigmoids is 0 where both are near 0 or 1, for which their code clamps log τ at −7 and falls back
    on the density.
    """
    level, lower, upper = _bin(location, x)
    log_width = -log_scale - math.log(LEVELS - 1)
    width = jnp.exp(-log_scale) / (LEVELS - 1)
    below = jnp.where(level < LEVELS - 1, -softplus(-upper * width), 0)
    above = jnp.where(level > 0, -softplus(lower * width), 0)
    inside = (level > 0) & (level < LEVELS - 1)
    return below + above + jnp.where(inside, _log_share(log_width, width), 0)


@discretised_logistic.defjvp
def _discretised_logistic_jvp(primals, tangents):
    location, log_scale, x = primals
    d_location, d_log_scale, _ = tangents  # A level does not move with x.
    level, lower, upper = _bin(location, x)
    precision = jnp.exp(-log_scale)
    width = precision / (LEVELS - 1)
    (c, c_rest), (a, a_rest) = _edge(lower, log_scale), _edge(upper, log_scale)
    first, last = level == 0, level == LEVELS - 1
    # sigmoid(c) − sigmoid(−a) as a product, since 1/τ times it would show the digits that a difference has lost.
    twice = 2 * ((level - LEVELS * location) + location) * width
    sign = jnp.where(twice > 0, 1.0, -1.0)
    inside = sign * _sigmoid(sign * a, sign * a_rest) * _sigmoid(sign * c, sign * c_rest)
    inside = inside * -jnp.expm1(-absolute(twice))
    force = jnp.where(first, -_sigmoid(-a, -a_rest), jnp.where(last, _sigmoid(c, c_rest), inside)) * precision
    narrow = width < 1e-3
    wide = jnp.where(narrow, 1.0, width)
    share = jnp.where(narrow, 1 - width / 2 + width * width / 12, wide * jnp.exp(-wide) / -jnp.expm1(-wide))
    of_edges = jnp.where(last, 0, -a * _sigmoid(-a, -a_rest)) + jnp.where(first, 0, c * _sigmoid(c, c_rest))
    score = of_edges - jnp.where(first | last, 0, share)
    return discretised_logistic(*primals), force * d_location + score * d_log_scale


def _edge(distance: Array, log_scale: Array) -> tuple[Array, Array]:
    """Returns the distance of an edge in units of τ, from one in levels, and what rounding took from it."""
    rounded = distance * (jnp.exp(-log_scale) / (LEVELS - 1))
    first = dw.first_word(distance)
    exact, rest = dw.quotient(dw.product((first, distance - first), dw.exp_pair(-log_scale)), float(LEVELS - 1))
    return rounded, jax.lax.stop_gradient((exact - rounded) + rest)


def _sigmoid(x: Array, rest: Array) -> Array:
    """Returns 1/(1 + e^{−x−rest}), to 1e-6 of itself where it is as small as its factor 1/τ is large."""
    e = jnp.exp(-absolute(x)) * (1 - jnp.where(x > 0, rest, -rest))
    return jnp.where(x > 0, 1.0, e) / (1 + e)


def sample_discretised_logistic(
    key: Key[Array, ""], location: Float[Array, "*#shape"], log_scale: Float[Array, "*#shape"]
) -> Float[Array, "*#shape"]:
    """Draws levels k/255: of m + τ ε, with an ε from the logistic, the nearest."""
    pixels = location + jnp.exp(log_scale) * jax.random.logistic(key, *_drawn(location, log_scale))
    return jnp.clip(jnp.round(pixels * (LEVELS - 1)), 0, LEVELS - 1) / (LEVELS - 1)


# Continuous Bernoulli ------------------------------------------------------------------------------------------------

# The Bernoulli numbers B₂, B₄, …: log(sinh(l/2)/(l/2)) = Σ B₂ₙ l²ⁿ/(2n (2n)!), for |l| < 2π.
_BERNOULLI_NUMBERS = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
_BERNOULLI_NUMBERS += (-174611 / 330, 854513 / 138, -236364091 / 2730)
_LOG_SINH = tuple(number / (2 * n * math.factorial(2 * n)) for n, number in enumerate(_BERNOULLI_NUMBERS, start=1))
_NEAR = 2.0
"""The logit up to which the series is used: its next term is 1e-14 there."""


def _even_series(coefficients: tuple[float, ...], square: Array) -> Array:
    return functools.reduce(lambda total, term: total * square + term, reversed(coefficients), jnp.zeros_like(square))


def continuous_bernoulli(logits: Float[Array, "*#shape"], x: Float[Array, "*#shape"]) -> Float[Array, "*#shape"]:
    """Returns log p(x) = (x − ½) l − log(sinh(l/2)/(l/2)), a density over [0, 1].

    It is x l − log(1 + eˡ) + log(l / tanh(l/2)) of Loaiza-Ganem & Cunningham (2019), which is 0/0 at l = 0 and has lost
    its digits near it; below |l| = 2 a series in l² is used. Above, l is multiplied by the distance of x from the end
    at which the density is highest, so that ±l/2 need not cancel.
    """
    size = absolute(logits)
    near = size < _NEAR
    small, large = jnp.where(near, logits, 0.0), jnp.where(near, _NEAR, size)
    by_series = (x - 0.5) * small - small * small * _even_series(_LOG_SINH, small * small)
    from_the_end = jnp.where(logits > 0, 1 - x, x) * large
    return jnp.where(near, by_series, (jnp.log(large) - from_the_end) - jnp.log1p(-jnp.exp(-large)))


def continuous_bernoulli_mean(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns E x = 1/(1 − e⁻ˡ) − 1/l, ½ at l = 0; the plain form is 0/0 there."""
    size = absolute(logits)
    near = size < _NEAR
    small, large = jnp.where(near, logits, 0.0), jnp.where(near, _NEAR, size)
    slopes = tuple(2 * n * term for n, term in enumerate(_LOG_SINH, start=1))
    from_the_end = 1 / large - jnp.exp(-large) / -jnp.expm1(-large)
    by_series = 0.5 + small * _even_series(slopes, small * small)
    return jnp.where(near, by_series, jnp.where(logits > 0, 1 - from_the_end, from_the_end))


def continuous_bernoulli_logits(mean: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns the logits at which the mean is `mean`, kept between 0.001 and 0.999, so that they are within ±1000.

    By Newton's method from (1 − 2p)(1 + 4p)/p, p = mean below ½, which is right to first order at both ends.
    """
    low = 0.001
    p = jnp.clip(jnp.where(mean > 0.5, 1 - mean, mean), low, 0.5)
    size = (1 - 2 * p) * (1 + 4 * p) / p

    def newton(_, size: Array) -> Array:
        value, slope = jax.jvp(continuous_bernoulli_mean, (-size,), (-jnp.ones_like(size),))
        return size - (value - p) / slope

    size = jax.lax.fori_loop(0, 6, newton, size)
    return jnp.where(mean > 0.5, size, -size)


def continuous_bernoulli_quantile(
    logits: Float[Array, "*#shape"], u: Float[Array, "*#shape"]
) -> Float[Array, "*#shape"]:
    """Returns the x in [0, 1] below which a share u lies: log(1 + u (eˡ − 1))/l, and u at l = 0.

    For l > 0 it is 1 less the quantile of 1 − u at −l, since eˡ overflows. Where u (eˡ − 1) is near −1, the sum
    (1 − u) + u eˡ has the digits.
    """
    size = absolute(logits)
    near = size < 1e-4
    large = jnp.where(near, 1.0, size)
    rising = logits > 0
    share, rest = jnp.where(rising, 1 - u, u), jnp.where(rising, u, 1 - u)
    shift = share * jnp.expm1(-large)
    least = jnp.finfo(shift.dtype).tiny
    remaining = rest + share * jnp.exp(-large)
    by_sum = jnp.where(remaining < least, -large, jnp.log(jnp.maximum(remaining, least)))
    distance = jnp.where(shift < -0.5, by_sum, jnp.log1p(jnp.maximum(shift, -0.75))) / -large
    x = jnp.where(rising, 1 - distance, distance)
    return jnp.clip(jnp.where(near, u + logits * u * (1 - u) * (0.5 + logits * (1 - 2 * u) / 12), x), 0, 1)


def sample_continuous_bernoulli(key: Key[Array, ""], logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Draws pixels in [0, 1], by the quantiles of uniform numbers."""
    return continuous_bernoulli_quantile(logits, jax.random.uniform(key, logits.shape, logits.dtype))
