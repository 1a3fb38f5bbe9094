"""Checks the likelihoods by quadrature, and the gradient of a linear decoder's scale, which is known in closed form."""

import functools
from collections.abc import Callable, Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaecli.config import Config
from vaecli.vae import build, log_densities
from vaecli.vae.model import Model
from vaecli.vae.resolve import resolve
from vaecli.verify import oracles
from vaecli.verify.check import EXACT, Check, compare

_QUADRATURE = 1e-10
_DF, _LOCATION, _SCALE = 2.5, 0.3, 0.7
_WITH_SCALE: dict[str, tuple[Callable[..., Array], log_densities.ScaleFacts]] = {
    "gaussian": (log_densities.gaussian, log_densities.gaussian_scale()),
    "laplace": (log_densities.laplace, log_densities.laplace_scale()),
    "student": (lambda m, s, x: log_densities.student(m, s, x, _DF), log_densities.student_scale(_DF)),
}


def _real_line() -> tuple[np.ndarray, np.ndarray]:
    """Returns points and weights of an integral over the real line, from both sides of 0, where it may have a kink.

    They are those of r = exp(½π sinh t), evenly spaced in t, which serves tails of any kind.
    """
    t = np.linspace(-4, 4, 513)
    r = np.exp(np.pi / 2 * np.sinh(t))
    weights = r * np.pi / 2 * np.cosh(t) * (t[1] - t[0])
    return np.concatenate([-r, r]), np.concatenate([weights, weights])


def with_a_scale() -> Iterator[Check]:
    """Checks that a density integrates to 1, that its score is its derivative, and the score's mean and variance."""
    ratio, weights = _real_line()

    def measured(density, facts, log_scale):
        """Returns log p, its derivative by log τ, and what is known of that derivative."""
        x = jnp.asarray(_LOCATION + _SCALE * ratio)
        of = functools.partial(density, jnp.full_like(x, _LOCATION), x=x)
        log_prob, derivative = jax.jvp(lambda at: of(at), (log_scale,), (jnp.ones_like(log_scale),))
        return log_prob, derivative, facts.score(jnp.asarray(ratio))

    @jax.jit
    def of_all(log_scale):
        return {name: measured(density, facts, log_scale) for name, (density, facts) in _WITH_SCALE.items()}

    found = jax.device_get(of_all(np.full_like(ratio, np.log(_SCALE))))
    for name, (_, facts) in _WITH_SCALE.items():
        values, scores, known = found[name]
        mass = weights * _SCALE * np.exp(values)
        near = np.abs(ratio) < 50
        yield compare(f"{name}: total probability", [(mass.sum(), 1.0)], _QUADRATURE)
        yield compare(f"{name}: score of log tau", [(scores[near], known[near])])
        scores = np.where(mass > 0, scores, 0)
        moments = [(1 + (mass * scores).sum(), 1.0), ((mass * scores**2).sum(), facts.information)]
        yield compare(f"{name}: mean 0 and information of the score", moments, _QUADRATURE)


def on_levels_and_between() -> Iterator[Check]:
    """Checks the total probability of the likelihoods of binary pixels, of levels, and of pixels between 0 and 1."""
    logits = np.array([-40.0, -3.0, 0.0, 1e-3, 2.0, 30.0])[:, None]
    nodes, weights = np.polynomial.legendre.leggauss(80)
    continuous = jax.jit(log_densities.continuous_bernoulli)(logits, (nodes[None] + 1) / 2)
    between = np.exp(continuous)
    one = np.ones(len(logits))
    yield compare("continuous_bernoulli: total probability", [(between @ weights / 2, one)], _QUADRATURE)
    binary = np.exp(jax.jit(log_densities.bernoulli)(logits, np.array([[0.0, 1.0]])))
    yield compare("bernoulli: total probability", [(binary.sum(axis=1), one)])
    levels = np.arange(256.0)[None] / 255
    at, log_scale = (a.reshape(-1, 1) for a in np.meshgrid([-0.2, 0.0, 0.31, 0.999], [-9.0, -4.0, 1.0]))
    mass = np.exp(jax.jit(log_densities.discretised_logistic)(at, log_scale, levels))
    yield compare("discretised_logistic: total probability", [(mass.sum(axis=1), np.ones(len(at)))])


def linear_decoder() -> Iterator[Check]:
    """Checks the expected gradient of log N(x; Az + b, τ²) by u and by A, under every rule, τ shared or each pixel's.

    With r = x − Aμ − b it is γ Σ [(r² + Σ_j σ_j² a_j²)/τ² − 1] by u and (r μᵀ − A diag σ²)/τ² by A. β-NLL multiplies
    each pixel's part by τ^2β; natural divides that by u by 2γ²; and faithful has no 1/τ² by A.
    """
    rng = np.random.default_rng(1)
    pixels, latent = 6, 2
    matrix, offset, x = rng.normal(size=(pixels, latent)), rng.normal(size=pixels), rng.normal(size=pixels)
    loc, scale = rng.normal(size=latent), np.array([0.4, 1.3])
    grid, weights = oracles.gauss_hermite(latent)
    z = jnp.asarray(loc + scale * grid)[:, None]
    r = x - matrix @ loc - offset
    squares, products = r**2 + matrix**2 @ scale**2, np.outer(r, loc) - matrix * scale**2
    granularities: tuple[Literal["shared", "pixel"], ...] = ("shared", "pixel")
    for granularity in granularities:
        tau = np.full(pixels, 0.6) if granularity == "shared" else rng.uniform(0.3, 1.5, pixels)
        gain = oracles.GAINS["softplus_std"](tau, np)
        given = np.log(np.expm1(tau))
        u = jnp.asarray(given[0] if granularity == "shared" else given)
        forces = squares / tau**2 - 1
        by_u = {"nll": gain * forces, "beta:0.5": tau * gain * forces, "natural": forces / (2 * gain)}
        by_matrix = {"nll": products / tau[:, None] ** 2, "beta:0.5": products / tau[:, None], "faithful": products}
        for rule in ("nll", "natural") if granularity == "shared" else ("nll", "beta:0.5", "faithful", "natural"):
            found = _expected_gradient(granularity, rule, (matrix, offset, u), x, z, weights)
            exact = by_u.get(rule, by_u["nll"])
            pairs = [
                (found["decoder_scale"]["bias"], exact.sum() if granularity == "shared" else exact),
                (found["decoder"]["layers"][0]["kernel"].T, by_matrix.get(rule, by_matrix["nll"])),
            ]
            # What is added to the information about u takes 1e-8 from a natural gradient.
            bound = 1e-7 if rule == "natural" else EXACT
            yield compare(f"linear decoder, {granularity} tau, {rule}: gradient by u and by A", pairs, bound)


def _expected_gradient(
    granularity: Literal["shared", "pixel"],
    rule: str,
    at: tuple[np.ndarray, np.ndarray, Array],
    x: np.ndarray,
    z: Array,
    weights: np.ndarray,
) -> dict:
    matrix, offset, u = at
    shape = {"hidden": (), "latent": matrix.shape[1], "likelihood": "gaussian", "no_maximum": "train"}
    config = Config(**shape, decoder_scale=granularity, decoder_gradient=rule, decoder_param="softplus_std")
    resolved = resolve(config)
    program = build.program(resolved, (2, len(offset) // 2))
    operands = jax.tree.map(lambda leaf: leaf[0], build.operands([resolved]))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), build.state_like(program, operands).params)
    params["decoder"]["layers"][0] = {"kernel": jnp.asarray(matrix.T), "bias": jnp.asarray(offset)}
    params["decoder_scale"] = {"bias": u}

    @jax.jit
    def gradient(params):
        def expected(params):
            log_likelihood = Model(program, operands, params).log_likelihood(jnp.asarray(x)[None])
            return (log_likelihood(z)[:, 0] * jnp.asarray(weights)).sum()

        return jax.grad(expected)(params)

    return jax.device_get(gradient(params))


GROUPS = (with_a_scale, on_levels_and_between, linear_decoder)
