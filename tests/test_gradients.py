"""The estimators of gradients.py against exact moments of a gradient whose law is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaecli.vae.gradients import BLOCKS, epsilon_statistics

# g = a + M ε for each block: ‖E g‖² = ‖a‖², tr Cov g = ‖M‖².
rng = np.random.default_rng(3)
SIZES = dict(zip(BLOCKS, (5, 3, 4, 7), strict=True))
LATENT = 6
OFFSET = {
    name: rng.normal(size=size) * scale for (name, size), scale in zip(SIZES.items(), (1, 0.05, 0, 30), strict=True)
}
MATRIX = {name: rng.normal(size=(size, LATENT)) for name, size in SIZES.items()}


def gradient(epsilon):
    parts = {
        name: jnp.asarray(OFFSET[name], epsilon.dtype) + jnp.asarray(MATRIX[name], epsilon.dtype) @ epsilon[0]
        for name in BLOCKS
    }
    return {name: {"kernel": part[:2], "bias": part[2:]} for name, part in parts.items()}


def statistics(key, draws):
    return epsilon_statistics(gradient, jax.random.normal(key, (draws, 1, LATENT)))


@pytest.mark.parametrize("draws", [2, 4, 16])
def test_unbiased(draws):
    repeats = 2000
    keys = jax.random.split(jax.random.key(draws), repeats)
    found = jax.jit(jax.vmap(lambda key: statistics(key, draws)))(keys)
    for name in BLOCKS:
        for tag, exact in (("variance", (MATRIX[name] ** 2).sum()), ("signal", (OFFSET[name] ** 2).sum())):
            values = np.asarray(found[f"grad/{tag}/{name}"], np.float64)
            error = (values.mean() - exact) / (values.std(ddof=1) / np.sqrt(repeats))
            # 24 comparisons in all: beyond 4 standard errors once in 600 runs of a right program.
            assert abs(error) < 4, (name, tag, draws, error)


def test_equals_the_plain_formulas():
    epsilon = jax.random.normal(jax.random.key(0), (8, 1, LATENT))
    found = epsilon_statistics(gradient, epsilon)
    for name in BLOCKS:
        g = OFFSET[name] + np.asarray(epsilon[:, 0], np.float64) @ MATRIX[name].T
        variance = ((g - g.mean(0)) ** 2).sum() / 7
        signal = ((g.sum(0) ** 2).sum() - (g**2).sum()) / (8 * 7)
        assert float(found[f"grad/variance/{name}"]) == pytest.approx(variance, rel=1e-4)
        assert float(found[f"grad/signal/{name}"]) == pytest.approx(signal, rel=1e-4, abs=1e-5 * variance)
        snr = np.sign(signal) * np.sqrt(abs(signal / variance))
        assert float(found[f"grad/snr/{name}"]) == pytest.approx(snr, rel=1e-3, abs=1e-3)


def test_a_quiet_block_keeps_its_variance():
    """Signal 1e8 times the noise: a difference of sums of squares has no digit left in float32."""

    def loud(epsilon):
        part = 1e4 + epsilon[0]
        return {name: {"kernel": part} for name in BLOCKS}

    epsilon = jax.random.normal(jax.random.key(1), (16, 1, LATENT))
    exact = np.asarray(np.float32(1e4) + epsilon[:, 0], np.float64).var(axis=0, ddof=1).sum()
    found = epsilon_statistics(loud, epsilon)
    assert float(found["grad/variance/encoder"]) == pytest.approx(exact, rel=1e-3)
