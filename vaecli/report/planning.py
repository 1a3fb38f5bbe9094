"""How many seeds a verdict takes: its probability at a number of seeds, exact for normal differences."""

import math

import numpy as np
from scipy import special

from vaecli.report.statistics import t_quantile

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PANELS = 8


def decision_probability(
    pairs: int,
    mean: float,
    sd: float,
    *,
    margin: float,
    alpha: float,
    alpha_difference: float | None = None,
    beyond: float = 0.0,
    floor: float | None = None,
    df_per_pair: float = 1.0,
) -> float:
    """Returns the probability that n pairs with d ~ N(mean, sd²), none lost, end in equivalent or in significant.

    Given the sample's S, equivalent is |m| < margin − t_{1−α} S/√n and significant |m| > max(b + t_{1−α′/2} S/√n,
    floor), with m ~ N(mean, sd²/n) free of S and b = `beyond`: 0 for a difference, and the margin for one beyond it.
    This is averaged over S, (n − 1) S²/sd² ~ χ² of n − 1 degrees of freedom, by a quadrature with an error below 1e-8.
    Without a floor, margin = 0 leaves the power of the t-test; floor = ∞ leaves that of the equivalence test.

    Args:
      pairs: n; below 2 nothing is decided.
      mean, sd: the true ones of the differences, in nats per image.
      margin: the least difference that matters, in nats per image.
      alpha: the level of the equivalence test.
      alpha_difference: α′, the level of the other test; alpha where it is None. In a family, Holm's method gives the
        least p the level α/k, with k the number of tests that are not significant yet: on the safe side.
      beyond: what |mean| has to exceed, in nats per image, from 0 to the margin.
      floor: the chaos floor in nats per image; None counts as 0.
      df_per_pair: the degrees of freedom are this times n − 1. For two samples of n that are not paired, sd is that of
        the difference of two runs, and this is from 1, where only one of the two varies, to 2, where both do alike.
    """
    floor = floor or 0.0
    if pairs < 2:
        return 0.0
    if sd == 0:
        return float(abs(mean) < margin or abs(mean) > max(beyond, floor))
    df = df_per_pair * (pairs - 1)
    one, two = t_quantile(df, alpha), t_quantile(df, (alpha if alpha_difference is None else alpha_difference) / 2)
    mean, margin, beyond, floor = (value * math.sqrt(pairs) / sd for value in (mean, margin, beyond, floor))
    # Panels end at the kinks, where either bound vanishes or meets the other, and are short where a bound crosses the
    # mean: with a mean of many standard errors the integrand is a step there.
    z = np.linspace(-8.0, 8.0, 9)
    kinks = [margin / one, (margin - beyond) / (one + two), (margin - floor) / one, (floor - beyond) / two]
    crossings = (margin - abs(mean) + z) / one, (abs(mean) - beyond + z) / two
    spread, weight = _spreads(df, np.concatenate([kinks, *crossings]))
    equivalent = np.maximum(margin - one * spread, 0.0)
    significant = np.maximum(beyond + two * spread, floor)
    within = special.ndtr(equivalent - mean) - special.ndtr(-equivalent - mean)
    outside = special.ndtr(mean - significant) + special.ndtr(-mean - significant)
    probability = np.where(equivalent >= significant, 1.0, within + outside)
    return float((weight * probability).sum() / weight.sum())


def _spreads(df: float, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    beyond: float = 0.0,
    floor: float | None = None,
    df_per_pair: float = 1.0,
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
            n,
            mean,
            sd,
            margin=margin,
            alpha=alpha,
            alpha_difference=alpha_difference,
            beyond=beyond,
            floor=floor,
            df_per_pair=df_per_pair,
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
