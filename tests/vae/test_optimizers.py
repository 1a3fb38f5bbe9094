"""The optimisers against their textbook forms in NumPy and float64."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaecli.config import SETTINGS
from vaecli.vae.architecture import BLOCKS
from vaecli.vae.matching import Factors
from vaecli.vae.optimizers import OPTIMIZERS
from vaecli.vae.updates import BlockRates, OptimizerSpec, Rates, optimizer, with_head_unit

LR, EPS, DECAY = 0.05, 0.02, 0.3
STEPS = 4


def sgd(g, w, s):
    return s, w - LR * g


def momentum(g, w, s):
    m = 0.9 * s.get("m", 0) + g
    return {"m": m}, w - LR * m


def adam(g, w, s, decay=0.0):
    t, m, v = s.get("t", 0) + 1, 0.9 * s.get("m", 0) + 0.1 * g, 0.999 * s.get("v", 0) + 0.001 * g**2
    move = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + EPS)
    return {"t": t, "m": m, "v": v}, w - LR * (move + decay * w)


def adamax(g, w, s):
    """Kingma & Ba 2015, with eps as PyTorch has it too: added to |g|, so that no greatest one is 0."""
    t, m, v = s.get("t", 0) + 1, 0.9 * s.get("m", 0) + 0.1 * g, np.maximum(0.999 * s.get("v", 0), np.abs(g) + EPS)
    return {"t": t, "m": m, "v": v}, w - LR / (1 - 0.9**t) * m / v


def rmsprop(g, w, s):
    v = 0.9 * s.get("v", 0) + 0.1 * g**2
    return {"v": v}, w - LR * g / np.sqrt(v + EPS)


def adagrad(g, w, s):
    v = s.get("v", 0) + g**2
    return {"v": v}, w - LR * g / np.sqrt(v + EPS)


def lion(g, w, s, decay=0.0):
    m = s.get("m", 0)
    return {"m": 0.99 * m + 0.01 * g}, w - LR * (np.sign(0.9 * m + 0.1 * g) + decay * w)


# With L2, the gradient of λ‖w‖²/2 is part of the gradient; decoupled, λw joins the step.
TEXTBOOK = {"sgd": sgd, "momentum": momentum, "adam": adam, "adamw": adam, "rmsprop": rmsprop, "adagrad": adagrad}
TEXTBOOK |= {"adamax": adamax, "lion": lion}
DECOUPLED = {"adamw", "lion"}


def run(name, *, decays, head_rates=None, gradients):
    """Parameters of every block after each step, (steps, 3)."""
    rates = Rates(*(jnp.float32(value) for value in (LR, EPS, DECAY)))
    spec = OptimizerSpec(OPTIMIZERS[name], decays=decays)
    chosen = optimizer(spec, rates, BlockRates(head_rates or rates), jnp.float32(1.0))
    params = {block: {"w": jnp.asarray([0.5, -1.0, 2.0])} for block in BLOCKS}
    state, path = chosen.init(params), []
    for g in gradients:
        update, state = chosen.update({block: {"w": jnp.asarray(g, jnp.float32)} for block in BLOCKS}, state, params)
        params = optax.apply_updates(params, update)
        path.append({block: np.asarray(params[block]["w"]) for block in BLOCKS})
    return path


GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 3))


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_textbook(name, decays):
    path = run(name, decays=decays, gradients=GRADIENTS)
    w, state = np.array([0.5, -1.0, 2.0]), {}
    for step, g in zip(path, GRADIENTS, strict=True):
        if name in DECOUPLED:
            state, w = TEXTBOOK[name](g, w, state, DECAY if decays else 0.0)
        else:
            state, w = TEXTBOOK[name](g + (DECAY * w if decays else 0), w, state)
        for block in BLOCKS:
            np.testing.assert_allclose(step[block], w, rtol=2e-5, atol=1e-6)


def test_the_scale_head_has_rates_of_its_own():
    still = Rates(jnp.float32(0.0), jnp.float32(EPS), jnp.float32(0.0))
    last = run("adam", decays=False, head_rates=still, gradients=GRADIENTS)[-1]
    np.testing.assert_array_equal(last["scale_head"], [0.5, -1.0, 2.0])
    for block in set(BLOCKS) - {"scale_head"}:
        assert (last[block] != np.float32([0.5, -1.0, 2.0])).all()


@pytest.mark.parametrize(("max_norm", "head_clip"), [(1.0, 1.0), (1.0, 0.5), (100.0, 1.0)])
def test_clipping(max_norm, head_clip):
    """The gradient is scaled down to the norm, in which the scale head counts with its factor."""
    rates = Rates(*(jnp.float32(value) for value in (1.0, EPS, 0.0)))
    chosen = optimizer(
        OptimizerSpec(OPTIMIZERS["sgd"], clips=True),
        *(rates, BlockRates(rates, jnp.float32(head_clip)), jnp.float32(max_norm)),
    )
    gradient = {block: {"w": jnp.asarray(g, jnp.float32)} for block, g in zip(BLOCKS, GRADIENTS, strict=True)}
    update, _ = chosen.update(gradient, chosen.init(gradient), gradient)
    counted = [g * (head_clip if block == "scale_head" else 1) for block, g in zip(BLOCKS, GRADIENTS, strict=True)]
    shrink = min(1, max_norm / np.sqrt(np.sum(np.square(counted))))
    for block, g in zip(BLOCKS, GRADIENTS, strict=True):
        np.testing.assert_allclose(update[block]["w"], -shrink * g, rtol=1e-5)


def test_clipping_leaves_a_zero_gradient_and_shows_a_broken_one():
    rates = Rates(*(jnp.float32(value) for value in (1.0, EPS, 0.0)))
    chosen = optimizer(OptimizerSpec(OPTIMIZERS["sgd"], clips=True), rates, BlockRates(rates), jnp.float32(1.0))
    zero = {block: {"w": jnp.zeros(3)} for block in BLOCKS}
    for leaf in jax.tree.leaves(chosen.update(zero, chosen.init(zero), zero)[0]):
        assert (leaf == 0).all()
    broken = zero | {"decoder": {"w": jnp.full(3, jnp.nan)}}
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(chosen.update(broken, chosen.init(zero), zero)[0]))


def test_config_names_every_optimizer():
    assert get_args(SETTINGS["optimizer"].type) == tuple(OPTIMIZERS)


@pytest.mark.parametrize("unit", [4.0, 0.5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_over_its_unit_gives_the_same_update(name, unit):
    """To the last digit, with weight decay and a clipped norm."""
    settings = Factors(lr=LR, eps=EPS, weight_decay=DECAY, clip=0.5)
    paths = []
    for of_head, divisor in ((settings, 1.0), (settings.in_unit(unit, OPTIMIZERS[name]), unit)):
        lr, eps, weight_decay, clip = (jnp.float32(value) for value in of_head)
        chosen = optimizer(
            OptimizerSpec(OPTIMIZERS[name], decays=True, clips=True),
            *(Rates(lr, eps, weight_decay), BlockRates(Rates(lr, eps, weight_decay), clip), jnp.float32(1.0)),
        )
        params = {block: {} for block in BLOCKS} | {"scale_head": {"w": jnp.asarray([0.5, -1.0, 2.0])}}
        state, path = chosen.init(params), []
        for g in GRADIENTS:
            gradient = params | {"scale_head": {"w": jnp.asarray(g, jnp.float32) / divisor}}
            update, state = chosen.update(gradient, state, params)
            params = optax.apply_updates(params, update)
            path.append(np.asarray(params["scale_head"]["w"]))
        paths.append(path)
    np.testing.assert_array_equal(*paths)


def test_a_momentum_in_another_unit():
    """The state of a run that was left before gradients had a unit becomes that of a run with it, to the last digit."""
    rates = Rates(*(jnp.float32(value) for value in (LR, EPS, DECAY)))
    chosen = optimizer(OptimizerSpec(OPTIMIZERS["lion"], decays=True), rates, BlockRates(rates), jnp.float32(0))
    params = {block: {"w": jnp.ones(3)} for block in BLOCKS}
    states = {unit: chosen.init(params) for unit in (1.0, 2.0)}
    for g in GRADIENTS:
        for unit, state in states.items():
            gradient = {block: {"w": jnp.asarray(g, jnp.float32)} for block in BLOCKS}
            gradient |= {"scale_head": {"w": gradient["scale_head"]["w"] / unit}}
            _, states[unit] = chosen.update(gradient, state, params)
    converted = with_head_unit(states[1.0], 2.0)
    jax.tree.map(np.testing.assert_array_equal, converted, states[2.0])
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, states.values()), strict=True))
