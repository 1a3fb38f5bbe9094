"""The statistics of a verdict on two variance heads, whose runs are paired by seed.

Differences are those of the final test ELBO in nats per image, head minus reference; `margin` and `floor` are in the
same unit. `docs/statistics.md` says what is concluded from them, and what is assumed.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PANELS = 8


P = float | None
"""A p-value; None where there is no such question."""


class PairedTTest(NamedTuple):
    """What n pairs say about a difference; None where there are too few of them."""

    pairs: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    tost_low: float | None = None
    tost_high: float | None = None
    rho: float | None = None
    p_difference: float | None = None
    p_equivalence: float | None = None


def paired_t_test(values: ArrayLike, reference: ArrayLike, *, margin: float, alpha: float = 0.05) -> PairedTTest:
    """Computes Student's paired t: intervals of the mean difference, and tests of difference and of equivalence.

    With d = values − reference, its mean m, sd s (by n − 1), e = s/√n and t of n − 1 degrees of freedom:

        low, high = m ∓ t_{1−α/2} e             p_difference = 2 P(t < −|m|/e)
        tost_low, tost_high = m ∓ t_{1−α} e     p_equivalence = P(t < (|m| − margin)/e)

    p_equivalence is the greater p of the two one-sided tests (Schuirmann 1987), of mean ≤ −margin and of mean ≥ margin;
    it is below α where the second interval lies within (−margin, margin). With s = 0 the p are their limits, 0 or 1.
    `rho` is the Pearson correlation of the two.

    Args:
      values: (n,), those of the head, in nats per image.
      reference: (n,), those of the reference, with the seeds in the same order.
      margin: the least difference that matters, in nats per image.
      alpha: the level of either test.

    Returns:
      The numbers. With n = 1 all but `pairs` and `mean` are None; with n = 0 the mean is, too. `rho` is None where one
      side is constant, and below n = 3: two points have a correlation of ±1 whatever they are.

    Raises:
      ValueError: the two differ in length, are not one-dimensional or not finite.
    """
    x, y = _both(values, reference)
    # For a handful of numbers Python's exact sums are also faster than NumPy.
    d = (x - y).tolist()
    if not d:
        return PairedTTest(0)
    mean, deviations = _centred(d)
    if len(d) == 1:
        return PairedTTest(1, mean)
    df = len(d) - 1
    sd = math.hypot(*deviations) / math.sqrt(df)
    error = sd / math.sqrt(len(d))
    if error > 0:
        p_difference = 2 * float(special.stdtr(df, -abs(mean) / error))
        p_equivalence = float(special.stdtr(df, (abs(mean) - margin) / error))
    else:
        p_difference, p_equivalence = float(mean == 0), float(abs(mean) >= margin)
    two, one = _t(df, alpha / 2) * error, _t(df, alpha) * error
    bounds = mean - two, mean + two, mean - one, mean + one
    rho = _correlation(x.tolist(), y.tolist()) if df > 1 else None
    return PairedTTest(len(d), mean, sd, *bounds, rho, p_difference, p_equivalence)


def _both(values: ArrayLike, reference: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"two vectors of one length are needed, not {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("the values must be finite")
    return x, y


def _centred(values: Sequence[float]) -> tuple[float, list[float]]:
    """Returns the mean and the deviations from it, exactly 0 where all values are equal: n·v/n is not always v."""
    shifted = [value - values[0] for value in values]
    mean = math.fsum(shifted) / len(values)
    return values[0] + mean, [value - mean for value in shifted]


def _correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    (_, a), (_, b) = _centred(x), _centred(y)
    scale_a, scale_b = math.hypot(*a), math.hypot(*b)
    if not (scale_a and scale_b):
        return None
    rho = math.fsum(i / scale_a * (j / scale_b) for i, j in zip(a, b, strict=True))
    return max(-1.0, min(1.0, rho))


def _t(df: int, tail: float) -> float:
    """Returns the t that is exceeded with the probability `tail`; from the lower tail, where small ones keep digits."""
    return -float(special.stdtrit(df, tail))


def mcnemar_exact(lost_only: int, reference_lost_only: int) -> float:
    """Returns the exact two-sided p of McNemar (1947): a pair that lost one run lost either with probability ½.

    p = min(1, 2 P(X ≤ min(b, c))), X ~ Binomial(b + c, ½); 1 where b + c = 0.

    Args:
      lost_only: b, the seeds in which the head's run diverged and that of the reference did not.
      reference_lost_only: c, the reverse.
    """
    total = lost_only + reference_lost_only
    ways = sum(math.comb(total, k) for k in range(min(lost_only, reference_lost_only) + 1))
    return min(1.0, 2 * ways / 2**total)


def chaos_floor(twins: ArrayLike, originals: ArrayLike) -> float:
    """Returns √⟨(twin − original)²⟩ over seeds, in nats per image; about 0, since a perturbation has no direction.

    Args:
      twins: (n,), n ≥ 1, the values of runs that differ from the originals in a negligible change of one weight.
      originals: (n,), the values of the originals, in the same order of seeds.

    Raises:
      ValueError: the two differ in length, are empty or not finite.
    """
    x, y = _both(twins, originals)
    if not x.size:
        raise ValueError("a chaos floor needs a twin")
    return math.hypot(*(x - y).tolist()) / math.sqrt(x.size)


def p_value(difference: PairedTTest, p_survival: float | None) -> float | None:
    """Returns the one p of a head, over one question or over two.

    That is p_difference or, by Bonferroni, min(1, 2 min(p_difference, p_survival)).

    Args:
      difference: the test over the seeds in which both survived; without its p, p_survival is the answer.
      p_survival: that of `mcnemar_exact`; None where no seed lost exactly one of the two, so that nothing is asked.
    """
    known = [p for p in (difference.p_difference, p_survival) if p is not None]
    return min(1.0, len(known) * min(known)) if known else None


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjusts the p of m tests (Holm 1979): p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j)), in the order given.

    None stays None and is not counted in m.
    """
    known = sorted((value, index) for index, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    greatest = 0.0
    for rank, (value, index) in enumerate(known):
        greatest = max(greatest, min(1.0, (len(known) - rank) * value))
        adjusted[index] = greatest
    return adjusted


def significant(
    difference: PairedTTest, p_holm: P, p_survival: P, *, alpha: float, floor: float | None, family: int = 1
) -> bool:
    """Returns whether p_holm < α, and either |mean| > floor or survival would be significant without the mean.

    Args:
      difference, p_survival: as given to `p_value`.
      p_holm: the p of `p_value`, adjusted by `holm` over all heads.
      alpha: the level of the family.
      floor: the chaos floor in nats per image; None, where it was not measured, counts as 0.
      family: the number of heads that `holm` adjusted for.
    """
    p = p_value(difference, p_survival)
    if p is None or p_holm is None or p_holm >= alpha:
        return False
    above = abs(difference.mean or 0.0) > (floor or 0.0)
    if above or p_survival is None:
        return above
    # Holm multiplied p by p_holm/p, and never by more than the family; survival has to stand that on its own.
    questions = 1 if difference.p_difference is None else 2
    return questions * p_survival * (p_holm / p if p > 0 else family) < alpha


def verdict(
    difference: PairedTTest, p_holm: P, p_survival: P, *, alpha: float, floor: float | None, family: int = 1
) -> Literal["equivalent", "different", "undecided"]:
    """Concludes: equivalent if p_equivalence < α, otherwise different if significant, otherwise undecided.

    A head with a p_survival is never equivalent: one of the two lost runs that the other kept, and what both kept is
    a selection. A difference may be both equivalent and significant; `significant` says so. The arguments are those
    of `significant`, and the margin is that of `paired_t_test`.
    """
    if p_survival is None and difference.p_equivalence is not None and difference.p_equivalence < alpha:
        return "equivalent"
    differs = significant(difference, p_holm, p_survival, alpha=alpha, floor=floor, family=family)
    return "different" if differs else "undecided"


def decision_probability(
    pairs: int,
    mean: float,
    sd: float,
    *,
    margin: float,
    alpha: float,
    alpha_difference: float | None = None,
    floor: float | None = None,
) -> float:
    """Returns the probability that n pairs with d ~ N(mean, sd²), none lost, end in equivalent or different.

    Given the sample's S, equivalent is |m| < margin − t_{1−α} S/√n and different |m| > max(t_{1−α′/2} S/√n, floor),
    with m ~ N(mean, sd²/n) free of S; this is averaged over S, (n − 1) S²/sd² ~ χ² of n − 1 degrees of freedom, by a
    quadrature with an error below 1e-8. Without a floor, margin = 0 leaves the power of the t-test; floor = ∞ leaves
    that of the equivalence test.

    Args:
      pairs: n; below 2 nothing is decided.
      mean, sd: the true ones of the differences, in nats per image.
      margin: the least difference that matters, in nats per image.
      alpha: the level of the equivalence test.
      alpha_difference: α′, the level of the test of a difference; alpha where it is None. With k heads α/k is Holm's
        for the least p, and so on the safe side.
      floor: the chaos floor in nats per image; None counts as 0.
    """
    floor = floor or 0.0
    if pairs < 2:
        return 0.0
    if sd == 0:
        return float(abs(mean) < margin or abs(mean) > floor)
    df = pairs - 1
    one, two = _t(df, alpha), _t(df, (alpha if alpha_difference is None else alpha_difference) / 2)
    mean, margin, floor = (value * math.sqrt(pairs) / sd for value in (mean, margin, floor))
    # Panels end at the kinks, where either bound vanishes or meets the other, and are short where a bound crosses the
    # mean: with a mean of many standard errors the integrand is a step there.
    z = np.linspace(-8.0, 8.0, 9)
    kinks = [margin / one, margin / (one + two), (margin - floor) / one, floor / two]
    spread, weight = _spreads(df, np.concatenate([kinks, (margin - abs(mean) + z) / one, (abs(mean) + z) / two]))
    equivalent = np.maximum(margin - one * spread, 0.0)
    different = np.maximum(two * spread, floor)
    within = special.ndtr(equivalent - mean) - special.ndtr(-equivalent - mean)
    beyond = special.ndtr(mean - different) + special.ndtr(-mean - different)
    probability = np.where(equivalent >= different, 1.0, within + beyond)
    return float((weight * probability).sum() / weight.sum())


def _spreads(df: int, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nodes S/sd of a quadrature over df·S²/sd² ~ χ² and their weights, which do not add up to 1.

    Args:
      df: the degrees of freedom.
      ends: the values of S/sd at which a panel ends, as far as they are likely at all.
    """
    # Over y = log S/sd: on that scale nothing is narrow, be it few pairs with a t of 100 or many with S close to sd.
    tails = special.gammaincinv(df / 2, 1e-12), special.gammainccinv(df / 2, 1e-12)
    low, high = (0.5 * math.log(tail / (df / 2)) for tail in tails)
    ends = np.log(ends[(ends > math.exp(low)) & (ends < math.exp(high))])
    edges = np.sort(np.concatenate([np.linspace(low, high, _PANELS + 1), ends]))
    half = np.diff(edges)[:, None] / 2
    y = edges[:-1, None] + half * (1 + _NODES)
    # The density of y up to its constant, which cancels; 1 at y = 0.
    weight = half * _WEIGHTS * np.exp(df * (y - np.expm1(2 * y) / 2))
    return np.exp(y), weight


def seeds_needed(
    mean: float,
    sd: float,
    *,
    pairs: int,
    margin: float,
    alpha: float,
    alpha_difference: float | None = None,
    floor: float | None = None,
    power: float = 0.8,
    limit: int = 10_000,
) -> int | None:
    """Returns the least n > pairs at which `decision_probability` is at least `power`, or None beyond `limit`.

    The search doubles and bisects: from ½ up the probability rises with n. For a lower `power` n has it and n − 1 has
    not, but n need not be the least. With the observed mean and sd in place of the true ones it is a plan, not a
    promise. `pairs` are there already; the other arguments are those of `decision_probability`.
    """

    def enough(n: int) -> bool:
        probability = decision_probability(
            n, mean, sd, margin=margin, alpha=alpha, alpha_difference=alpha_difference, floor=floor
        )
        return probability >= power

    if pairs >= limit:
        return None
    short, long = pairs, pairs + 1
    while not enough(long):
        if long == limit:
            return None
        short, long = long, min(limit, 2 * long - pairs)
    while long - short > 1:
        middle = (short + long) // 2
        short, long = (short, middle) if enough(middle) else (middle, long)
    return long
