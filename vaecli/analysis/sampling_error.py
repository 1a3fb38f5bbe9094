"""The error that the draws leave in the NLL: its interval, and whether it can be trusted.

The log of a mean weight lies below log p(x) on average, the more, the fewer draws there are. How much is still missing
at K draws shows in how the NLL has fallen up to there: the draws fall into 16 groups, so that the NLL of K/16, K/4, K/2
and K draws is known from the same draws.
"""

import math
from typing import NamedTuple

import numpy as np

from vaecli.analysis.pareto import tail_length, tail_shape

GROUPS = 16
"""The number of groups; draw k is in group k mod 16."""

FEWEST = 4 * GROUPS
"""The least number of draws that an interval and k̂ are estimated from."""

FEW = 10
"""With fewer effective samples than this an image's own estimates of error and bias are too small."""

RELIABLE_SHAPE = 0.7
"""The greatest k̂ at which importance sampling is reliable (Vehtari et al. 2024)."""

# Two-sided.
_LEVEL = 0.95
# From this share of doubtful images on, the NLL is unreliable; fewer may have moved it by this part of half the width
# that its interval has without a bias. By simulation: with a greater part, one bad image among a hundred escapes.
_MANY = 0.1
_MATERIAL = 0.1
# The weights are float32: a smaller fall of the NLL, in nats, does not count.
_ROUNDING = 1e-7


class GroupedWeights(NamedTuple):
    """What is kept of the weights of each image.

    Attributes:
      log_sums: the logarithm of the sum of each group's weights, (16, images).
      shape: k̂ of each image; NaN where there is none.
    """

    log_sums: np.ndarray
    shape: np.ndarray


class WeightStream:
    """The weights of a batch of images, as they come: sums over the groups, and the largest ones.

    Memory grows as the root of the number of draws.
    """

    def __init__(self, images: int, samples: int) -> None:
        """Expects so many draws for each image."""
        self._samples = samples
        self._taken = 0
        self._greatest = np.full((GROUPS, images), -np.inf)
        self._sums = np.zeros((GROUPS, images))
        self._largest = np.zeros((images, 0))
        self._kept = tail_length(samples) + 1

    def add(self, log_weights: np.ndarray) -> None:
        """Adds the next draws, (draws, images); what comes after the last one is left out."""
        block = log_weights[: self._samples - self._taken].astype(np.float64)
        for group in range(GROUPS):
            if len(rows := block[(group - self._taken) % GROUPS :: GROUPS]):
                self._add_to_group(group, rows)
        self._taken += len(block)
        largest = np.concatenate([self._largest, block.T], axis=1)
        if (surplus := largest.shape[1] - self._kept) > 0:
            largest = np.partition(largest, surplus, axis=1)[:, surplus:]
        self._largest = largest

    def _add_to_group(self, group: int, rows: np.ndarray) -> None:
        greatest = np.maximum(self._greatest[group], rows.max(axis=0))
        # While every weight is 0, no −∞ − (−∞).
        base = np.where(greatest == -np.inf, 0, greatest)
        added = np.exp(rows - base).sum(axis=0)
        self._sums[group] = self._sums[group] * np.exp(self._greatest[group] - base) + added
        self._greatest[group] = greatest

    def grouped(self) -> GroupedWeights:
        """Returns what there is to say once all draws are in."""
        with np.errstate(divide="ignore"):
            log_sums = np.log(self._sums) + self._greatest
        shape = tail_shape(self._largest) if self._samples >= FEWEST else np.full(len(self._largest), np.nan)
        return GroupedWeights(log_sums, shape)


class SamplingError(NamedTuple):
    """The error that the draws leave in the NLL, in nats per image.

    Attributes:
      half: the NLL of half as many draws, a mean over both halves.
      low, high: the ends of the 95 % interval of the exact NLL; −∞ where the NLL falls without slowing down, and NaN
        for fewer than 64 draws.
      few_effective: the share of images with fewer than ten effective samples, or than half of all.
      heavy_tailed: the share of images with k̂ > 0.7; NaN for fewer than 64 draws.
      unreliable: whether images with few effective samples or k̂ > 0.7 matter, or there is no lower end.
    """

    half: float
    low: float
    high: float
    few_effective: float
    heavy_tailed: float
    unreliable: bool


def sampling_error(weights: GroupedWeights, effective: np.ndarray, samples: int) -> SamplingError:
    """Returns the error of the NLL of so many draws for each image.

    Args:
      weights: the weights of each image.
      effective: their numbers of effective samples.
      samples: the number K of draws.
    """
    counts = np.array([len(range(group, samples, GROUPS)) for group in range(GROUPS)])
    few = effective < min(FEW, samples / 2)
    heavy = weights.shape > RELIABLE_SHAPE
    if samples < FEWEST:
        half = _half(weights.log_sums, counts) if samples > 1 else math.nan
        return SamplingError(half, math.nan, math.nan, float(few.mean()), math.nan, unreliable=True)
    # Where all weights of an image are 0, or one is not a number, so is what follows from them.
    with np.errstate(invalid="ignore"):
        levels = _levels(weights.log_sums, counts)
        nll = -float(levels.log_means[0].mean())
        below, above = _interval(levels)
        return SamplingError(
            half=_half(weights.log_sums, counts),
            low=nll + below,
            high=nll + above,
            few_effective=float(few.mean()),
            heavy_tailed=float(heavy.mean()),
            unreliable=not math.isfinite(below) or _unreliable(levels, few | heavy),
        )


class _Levels(NamedTuple):
    """The log of the mean weight of each image by K draws, and its mean over parts of them.

    Attributes:
      log_means: by all draws, and the means over their quarters and sixteenths, (3, images).
      without: the same without each of the groups, (16, 3, images).
    """

    log_means: np.ndarray
    without: np.ndarray


def _unreliable(levels: _Levels, doubtful: np.ndarray) -> bool:
    """Returns whether doubtful images are many, or have moved the NLL from K/16 draws to K by more than noise.

    What few of them have not moved yet, the draws that are missing will not move either.
    """
    fall = float(((levels.log_means[0] - levels.log_means[2]) * doubtful).mean())
    return bool(doubtful.mean() >= _MANY) or not fall <= _MATERIAL * _half_width(levels, np.array([1.0, 0.0, 0.0]))


def _log_mean(log_sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the log of the mean weight of some groups together."""
    return np.logaddexp.reduce(log_sums, axis=0) - math.log(counts.sum())


def _half(log_sums: np.ndarray, counts: np.ndarray) -> float:
    """Returns the NLL of half as many draws, a mean over both halves; it is never below that of all."""
    halves = [(_log_mean(log_sums[first::2], counts[first::2]), counts[first::2].sum()) for first in (0, 1)]
    return -float(sum(log_mean.mean() * count for log_mean, count in halves) / counts.sum())


def _without_each(log_sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the log of the mean weight of all groups but one, for each of them."""
    nothing = np.full((1, log_sums.shape[1]), -np.inf)
    before = np.concatenate([nothing, np.logaddexp.accumulate(log_sums[:-1])])
    after = np.concatenate([np.logaddexp.accumulate(log_sums[:0:-1])[::-1], nothing])
    return np.logaddexp(before, after) - np.log(counts.sum() - counts)[:, None]


def _levels(log_sums: np.ndarray, counts: np.ndarray) -> _Levels:
    quarters = np.array([_log_mean(log_sums[first::4], counts[first::4]) for first in range(4)])
    sixteenths = log_sums - np.log(counts)[:, None]
    without = np.empty((GROUPS, 3, log_sums.shape[1]))
    without[:, 0] = _without_each(log_sums, counts)
    for first in range(4):
        changes = _without_each(log_sums[first::4], counts[first::4]) - quarters[first]
        without[first::4, 1] = quarters.mean(axis=0) + changes / 4
    without[:, 2] = (sixteenths.sum(axis=0) - sixteenths) / (GROUPS - 1)
    return _Levels(np.array([_log_mean(log_sums, counts), quarters.mean(axis=0), sixteenths.mean(axis=0)]), without)


def _half_width(levels: _Levels, coefficients: np.ndarray) -> float:
    """Returns half the width of the interval of a combination of the levels, a mean over images.

    The variance of each image is the jackknife's over the groups; Student's t has the degrees of freedom that their sum
    has (Satterthwaite 1946).
    """
    from scipy.special import stdtrit  # Not before the end, when the device has done its work.

    combined = np.tensordot(levels.without, coefficients, axes=(1, 0))
    variance = (GROUPS - 1) / GROUPS * ((combined - combined.mean(axis=0)) ** 2).sum(axis=0)
    if not variance.sum() > 0:
        return float(variance.sum())
    freedom = (GROUPS - 1) * variance.sum() ** 2 / (variance**2).sum()
    return float(stdtrit(freedom, (1 + _LEVEL) / 2) * np.sqrt(variance.sum()) / len(variance))


def _interval(levels: _Levels) -> tuple[float, float]:
    """Returns the ends of the interval of the exact NLL, less the NLL of K draws.

    With the falls b from K/16 to K/4 draws and a from there to K, a²/(b − a) is missing if they go on as a geometric
    series (Aitken's Δ²). That is a/3 where the variance of the weights is finite, and the error proportional to 1/K, so
    that b is 4a; a fall that slows down faster is noise. The upper end counts on no more than that.
    """
    whole, quarter, sixteenth = levels.log_means.mean(axis=1)
    a, b = float(whole - quarter), float(quarter - sixteenth)
    width = _half_width(levels, np.array([4.0, -1.0, 0.0]) / 3)
    low, high = -a / 3 - width, -a / 3 + width
    if b >= 4 * a or a < _ROUNDING:
        return low, high
    if b <= a:
        return -math.inf, high
    by_a, by_b = (2 * a * b - a**2) / (b - a) ** 2, -((a / (b - a)) ** 2)
    width = _half_width(levels, np.array([1 + by_a, by_b - by_a, -by_b]))
    return min(low, -(a**2) / (b - a) - width), high
