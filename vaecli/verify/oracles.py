"""The exact answers, in NumPy and float64, against which the program's own functions are checked.

The model is linear and Gaussian: p(z) = N(0, I), p(x|z) = N(Az + b, τ²I), and q(z|x) = N(μ, diag σ²). Everything that
an estimator draws has moments in closed form there. Nothing here calls jax or the functions under test.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

GAINS: dict[str, Callable[[Any, Any], Any]] = {
    "logvar": lambda s, m: 0.5 * s**0,
    "logstd": lambda s, m: s**0,
    "logprec": lambda s, m: -0.5 * s**0,
    "softplus_std": lambda s, m: -m.expm1(-s) / s,
    "softplus_var": lambda s, m: -m.expm1(-(s**2)) / (2 * s**2),
    "softplus_prec": lambda s, m: s**2 * m.expm1(-1 / s**2) / 2,
    "softplus_ln2": lambda s, m: -m.expm1(-m.log(2 * s**0) * s) / s,
    "elu_std": lambda s, m: s**0 if s < 1 else 1 / s,
    "squareplus_std": lambda s, m: 1 / (s + 1 / s),
    "sigmoid_std": lambda s, m: 1 - s / 2,
    "tanh_logstd": lambda s, m: 1 - (m.log(s) / 5) ** 2,
    "clip_logvar": lambda s, m: 0.5 * s**0 if -15 < m.log(s) < 10 else 0 * s,
    "std": lambda s, m: 1 / s,
    "abs_std": lambda s, m: 1 / s,
    "square_std": lambda s, m: 2 / m.sqrt(s),
    "natural": lambda s, m: s**2 * m.expm1(-1 / s**2) / 2,
    "fixed": lambda s, m: 0 * s,
}
"""The γ = d log σ / du of the shipped heads in closed form: (σ, its module, such as math or mpmath) ↦ γ."""


@dataclasses.dataclass(frozen=True)
class LinearGaussian:
    """The linear Gaussian model.

    Attributes:
      weights: the matrix A, (pixels, latent).
      offset: the vector b, (pixels,).
      noise: the standard deviation τ.
    """

    weights: np.ndarray
    offset: np.ndarray
    noise: float

    @property
    def information(self) -> np.ndarray:
        """The matrix H = AᵀA/τ², (latent, latent)."""
        return self.weights.T @ self.weights / self.noise**2

    def elbo(self, loc: np.ndarray, scale: np.ndarray, x: np.ndarray) -> float:
        """Returns −D/2 log 2πτ² − (‖r‖² + Σ σ_j² ‖a_j‖²)/(2τ²) − ½ Σ (μ_j² + σ_j² − 1 − log σ_j²), r = x − Aμ − b."""
        r = x - self.weights @ loc - self.offset
        square = r @ r + (scale**2 * (self.weights**2).sum(axis=0)).sum()
        reconstruction = -len(x) / 2 * np.log(2 * np.pi * self.noise**2) - square / (2 * self.noise**2)
        return float(reconstruction - 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale)).sum())

    def log_evidence(self, x: np.ndarray) -> float:
        """Returns log p(x) = log N(x; b, AAᵀ + τ²I)."""
        covariance = self.weights @ self.weights.T + self.noise**2 * np.eye(len(x))
        r = x - self.offset
        return float(-0.5 * (r @ np.linalg.solve(covariance, r) + np.linalg.slogdet(2 * np.pi * covariance)[1]))

    def optimum(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns μ and σ of the best q: the posterior's mean, and σ_j² = 1/(1 + H_jj)."""
        h = self.information
        loc = np.linalg.solve(np.eye(len(h)) + h, self.weights.T @ (x - self.offset)) / self.noise**2
        return loc, (1 + np.diag(h)) ** -0.5

    @property
    def gap(self) -> float:
        """The gap log p(x) − ELBO at the optimum: ½ [Σ log(1 + H_jj) − log det(I + H)], 0 where H is diagonal."""
        h = self.information
        return float(0.5 * (np.log1p(np.diag(h)).sum() - np.linalg.slogdet(np.eye(len(h)) + h)[1]))

    def log_weights(
        self, loc: np.ndarray, scale: np.ndarray, x: np.ndarray, epsilon: np.ndarray, beta: float = 1.0
    ) -> np.ndarray:
        """Returns log p(x|z) + β (log p(z) − log q(z|x)) at z = μ + σ ε, (…), from ε, (…, latent)."""
        z = loc + scale * epsilon
        r = x - z @ self.weights.T - self.offset
        log_likelihood = -len(x) / 2 * np.log(2 * np.pi * self.noise**2) - (r**2).sum(axis=-1) / (2 * self.noise**2)
        return log_likelihood + beta * (0.5 * epsilon**2 - 0.5 * z**2 + np.log(scale)).sum(axis=-1)

    def _gradient(
        self, estimator: str, loc: np.ndarray, scale: np.ndarray, x: np.ndarray, beta: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns c̃, M, d and m₀ of the gradient at one ε: G_μ = c̃ + m₀ − Mε and G_σj = d_j + ε_j (c̃ − Mε)_j."""
        h, s, one = self.information, np.diag(scale), np.eye(len(loc))
        c = self.weights.T @ (x - self.weights @ loc - self.offset) / self.noise**2
        sticking = (c - beta * loc, (h + beta * one) @ s - beta * np.linalg.inv(s), 0 * loc, 0 * loc)
        return {
            "analytic": (c, h @ s, beta * (1 / scale - scale), -beta * loc),
            "mc": (c - beta * loc, (h + beta * one) @ s, beta / scale, 0 * loc),
            "stl": sticking,
            "dreg": sticking,
        }[estimator]

    def iwae_gradient(
        self, estimator: str, loc: np.ndarray, scale: np.ndarray, x: np.ndarray, epsilon: np.ndarray, beta: float = 1.0
    ) -> np.ndarray:
        """Returns the gradient of log (1/K) Σ_k w_k by (μ, σ) at given ε, (…, K, latent), as (…, 2 latent).

        With w̃_k = w_k/Σ w it is Σ_k w̃_k G_k of the full Monte Carlo G, and for `dreg`
        Σ_k ((1 − β) w̃_k + β w̃_k²) G_k of the one that sticks the landing.
        """
        slope, matrix, d, shift = self._gradient(estimator, loc, scale, x, beta)
        log_weights = self.log_weights(loc, scale, x, epsilon, beta)
        weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        if estimator == "dreg":
            weights = (1 - beta) * weights + beta * weights**2
        along = slope - epsilon @ matrix.T
        gradients = np.concatenate([along + shift, d + epsilon * along], axis=-1)
        return (weights[..., None] * gradients).sum(axis=-2)

    def gradient_moments(
        self, estimator: str, loc: np.ndarray, scale: np.ndarray, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean (2 latent,) and covariance (2 latent, 2 latent) over ε of the gradient of the ELBO by (μ, σ).

        Odd moments of ε vanish, and Cov(ε_j (Mε)_j, ε_l (Mε)_l) = M_jl M_lj + δ_jl (MMᵀ)_jj, by Isserlis' theorem.
        """
        slope, matrix, d, shift = self._gradient(estimator, loc, scale, x)
        mean = np.concatenate([slope + shift, d - np.diag(matrix)])
        by_loc = matrix @ matrix.T
        by_scale = matrix * matrix.T + np.diag(slope**2 + np.diag(by_loc))
        across = -matrix * slope[None]
        return mean, np.block([[by_loc, across], [across.T, by_scale]])


def jacobian(gain: np.ndarray, loc: np.ndarray, scale: np.ndarray, *, couples_mean: bool) -> np.ndarray:
    """Returns ∂(μ, σ)/∂(encoder's outputs), (2 latent, 2 latent).

    It has dσ/du = γσ; under η₁ = μ/σ², dμ/dη₁ = σ² and dμ/du = 2γμ.
    """
    by_mean = np.diag(scale**2) if couples_mean else np.eye(len(loc))
    by_u = np.diag(2 * gain * loc) if couples_mean else np.zeros((len(loc), len(loc)))
    return np.block([[by_mean, by_u], [np.zeros_like(by_u), np.diag(gain * scale)]])


def maximum_likelihood(images: np.ndarray, latent: int) -> LinearGaussian:
    """Returns the model that maximises Σ log p(x): probabilistic PCA (Tipping & Bishop 1999).

    With λ_1 ≥ λ_2 ≥ … the eigenvalues of the images' covariance and U their eigenvectors, τ² is the mean of the λ
    after the first `latent`, and A = U (Λ − τ²I)^½ of these first, so that H is diagonal and the best q is the
    posterior, σ_j² = τ²/λ_j.
    """
    offset = images.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(images.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[latent:].mean()
    return LinearGaussian(vectors[:, :latent] * np.sqrt(values[:latent] - noise), offset, float(np.sqrt(noise)))


def gauss_hermite(dimensions: int, nodes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Returns points ε, (nodes^dimensions, dimensions), and weights at which E f(ε), ε ~ N(0, I), is a sum.

    It is exact for a polynomial f of degree up to 2 · nodes − 1 in each ε.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    grid = np.array(list(itertools.product(points, repeat=dimensions)))
    return grid, np.prod(list(itertools.product(weights, repeat=dimensions)), axis=1)
