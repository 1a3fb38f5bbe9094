"""Checks the ELBO and its gradient at one posterior: value, mean, covariance, optimum."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaecli.vae.gradients.units import Units, fisher_ratio, sensitivity
from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import HEADS, Head
from vaecli.vae.objectives import ELBO, IWAE, Estimator, ObjectiveSpec
from vaecli.vae.posterior import Posterior, posterior
from vaecli.vae.terms import LogLikelihood, objective_terms
from vaecli.verify import oracles
from vaecli.verify.check import Check, compare
from vaecli.verify.oracles import LinearGaussian

ESTIMATORS: dict[Estimator, ObjectiveSpec] = {
    "analytic": ObjectiveSpec(ELBO, "analytic"),
    "mc": ObjectiveSpec(ELBO, "mc"),
    "stl": ObjectiveSpec(ELBO, "stl"),
    "dreg": ObjectiveSpec(IWAE, "dreg"),  # With one draw, whose weight is 1.
}
LEARNED = {name: head for name, head in HEADS.items() if head.learned}
_BY_SIGMA = {"abs_std": HEADS["abs_std"]}
"""Its u is σ itself."""

_RNG = np.random.default_rng(20)
MODEL = LinearGaussian(_RNG.normal(size=(5, 2)), _RNG.normal(size=5), 0.8)
X = _RNG.normal(size=(3, 5))
LOC = _RNG.normal(size=(3, 2))
# Every head reaches these σ, on both sides of 1, where elu_std has its kink.
SCALE = np.array([[0.3, 1.4], [0.9, 0.5], [1.7, 1.1]])
# H is diagonal, so that the best q is the posterior.
DIAGONAL = LinearGaussian(np.linalg.qr(_RNG.normal(size=(5, 2)))[0] * [1.3, 0.6], _RNG.normal(size=5), 0.8)
_IMAGES = _RNG.normal(size=(40, 5)) @ _RNG.normal(size=(5, 5))
_GRID, _WEIGHTS = oracles.gauss_hermite(2)


def log_likelihood(model: LinearGaussian, x: np.ndarray | Array) -> LogLikelihood:
    """Returns z ↦ log N(x; Az + b, τ²I), for images (batch, pixels)."""

    def log_prob(z):
        r = jnp.asarray(x)[None] - z @ jnp.asarray(model.weights.T) - jnp.asarray(model.offset)[None, None]
        return -x.shape[-1] / 2 * jnp.log(2 * np.pi * model.noise**2) - (r**2).sum(axis=-1) / (2 * model.noise**2)

    return log_prob


def outputs(head: Head, loc: Array, scale: Array) -> tuple[Array, Array]:
    """Returns the encoder's outputs at which a head gives this posterior."""
    return loc / scale**2 if head.couples_mean else loc, head.inverse(jnp.log(scale))


def gain(name: str, scale: np.ndarray) -> np.ndarray:
    """Returns γ of a shipped head in closed form."""
    return np.vectorize(lambda s: float(oracles.GAINS[name](s, np)))(scale)


def units(head: Head, loc: Array, scale: Array) -> Units:
    """Returns the units of a posterior, (batch, latent), as the statistics see them, with features of 0."""
    _, u = outputs(head, loc, scale)
    q = Posterior(loc, jnp.log(scale), scale)
    return sensitivity(head, Bound("none"), q, u, jnp.zeros((len(loc), 1)), jnp.ones(len(loc)))


@jax.jit
def _elbos(model: tuple, x: Array, loc: Array, scale: Array) -> dict[Estimator, Array]:
    """Returns the integrand of each ELBO on the grid: one program for all of them."""
    q = Posterior(*(jnp.broadcast_to(value[None], _GRID.shape) for value in (loc, jnp.log(scale), scale)))
    of_image, epsilon = log_likelihood(LinearGaussian(*model), x[None]), jnp.asarray(_GRID)[None]
    return {name: objective_terms(objective, q, of_image, epsilon).value for name, objective in ESTIMATORS.items()}


def _elbo_on_grid(model: LinearGaussian, x: np.ndarray, loc: np.ndarray, scale: np.ndarray, name: Estimator) -> float:
    return float(_WEIGHTS @ np.asarray(_elbos((model.weights, model.offset, model.noise), x, loc, scale)[name]))


@functools.partial(jax.jit, static_argnums=0)
def _gradients(
    forms: tuple[Head, ...], slopes: tuple, model: tuple, x: Array, loc: Array, scale: Array, epsilon: Array
) -> dict[Estimator, list[Array]]:
    def elbo(q, eps, name):
        return objective_terms(ESTIMATORS[name], q, log_likelihood(LinearGaussian(*model), x), eps[None]).value.sum()

    def by_posterior(q):
        """Returns the gradients of all estimators by q, one after the other along the points."""
        by_q = [jax.vmap(lambda eps, name=name: jax.grad(elbo)(q, eps, name))(epsilon) for name in ESTIMATORS]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *by_q)

    def of_outputs(head):
        return jax.vjp(functools.partial(posterior, head, Bound("none")), *outputs(head, loc, scale))

    # One program for the gradient by q serves all heads, which differ in the Jacobian of q by the outputs only.
    heads = [dataclasses.replace(form, slope=slope) for form, slope in zip(forms, slopes, strict=True)]
    of_heads = [of_outputs(head) for head in heads]
    by_q = jax.lax.map(by_posterior, jax.tree.map(lambda *leaves: jnp.stack(leaves), *[q for q, _ in of_heads]))
    by_outputs = [
        jnp.stack(jax.vmap(pull)(jax.tree.map(lambda leaf, k=k: leaf[k], by_q)), axis=1)
        for k, (_, pull) in enumerate(of_heads)
    ]
    parts = [jnp.split(gradient, len(ESTIMATORS)) for gradient in by_outputs]
    return {name: [part[k] for part in parts] for k, name in enumerate(ESTIMATORS)}


def gradients_at(
    epsilon: np.ndarray,
    heads: Mapping[str, Head],
    model: LinearGaussian,
    x: np.ndarray,
    loc: np.ndarray,
    scale: np.ndarray,
) -> dict[str, dict[Estimator, np.ndarray]]:
    """Returns the gradient of each image's ELBO by both outputs of the encoder, (points, 2, images, latent), by head.

    Args:
      epsilon: the draws of ε, (points, images, latent).
      heads: the heads whose outputs these are.
      model: the model of the images.
      x: the images.
      loc: the means μ.
      scale: the standard deviations σ.
    """
    forms, slopes = zip(*((head.form, np.asarray(head.slope)) for head in heads.values()), strict=True)
    arrays = (model.weights, model.offset, model.noise)
    by_estimator = jax.device_get(_gradients(forms, slopes, arrays, x, loc, scale, epsilon))
    return {head: {name: by_estimator[name][k] for name in ESTIMATORS} for k, head in enumerate(heads)}


GradientMoments = Mapping[Estimator, tuple[np.ndarray, np.ndarray]]


def _gradients_on_grid(
    heads: Mapping[str, Head], model: LinearGaussian, x: np.ndarray, loc: np.ndarray, scale: np.ndarray
) -> dict[str, GradientMoments]:
    """Returns, by head, mean and covariance over ε of the gradient of each ELBO, (images, 2 latent, …)."""
    epsilon = np.broadcast_to(_GRID[:, None], (len(_GRID), *loc.shape))

    def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = np.moveaxis(values, 2, 1).reshape(len(_GRID), len(loc), -1)
        mean = np.einsum("p,pna->na", _WEIGHTS, flat)
        return mean, np.einsum("p,pna,pnb->nab", _WEIGHTS, flat - mean, flat - mean)

    return {
        head: {name: moments(values) for name, values in of_head.items()}
        for head, of_head in gradients_at(epsilon, heads, model, x, loc, scale).items()
    }


def elbo() -> Iterator[Check]:
    """Checks the expectation of `objective_terms`."""
    for name in ESTIMATORS:
        cases = list(zip(X, LOC, SCALE, strict=True))
        pairs = [(_elbo_on_grid(MODEL, x, m, s, name), MODEL.elbo(m, s, x)) for x, m, s in cases]
        yield compare(f"ELBO, {name}", pairs)


def gradients() -> Iterator[Check]:
    """Checks the mean and covariance of the gradient, by (μ, σ) and through each head's Jacobian."""
    exact = {
        name: [MODEL.gradient_moments(name, m, s, x) for x, m, s in zip(X, LOC, SCALE, strict=True)]
        for name in ESTIMATORS
    }
    on_grid = _gradients_on_grid(LEARNED | _BY_SIGMA, MODEL, X, LOC, SCALE)
    for name in ESTIMATORS:
        for what, k in (("mean", 0), ("covariance", 1)):
            pairs = [(on_grid["abs_std"][name][k][i], moments[k]) for i, moments in enumerate(exact[name])]
            yield compare(f"gradient by mu and sigma, {name}: {what}", pairs)
    for param, head in LEARNED.items():
        pairs = []
        for i, (loc, scale) in enumerate(zip(LOC, SCALE, strict=True)):
            jacobian = oracles.jacobian(gain(param, scale), loc, scale, couples_mean=head.couples_mean)
            for name in ESTIMATORS:
                mean, covariance = exact[name][i]
                pairs.append((on_grid[param][name][0][i], jacobian.T @ mean))
                pairs.append((on_grid[param][name][1][i], jacobian.T @ covariance @ jacobian))
        yield compare(f"gradient through {param}: mean and covariance", pairs)


def optimum() -> Iterator[Check]:
    """Checks the best q, how far its ELBO is from log p(x), and the model for which the two are equal."""
    best = [MODEL.optimum(x) for x in X]
    slopes = _gradients_on_grid(LEARNED, MODEL, X, *(np.stack(v) for v in zip(*best, strict=True)))["logvar"]
    yield compare("optimum: gradient 0", [(slopes["analytic"][0], np.zeros((3, 4)))])
    pairs = [
        (_elbo_on_grid(MODEL, x, *q, "analytic") + MODEL.gap, MODEL.log_evidence(x))
        for x, q in zip(X, best, strict=True)
    ]
    yield compare("optimum: ELBO + gap is log p(x)", pairs)
    model = oracles.maximum_likelihood(_IMAGES, 2)
    pairs = [(_elbo_on_grid(model, x, *model.optimum(x), "analytic"), model.log_evidence(x)) for x in _IMAGES]
    yield compare("probabilistic PCA: ELBO is log p(x)", pairs)
    spectrum = np.sort(np.linalg.eigvalsh(np.cov(_IMAGES.T, bias=True)))[::-1]
    exact = model.noise**2 / spectrum[:2]
    yield compare("probabilistic PCA: sigma of the optimum", [(model.optimum(_IMAGES[0])[1] ** 2, exact)])


def at_the_posterior() -> Iterator[Check]:
    """Checks the noise that is left where q(z|x) = p(z|x)."""
    loc, scale = (np.stack(values) for values in zip(*(DIAGONAL.optimum(x) for x in X), strict=True))
    on_grid = _gradients_on_grid(LEARNED, DIAGONAL, X, loc, scale)
    of_heads = _fisher_ratios(LEARNED, [on_grid[param]["mc"][1] for param in LEARNED], loc, scale)
    ratios = [(of_head, np.ones((3, 2))) for of_head in of_heads.values()]
    variances = [(on_grid[param][name][1], np.zeros((3, 4, 4))) for param in LEARNED for name in ("stl", "dreg")]
    yield compare("posterior, mc: Fisher ratio 1, every head", ratios)
    yield compare("posterior, stl and dreg: variance 0, every head", variances)
    # Over the model's own images, the posterior's mean is normal with the variance 1 − σ².
    draws, weights = oracles.gauss_hermite(1)
    own_loc = draws * np.sqrt(1 - scale[:1] ** 2)
    own_x = DIAGONAL.offset + (own_loc / (1 - scale[:1] ** 2)) @ DIAGONAL.weights.T
    ratios = []
    for rows in np.arange(len(draws)).reshape(-1, len(X)):  # As many at a time as above, by the same programs.
        on_grid = _gradients_on_grid(LEARNED, DIAGONAL, own_x[rows], own_loc[rows], scale)
        covariances = [on_grid[param]["analytic"][1] for param in LEARNED]
        ratios.append(_fisher_ratios(LEARNED, covariances, own_loc[rows], scale)["logvar"])
    mean_ratio = weights @ np.concatenate(ratios)
    square = scale[0] ** 2
    yield compare("posterior, analytic: Fisher ratio", [(mean_ratio, (1 - square) * (2 - square) / 2)])


def _fisher_ratios(
    heads: Mapping[str, Head], covariances: Sequence[np.ndarray], loc: np.ndarray, scale: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the Fisher ratio R of each unit, by head, from the covariance of the gradient by its outputs."""
    forms, slopes = zip(*((head.form, np.asarray(head.slope)) for head in heads.values()), strict=True)
    variances = [np.diagonal(covariance, axis1=1, axis2=2)[:, loc.shape[1] :] for covariance in covariances]
    return dict(zip(heads, jax.device_get(_ratios(forms, slopes, variances, loc, scale)), strict=True))


@functools.partial(jax.jit, static_argnums=0)
def _ratios(forms: tuple[Head, ...], slopes: tuple, variances: list[Array], loc: Array, scale: Array) -> list[Array]:
    heads = [dataclasses.replace(form, slope=slope) for form, slope in zip(forms, slopes, strict=True)]
    of_heads = [units(head, loc, scale) for head in heads]
    return [fisher_ratio(of / at.divisor**2, at) for of, at in zip(variances, of_heads, strict=True)]


GROUPS = (elbo, gradients, optimum, at_the_posterior)
