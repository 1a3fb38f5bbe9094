"""The estimators against NumPy, and over thousands of draws against exact moments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vaecli.vae.gradients.moments import block_statistics, moments, outer, ratio, root, split
from vaecli.vae.gradients.units import mahalanobis_squared
from vaecli.verify import estimators

REPEATS = 2000


PEOPLE = estimators.three_images(2)


@functools.cache
def estimated(draws):
    """The estimators of 2,000 batches of three, each from so many draws."""

    def once(key):
        for_batch, for_epsilon = jax.random.split(key)
        index = jax.random.randint(for_batch, (3,), 0, len(PEOPLE.x))
        return estimators.estimate(PEOPLE, index, jax.random.normal(for_epsilon, (draws, 3, 2)))

    return jax.jit(jax.vmap(once))(jax.random.split(jax.random.key(draws), REPEATS))


@pytest.mark.parametrize("draws", [2, *(pytest.param(draws, marks=pytest.mark.long) for draws in (4, 16))])
def test_unbiased(draws):
    """The mean of every estimator over 2,000 batches and draws is its closed form, within three standard errors."""
    found = estimated(draws)
    exact = estimators.expected(PEOPLE, 3)
    assert len(jax.tree.leaves(found)) == 16
    for values, value in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        values = np.asarray(values, np.float64)
        assert abs(values.mean() - value) <= 3 * values.std(ddof=1) / np.sqrt(REPEATS), (values.mean(), value)


def test_a_biased_estimator_would_be_found():
    """The plain square of the mean is off by tr/K."""
    found = estimated(2).blocks["mean_head"]
    signal, variance = (np.asarray(values, np.float64) for values in (found.signal, found.variance))
    plain = signal + variance / 2
    assert plain.mean() - signal.mean() > 5 * plain.std() / np.sqrt(REPEATS)


def test_moments_are_numpys():
    draws = np.random.default_rng(1).normal(size=(7, 2, 3, 4)).astype(np.float32)
    found = moments(lambda draw: {"a": draw, "b": 3 * draw[0]}, jnp.asarray(draws))
    np.testing.assert_allclose(found.mean["a"], draws.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.covariance["b"], 9 * draws[:, 0].var(axis=0, ddof=1), rtol=1e-5)
    together = moments(lambda draw: draw, jnp.asarray(draws), outer).covariance
    for i, j in np.ndindex(3, 4):
        np.testing.assert_allclose(together[:, :, i, j], np.cov(draws[:, :, i, j].T), rtol=1e-4, atol=1e-6)


def test_a_quiet_block_keeps_its_variance():
    """Signal 1e8 times the noise: a difference of sums of squares has no digit left in float32."""
    epsilon = jax.random.normal(jax.random.key(1), (16, 6))
    exact = np.asarray(np.float32(1e4) + epsilon, np.float64).var(axis=0, ddof=1)
    np.testing.assert_allclose(moments(lambda eps: 1e4 + eps, epsilon).covariance, exact, rtol=1e-3)


@pytest.mark.parametrize("sizes", [(3, 3), (3, 2), (1,)])
def test_halves_make_the_whole(sizes):
    rng = np.random.default_rng(2)
    each = rng.normal(size=(sum(sizes), 4, 2)).astype(np.float32)
    parts = np.split(each, np.cumsum(sizes)[:-1])
    found = split({"kernel": jnp.stack([part.mean(axis=0) for part in parts])}, sizes)
    np.testing.assert_allclose(found.whole, each.mean(axis=0).ravel(), rtol=1e-5, atol=1e-6)
    if len(sizes) == 1:
        assert np.isnan(found.noise)
        assert np.isnan(found.overlap)
    else:
        one, other = (part.mean(axis=0).astype(np.float64) for part in parts)
        assert float(found.noise) == pytest.approx(((one - other) ** 2).sum() / (1 / sizes[0] + 1 / sizes[1]), rel=1e-5)
        assert float(found.overlap) == pytest.approx((one * other).sum(), rel=1e-4, abs=1e-6)


def test_an_empty_block_has_no_noise():
    """As the scale head of `fixed`."""
    nothing = split({}, (2, 2))
    found = block_statistics(nothing, nothing, 4)
    assert float(found.variance) == 0
    assert float(found.signal) == 0
    assert np.isnan(root(ratio(np.zeros(3), np.zeros(3))).value)


def test_ratio_of_means():
    rng = np.random.default_rng(3)
    n = rng.normal(5, 1, size=9)
    plain = ratio(n)
    assert plain.value == pytest.approx(n.mean())
    assert plain.error == pytest.approx(stats.sem(n))
    assert np.isnan(ratio(n[:1], 2.0).error)
    # The spread of many quotients is what the error says.
    numerators = rng.normal(5, 1, size=(4000, 40))
    denominators = numerators / 3 + rng.normal(4, 1, size=(4000, 40))
    many = [ratio(a, b) for a, b in zip(numerators, denominators, strict=True)]
    spread = np.std([estimate.value for estimate in many])
    assert np.mean([estimate.error for estimate in many]) == pytest.approx(spread, rel=0.05)
    roots = [root(estimate) for estimate in many]
    assert np.mean([each.error for each in roots]) == pytest.approx(np.std([each.value for each in roots]), rel=0.05)


def test_a_negative_signal_keeps_its_sign():
    found = root(ratio(np.array([-4.0, -4.0, -4.0]), 1.0))
    assert found.value == -2


def test_mahalanobis_is_unbiased_and_free_of_coordinates():
    rng = np.random.default_rng(4)
    mean, factor = np.array([0.3, -0.8]), np.array([[1.0, 0.0], [0.7, 0.5]])
    exact = mean @ np.linalg.solve(factor @ factor.T, mean)
    units, draws = 20_000, 8
    noise = rng.normal(size=(draws, 2, units))
    samples = (mean[None, :, None] + np.einsum("ab,kbn->kan", factor, noise))[..., None].astype(np.float32)

    def squared(change):
        changed = np.einsum("ab,kbnl->kanl", change, samples).astype(np.float32)
        found = moments(lambda draw: draw, jnp.asarray(changed), outer)
        return np.asarray(mahalanobis_squared(found.mean, found.covariance, draws), np.float64)[:, 0]

    plain = squared(np.eye(2))
    assert abs(plain.mean() - exact) < 3 * plain.std() / np.sqrt(units)
    other = squared(np.array([[2e3, 0.0], [2.0, -3.0]]))
    # Relative to the ratio itself, of which 2/K has been taken off.
    np.testing.assert_allclose(other + 0.25, plain + 0.25, rtol=1e-3)
    assert np.median(np.abs(other - plain) / (plain + 0.25)) < 1e-5
    few = moments(lambda draw: draw, jnp.asarray(samples[:4]), outer)
    assert np.isnan(mahalanobis_squared(few.mean, few.covariance, 4)).all()
