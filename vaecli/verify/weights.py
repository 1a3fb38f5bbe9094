"""Checks the importance weights: the bound of several draws, its gradients, and log p(x) by sampling."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaecli.vae.importance import weigh
from vaecli.vae.objectives import IWAE, Estimator, ObjectiveSpec
from vaecli.vae.posterior import Posterior
from vaecli.vae.terms import objective_terms
from vaecli.verify import oracles
from vaecli.verify.check import Check, compare
from vaecli.verify.exact import DIAGONAL, LOC, MODEL, SCALE, X, log_likelihood
from vaecli.verify.oracles import LinearGaussian

_ESTIMATORS: tuple[Estimator, ...] = ("mc", "dreg")
_BETAS = (1.0, 0.4)
# One latent dimension, in which the grid has enough nodes for functions that are not polynomials.
_LINE = LinearGaussian(np.array([[0.9], [-0.5], [0.3]]), np.array([0.2, 0.1, -0.4]), 0.9)
_LINE_X, _LINE_LOC, _LINE_SCALE = np.array([0.5, -0.8, 1.1]), np.array([0.3]), np.array([0.8])


@functools.partial(jax.jit, static_argnums=0)
def _gradients(name: Estimator, model: tuple, x: Array, loc: Array, scale: Array, epsilon: Array, beta: Array) -> Array:
    def bound(loc, scale):
        objective, q = ObjectiveSpec(IWAE, name, len(epsilon)), Posterior(loc, jnp.log(scale), scale)
        return objective_terms(objective, q, log_likelihood(LinearGaussian(*model), x), epsilon, beta).value.sum()

    return jnp.concatenate(jax.grad(bound, argnums=(0, 1))(loc, scale), axis=1)


def _gradient(
    model: LinearGaussian,
    name: Estimator,
    loc: np.ndarray,
    scale: np.ndarray,
    x: np.ndarray,
    epsilon: np.ndarray,
    beta: float,
) -> np.ndarray:
    """Returns the gradient by (μ, σ) at every point of a grid, (points, 2 latent), for ε of (points, K, latent)."""
    # Every point is an image of its own.
    points, draws = len(epsilon), jnp.asarray(np.moveaxis(epsilon, 1, 0))
    at = (jnp.broadcast_to(jnp.asarray(value), (points, len(value))) for value in (x, loc, scale))
    return np.asarray(_gradients(name, (model.weights, model.offset, model.noise), *at, draws, jnp.asarray(beta)))


def gradients() -> Iterator[Check]:
    """Checks IWAE and DReG: the gradient at every draw, and the mean gradient, which is the same for both."""
    epsilon = np.random.default_rng(3).normal(size=(50, 3, 2))
    fine, weights = oracles.gauss_hermite(2, nodes=60)
    fine = fine[..., None]
    for name in _ESTIMATORS:
        pairs, means = [], []
        for beta in _BETAS:
            for loc, scale, x in zip(LOC, SCALE, X, strict=True):
                gradient = _gradient(MODEL, name, loc, scale, x, epsilon, beta)
                pairs.append((gradient, MODEL.iwae_gradient(name, loc, scale, x, epsilon, beta)))
            on_grid = _gradient(_LINE, name, _LINE_LOC, _LINE_SCALE, _LINE_X, fine, beta)
            means.append((weights @ on_grid, _mean_gradient(beta)))
        yield compare(f"IWAE of 3 draws, {name}: gradient at each", pairs)
        yield compare(f"IWAE of 2 draws, {name}: mean gradient", means, 1e-8)


def _mean_gradient(beta: float) -> np.ndarray:
    """Returns ∂/∂(μ, σ) of E log (w_1 + w_2)/2, by central differences of its expectation on a grid."""
    grid, weights = oracles.gauss_hermite(2, nodes=60)

    def expectation(loc: np.ndarray, scale: np.ndarray) -> float:
        log_weights = _LINE.log_weights(loc, scale, _LINE_X, grid[..., None], beta)
        return float(weights @ (np.logaddexp(*log_weights.T) - np.log(2)))

    step = 1e-3
    derivatives = []
    for move in ([step, 0.0], [0.0, step]):
        # Fourth order: the error is of the order of 1e-12.
        at = [expectation(_LINE_LOC + k * move[0], _LINE_SCALE + k * move[1]) for k in (-2, -1, 1, 2)]
        derivatives.append((at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step))
    return np.array(derivatives)


def log_evidence() -> Iterator[Check]:
    """Checks log p(x) by importance sampling: exact from the posterior, within its standard error from another q."""
    key, samples = jax.random.key(0, impl="threefry2x32"), 20_000

    @jax.jit
    def weighed(model, loc, scale, count):
        return weigh(Posterior(loc, jnp.log(scale), scale), log_likelihood(LinearGaussian(*model), X), key, count, 64)

    def weighing(model: LinearGaussian, loc: np.ndarray, scale: np.ndarray, count: int):
        return weighed((model.weights, model.offset, model.noise), loc, scale, count)

    best = [np.stack(values) for values in zip(*(DIAGONAL.optimum(x) for x in X), strict=True)]
    exact = np.array([DIAGONAL.log_evidence(x) for x in X])
    yield compare(
        "log p(x) from the posterior, 1 and 100 draws",
        [(weighing(DIAGONAL, best[0], best[1], n)[0], exact) for n in (1, 100)],
    )
    # This q is wider than the posterior: the variance of the weights is finite, and the standard error has a meaning.
    loc, scale = (np.stack(values) for values in zip(*(MODEL.optimum(x) for x in X), strict=True))
    wider = weighing(MODEL, loc + 0.2, 1.5 * scale, samples)
    error = np.sqrt((samples / np.asarray(wider.effective) - 1) / (samples - 1))
    distance = np.abs(np.asarray(wider.log_mean) - [MODEL.log_evidence(x) for x in X]) / error
    yield Check("log p(x) from another q, in standard errors", float(distance.max()), 3.0)


GROUPS = (gradients, log_evidence)
