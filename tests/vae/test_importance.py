"""log p(x) by importance sampling, against NumPy in float64 at the same draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.programs import built, initial_state
from scipy import special, stats

from vaecli import Config
from vaecli.data import load
from vaecli.vae.architecture import Architecture
from vaecli.vae.importance import chunk, chunks_per_call, importance, no_draws, weigh
from vaecli.vae.model import Model
from vaecli.vae.posterior import Posterior


def test_the_default_network_against_float64():
    """100 test images of MNIST, log p(x) of about −200, and as many draws as fill two chunks and a bit.

    NumPy works out every fifth image: it would take five times as long for all of them, and see no more.
    """
    config, samples = Config(param="logstd", decoder_bias="mean"), 110
    data = load(config)
    images, mean = data.test[:100], jnp.asarray(data.train.mean(axis=0) / 255, jnp.float32)
    program, operands = built(config, (28, 28))
    params = initial_state(program, operands, mean).params
    model = Model(program, operands, params)
    key = jax.random.key(1)
    size = chunk(program.architecture, 100)
    assert size == 50

    @jax.jit
    def weighed(sums, span):
        return importance(model, jnp.asarray(images), key, sums, span, jnp.asarray(samples))

    # In two parts.
    sums, _, first = weighed(no_draws(100), jnp.asarray([0, 2]))
    _, found, second = weighed(sums, jnp.asarray([2, 3]))

    seen = slice(None, None, 5)
    found, first, second = jax.tree.map(np.asarray, (found, first, second))
    p, x = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (params, images[seen] / 255))

    def dense(layer, h):
        return h @ layer["kernel"] + layer["bias"]

    h = np.maximum(dense(p["encoder"]["layers"][0], x), 0)
    loc, log_scale = dense(p["mean_head"], h), dense(p["scale_head"], h)
    keys = [jax.random.fold_in(key, c) for c in range(-(-samples // size))]
    epsilon = np.concatenate([np.float64(jax.random.normal(k, (size, 100, 20)))[:, seen] for k in keys])[:samples]
    z = loc + np.exp(log_scale) * epsilon
    logits = dense(p["decoder"]["layers"][2], np.maximum(dense(p["decoder"]["layers"][0], z), 0))
    reconstruction = (x * logits - np.logaddexp(0, logits)).sum(axis=2)
    ratio = (stats.norm(loc, np.exp(log_scale)).logpdf(z) - stats.norm.logpdf(z)).sum(axis=2)
    log_weights = reconstruction - ratio
    log_mean = special.logsumexp(log_weights, axis=0) - np.log(samples)
    kept = np.concatenate([first[: 2 * size], second])[:samples, seen]
    np.testing.assert_allclose(kept, log_weights, atol=2e-4, rtol=0)
    np.testing.assert_allclose(found.weighing.log_mean[seen], log_mean, atol=1e-4, rtol=0)
    np.testing.assert_allclose(found.weighing.elbo[seen], log_weights.mean(axis=0), atol=1e-4, rtol=0)
    np.testing.assert_allclose(found.weighing.reconstruction[seen], reconstruction.mean(axis=0), atol=1e-4, rtol=0)
    weights = np.exp(log_weights - log_mean)
    effective = weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)
    np.testing.assert_allclose(found.weighing.effective[seen], effective, rtol=1e-3)
    kl = 0.5 * (loc**2 + np.exp(2 * log_scale) - 1 - 2 * log_scale)
    np.testing.assert_allclose(found.kl[seen], kl, rtol=1e-4, atol=1e-5)


def one_image(loc, scale):
    return Posterior(*(jnp.full((1, 1), value, jnp.float32) for value in (loc, np.log(scale), scale)))


@jax.jit
def weighed_by_distance(key, samples):
    return weigh(one_image(0.3, 0.8), lambda z: -3 * jnp.abs(z[..., 0]), key, samples, 8)


@pytest.mark.parametrize("samples", [1, 2, 7, 8, 9, 1000])
def test_any_number_of_samples(samples):
    """Chunks of 8: fewer, as many, and more; never above log p(x) of −ELBO by Jensen, and equal to it for one draw."""
    key = jax.random.key(2)
    found = weighed_by_distance(key, jnp.asarray(samples))
    keys = [jax.random.fold_in(key, c) for c in range(-(-samples // 8))]
    epsilon = np.concatenate([np.asarray(jax.random.normal(k, (8, 1, 1)), np.float64) for k in keys])[:samples, 0, 0]
    z = 0.3 + 0.8 * epsilon
    log_weights = -3 * np.abs(z) + stats.norm.logpdf(z) - stats.norm(0.3, 0.8).logpdf(z)
    assert float(found.log_mean[0]) == pytest.approx(special.logsumexp(log_weights) - np.log(samples), abs=1e-5)
    assert float(found.elbo[0]) == pytest.approx(log_weights.mean(), abs=1e-5)
    assert found.log_mean[0] >= found.elbo[0] - 1e-6


def test_weights_beyond_float32():
    """Log weights of −10,000 and steps of 500 between draws: their exponentials are 0 and infinite."""
    q = one_image(0.0, 1.0)
    found = weigh(q, lambda z: 500 * z[..., 0] - 1e4, jax.random.key(0), jnp.asarray(100), 8)
    keys = [jax.random.fold_in(jax.random.key(0), c) for c in range(13)]
    epsilon = np.concatenate([np.asarray(jax.random.normal(k, (8, 1, 1)), np.float64) for k in keys])[:100, 0, 0]
    exact = special.logsumexp(500 * epsilon - 1e4) - np.log(100)
    assert float(found.log_mean[0]) == pytest.approx(exact, rel=1e-6)
    assert float(found.effective[0]) == pytest.approx(1, rel=1e-3)


def test_no_weight_at_first():
    """log p(x|z) = −∞ below z = 1.5: whole chunks have nothing to be relative to."""
    q, key = one_image(0.0, 1.0), jax.random.key(1)
    found = weigh(q, lambda z: jnp.where(z[..., 0] < 1.5, -jnp.inf, 0.0), key, jnp.asarray(64), 2)
    keys = [jax.random.fold_in(key, c) for c in range(32)]
    epsilon = np.concatenate([np.asarray(jax.random.normal(k, (2, 1, 1)), np.float64) for k in keys])
    assert (epsilon[:4] < 1.5).all()
    # q is the prior, so that the weights are 0 and 1.
    hits = (epsilon >= 1.5).sum()
    assert float(found.log_mean[0]) == pytest.approx(np.log(hits / 64), abs=1e-5)
    assert float(found.effective[0]) == pytest.approx(hits, rel=1e-5)
    assert found.elbo[0] == -np.inf


@pytest.mark.parametrize(
    ("image", "channels", "size", "chunks"),
    [((28, 28), (), 50, 100), ((28, 28), (32, 64), 1, 100), ((256, 256), (), 1, 100), ((2, 2), (), 98, 100)],
)
def test_large_images_are_decoded_in_small_chunks(image, channels, size, chunks):
    architecture = Architecture(image=image, channels=channels, hidden=(400,), latent=20)
    assert chunk(architecture, 100) == size
    assert chunks_per_call(architecture, 100) == chunks


def test_the_weights_of_a_call_fit_into_memory():
    """A narrow network weighs many draws at a time, and keeps no more than 4 MB of them; at least one chunk."""
    for latent in (1, 2, 20):
        architecture = Architecture(image=(2, 2), channels=(), hidden=(5,), latent=latent)
        draws = chunk(architecture, 100) * chunks_per_call(architecture, 100)
        assert draws * 100 <= max(2**20, chunk(architecture, 100) * 100)
