"""The statistics of a verdict on two variants, whose runs are paired by seed as far as they share any.

Differences are those of the final test ELBO in nats per image, head minus reference; `margin` and `floor` are in the
same unit. `docs/statistics.md` says what is concluded from them, and what is assumed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

P = float | None
"""A p-value; None where there is no such question."""


class TTest(NamedTuple):
    """What runs say about a mean difference; None where there are too few of them.

    Attributes:
      pairs: how many pairs they are; 0 for two samples that are not paired.
      mean: the mean difference.
      sd: the standard deviation of the difference of two runs.
      low, high, tost_low, tost_high: the ends of the intervals with 1 − α and 1 − 2α.
      rho: the correlation of the two over pairs.
      p_difference, p_equivalence, p_beyond: those of `paired_t_test`.
      df: the degrees of freedom of t.
      standard_error: that of the mean.
      paired: whether it is the test of pairs.
      p_above, p_below: those of the two one-sided tests, that the mean is above −margin, and that it is below margin.
    """

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
    p_beyond: float | None = None
    df: float | None = None
    standard_error: float | None = None
    paired: bool = True
    p_above: float | None = None
    p_below: float | None = None


def paired_t_test(values: ArrayLike, reference: ArrayLike, *, margin: float, alpha: float = 0.05) -> TTest:
    """Computes Student's paired t: intervals of the mean difference, and tests of its size against 0 and the margin.

    With d = values − reference, its mean m, sd s (by n − 1), e = s/√n and t of n − 1 degrees of freedom:

        low, high = m ∓ t_{1−α/2} e             p_difference = 2 P(t < −|m|/e)
        tost_low, tost_high = m ∓ t_{1−α} e     p_equivalence = P(t < (|m| − margin)/e)
                                                p_beyond = min(1, 2 P(t < −(|m| − margin)/e))

    p_equivalence is the greater p of the two one-sided tests (Schuirmann 1987), p_above of mean ≤ −margin and p_below
    of mean ≥ margin; it is below α where the second interval lies within (−margin, margin). p_beyond is that of the
    minimum-effect test, of |mean| ≤ margin (Murphy & Myors 1999): twice the lesser p of its two sides, so that it is
    below α where the first interval lies outside [−margin, margin], and never below p_difference. With s = 0 the p are
    their limits, 0 or 1.
    `rho` is the Pearson correlation of the two.

    Args:
      values: (n,), those of the head, in nats per image.
      reference: (n,), those of the reference, with the seeds in the same order.
      margin: the least difference that matters, in nats per image.
      alpha: the level of either test.

    Returns:
      The numbers. With n = 1 only `pairs` and `mean` are not None; with n = 0 the mean is, too. `rho` is None where one
      side is constant, and below n = 3: two points have a correlation of ±1 whatever they are.

    Raises:
      ValueError: the two differ in length, are not one-dimensional or not finite.
    """
    x, y = _both(values, reference)
    # For a handful of numbers Python's exact sums are also faster than NumPy.
    d = (x - y).tolist()
    if not d:
        return TTest(0)
    mean, deviations = _centred(d)
    if len(d) == 1:
        return TTest(1, mean)
    df = len(d) - 1
    sd = math.hypot(*deviations) / math.sqrt(df)
    error = sd / math.sqrt(len(d))
    rho = _correlation(x.tolist(), y.tolist()) if df > 1 else None
    return _students_t(mean, error, df, margin, alpha)._replace(pairs=len(d), sd=sd, rho=rho)


def welch_t_test(values: ArrayLike, reference: ArrayLike, *, margin: float, alpha: float = 0.05) -> TTest:
    """Computes Welch's (1947) t of two samples that are not paired, of any two variances.

    With their means, variances s₁² and s₂² and sizes n₁ and n₂, it has m = mean(values) − mean(reference),

        e = √(s₁²/n₁ + s₂²/n₂),   df = e⁴ / ((s₁²/n₁)²/(n₁ − 1) + (s₂²/n₂)²/(n₂ − 1)),

    and with these the intervals and p of `paired_t_test`. `sd` is √(s₁² + s₂²), that of the difference of two runs.

    Args:
      values: (n₁,), those of the variant.
      reference: (n₂,), those of the reference.
      margin, alpha: those of `paired_t_test`.

    Returns:
      The numbers, without `rho`. Where one of the two has one value, only the mean is not None; where it has none, that
      is, too.

    Raises:
      ValueError: the two are not one-dimensional or not finite.
    """
    x, y = _vector(values).tolist(), _vector(reference).tolist()
    if not (x and y):
        return TTest(0, paired=False)
    (mean_x, of_x), (mean_y, of_y) = _centred(x), _centred(y)
    mean = mean_x - mean_y
    if min(len(x), len(y)) == 1:
        return TTest(0, mean, paired=False)
    sd_x, sd_y = (math.hypot(*d) / math.sqrt(len(d) - 1) for d in (of_x, of_y))
    error_x, error_y = sd_x / math.sqrt(len(x)), sd_y / math.sqrt(len(y))
    error = math.hypot(error_x, error_y)
    share = (error_x / error) ** 2 if error else 0.5
    df = 1 / (share**2 / (len(x) - 1) + (1 - share) ** 2 / (len(y) - 1))
    return _students_t(mean, error, df, margin, alpha)._replace(sd=math.hypot(sd_x, sd_y), paired=False)


def _students_t(mean: float, error: float, df: float, margin: float, alpha: float) -> TTest:
    """Returns what Student's t says of a mean with a standard error."""
    if error > 0:
        p_difference = 2 * float(special.stdtr(df, -abs(mean) / error))
        excess = (abs(mean) - margin) / error
        p_equivalence, p_beyond = float(special.stdtr(df, excess)), min(1.0, 2 * float(special.stdtr(df, -excess)))
        p_above, p_below = (float(special.stdtr(df, (side * mean - margin) / error)) for side in (-1, 1))
    else:
        p_difference, p_equivalence, p_beyond = float(mean == 0), float(abs(mean) >= margin), float(abs(mean) <= margin)
        p_above, p_below = float(mean <= -margin), float(mean >= margin)
    two, one = t_quantile(df, alpha / 2) * error, t_quantile(df, alpha) * error
    bounds = mean - two, mean + two, mean - one, mean + one
    p = p_difference, p_equivalence, p_beyond
    return TTest(0, mean, None, *bounds, None, *p, df, error, p_above=p_above, p_below=p_below)


def difference_test(
    values: Mapping[int, float], reference: Mapping[int, float], *, paired: bool, margin: float, alpha: float = 0.05
) -> TTest:
    """Tests the difference of runs, given by seed: of those that both have, or of all where they are not paired."""
    if not paired:
        return welch_t_test([*values.values()], [*reference.values()], margin=margin, alpha=alpha)
    pairs = [seed for seed in values if seed in reference]
    return paired_t_test(
        [values[seed] for seed in pairs], [reference[seed] for seed in pairs], margin=margin, alpha=alpha
    )


class Ratio(NamedTuple):
    """A ratio of two means, and the ends of its interval; None where there is none."""

    value: float | None
    low: float | None
    high: float | None


def ratio_of_means(values: ArrayLike, totals: ArrayLike, *, alpha: float = 0.05) -> Ratio:
    """Computes which share of a mean another one is, of the same seeds, with Fieller's (1954) interval.

    That is all θ for which Student's paired t of values − θ totals does not reject a mean of 0 at the level α. With the
    means x̄ and ȳ, the variances and covariance over n of both, s_xx, s_xy and s_yy, and t = t_{1−α/2} of n − 1 degrees
    of freedom, its ends are the roots of

        (ȳ² − t² s_yy) θ² − 2 (x̄ ȳ − t² s_xy) θ + (x̄² − t² s_xx)

    It has ends only where ȳ² > t² s_yy, that is where the mean total itself is not 0 at the level α: of a total that
    may be 0 nothing is a share.

    Args:
      values, totals: (n,), with the seeds in the same order.
      alpha: one minus the level of the interval.

    Returns:
      The ratio, and its interval; nothing where the interval has no ends.

    Raises:
      ValueError: the two differ in length, are not one-dimensional or not finite.
    """
    x, y = (side.tolist() for side in _both(values, totals))
    if len(x) < 2:
        return Ratio(None, None, None)
    (mean_x, of_x), (mean_y, of_y) = _centred(x), _centred(y)
    factor = t_quantile(len(x) - 1, alpha / 2) ** 2 / (len(x) * (len(x) - 1))
    s_xx, s_xy, s_yy = (
        factor * math.fsum(i * j for i, j in zip(*pair, strict=True))
        for pair in ((of_x, of_x), (of_x, of_y), (of_y, of_y))
    )
    square = mean_y * mean_y - s_yy
    if square <= 0:
        return Ratio(None, None, None)
    middle = mean_x * mean_y - s_xy
    # Written so that nothing cancels where one is a multiple of the other.
    half = math.sqrt(max((mean_x * mean_x - s_xx) * -square + middle * middle, 0.0))
    return Ratio(mean_x / mean_y, (middle - half) / square, (middle + half) / square)


def _both(values: ArrayLike, reference: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = _vector(values), _vector(reference)
    if x.shape != y.shape:
        raise ValueError(f"two vectors of one length are needed, not {x.shape} and {y.shape}")
    return x, y


def _vector(values: ArrayLike) -> np.ndarray:
    x = np.asarray(values, np.float64)
    if x.ndim != 1:
        raise ValueError(f"a vector of some length is needed, not {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("the values must be finite")
    return x


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


def t_quantile(df: float, tail: float) -> float:
    """Returns the t that is exceeded with the probability `tail`; from the lower tail, where small ones keep digits."""
    return -float(special.stdtrit(df, tail))


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


def holm(p: Sequence[float | None], size: int = 0) -> list[float | None]:
    """Adjusts the p of m tests (Holm 1979): p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j)), in the order given.

    None stays None and is not counted in m, unless `size` is the number of tests of the family with those that have no
    p so far.
    """
    known = sorted((value, index) for index, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    greatest, size = 0.0, max(size, len(known))
    for rank, (value, index) in enumerate(known):
        greatest = max(greatest, min(1.0, (size - rank) * value))
        adjusted[index] = greatest
    return adjusted


class FamilyTest(NamedTuple):
    """What a variant's tests say as part of a family; None where there are too few pairs.

    Attributes:
      p_difference, p_equivalence, p_beyond: those of `paired_t_test`, each adjusted by Holm's method over the family.
      open_difference, open_equivalence, open_beyond: how many of the family's tests of each kind are not significant.
    """

    p_difference: P
    p_equivalence: P
    p_beyond: P
    open_difference: int
    open_equivalence: int
    open_beyond: int


def adjust(tests: Sequence[TTest], alpha: float, size: int = 0) -> list[FamilyTest]:
    """Adjusts the tests of all variants, so that each kind of claim is wrong about any of them with at most α.

    The kinds are three: that a mean is not 0, that it lies within the margin, and that it lies beyond. Each has a
    family of its own: the hypotheses of the first and the last are nested, and that of the second is their opposite.

    Args:
      tests: one for each variant that has a reference.
      alpha: the level of each family.
      size: that of `holm`.
    """
    names = "p_difference", "p_equivalence", "p_beyond"
    adjusted = [holm([getattr(test, name) for test in tests], size) for name in names]
    unsettled = [sum(p is not None and p >= alpha for p in column) for column in adjusted]
    return [FamilyTest(*of_one, *unsettled) for of_one in zip(*adjusted, strict=True)]


def smallest_margins(tests: Sequence[TTest], alpha: float) -> list[float | None]:
    """Returns for each variant the infimum of the margins, common to all, at which Holm's method calls it equivalent.

    By itself a variant is equivalent at a margin above |m| + t_{1−α} e. In a family of k the first to be so needs
    t_{1−α/k}, the next of those left t_{1−α/(k−1)}, and so on. None where a variant has too few pairs.
    """
    margins: list[float | None] = [None] * len(tests)
    left = [index for index, test in enumerate(tests) if test.sd is not None]
    sizes = np.array([abs(tests[index].mean or 0.0) for index in left])
    errors = np.array([tests[index].standard_error or 0.0 for index in left])
    # Thousands of variants have a few numbers of pairs between them.
    df, of_df = np.unique([tests[index].df or 0.0 for index in left], return_inverse=True)
    reached = 0.0
    while left:
        alone = sizes - special.stdtrit(df, alpha / len(left))[of_df] * errors
        first = int(alone.argmin())
        reached = max(reached, float(alone[first]))
        margins[left.pop(first)] = reached
        sizes, errors, of_df = (np.delete(column, first) for column in (sizes, errors, of_df))
    return margins


MeanVerdict = Literal["equivalent", "better", "worse", "beyond the margin", "different", "undecided"]


def verdict(test: TTest, family: FamilyTest, *, alpha: float, floor: float | None, direction: int = 0) -> MeanVerdict:
    """Concludes from the mean difference whether it matters.

    * equivalent: within the margin, by the adjusted p of TOST;
    * better, worse: beyond the margin, by the adjusted p of the minimum-effect test, and above the chaos floor; or
      `beyond the margin` for a metric without a direction;
    * different: not 0, by its adjusted p, and above the chaos floor, but its size against the margin is unsettled;
    * undecided: none of these.

    Args:
      test: the tests of a variant.
      family: the same, adjusted over all variants.
      alpha: the level of each family.
      floor: the chaos floor in the metric's unit; None, where it was not measured, counts as 0.
      direction: 1 where more is better, −1 where less is, 0 where neither.
    """
    if family.p_equivalence is not None and family.p_equivalence < alpha:
        return "equivalent"
    if not significant(test, family, alpha=alpha, floor=floor):
        return "undecided"
    if family.p_beyond is None or family.p_beyond >= alpha:
        return "different"
    if not direction:
        return "beyond the margin"
    return "better" if (test.mean or 0.0) * direction > 0 else "worse"


def significant(test: TTest, family: FamilyTest, *, alpha: float, floor: float | None) -> bool:
    """Returns whether a mean difference is not 0, by its adjusted p, and above the chaos floor."""
    p = family.p_difference
    return p is not None and p < alpha and abs(test.mean or 0.0) > (floor or 0.0)
