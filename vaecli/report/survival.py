"""The survival of runs as an outcome of its own: an exact test, an interval, and the seeds that a verdict takes."""

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import special

from vaecli.report.statistics import MeanVerdict, P


class Losses(NamedTuple):
    """How many runs a variant and its reference have, and how many of them were lost."""

    lost: int
    runs: int
    reference_lost: int
    reference_runs: int

    @property
    def any(self) -> bool:
        """Whether any run was lost."""
        return self.lost + self.reference_lost > 0

    @property
    def excess(self) -> float:
        """The share that the variant lost minus the share that its reference lost."""
        return self.lost / self.runs - self.reference_lost / self.reference_runs


@functools.cache
def boschloo(losses: Losses) -> float:
    """Returns the two-sided p of Boschloo's (1970) exact unconditional test of two shares of lost runs.

    The p of Fisher's one-sided exact test orders the outcomes, and the p of a side is the greatest probability, over
    the common share π, of an outcome with a Fisher p no greater than the observed one:

        p = min(1, 2 min over sides of max_π Σ_s w_s P(S = s),  S ~ Binomial(n₁ + n₂, π)),

    with w_s the probability, given that s runs are lost in all, of such an outcome. It rejects wherever Fisher's test
    does. The runs of a pair count as independent: where a seed that loses one of the two is more likely to lose the
    other one, too, the difference of the shares varies less, and the test is conservative.

    Of more than 1000 runs together it is the p of Fisher's test itself, which is no less, and takes no time.
    """
    if not losses.any:
        return 1.0
    sides = losses, Losses(losses.reference_lost, losses.reference_runs, losses.lost, losses.runs)
    return min(1.0, 2 * min(_one_sided(*side) for side in sides))


def _one_sided(lost: int, runs: int, other_lost: int, other_runs: int) -> float:
    """Returns Boschloo's p of the alternative that the first loses more."""
    total = runs + other_runs
    if total > 1000:
        return float(_tails(lost + other_lost, runs, other_runs)[lost - max(0, lost + other_lost - other_runs)])
    tails = _all_tails(runs, other_runs)
    observed = tails[lost + other_lost][lost - max(0, lost + other_lost - other_runs)]
    # Equal probabilities are summed in different orders.
    within = [tail[tail <= observed * (1 + 1e-9)] for tail in tails]
    weights = np.array([tail.max(initial=0.0) for tail in within])
    low, high = 0.0, 1.0
    greatest = 0.0
    for _ in range(4):
        share = np.linspace(low, high, 401)
        probability = _binomial(total, share) @ weights
        best = int(probability.argmax())
        greatest = float(probability[best])
        low, high = share[max(best - 1, 0)], share[min(best + 1, share.size - 1)]
    return min(1.0, greatest)


@functools.lru_cache(32)
def _all_tails(runs: int, other_runs: int) -> tuple[np.ndarray, ...]:
    """Returns `_tails` of each number of runs that are lost."""
    return tuple(_tails(s, runs, other_runs) for s in range(runs + other_runs + 1))


def _tails(s: int, runs: int, other_runs: int) -> np.ndarray:
    """Returns P(X ≥ i) for each possible i, rising, where s of all runs are lost and X of the first ones are."""
    i = np.arange(max(0, s - other_runs), min(s, runs) + 1)
    log = _log_ways(runs, i) + _log_ways(other_runs, s - i) - _log_ways(runs + other_runs, s)
    return np.minimum(np.cumsum(np.exp(log)[::-1])[::-1], 1.0)


def _log_ways(n: int, k: np.ndarray | int) -> np.ndarray:
    return special.gammaln(n + 1) - special.gammaln(np.asarray(k) + 1) - special.gammaln(n - np.asarray(k) + 1)


def _binomial(n: int, share: np.ndarray) -> np.ndarray:
    """Returns (shares, n + 1): the probability of each count."""
    k = np.arange(n + 1)
    return np.exp(_log_ways(n, k) + special.xlogy(k, share[:, None]) + special.xlog1py(n - k, -share[:, None]))


def interval(losses: Losses, alpha: float) -> tuple[float, float]:
    """Returns the interval of level 1 − α of the share that survives, variant minus reference.

    It is Newcombe's (1998, method 10), made of the two Wilson intervals (l, u) of shares p:

        low = p₁ − p₂ − √((p₁ − l₁)² + (u₂ − p₂)²),   high = p₁ − p₂ + √((u₁ − p₁)² + (p₂ − l₂)²)
    """
    kept, other = 1 - losses.lost / losses.runs, 1 - losses.reference_lost / losses.reference_runs
    low, high = _wilson(kept, losses.runs, alpha)
    other_low, other_high = _wilson(other, losses.reference_runs, alpha)
    difference = kept - other
    return difference - math.hypot(kept - low, other_high - other), difference + math.hypot(
        high - kept, other - other_low
    )


def _wilson(share: float, runs: int, alpha: float) -> tuple[float, float]:
    z = -float(special.ndtri(alpha / 2))
    centre = share + z * z / (2 * runs)
    half = z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs))
    return (centre - half) / (1 + z * z / runs), (centre + half) / (1 + z * z / runs)


def seeds_needed(losses: Losses, alpha: float, *, power: float = 0.8, limit: int = 10_000) -> int | None:
    """Returns how many runs of each would make the observed shares of losses significant at a level; None if equal.

    That is the least n at which the same shares, rounded, are so, and at least the n of the normal approximation
    (Fleiss 1981) to the power of the test,

        n = (z_{1−α/2} √(2 p̄ q̄) + z_power √(p₁ q₁ + p₂ q₂))² / (p₁ − p₂)²

    or None beyond `limit`. With the observed shares in place of the true ones it is a plan, not a promise.
    """
    p, other = losses.lost / losses.runs, losses.reference_lost / losses.reference_runs
    if p == other:
        return None
    mean = (p + other) / 2
    z, z_power = -float(special.ndtri(alpha / 2)), float(special.ndtri(power))
    spread = z * math.sqrt(2 * mean * (1 - mean)) + z_power * math.sqrt(p * (1 - p) + other * (1 - other))
    n = max(math.ceil((spread / (p - other)) ** 2), losses.runs, losses.reference_runs)
    # Beyond some hundred runs the approximation is as good as the test.
    while n < min(limit, 300) and boschloo(Losses(round(p * n), n, round(other * n), n)) >= alpha:
        n += 1
    return n if n <= limit else None


def sign_test(worse: int, seeds: int) -> float:
    """Returns the p of the two-sided sign test, that in at least `worse` of some seeds one side is the worse one.

    p = min(1, 2 P(X ≥ worse)), X ~ Binomial(seeds, ½)
    """
    return min(1.0, 2 * sum(math.comb(seeds, k) for k in range(worse, seeds + 1)) / 2**seeds)


def conclude(
    of_mean: MeanVerdict, losses: Losses | None, p_survival: P, *, same_seeds: bool, p_sign: P, alpha: float
) -> MeanVerdict:
    """Concludes from the verdict on the mean of those that survived, and from those that did not.

    * Where one loses significantly more, that is the verdict: worse, or better; but different where a variant that
      loses fewer is worse by its mean.
    * A variant that lost more runs is never better by those that survived, which are a selection. Nor is it worse by
      them where its reference lost more, unless the sign test says so, too, with the lost runs counted.
    * Where the two did not lose the same seeds, they are not equivalent.

    Args:
      of_mean: the verdict of `statistics.verdict`.
      losses: the runs that were lost; None where it is not asked which of the two lost more.
      p_survival: that of `boschloo`, adjusted over all variants; None where no run was lost.
      same_seeds: whether the two lost the runs of the same seeds, or none.
      p_sign: that of `sign_test`, adjusted; None where nobody asks.
      alpha: the level of the family.
    """
    excess = losses.excess if losses else 0.0
    if p_survival is not None and p_survival < alpha:
        if excess > 0:
            return "worse"
        return "different" if of_mean == "worse" else "better"
    if of_mean == "equivalent" and not same_seeds:
        return "undecided"
    if of_mean == "better" and excess > 0:
        return "different"
    if of_mean == "worse" and excess < 0 and (p_sign is None or p_sign >= alpha):
        return "different"
    return of_mean
