"""The shape k̂ of the generalised Pareto distribution of the largest importance weights (Vehtari et al. 2024)."""

import math

import numpy as np

# The weight, in values, of the prior of k, which is at ½.
_PRIOR = 10


def tail_length(samples: int) -> int:
    """Returns how many of so many weights are its tail: 3√K, and no more than a fifth of them.

    >>> tail_length(5000), tail_length(100)
    (213, 20)
    """
    return math.ceil(min(samples / 5, 3 * math.sqrt(samples)))


def tail_shape(log_weights: np.ndarray) -> np.ndarray:
    """Returns k̂ of each image.

    The mean of the weights exists for k < 1, their variance for k < ½. Importance sampling is reliable with a feasible
    number of draws up to k of about 0.7.

    Args:
      log_weights: the logarithms of the largest weights, (images, tail + 1), in any order; the tail is what the others
        exceed the least one by.

    Returns:
      k̂, (images,); NaN where it is not defined, as where the weights are equal.
    """
    values = np.sort(log_weights, axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.exp(values - values[:, -1:])
        return np.array([generalised_pareto(image[1:] - image[0])[0] for image in relative])


def generalised_pareto(values: np.ndarray) -> tuple[float, float]:
    """Returns k̂ and σ̂ of the density (1/σ) (1 + kx/σ)^(−1/k − 1), by Zhang & Stephens (2009).

    Their estimator is the posterior mean of θ = −k/σ under a weak prior, by a sum over a grid; at θ, the likelihood is
    greatest at k = mean log (1 − θx). Vehtari et al. draw k̂ towards ½, as ten further values would.

    Args:
      values: positive, and rising.

    Returns:
      Both; NaN where the values are too close to 0 or to each other.
    """
    count, nodes = len(values), 30 + math.isqrt(len(values))
    quartile = values[int(count / 4 + 0.5) - 1]
    theta = 1 / values[-1] + (1 - np.sqrt(nodes / (np.arange(nodes) + 0.5))) / (3 * quartile)
    k = np.log1p(-theta[:, None] * values).mean(axis=1)
    log_likelihood = count * (np.log(-theta / k) - k - 1)
    posterior = np.exp(log_likelihood - log_likelihood.max())
    mean = (theta * posterior).sum() / posterior.sum()
    k_mean = np.log1p(-mean * values).mean()
    return (count * k_mean + _PRIOR / 2) / (count + _PRIOR), -k_mean / mean
