import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate, stats

from vaecli.vae.objective import bernoulli_log_prob, kl_divergence
from vaecli.vae.posterior import Posterior


def one(loc, log_scale):
    """q(z|x) of one image with one latent dimension."""
    log_scale = np.float32(log_scale)
    return Posterior(*(jnp.full((1, 1), value, jnp.float32) for value in (loc, log_scale, np.exp(log_scale))))


@pytest.mark.parametrize("logit", [-1e4, -104.0, -95.0, -88.0, -20.0, -1.0, 0.0, 0.3, 17.0, 88.8, 100.0, 1e4])
@pytest.mark.parametrize("x", [0.0, 0.25, 1.0])
def test_bernoulli_log_prob(logit, x):
    p = 1 / (1 + mpmath.exp(-mpmath.mpf(logit)))
    log_p, log_not_p = mpmath.log(p), -mpmath.log1p(mpmath.exp(mpmath.mpf(logit)))
    exact = x * log_p + (1 - x) * log_not_p
    value, slope = jax.value_and_grad(lambda at: bernoulli_log_prob(at[None, None], jnp.full((1, 1), x))[0])(
        jnp.float32(logit)
    )
    assert float(value) == pytest.approx(float(exact), rel=2e-6, abs=1e-7)
    assert float(slope) == pytest.approx(float(x - p), rel=1e-6, abs=1e-7)


def test_bernoulli_log_prob_is_one_number_an_image():
    logits, x = jnp.zeros((3, 5)), jnp.ones((3, 5))
    np.testing.assert_allclose(bernoulli_log_prob(logits, x), np.full(3, 5 * np.log(0.5)), rtol=1e-6)


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
