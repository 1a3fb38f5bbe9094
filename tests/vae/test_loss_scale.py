"""The factor on the loss: what it changes, what it leaves as it is, and how a dynamic one moves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.programs import BATCH, IMAGES, MEAN, PIXELS, operands, program, schedule_values, train_step

from vaecli import Config, ConfigError
from vaecli.vae import steps
from vaecli.vae.loss_scale import FIRST, GOOD_STEPS, GREATEST, LossScale, scaled_grad

FLOAT16 = {"precision": "float16", "head_precision": "float16"}
SKIPPING = {"on_nonfinite": "skip", "clip_norm": 0.5, "optimizer": "lion"}
gradient_of_step = jax.jit(steps.step_gradient, static_argnums=0)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (IMAGES, PIXELS), np.uint8)


@functools.partial(jax.jit, static_argnums=0)
def first_params(likelihood, given):
    """The parameters before the first step, which are the same in every precision: a draw takes long to compile."""
    return steps.initial_params(program(likelihood=likelihood), given, MEAN)


def started(likelihood="bernoulli", **chosen):
    of_config, given = program(likelihood=likelihood, **chosen), operands(likelihood=likelihood, **chosen)
    return of_config, given, steps.initial_state(of_config, given, first_params(likelihood, given))


def after(images, state, of_config, given):
    return train_step(of_config, given, images, state, jnp.arange(BATCH), schedule_values())


def same(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in leaves)


def test_dynamic_factor_doubles_and_halves():
    def moved(factor, good, overflowed):
        scale = LossScale(jnp.float32(factor), jnp.int32(good)).after(jnp.asarray(overflowed))
        return float(scale.factor), int(scale.good_steps)

    assert moved(8, 3, False) == (8, 4)
    assert moved(8, GOOD_STEPS - 1, False) == (16, 0)
    assert moved(8, GOOD_STEPS - 1, True) == (4, 0)
    assert moved(1, 0, True) == (1, 0)
    assert moved(GREATEST, GOOD_STEPS - 1, False) == (GREATEST, 0)


def test_gradient_is_that_of_the_loss():
    def loss(x, y):
        return (x**3 * y).sum(), y

    x, y = jnp.asarray([0.3, -2.0]), jnp.asarray([1.0, 3.0])
    for factor in (None, jnp.float32(2.0**20), jnp.float32(3.0)):
        (by_x, by_y), others = scaled_grad(loss, factor, (0, 1))(x, y)
        np.testing.assert_allclose(np.asarray(by_x), 3 * np.asarray(x) ** 2 * np.asarray(y), rtol=1e-6)
        np.testing.assert_allclose(np.asarray(by_y), np.asarray(x) ** 3, rtol=1e-6)
        assert others is y


@pytest.mark.parametrize(
    ("precision", "factor"),
    [
        ("bfloat16", "dynamic"),
        pytest.param("bfloat16", 2.0**12, marks=pytest.mark.long),
        pytest.param("float32", "dynamic", marks=pytest.mark.long),
        pytest.param("float32", 2.0**12, marks=pytest.mark.long),
    ],
)
def test_power_of_two_changes_no_digit(images, precision, factor):
    """Nothing over- or underflows in either type; the optimiser, the clipped norm included, sees the same gradient."""
    shared = SKIPPING | {"precision": precision, "head_precision": precision}
    off, scaled = started(**shared), started(loss_scale=factor, **shared)
    state, step = after(images, scaled[2], *scaled[:2])
    if factor == "dynamic":
        assert (float(state.loss_scale.factor), int(state.loss_scale.good_steps)) == (FIRST, 1)
        assert not step.skipped
        state = state._replace(loss_scale=None)
    assert same(state, after(images, off[2], *off[:2])[0])


SETTINGS = {"exact": {}, "one": FLOAT16 | {"loss_scale": 1.0}, "great": FLOAT16 | {"loss_scale": 2.0**26}}
FAINT = {"beta": 1e-7, "likelihood": "gaussian", "decoder_std": 2000.0}
"""A loss of which every image counts little."""


def test_factor_keeps_float16_gradients_from_underflow(images):
    """At a factor of 1, as without any, most of the gradient is 0, and twice a gradient is not twice that.

    So `logstd` is no longer `logvar`.
    """
    seen = {}
    for name, chosen in SETTINGS.items():
        for head in ("logvar", "logstd"):
            of_config, given, state = started(name=head, init="matched", **FAINT, **chosen)
            gradient, _ = gradient_of_step(of_config, given, images, state, jnp.arange(BATCH), schedule_values())
            seen[name, head] = np.asarray(gradient["scale_head"]["kernel"])
    exact = seen["exact", "logvar"]
    assert np.abs(seen["one", "logvar"] - exact).max() > 0.5 * np.abs(exact).max()
    assert np.abs(seen["great", "logvar"] - exact).max() < 0.02 * np.abs(exact).max()
    matched = {name: np.array_equal(seen[name, "logstd"], 2 * seen[name, "logvar"]) for name in SETTINGS}
    assert matched == {"exact": True, "one": False, "great": True}


def test_overflow_halves_and_skips(images):
    of_config, given, state = started(loss_scale="dynamic", **FLOAT16)
    huge = state._replace(loss_scale=LossScale(jnp.float32(2.0**40), jnp.int32(7)))
    then, step = after(images, huge, of_config, given)
    assert step.skipped
    assert same((then.params, then.opt_state), (huge.params, huge.opt_state))
    assert (int(then.step), float(then.loss_scale.factor), int(then.loss_scale.good_steps)) == (1, 2.0**39, 0)


# To skip is the program of the powers of two, above.
@pytest.mark.parametrize(
    ("on_nonfinite", "chosen"),
    [
        ("stop", FLOAT16),
        ("skip", SKIPPING | {"precision": "bfloat16", "head_precision": "bfloat16"}),
        pytest.param("skip", FLOAT16 | {"on_nonfinite": "skip"}, marks=pytest.mark.long),
    ],
)
def test_what_no_factor_cures_is_not_an_overflow(images, on_nonfinite, chosen):
    """A loss that is not finite diverges, or is skipped, as without a factor, and the factor stays."""
    of_config, given, state = started(loss_scale="dynamic", **chosen)
    broken = jax.tree.map(lambda leaf: leaf, state.params)
    broken["decoder"] = jax.tree.map(lambda leaf: leaf * 1e30, broken["decoder"])
    then, step = after(images, state._replace(params=broken), of_config, given)
    assert bool(step.skipped) == (on_nonfinite == "skip")
    assert float(then.loss_scale.factor) == FIRST
    finite = all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(then.params))
    assert finite == (on_nonfinite == "skip")


def test_not_a_factor():
    for wrong in (0.0, -1.0, float("inf"), float("nan"), "auto"):
        with pytest.raises(ConfigError, match="loss_scale"):
            Config(loss_scale=wrong)
    assert Config(loss_scale=1024).loss_scale == 1024
