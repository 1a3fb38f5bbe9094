import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.programs import BATCH, operands, program

from vaecli.vae import evaluate
from vaecli.vae.batches import Stream, gather, stream
from vaecli.vae.importance import chunk
from vaecli.vae.networks import init_params, network
from vaecli.vae.objective import Objective, objective_terms
from vaecli.vae.steps import encode, log_likelihood


@pytest.fixture
def images(monkeypatch):
    monkeypatch.setattr(evaluate, "EVALUATION_BATCH", 16)
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (41, 12), np.uint8))


@pytest.fixture
def params():
    return init_params(program().architecture, jax.random.key(5))


def test_evaluation_is_the_mean_over_every_image(images, params):
    """41 images in batches of 16, against one pass without batches or padding."""
    key = stream(operands().key, Stream.EVALUATION)
    found = evaluate.evaluate(program(), operands(), params, images, key, key)
    epsilon = jax.random.normal(key, (3, 16, 3)).reshape(48, 3)[:41]
    x, _ = gather(images, jnp.arange(41))
    vae = network(program().architecture, params)
    q, _ = encode(program(), operands(), vae, x)
    exact = objective_terms(Objective(), q, log_likelihood(program(), operands(), vae, x), epsilon[None])
    assert float(found.reconstruction) == pytest.approx(float(exact.reconstruction.mean()), rel=1e-6)
    assert float(found.kl_per_latent.sum()) == pytest.approx(float(exact.kl.sum(axis=1).mean()), rel=1e-6)


def test_measurement(images, params):
    probe = images[:BATCH]
    found = evaluate.measure(program(), operands(), params, {"test": images, "validation": images[:20]}, probe)
    tags = {f"{split}/{term}" for split in ("test", "validation") for term in ("elbo", "reconstruction", "kl")}
    assert {tag for tag in found.scalars if not tag.startswith("safety/")} == tags
    for split in ("test", "validation"):
        elbo = found.scalars[f"{split}/reconstruction"] - found.scalars[f"{split}/kl"]
        assert float(found.scalars[f"{split}/elbo"]) == pytest.approx(float(elbo), rel=1e-6)
    np.testing.assert_allclose(
        found.histograms["posterior/sigma"], np.exp(found.histograms["posterior/u"] / 2), rtol=1e-6
    )
    assert found.histograms["posterior/kl_per_latent"].shape == (3,)


def test_the_bound_of_training(images, params):
    """IWAE over a split, in one pass without batches, at the same draws."""
    chosen = program(objective="iwae", samples=3)
    key = stream(operands().key, Stream.IMPORTANCE)
    found = evaluate.evaluate(chosen, operands(), params, images, key, key)
    x, _ = gather(images, jnp.arange(41))
    vae = network(chosen.architecture, params)
    q, _ = encode(chosen, operands(), vae, x)
    # All three draws fit into one chunk.
    size = chunk(chosen.architecture, 16)
    keys = [jax.random.fold_in(jax.random.fold_in(key, number), 0) for number in range(3)]
    epsilon = jnp.concatenate([jax.random.normal(k, (size, 16, 3))[:3] for k in keys], axis=1)[:, :41]
    exact = objective_terms(Objective("iwae", "mc", 3), q, log_likelihood(chosen, operands(), vae, x), epsilon).value
    assert float(found.iwae) == pytest.approx(float(exact.mean()), rel=1e-6)
