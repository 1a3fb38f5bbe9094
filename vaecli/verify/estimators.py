"""The estimators of the gradient statistics: their expectation over every draw that they could meet.

Two linear heads on given features feed the linear decoder: the gradient of their weights is a polynomial of
degree 2 in ε, the statistics of K draws are of degree 4, and so a grid over all draws gives their exact expectation. So
does a sum over all batches of images that could be drawn.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaecli.vae.batches import pad
from vaecli.vae.gradients.moments import BlockStatistics, moments, outer
from vaecli.vae.gradients.statistics import BatchStatistics, HalfBatches, estimates, from_halves
from vaecli.vae.gradients.units import UnitStatistics, mahalanobis_squared, sensitivity, unit_statistics
from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import HEADS
from vaecli.vae.objectives import ObjectiveSpec
from vaecli.vae.posterior import Posterior, posterior
from vaecli.vae.terms import objective_terms
from vaecli.verify import oracles
from vaecli.verify.check import Check, compare
from vaecli.verify.exact import LEARNED, LOC, MODEL, SCALE, X, gain, gradients_at, log_likelihood, outputs, units
from vaecli.verify.oracles import LinearGaussian

_PARAM = "softplus_std"
_SIZES = ((2, 2, 2), (1, 3, 3))
"""Latent dimensions, draws and images of a batch: halves of one size, and of two."""


class Population(NamedTuple):
    """The images from which a batch is drawn with replacement, and the posteriors that the encoder gives them."""

    model: LinearGaussian
    x: np.ndarray
    features: np.ndarray
    loc: np.ndarray
    scale: np.ndarray


def three_images(latent: int) -> Population:
    """Draws three images, with two features each."""
    rng = np.random.default_rng(latent)
    model = LinearGaussian(rng.normal(size=(4, latent)), rng.normal(size=4), 0.9)
    loc, scale = rng.normal(size=(3, latent)), rng.uniform(0.4, 1.6, size=(3, latent))
    return Population(model, rng.normal(size=(3, 4)), rng.normal(size=(3, 2)), loc, scale)


def estimate(population: Population, index: jax.Array, epsilon: jax.Array) -> BatchStatistics:
    """Returns the statistics of the batch `index`, (batch,), at draws of ε, (draws, batch, latent)."""
    head, latent = HEADS[_PARAM], population.loc.shape[1]
    # The two halves, the smaller one padded.
    order = pad(np.arange(len(index)), -(-len(index) // 2))
    weight = jnp.asarray(order >= 0, epsilon.dtype)
    rows = index[order]
    mean, u = outputs(head, jnp.asarray(population.loc), jnp.asarray(population.scale))
    x, features = jnp.asarray(population.x), jnp.asarray(population.features)
    zeros = {"kernel": jnp.zeros((features.shape[1], latent)), "bias": jnp.zeros(latent)}
    heads = {"mean_head": zeros, "scale_head": zeros}

    def negative_elbo(heads, shift, i, weight, eps):
        # The heads' weights enter as a change of the outputs that give the posterior.
        loc, raw = (features[i] @ w["kernel"] + w["bias"][None] for w in heads.values())
        q = posterior(head, Bound("none"), mean[i] + loc, u[i] + raw + shift)
        value = objective_terms(ObjectiveSpec(), q, log_likelihood(population.model, x[i]), eps[None]).value
        return -(value * weight).sum() / weight.sum()

    gradient = jax.vmap(jax.grad(negative_elbo, argnums=(0, 1)), in_axes=(None, 0, 0, 0, 0))
    shift = jnp.zeros((*order.shape, latent))
    flat = rows.ravel()
    q = Posterior(*(jnp.asarray(value)[flat] for value in (population.loc, np.log(population.scale), population.scale)))
    batch_units = sensitivity(head, Bound("none"), q, u[flat], features[flat], weight.ravel())
    sizes = tuple(int(size) for size in (order >= 0).sum(axis=1))

    def by_half(eps: jax.Array) -> HalfBatches:
        return HalfBatches(*gradient(heads, shift, rows, weight, eps[order]))

    return from_halves(by_half, epsilon, sizes, batch_units)


def expected(population: Population, batch: int) -> BatchStatistics:
    """Returns what `estimate` estimates, on average over the batches, in closed form."""
    gamma, latent = gain(_PARAM, population.scale), population.loc.shape[1]
    means, variances = _by_outputs(population)
    batches = _batches(population, batch)

    def block(part: slice) -> BlockStatistics:
        noise, mean = _single_images(population, part)
        overall = (mean.mean(axis=0) ** 2).sum()
        return BlockStatistics(
            variance=noise[batches].sum(axis=1).mean() / batch**2,
            signal=(mean[batches].mean(axis=1) ** 2).sum(axis=(1, 2)).mean(),
            noise=noise.mean() + (mean**2).sum(axis=(1, 2)).mean() - overall,
            overlap=overall,
        )

    blocks = {"mean_head": block(slice(0, latent)), "scale_head": block(slice(latent, None))}
    by_u, count = variances[:, latent:], batch * latent
    by_log_sigma = by_u / gamma**2
    of_units = UnitStatistics(
        raw=count * by_u.mean(),
        log_sigma=count * by_log_sigma.mean(),
        sigma=count * (by_log_sigma / population.scale**2).mean(),
        signal=count * ((means[:, latent:] / gamma) ** 2).mean(),
        fisher_ratio=count * by_log_sigma.mean() / 2,
        weights=blocks["scale_head"].variance,
        units=count,
        responding=count,
    )
    return BatchStatistics(blocks, of_units)


def _by_outputs(population: Population) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and variance over ε of each image's derivatives by its outputs, (images, 2 latent) each."""
    means, variances = [], []
    gamma = gain(_PARAM, population.scale)
    for g, loc, scale, x in zip(gamma, population.loc, population.scale, population.x, strict=True):
        jacobian = oracles.jacobian(g, loc, scale, couples_mean=False)
        mean, covariance = population.model.gradient_moments("analytic", loc, scale, x)
        means.append(jacobian.T @ mean)
        variances.append(np.diag(jacobian.T @ covariance @ jacobian))
    return np.array(means), np.array(variances)


def _single_images(population: Population, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Returns tr Cov_ε and the mean over ε of each image's gradient by the weights of some outputs, (images, …)."""
    means, variances = _by_outputs(population)
    inputs = np.concatenate([population.features, np.ones((len(population.x), 1))], axis=1)
    return (inputs**2).sum(axis=1) * variances[:, part].sum(axis=1), inputs[:, :, None] * means[:, None, part]


def logged(population: Population, batch: int) -> dict[str, float]:
    """Returns what `estimates` gives from expectations, in closed form.

    The noise in the gradient of a batch is split into that of ε and that of the choice of images over every batch that
    can be drawn, by the law of total variance, so that no rule for its dependence on the batch's size is presumed.
    """
    latent, batches = population.loc.shape[1], _batches(population, batch)
    tags, noises, signals = {}, [], []
    for name, part in (("mean_head", slice(0, latent)), ("scale_head", slice(latent, None))):
        noise, mean = _single_images(population, part)
        within = (noise[batches].sum(axis=1) / batch**2).mean()
        of_batches = mean[batches].mean(axis=1)
        between = of_batches.var(axis=0).sum()
        signal = (of_batches**2).sum(axis=(1, 2)).mean()
        tags |= {f"variance/{name}": within, f"signal/{name}": signal, f"snr/{name}": np.sqrt(signal / within)}
        tags[f"epsilon_fraction/{name}"] = within / (within + between)
        noises.append(batch * (within + between))
        signals.append((mean.mean(axis=0) ** 2).sum())
        tags[f"noise_scale/{name}"] = noises[-1] / signals[-1]
    tags["noise_scale"] = sum(noises) / sum(signals)
    means, variances = _by_outputs(population)
    gamma = gain(_PARAM, population.scale)
    by_log_sigma = variances[:, latent:] / gamma**2
    tags["scale_variance/raw"] = variances[:, latent:].mean()
    tags["scale_variance/log_sigma"] = by_log_sigma.mean()
    tags["scale_variance/sigma"] = (by_log_sigma / population.scale**2).mean()
    tags["scale_variance/weights"] = tags["variance/scale_head"]
    tags["unit_snr"] = np.sqrt(((means[:, latent:] / gamma) ** 2).mean() / by_log_sigma.mean())
    tags["fisher_ratio"] = by_log_sigma.mean() / 2
    return {f"grad/{tag}": float(value) for tag, value in tags.items()}


def _on_grid(latent: int, draws: int, batch: int) -> BatchStatistics:
    """Returns the expectation of `estimate`."""
    population = three_images(latent)
    grid, weights = oracles.gauss_hermite(draws * batch * latent, nodes=3)
    epsilon = jnp.asarray(grid.reshape(-1, draws, batch, latent))
    over_draws = jax.vmap(lambda index, eps: estimate(population, index, eps), in_axes=(None, 0))
    over_batches = jax.jit(lambda indices: jax.lax.map(lambda index: over_draws(index, epsilon), indices))
    statistics = over_batches(jnp.asarray(_batches(population, batch)))
    return jax.tree.map(lambda leaf: float((np.asarray(leaf) @ weights).mean()), statistics)


def _batches(population: Population, batch: int) -> np.ndarray:
    """Returns every batch that can be drawn, (batches, batch)."""
    return np.array(list(itertools.product(range(len(population.x)), repeat=batch)))


def unbiased() -> Iterator[Check]:
    """Checks the expectation of every statistic, over the draws of ε and of the batch, and what is logged of them."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    of_tags: dict[str, list[tuple[float, float]]] = {}
    for latent, draws, batch in _SIZES:
        population = three_images(latent)
        on_grid, exact = _on_grid(latent, draws, batch), expected(population, batch)
        for name, block in exact.blocks.items():
            for what, value in block._asdict().items():
                pairs.setdefault(f"{what}, {name}", []).append((getattr(on_grid.blocks[name], what), value))
        for what, value in exact.units._asdict().items():
            pairs.setdefault(f"units, {what}", []).append((getattr(on_grid.units, what), value))
        # Twice the same, for two batches.
        tags = estimates(jax.tree.map(lambda leaf: np.full(2, leaf), on_grid), batch, learned=True)
        for tag, value in logged(population, batch).items():
            of_tags.setdefault(tag.rpartition("/")[0] if tag.endswith("_head") else tag, []).append((tags[tag], value))
    for name, values in pairs.items():
        yield compare(f"expectation of {name}", values)
    for tag, values in of_tags.items():
        yield compare(f"{tag}, from expectations", values)


def invariant() -> Iterator[Check]:
    """Checks, at one posterior and the same ε, the statistics that do not depend on the head."""
    epsilon = np.random.default_rng(5).normal(size=(36, *LOC.shape))
    by_outputs = gradients_at(epsilon, LEARNED, MODEL, X, LOC, SCALE)

    def statistics(gradients, head_units):
        by_outputs = jnp.stack([gradients[:, 0], gradients[:, 1] / head_units.divisor[None]], axis=1)
        mean, covariance = moments(lambda gradient: gradient, by_outputs, outer)
        by_sigma = unit_statistics(mean[1], covariance[1, 1], head_units, len(epsilon))[1:5]
        return mahalanobis_squared(mean, covariance, len(epsilon)), jnp.stack(by_sigma)

    @jax.jit
    def of_heads(gradients, loc, scale):
        each = [units(head, loc, scale) for head in LEARNED.values()]
        return jax.vmap(statistics)(gradients, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each))

    stacked = np.stack([by_outputs[param]["analytic"] for param in LEARNED])
    mahalanobis, every = jax.device_get(of_heads(stacked, LOC, SCALE))
    by_sigma = [sums for sums, head in zip(every, LEARNED.values(), strict=True) if not head.couples_mean]
    yield compare("units by sigma, every coordinatewise head alike", [(sums, by_sigma[0]) for sums in by_sigma], 1e-10)
    yield compare("units' Mahalanobis SNR, every head alike", [(snr, mahalanobis[0]) for snr in mahalanobis], 1e-10)


GROUPS = (unbiased, invariant)
