import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate, stats

from vaecli.vae.log_densities import bernoulli
from vaecli.vae.objectives import ELBO, IWAE, OBJECTIVES, ObjectiveSpec
from vaecli.vae.posterior import Posterior
from vaecli.vae.terms import kl_divergence, objective_terms


def one(loc, log_scale):
    """q(z|x) of one image with one latent dimension."""
    log_scale = np.float32(log_scale)
    return Posterior(*(jnp.full((1, 1), value, jnp.float32) for value in (loc, log_scale, np.exp(log_scale))))


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (0.7, 0.3), (-2.0, 1.5), (0.1, 0.05)])
def test_kl_is_the_integral(loc, scale):
    q, p = stats.norm(loc, scale), stats.norm(0, 1)
    integral, _ = integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), loc - 12 * scale, loc + 12 * scale, epsabs=1e-12
    )
    kl = kl_divergence(one(loc, np.log(scale)))
    assert float(kl[0, 0]) == pytest.approx(integral, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("log_scale", [-40.0, -3.0, -1e-2, -5e-4, -1e-5, 0.0, 1e-5, 5e-4, 1e-2, 3.0, 40.0])
def test_kl_keeps_its_digits(log_scale):
    v = 2 * mpmath.mpf(float(np.float32(log_scale)))
    exact = float((mpmath.exp(v) - 1 - v) / 2)
    kl = float(kl_divergence(one(0.0, log_scale))[0, 0])
    assert kl >= 0
    assert abs(kl - exact) <= 1e-6 * max(1, exact)
    assert kl == pytest.approx(exact, rel=2e-3, abs=1e-10)


# Objectives ---------------------------------------------------------------------------------------------------------


Q = Posterior(*(jnp.asarray(v, jnp.float32) for v in ([[0.3, -1.0]] * 3, np.log([[0.5, 1.2]] * 3), [[0.5, 1.2]] * 3)))
WEIGHTS = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6)), jnp.float32)
X = jnp.asarray(np.random.default_rng(1).random((3, 6)), jnp.float32)


def draws(samples):
    return jnp.asarray(np.random.default_rng(2).normal(size=(samples, 3, 2)), jnp.float32)


@functools.partial(jax.jit, static_argnums=(0, 1))
def value_and_gradient(objective, samples, beta=1.0):
    """The terms, and the gradient of their sum by the posterior and by the decoder's weights."""

    def total(q, weights):
        found = objective_terms(
            objective, q, lambda z: bernoulli(z @ weights, X[None]).sum(axis=-1), draws(samples), beta
        )
        return found.value.sum(), found

    (_, found), gradient = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(Q, WEIGHTS)
    return found, gradient


def test_iwae_of_one_sample_is_the_elbo_with_a_sampled_kl_bit_for_bit():
    """And differs from the default, whose KL is in closed form, by that alone."""
    iwae, elbo, analytic = (
        value_and_gradient(ObjectiveSpec(*which), 1) for which in ((IWAE, "mc"), (ELBO, "mc"), (ELBO, "analytic"))
    )
    for one, other in zip(jax.tree.leaves(iwae), jax.tree.leaves(elbo), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(iwae[0].reconstruction, analytic[0].reconstruction)
    np.testing.assert_array_equal(iwae[1][1], analytic[1][1])  # The decoder does not see the KL.
    assert (iwae[0].kl != analytic[0].kl).all()
    dreg, stl = (value_and_gradient(ObjectiveSpec(*which), 1) for which in ((IWAE, "dreg"), (ELBO, "stl")))
    for one, other in zip(jax.tree.leaves(dreg), jax.tree.leaves(stl), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_values_are_the_textbooks(beta):
    """In float64, from densities of SciPy."""
    epsilon = np.asarray(draws(4), np.float64)
    loc, scale, w, x = (np.asarray(v, np.float64) for v in (Q.loc, Q.scale, WEIGHTS, X))
    z = loc + scale * epsilon
    logits = z @ w
    reconstruction = (x * logits - np.log1p(np.exp(logits))).sum(axis=2)
    ratio = (stats.norm(loc, scale).logpdf(z) - stats.norm.logpdf(z)).sum(axis=2)
    log_weights = reconstruction - beta * ratio
    expected = {
        ("elbo", "mc"): log_weights.mean(axis=0),
        ("elbo", "stl"): log_weights.mean(axis=0),
        ("elbo", "analytic"): reconstruction.mean(axis=0)
        - beta * 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale)).sum(axis=1),
        ("iwae", "mc"): np.log(np.exp(log_weights).mean(axis=0)),
        ("iwae", "dreg"): np.log(np.exp(log_weights).mean(axis=0)),
    }
    for which, values in expected.items():
        found, _ = value_and_gradient(ObjectiveSpec(OBJECTIVES[which[0]], which[1]), 4, beta)
        np.testing.assert_allclose(found.value, values, rtol=1e-5, err_msg=str(which))
        np.testing.assert_allclose(found.reconstruction, reconstruction.mean(axis=0), rtol=1e-5)
        if which[1] != "analytic":
            np.testing.assert_allclose(found.kl.sum(axis=1), ratio.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_dreg_leaves_the_decoders_gradient_alone():
    plain, dreg = (value_and_gradient(ObjectiveSpec(IWAE, name), 4, 0.7)[1] for name in ("mc", "dreg"))
    np.testing.assert_allclose(dreg[1], plain[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(dreg[0].loc, plain[0].loc, rtol=1e-2)


@pytest.mark.parametrize("estimator", ["mc", "dreg"])
def test_iwae_rises_with_its_samples(estimator):
    """Of the same draws in groups, by Jensen's inequality: a mean over groups is below the whole."""
    found, _ = value_and_gradient(ObjectiveSpec(IWAE, estimator), 6)
    assert (found.value >= found.reconstruction - found.kl.sum(axis=1)).all()
