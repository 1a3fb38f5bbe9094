"""Tests that may be looked at several times: group-sequential boundaries, and the p-values that go with them.

A test at level α that is looked at after n₁ < … < n_K pairs spends α: the probability, under its null hypothesis, that
it has rejected by the look j is f(α, t_j), where t_j = n_j/n_K is the share of the planned pairs (Lan & DeMets 1983):

    pocock            f(α, t) = α ln(1 + (e − 1) t)
    obrien-fleming    f(α, t) = 2 (1 − Φ(z_{1−α/2}/√t))

The critical values follow from the joint law of Student's t at the looks, which depends on the numbers of pairs only.
A sequential p-value is the least level at which any look so far rejects (Liu & Anderson 2008): it is valid wherever
the looks end, and Holm's method on such p is the group-sequential Holm procedure (Ye, Li, Liu & Yao 2013).
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from vaecli.config.sequential import Spending
from vaecli.report.statistics import TTest, paired_t_test

# The law of t at a look is kept as masses of its normal score Φ⁻¹(P(t)) in bins, of which none outside holds 1e-16.
_EDGES = np.linspace(-8.5, 8.5, 401)
_MIDDLES = (_EDGES[1:] + _EDGES[:-1]) / 2
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2

# A p-value is looked up among these levels. Up to 0.3, what is rejected at one of them is so at all higher ones.
_LEVELS = 10.0 ** np.linspace(-15, math.log10(0.3), 241)


class Looks(NamedTuple):
    """The looks at a test, up to the last one that has been taken.

    Attributes:
      pairs: the numbers of pairs at each, rising, from 2 on.
      fractions: the share of the planned seeds at each.
      spending: how the level is spent.
    """

    pairs: tuple[int, ...]
    fractions: tuple[float, ...]
    spending: Spending


def spent(spending: Spending, level: ArrayLike, fraction: ArrayLike) -> np.ndarray:
    """Returns the part of a level that may be spent by the time that a fraction of the seeds is there."""
    level, fraction = np.asarray(level, np.float64), np.asarray(fraction, np.float64)
    if spending == "pocock":
        return level * np.log1p(math.expm1(1) * fraction)
    return 2 * special.ndtr(special.ndtri(level / 2) / np.sqrt(fraction))


def critical_values(looks: Looks, level: float) -> tuple[float, ...]:
    """Returns the t that a one-sided test at a level has to exceed at each look; infinite where nothing can be spent.

    P(t_i ≤ c_i for i < j and t_j > c_j) = f(level, t_j) − f(level, t_{j−1}) for each look j, under a mean of 0.
    """
    (scores,) = _critical_scores(looks, (level,))
    return tuple(_quantile(n, score) for n, score in zip(looks.pairs, scores.tolist(), strict=True))


def p_value(looks: Looks, t: ArrayLike) -> np.ndarray:
    """Returns the sequential p of a one-sided test: the least level at which any look rejects; 1 if that is above 0.3.

    Args:
      looks: the looks.
      t: (…, looks), Student's t at each; large ones speak against the null hypothesis.

    Returns:
      (…), from 1e-15 on; 0 where a t is infinite.
    """
    t = np.asarray(t, np.float64)
    df = np.array(looks.pairs) - 1
    # From the lower tail, where small probabilities keep their digits.
    tail = special.ndtri(special.stdtr(df, -np.abs(t)))
    scores = np.clip(np.where(t > 0, -tail, tail), -40, 40)
    needed = -_critical_scores(looks, tuple(_LEVELS)).clip(-40, 40)
    levels = special.ndtri(_LEVELS)
    p = [special.ndtr(_least_level(-scores[..., look], of, levels)) for look, of in enumerate(needed.T)]
    return np.where(t == math.inf, 0.0, np.stack(p, axis=-1)).min(axis=-1)


def union_p_value(looks: Looks, p: ArrayLike) -> np.ndarray:
    """Returns the sequential p of tests that each spend what their own look adds, whatever their joint law.

    A look rejects at a level α where its p ≤ f(α, t_j) − f(α, t_{j−1}): by the union bound, all looks together reject a
    true hypothesis with at most α. This is what there is for exact tests of counts.

    Args:
      looks: the looks; the numbers of pairs do not matter.
      p: (…, looks), the p of each look by itself.
    """
    with np.errstate(divide="ignore"):
        needed, p = np.log(_steps(looks, _LEVELS)), np.log(np.asarray(p, np.float64))
    levels = np.log(_LEVELS)
    least = [_least_level(p[..., look], of, levels) for look, of in enumerate(needed.T)]
    return np.exp(np.minimum(np.min(least, axis=0), 0.0))


def added(looks: Looks, level: float) -> float:
    """Returns what the last look adds to what is spent of a level."""
    return float(_steps(looks, [level])[0, -1])


def _least_level(values: np.ndarray, needed: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Returns the level from which on all levels reject a value, (…); infinite where not even the last one does.

    Args:
      values: (…), of which small ones are rejected.
      needed: (levels,), the largest value that each level rejects.
      levels: (levels,), on a scale on which `needed` is nearly linear.
    """
    needed = np.minimum.accumulate(needed[::-1])[::-1]
    return np.interp(values, needed, levels, right=math.inf)


def _steps(looks: Looks, levels: ArrayLike) -> np.ndarray:
    """Returns (levels, looks): what each look adds to what is spent."""
    fractions = np.array(looks.fractions)
    return np.diff(spent(looks.spending, np.asarray(levels)[:, None], fractions), axis=1, prepend=0.0)


@functools.cache
def _critical_scores(looks: Looks, levels: tuple[float, ...]) -> np.ndarray:
    """Returns (levels, looks): the critical values as normal scores of Student's t."""
    steps = _steps(looks, levels)
    scores = np.empty_like(steps)
    mass = np.tile(np.diff(special.ndtr(_EDGES)), (len(levels), 1))
    for look, step in enumerate(steps.T):
        if look:
            above = mass @ _transition(*looks.pairs[look - 1 : look + 1])
            mass = above[:, :-1] - above[:, 1:]
        above = np.cumsum(mass[:, ::-1], axis=1)[:, ::-1]
        scores[:, look] = [_score(*row) for row in zip(above, step, strict=True)]
        # What lies above the critical value has been rejected, and is looked at no more.
        kept = (scores[:, look, None] - _EDGES[:-1]) / np.diff(_EDGES)
        mass = mass * np.clip(kept, 0, 1)
    return scores


def _score(above: np.ndarray, probability: float) -> float:
    """Returns the score that is exceeded with a probability; infinite where the bins cannot resolve it."""
    if not probability > 1e-16:
        return math.inf
    # On this scale the edges of the first look are themselves, and those of the others are nearly evenly spaced.
    known = (above > 1e-17) & (above < 1)
    return float(np.interp(-special.ndtri(probability), -special.ndtri(above[known]), _EDGES[:-1][known]))


@functools.cache
def _transition(n: int, longer: int) -> np.ndarray:
    """Returns (bins, edges): P(score of t at the longer look > edge | score at n in the middle of a bin), mean 0.

    With S the sum and T the sum of squares of n differences, r = S/√(n T) is that look's t on another scale,
    r = t/√(n − 1 + t²), and free of T (Basu). Of m = longer − n further ones, with w the same as r,

        r' = (√(n q) r + √(m (1 − q)) w)/√(n + m),   q ~ Beta(n/2, m/2),   (1 + w)/2 ~ Beta((m − 1)/2, (m − 1)/2)

    where q, T's share of all squares, is integrated by quadrature. For m = 1, w is ±1: a closed form takes its place.
    """
    m = longer - n
    r, edges = _on_circle(n, _MIDDLES)[:, None], _on_circle(longer, _EDGES)[None, :] * math.sqrt(longer)
    if m == 1:
        return _transition_by_one(n, r, edges)
    above = np.zeros((r.size, edges.size))
    for q, weight in zip(special.betaincinv(n / 2, m / 2, _NODES), _WEIGHTS, strict=True):
        w = np.clip((edges - math.sqrt(n * q) * r) / math.sqrt(m * (1 - q)), -1, 1)
        above += weight * special.betainc((m - 1) / 2, (m - 1) / 2, (1 - w) / 2)
    return above


def _transition_by_one(n: int, r: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns what `_transition` does for one further pair: with √(1 − q) w = sin a, tan a is t of n/√n."""
    size, turn = np.sqrt(n * r * r + 1), np.arctan(math.sqrt(n) * r)
    sine = edges / size
    # √(n q) r + √(1 − q) w = size · sin(a + turn) exceeds the edge between two angles, of a's range of ±π/2.
    angle = np.arcsin(np.clip(sine, -1, 1))

    def below(a: np.ndarray) -> np.ndarray:
        within = np.clip(a, -math.pi / 2, math.pi / 2)
        return special.stdtr(n, math.sqrt(n) * np.tan(within))

    between = below(math.pi - angle - turn) - below(angle - turn)
    return np.where(sine > 1, 0.0, np.where(sine < -1, 1.0, between))


def _on_circle(n: int, scores: np.ndarray) -> np.ndarray:
    """Returns r = t/√(n − 1 + t²) of the t of n values with these normal scores."""
    t = np.array([_quantile(n, score) for score in scores.tolist()])
    return t / np.sqrt(n - 1 + t * t)


def _quantile(n: int, score: float) -> float:
    """Returns the t of n values with a normal score."""
    t = -float(special.stdtrit(n - 1, special.ndtr(-abs(score))))
    return math.copysign(t, score)


class SequentialTest(NamedTuple):
    """What the pairs of all looks so far say about a difference.

    Attributes:
      test: as `statistics.paired_t_test` of the last look has it, but its p are those of all looks, and its intervals
        hold at all looks together (Jennison & Turnbull 1989); None where the level that is spent gives none.
      means, errors: the mean difference and its standard error at each look.
      looks: the looks.
    """

    test: TTest
    means: Sequence[float]
    errors: Sequence[float]
    looks: Looks

    def smallest_margin(self, level: float) -> float:
        """Returns the margin above which TOST at a level calls the two equivalent."""
        critical = critical_values(self.looks, level)
        spreads = [c * error if error else 0.0 for c, error in zip(critical, self.errors, strict=True)]
        sides = [
            min(spread + sign * mean for spread, mean in zip(spreads, self.means, strict=True)) for sign in (1, -1)
        ]
        return max(0.0, *sides)


def sequential_t_test(
    values: Sequence[float], reference: Sequence[float], looks: Looks, *, margin: float, alpha: float
) -> SequentialTest:
    """Computes what `statistics.paired_t_test` does for pairs that were looked at as they came.

    With the sequential p of a one-sided test, p(t), of the t at all looks of a mean m with the standard error e:

        p_difference = 2 min(p(m/e), p(−m/e))
        p_equivalence = max(p((m + margin)/e), p((margin − m)/e))
        p_beyond = 2 p((|m| − margin)/e), the side being that of the last look

    at most 1. Either side of TOST may have been rejected at a look of its own.

    Args:
      values: (n,), those of the head, in the order in which they came.
      reference: (n,), those of the reference.
      looks: the looks, of which the last is at n pairs.
      margin: the least difference that matters.
      alpha: the level of either test.
    """
    tests = [paired_t_test(values[:n], reference[:n], margin=margin, alpha=alpha) for n in looks.pairs]
    means = [test.mean or 0.0 for test in tests]
    errors = [(test.sd or 0.0) / math.sqrt(test.pairs) for test in tests]
    sides = [
        [_t(sign * mean + shift, error) for mean, error in zip(means, errors, strict=True)]
        for shift in (0.0, margin, -margin)
        for sign in (1, -1)
    ]
    higher, lower, above, below, beyond, beneath = p_value(looks, sides).tolist()
    one, two = (critical_values(looks, level)[-1] for level in (alpha, alpha / 2))
    low, high = _interval(means[-1], two, errors[-1])
    tost_low, tost_high = _interval(means[-1], one, errors[-1])
    test = tests[-1]._replace(
        low=low,
        high=high,
        tost_low=tost_low,
        tost_high=tost_high,
        p_difference=min(1.0, 2 * min(higher, lower)),
        p_equivalence=max(above, below),
        p_above=above,
        p_below=below,
        # What an earlier look rejected on the other side is no verdict on this one.
        p_beyond=min(1.0, 2 * (beyond if means[-1] > 0 else beneath)),
    )
    return SequentialTest(test, means, errors, looks)


def _t(size: float, error: float) -> float:
    return size / error if error else math.copysign(math.inf, size) if size else 0.0


def _interval(mean: float, critical: float, error: float) -> tuple[float | None, float | None]:
    if not error:
        return mean, mean
    return (None, None) if math.isinf(critical) else (mean - critical * error, mean + critical * error)


def smallest_margins(tests: Sequence[SequentialTest | None], alpha: float, size: int = 0) -> list[float | None]:
    """Returns what `statistics.smallest_margins` does, of sequential tests; None for a variant without one.

    Args:
      tests: one for each variant that has a reference.
      alpha: the level of the family.
      size: that of `statistics.holm`.
    """
    margins: list[float | None] = [None] * len(tests)
    left = {index: test for index, test in enumerate(tests) if test}
    untested, reached = max(size - len(left), 0), 0.0
    while left:
        by_itself = {index: test.smallest_margin(alpha / (len(left) + untested)) for index, test in left.items()}
        first = min(by_itself, key=by_itself.__getitem__)
        reached = max(reached, by_itself[first])
        margins[first] = reached if math.isfinite(reached) else None
        del left[first]
    return margins
