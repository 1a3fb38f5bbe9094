"""The values of a step, against what the step adds up from them, and closed forms in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.programs import built

from vaecli import Config
from vaecli.vae.anatomy import Inputs, anatomy
from vaecli.vae.loss import loss
from vaecli.vae.model import Model
from vaecli.vae.steps import initial_params

CASES = {
    "bernoulli": {},
    "gaussian": {"likelihood": "gaussian", "decoder_scale": "pixel", "no_maximum": "train"},
    "abs_std, iwae": {"param": "abs_std", "objective": "iwae", "samples": 3},
}


@pytest.mark.parametrize("name", CASES)
def test_the_parts_add_up_to_the_loss(name):
    config = Config(hidden=(4,), latent=2, batch_size=3, **CASES[name])
    program, operands = built(config, (2, 2))
    model = Model(program, operands, initial_params(program, operands, jnp.zeros(4)))
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.random((3, 4)), jnp.float32)
    epsilon = jnp.asarray(rng.normal(size=(config.samples, 3, 2)), jnp.float32)
    inputs = Inputs(x, jnp.asarray([1.0, 1.0, 0.0]), epsilon)
    parts, (value, _) = jax.jit(lambda model: (anatomy(model, inputs), loss(model, *inputs)))(model)

    np.testing.assert_allclose(-parts.objective[:2].mean(), value, rtol=1e-5)
    u, sigma, mean = (np.asarray(part, np.float64) for part in (parts.u, parts.scale, parts.loc))
    assert parts.gain.shape == u.shape
    np.testing.assert_allclose(parts.gain, 1 / u if config.param == "abs_std" else 0.5, rtol=1e-5)
    np.testing.assert_allclose(parts.z, mean + sigma * np.asarray(epsilon), rtol=1e-5, atol=1e-6)
    if config.objective == "elbo":
        np.testing.assert_allclose(parts.kl, 0.5 * (mean**2 + sigma**2 - 1) - np.log(sigma), rtol=1e-4, atol=1e-6)
        elbo = np.asarray(parts.log_prob).sum(axis=-1).mean(axis=0) - np.asarray(parts.kl).sum(axis=-1)
        np.testing.assert_allclose(elbo, parts.objective, rtol=1e-5)
    if config.likelihood == "gaussian":
        # log p = −r²/2τ² − log τ − ½ log 2π.
        tau = np.exp(np.asarray(parts.log_tau, np.float64))
        ratio = (np.asarray(x, np.float64) - np.asarray(parts.outputs)) / tau
        np.testing.assert_allclose(parts.log_prob, -(ratio**2) / 2 - np.log(tau * np.sqrt(2 * np.pi)), rtol=1e-5)
        np.testing.assert_allclose(parts.by_log_tau, 1 - ratio**2, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(parts.by_outputs, -ratio / tau, rtol=1e-4)
        np.testing.assert_allclose(parts.by_decoder_u, 0.5 * (1 - ratio**2), rtol=1e-4, atol=1e-5)
