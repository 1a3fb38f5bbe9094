import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.programs import BATCH, config, operands, program
from helpers.programs import model as drawn_model

from vaecli.vae import evaluate
from vaecli.vae.batches import Stream, gather, stream
from vaecli.vae.importance import chunk
from vaecli.vae.objectives import IWAE, ObjectiveSpec
from vaecli.vae.terms import objective_terms


@pytest.fixture
def images(monkeypatch):
    monkeypatch.setattr(evaluate, "EVALUATION_BATCH", 16)
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (41, 12), np.uint8))


@pytest.fixture
def model():
    return drawn_model(config(), (3, 4), jax.random.key(5))


def evaluated(model, images, key):
    return jax.jit(lambda: evaluate.evaluate(model, images, key, key))()


def test_evaluation_is_the_mean_over_every_image(images, model):
    """41 images in batches of 16, against one pass without batches or padding."""
    key = stream(operands().key, Stream.EVALUATION)
    found = evaluated(model, images, key)

    @jax.jit
    def at_once():
        epsilon = jax.random.normal(key, (3, 16, 3)).reshape(48, 3)[:41]
        x, _ = gather(images, jnp.arange(41))
        q, _ = model.encode(x)
        return objective_terms(ObjectiveSpec(), q, model.log_likelihood(x), epsilon[None])

    exact = at_once()
    assert float(found.reconstruction) == pytest.approx(float(exact.reconstruction.mean()), rel=1e-6)
    assert float(found.kl_per_latent.sum()) == pytest.approx(float(exact.kl.sum(axis=1).mean()), rel=1e-6)


def test_measurement(images, model):
    probe = images[:BATCH]
    found = jax.jit(lambda: evaluate.measure(model, {"test": images, "validation": images[:20]}, probe))()
    tags = {f"{split}/{term}" for split in ("test", "validation") for term in ("elbo", "reconstruction", "kl")}
    assert {tag for tag in found.scalars if not tag.startswith("safety/")} == tags
    for split in ("test", "validation"):
        elbo = found.scalars[f"{split}/reconstruction"] - found.scalars[f"{split}/kl"]
        assert float(found.scalars[f"{split}/elbo"]) == pytest.approx(float(elbo), rel=1e-6)
    np.testing.assert_allclose(
        found.histograms["posterior/sigma"], np.exp(found.histograms["posterior/u"] / 2), rtol=1e-6
    )
    assert found.histograms["posterior/kl_per_latent"].shape == (3,)


def test_bits_of_the_levels():
    """By a uniform density of dequantised pixels, each of 256 levels is as likely; masses are bits as they are."""
    assert evaluate.levels_bits(program(likelihood="gaussian", binarisation="dequantised")) == 8
    assert evaluate.levels_bits(program(likelihood="discretised_logistic")) == 0
    assert evaluate.levels_bits(program(likelihood="gaussian")) is evaluate.levels_bits(program()) is None
    assert evaluate.nats_of_bits(program()) == pytest.approx(np.log(2**12))


def test_measurement_of_a_scale(images):
    """The geometric mean of τ over pixels and images, at one draw of z for each image."""
    chosen = drawn_model(config(likelihood="student", decoder_scale="network"), (3, 4), jax.random.key(5))
    probe = images[:BATCH]

    @jax.jit
    def both():
        q, _ = chosen.encode(gather(probe, jnp.arange(BATCH))[0])
        epsilon = jax.random.normal(stream(chosen.operands.key, Stream.CALIBRATION), q.loc.shape)
        decoded = chosen.decoder_scale((q.loc + q.scale * epsilon)[None])
        found = evaluate.measure(chosen, {"test": images}, probe)
        return found.scalars, found.histograms, decoded

    found, histograms, (_, u, log_scale) = jax.device_get(both())
    tau = np.exp(np.float64(log_scale))
    assert tau.std() > 0.01 * tau.mean()
    assert float(found["likelihood/sigma"]) == pytest.approx(np.exp(np.log(tau).mean()), rel=1e-5)
    np.testing.assert_allclose(histograms["likelihood/tau"], tau, rtol=1e-5)
    np.testing.assert_allclose(histograms["likelihood/u"], u, rtol=1e-5)
    worked_out = drawn_model(config(likelihood="gaussian", decoder_scale="optimal"), (3, 4), jax.random.key(5))
    tags = jax.eval_shape(lambda: evaluate.measure(worked_out, {"test": images}, probe)).histograms
    assert {tag for tag in tags if tag.startswith("likelihood/")} == {"likelihood/tau"}


@pytest.mark.parametrize(("granularity", "maps"), [("shared", None), ("pixel", (1, 12)), ("network", (5, 12))])
def test_maps_of_a_scale(images, granularity, maps):
    """At the means of the pictured images, where it depends on z."""
    chosen = drawn_model(config(likelihood="student", decoder_scale=granularity), (3, 4), jax.random.key(5))

    @jax.jit
    def both():
        q, _ = chosen.encode(gather(images, jnp.arange(5))[0])
        return evaluate.visuals(chosen, images[:5], jnp.ones((2, 3))), chosen.decoder_scale(q.loc[None])

    visuals, decoded = both()
    found = visuals.likelihood_scale
    if maps is None:
        assert found is None
    else:
        assert found.shape == maps
        np.testing.assert_allclose(found, np.exp(decoded.log_scale[0]), rtol=1e-5)


def test_the_bound_of_training(images, model):
    """IWAE over a split, in one pass without batches, at the same draws."""
    chosen = dataclasses.replace(model, program=program(objective="iwae", samples=3))
    key = stream(operands().key, Stream.IMPORTANCE)
    found = evaluated(chosen, images, key)
    # All three draws fit into one chunk.
    size = chunk(chosen.program.architecture, 16)

    @jax.jit
    def at_once():
        x, _ = gather(images, jnp.arange(41))
        q, _ = chosen.encode(x)
        keys = [jax.random.fold_in(jax.random.fold_in(key, number), 0) for number in range(3)]
        epsilon = jnp.concatenate([jax.random.normal(k, (size, 16, 3))[:3] for k in keys], axis=1)[:, :41]
        return objective_terms(ObjectiveSpec(IWAE, "mc", 3), q, chosen.log_likelihood(x), epsilon).value.mean()

    assert float(found.iwae) == pytest.approx(float(at_once()), rel=1e-6)
