"""The u at which a head has no σ: named as what ended a run, where it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.programs import PIXELS, initial_state, operands, program

from vaecli import Config, train
from vaecli.vae.batches import PADDING, gather
from vaecli.vae.model import Model
from vaecli.vae.undefined import UNDEFINED, undefined, undefined_on

# Of one program, in which one of the two scales moves fast.
BOTH = {"param": "std", "likelihood": "gaussian", "decoder_param": "std", "decoder_std": 1.0, "optimizer": "sgd"}
STD = BOTH | {"lr": 1.0, "decoder_lr": 1e-9}
NO_SCALE = {
    "log σ at u < 0": STD,
    "log σ at u = 0": STD | {"init": "native", "init_weight": 0.0},
    "log τ at u < 0": BOTH | {"lr": 0.1, "head_lr": 1e-9},
}


@pytest.mark.parametrize("named", NO_SCALE)
def test_a_head_without_a_scale_is_named(small, tmp_path, named):
    """Where u is finite and log σ is not, the loss that is not finite is only what follows."""
    summary = train(Config(**small | {"epochs": 3, "grad_every": 0} | NO_SCALE[named]), runs=tmp_path)
    assert summary["status"] == "diverged"
    first = summary["first_non_finite"]
    assert (first["quantity"], first["block"]) == (named, None)
    assert first["step"] == summary["steps"]


def test_only_a_log_point_meets_a_head_without_a_scale(small, tmp_path):
    """Half of the units of a native start have none, which is seen before the first step."""
    summary = train(Config(**small | STD | {"init": "native", "grad_every": 0}), runs=tmp_path)
    assert summary["first_non_finite"] == {"quantity": "log σ at u < 0", "block": None, "step": 0}
    assert summary["steps"] == 0


def test_updates_at_a_negative_scale_can_be_skipped(small, tmp_path):
    config = Config(**small | {"epochs": 3, "grad_every": 0, "on_nonfinite": "skip"} | NO_SCALE["log σ at u < 0"])
    summary = train(config, runs=tmp_path)
    assert 0 < summary["skipped_updates"] < summary["steps"] == 15


def test_only_what_counts_is_looked_at():
    """The scale head sees one image in ten, and gives a negative number there, 0 or not a number."""
    of_config, given = program("std", init="matched"), operands("std", init="matched")
    params = initial_state(of_config, given, jnp.full(PIXELS, 0.5)).params
    images = jnp.zeros((10, PIXELS), jnp.uint8).at[4].set(255)

    @jax.jit
    def of_all(bias, factor, weight):
        scaled = {"kernel": factor * jnp.ones_like(params["scale_head"]["kernel"])}
        scaled["bias"] = jnp.full_like(params["scale_head"]["bias"], bias)
        model = Model(of_config, given, params | {"scale_head": scaled})
        return undefined_on(model, images), undefined(model, images.astype(jnp.float32) / 255, weight)

    def seen(bias, factor, weight=None):
        on_all, on_batch = of_all(bias, factor, np.ones(10, np.float32) if weight is None else weight)
        return [UNDEFINED[kind] for kind in np.flatnonzero(on_all if weight is None else on_batch)]

    assert seen(1.0, 0.0) == []
    assert seen(1e-3, -1.0) == ["log σ at u < 0"]
    assert seen(0.0, 0.0) == ["log σ at u = 0"]
    assert seen(np.nan, 0.0) == seen(np.inf, 0.0) == []
    dark = np.asarray(jax.jit(lambda p: Model(of_config, given, p).features(images / 255.0))(params)).sum(axis=1)
    between = float((dark[4] + dark[0]) / 2)
    only_the_bright = (between, -1.0) if dark[4] > dark[0] else (-between, 1.0)
    weight = np.ones(10, np.float32)
    assert seen(*only_the_bright, weight) == ["log σ at u < 0"]
    weight[4] = 0
    assert seen(*only_the_bright, weight) == []


def test_padding_is_no_image_of_its_own():
    """What is not finite for the first image of the data is no matter of a batch that it is not in."""
    images = jnp.arange(24, dtype=jnp.uint8).reshape(6, 4)
    x, weight = gather(images, jnp.asarray([5, 3, PADDING]))
    np.testing.assert_allclose(x, np.asarray(images)[[5, 3, 5]] / 255, rtol=1e-6)
    np.testing.assert_array_equal(weight, [1, 1, 0])
