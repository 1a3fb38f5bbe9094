"""The estimators of the gradient statistics: their expectation over every draw that they could meet.

Two linear heads on given features, in front of the linear decoder: the gradient of their weights is a polynomial of
degree 2 in ε, the statistics of K draws are of degree 4, and so a grid over all draws gives their exact expectation. So
does a sum over all batches of images that could be drawn.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaecli.vae import oracles
from vaecli.vae.bounds import Bound
from vaecli.vae.gradients import BlockStatistics, block_statistics, moments, outer, split
from vaecli.vae.heads import HEADS
from vaecli.vae.objective import elbo_terms
from vaecli.vae.oracles import LinearGaussian
from vaecli.vae.posterior import posterior
from vaecli.vae.units import UnitStatistics, mahalanobis_squared, unit_statistics
from vaecli.verify.check import Check, compare
from vaecli.verify.exact import LEARNED, LOC, MODEL, SCALE, X, gain, gradients_at, log_likelihood, outputs, units

_PARAM = "softplus_std"
_BATCH = 2


class Population(NamedTuple):
    """Images, of which a batch is drawn with replacement, and the posteriors that the encoder gives them."""

    model: LinearGaussian
    x: np.ndarray
    features: np.ndarray
    loc: np.ndarray
    scale: np.ndarray


def population(latent: int) -> Population:
    """Three images, with two features each."""
    rng = np.random.default_rng(latent)
    model = LinearGaussian(rng.normal(size=(4, latent)), rng.normal(size=4), 0.9)
    loc, scale = rng.normal(size=(3, latent)), rng.uniform(0.4, 1.6, size=(3, latent))
    return Population(model, rng.normal(size=(3, 4)), rng.normal(size=(3, 2)), loc, scale)


def estimate(
    people: Population, index: jax.Array, epsilon: jax.Array
) -> tuple[dict[str, BlockStatistics], UnitStatistics]:
    """The statistics of the batch `index`, (batch,), at draws of ε, (draws, batch, latent)."""
    head, draws = HEADS[_PARAM], len(epsilon)
    mean, u = outputs(head, people.loc, people.scale)
    x, features, square = (jnp.asarray(v) for v in (people.x, people.features, (people.features**2).sum(axis=1)))
    at = units(_PARAM, people.loc, people.scale)

    def negative_elbo(heads, shift, i, eps):
        # The heads' weights enter as a change from the outputs that are wanted.
        change = {name: features[i] @ w["kernel"] + w["bias"] for name, w in heads.items()}
        q = posterior(
            head, Bound("none"), (mean[i] + change["mean_head"])[None], (u[i] + change["scale_head"] + shift)[None]
        )
        reconstruction, kl = elbo_terms(q, log_likelihood(people.model, x[i][None]), eps[None])
        return kl.sum() - reconstruction.sum()

    latent = people.loc.shape[1]
    one = {"kernel": jnp.zeros((features.shape[1], latent)), "bias": jnp.zeros(latent)}
    heads = {"mean_head": one, "scale_head": one}
    each = jax.vmap(jax.grad(negative_elbo, argnums=(0, 1)), in_axes=(None, None, 0, 0))

    def sample(eps):
        by_heads, by_u = each(heads, jnp.zeros(latent), index, eps)
        return {name: split(gradient, (1, 1)) for name, gradient in by_heads.items()}, by_u

    (found_mean, u_mean), (found_covariance, u_covariance) = moments(sample, epsilon)
    batch = jax.tree.map(lambda leaf: leaf[index], at)._replace(square=square[index])
    return (
        {name: block_statistics(found_mean[name], found_covariance[name], draws) for name in heads},
        unit_statistics(u_mean, u_covariance, batch, draws),
    )


def expected(people: Population) -> tuple[dict[str, BlockStatistics], UnitStatistics]:
    """What `estimate` estimates, on average over the batches, in closed form."""
    gamma, latent = gain(_PARAM, people.scale), people.loc.shape[1]
    means, variances = [], []
    for g, loc, scale, x in zip(gamma, people.loc, people.scale, people.x, strict=True):
        by = oracles.jacobian(g, loc, scale, couples_mean=False)
        mean, covariance = people.model.gradient_moments("analytic", loc, scale, x)
        means.append(by.T @ mean)
        variances.append(np.diag(by.T @ covariance @ by))
    inputs = np.concatenate([people.features, np.ones((len(people.x), 1))], axis=1)
    batches = _batches(people)

    def block(part: slice) -> BlockStatistics:
        # Of each image alone: tr Cov_ε of its gradient, and the mean of its gradient.
        noise = (inputs**2).sum(axis=1) * np.array(variances)[:, part].sum(axis=1)
        mean = inputs[:, :, None] * np.array(means)[:, None, part]
        overall = (mean.mean(axis=0) ** 2).sum()
        return BlockStatistics(
            variance=noise[batches].sum(axis=1).mean() / _BATCH**2,
            signal=(mean[batches].mean(axis=1) ** 2).sum(axis=(1, 2)).mean(),
            noise=noise.mean() + (mean**2).sum(axis=(1, 2)).mean() - overall,
            overlap=overall,
        )

    blocks = {"mean_head": block(slice(0, latent)), "scale_head": block(slice(latent, None))}
    by_u, by_log_sigma = np.array(variances)[:, latent:], np.array(variances)[:, latent:] / gamma**2
    of_units = UnitStatistics(
        raw=by_u.mean(),
        log_sigma=by_log_sigma.mean(),
        sigma=(by_log_sigma / people.scale**2).mean(),
        signal=((np.array(means)[:, latent:] / gamma) ** 2).mean(),
        fisher_ratio=by_log_sigma.mean() / 2,
        weights=blocks["scale_head"].variance,
    )
    return blocks, of_units


def _on_grid(latent: int, draws: int) -> tuple[dict[str, BlockStatistics], UnitStatistics]:
    """The expectation of `estimate`."""
    people = population(latent)
    grid, weights = oracles.gauss_hermite(draws * _BATCH * latent, nodes=3)
    epsilon = jnp.asarray(grid.reshape(-1, draws, _BATCH, latent))
    over_draws = jax.vmap(lambda index, eps: estimate(people, index, eps), in_axes=(None, 0))
    found = jax.jit(lambda indices: jax.lax.map(lambda index: over_draws(index, epsilon), indices))
    return jax.tree.map(lambda leaf: float((np.asarray(leaf) @ weights).mean()), found(jnp.asarray(_batches(people))))


def _batches(people: Population) -> np.ndarray:
    """Every batch that can be drawn, (batches, batch)."""
    return np.array(list(itertools.product(range(len(people.x)), repeat=_BATCH)))


def unbiased() -> Iterator[Check]:
    """The expectation of every statistic, over the draws of ε and of the batch."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for latent, draws in ((2, 2), (1, 4)):
        blocks, of_units = _on_grid(latent, draws)
        exact_blocks, exact_units = expected(population(latent))
        for name, exact in exact_blocks.items():
            for what, value in blocks[name]._asdict().items():
                pairs.setdefault(f"{what}, {name}", []).append((value, getattr(exact, what)))
        for what, value in of_units._asdict().items():
            pairs.setdefault(f"units, {what}", []).append((value, getattr(exact_units, what)))
    for name, values in pairs.items():
        yield compare(f"expectation of {name}", values)


def invariant() -> Iterator[Check]:
    """At one posterior and the same ε, what does not depend on the head."""
    epsilon = np.random.default_rng(5).normal(size=(36, *LOC.shape))
    alone, together = [], []
    for name, head in LEARNED.items():
        found = gradients_at(epsilon, head, MODEL, X, LOC, SCALE)["analytic"]
        mean, covariance = moments(lambda gradient: gradient, jnp.asarray(found), outer)
        together.append(mahalanobis_squared(mean, covariance, len(epsilon)))
        if not head.couples_mean:
            of_units = unit_statistics(mean[1], covariance[1, 1], units(name, LOC, SCALE), len(epsilon))
            alone.append([of_units.signal, of_units.log_sigma, of_units.sigma, of_units.fisher_ratio])
    yield compare("units by sigma, every coordinatewise head alike", [(found, alone[0]) for found in alone], 1e-10)
    yield compare("units' Mahalanobis SNR, every head alike", [(found, together[0]) for found in together], 1e-10)


GROUPS = (unbiased, invariant)
