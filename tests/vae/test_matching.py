"""Starts and matches; that matched runs are the same run is shown in test_null_control.py."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import reference
from helpers.heads import LEARNED
from helpers.optimisation import OPTIMISED
from helpers.programs import built

from vaecli import Config, Head
from vaecli.config import ConfigError
from vaecli.data import load
from vaecli.vae import build, steps
from vaecli.vae.heads.bounds import parse_bound
from vaecli.vae.heads.table import HEADS
from vaecli.vae.matching import factors, inverse_and_gain, match, numbers, start
from vaecli.vae.model import Model
from vaecli.vae.networks import network
from vaecli.vae.optimizers import OPTIMIZERS
from vaecli.vae.resolve import resolve
from vaecli.vae.validate import validate

PIXELS = 64


def encoder_of(config):
    """The scale of a config's encoder, and its optimiser."""
    resolved = resolve(config)
    return resolved.encoder, resolved.optimizer


def test_a_scale_on_both_sides_of_0_is_another_head():
    """Where both have a σ, |u| is u; and a NaN is one in both, or no match."""
    found = match(HEADS["abs_std"], HEADS["std"], OPTIMIZERS["adam"], 0.0)
    assert (found.exact, found.affine) == (False, False)
    assert found.head_lr_factor == 1
    doubled = Head(f=lambda v: jnp.log(jnp.where(v < 0, jnp.nan, 2 * v)), f_inverse=lambda y: jnp.exp(y) / 2)
    assert match(HEADS["std"], doubled, OPTIMIZERS["adam"], 0.0)[:4] == (True, True, 2.0, 0.0)


def test_factors_by_hand():
    """logvar's u is twice logstd's: gradients of logstd are twice logvar's, weights half."""
    adam = match(HEADS["logvar"], HEADS["logstd"], OPTIMIZERS["adam"], 0.0)
    assert adam == (True, True, 2.0, 0.0, 0.5, 2.0, 4.0, 0.5, 0.5)
    assert match(HEADS["logvar"], HEADS["logstd"], OPTIMIZERS["sgd"], 0.0)[4:7] == (0.25, 1.0, 4.0)
    assert match(HEADS["logvar"], HEADS["logstd"], OPTIMIZERS["adamw"], 0.0)[4:7] == (0.5, 2.0, 2.0)
    assert match(HEADS["logvar"], HEADS["logstd"], OPTIMIZERS["adamax"], 0.0)[4:7] == (0.5, 2.0, 4.0)
    assert match(HEADS["logvar"], HEADS["logstd"], OPTIMIZERS["rmsprop"], 0.0)[4:7] == (0.5, 4.0, 4.0)
    assert match(HEADS["logvar"], HEADS["logstd"], OPTIMIZERS["lion"], 0.0)[4:7] == (0.5, 1.0, 2.0)
    assert match(HEADS["logstd"], HEADS["logvar"], OPTIMIZERS["adam"], 0.0)[2:6] == (0.5, 0.0, 2.0, 0.5)
    assert match(HEADS["logvar"], HEADS["logprec"], OPTIMIZERS["sgd"], 0.0)[2:9] == (
        -1.0,
        0.0,
        1.0,
        1.0,
        1.0,
        -1.0,
        1.0,
    )


EXPONENTIAL = {"logvar", "logstd", "logprec"}


@pytest.mark.parametrize("a", LEARNED)
@pytest.mark.parametrize("b", LEARNED)
def test_exact_pairs_are_the_affine_ones(a, b):
    exact = match(HEADS[a], HEADS[b], OPTIMIZERS["adam"], -0.2).exact
    assert exact == (a == b or {a, b} <= EXPONENTIAL)


@pytest.mark.parametrize("name", LEARNED)
def test_first_order_match_is_the_ratio_of_gains(name):
    found = match(HEADS["logvar"], HEADS[name], OPTIMIZERS["adam"], -0.5)
    (u,), _ = inverse_and_gain(HEADS[name], np.array([-0.5]))
    assert float(reference.log_sigma(name, u)) == pytest.approx(-0.5, rel=1e-6)
    gain = float(reference.derivatives(name, u)[1])
    assert found.a == pytest.approx(2 * gain, rel=1e-5)
    assert found.c == pytest.approx(-1.0 - found.a * u, abs=1e-5)
    assert found.init_weight_factor == pytest.approx(1 / found.a)


def test_own_heads_are_matched_by_their_gains():
    shifted = Head(f=lambda u: u / 2 + 0.25)
    found = match(HEADS["logvar"], shifted, OPTIMIZERS["adam"], 0.0)
    assert found.exact
    assert (found.a, found.c) == (pytest.approx(1), pytest.approx(0.5))
    decaying = match(HEADS["logvar"], shifted, OPTIMIZERS["adamw"], 0.0, decays=True)
    assert decaying.affine
    assert not decaying.exact
    assert not match(HEADS["logvar"], Head(f=lambda u: u + u**3 / 100), OPTIMIZERS["adam"], 0.0).exact


def test_own_heads_that_are_nearly_affine_are_not_matched():
    bent = Head(f=lambda u: u * (1 + 1e-3 * jnp.tanh(u)))
    clipped = Head(f=lambda u: jnp.clip(u, -19, 19), f_inverse=lambda y: y)
    shallow, waves = (
        Head(f=lambda u, f=f: 0.05 + 0.01 * f(u), f_inverse=lambda y, inverse=inverse: inverse(100 * (y - 0.05)))
        for f, inverse in ((jnp.tanh, jnp.arctanh), (jnp.sin, jnp.arcsin))
    )
    for head in (bent, clipped, shallow):
        assert not match(HEADS["logstd"], head, OPTIMIZERS["adam"], 0.05).exact
    assert not match(shallow, waves, OPTIMIZERS["adam"], 0.05).exact


@pytest.mark.parametrize(
    ("changes", "sigma"),
    [({"init_std": 0.3}, 0.3), ({"init": "native", "init_std": 0.3}, math.log(2)), ({"bound": "floor:0.5"}, 0.5)],
)
def test_matched_rate_is_that_at_the_start(changes, sigma):
    """The gain of softplus_std where it starts, in closed form; behind a floor that is σ less the floor."""
    found = factors(*encoder_of(Config(param="softplus_std", head_lr="matched", **changes)))
    a = 2 * -np.expm1(-sigma) / sigma
    assert found == pytest.approx((1 / a, a, a**2, 1 / a), rel=1e-5)


def test_init_weight_goes_over_a_matched_start():
    plain, tripled = (
        start(*encoder_of(Config(param="elu_std", init="matched", init_weight=factor))) for factor in (1.0, 3.0)
    )
    assert tripled == (3 * plain.weight, plain.bias)


def test_no_match_without_a_gain():
    for broken, message in (
        (HEADS["fixed"], "no output"),
        (Head(f=lambda u: u**3 + 1, f_inverse=lambda y: 0 * y), "gain is 0"),
        (Head(f=lambda u: abs(u) + 2), "no u gives log σ = 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            match(HEADS["logvar"], broken, OPTIMIZERS["adam"], 1.0)


# Starts -------------------------------------------------------------------------------------------------------------


DRAWS = {}
"""A program of each architecture, which is all that a draw reads of one (`test_no_draw_depends_on_the_head`)."""


def drawn(program, operands):
    """The parameters of a network that has not been trained."""
    return drawn_by(DRAWS.setdefault(program.architecture, program), operands)


@functools.partial(jax.jit, static_argnums=0)
def drawn_by(program, operands):
    return steps.initial_params(program, operands, jnp.zeros(PIXELS))


@functools.partial(jax.jit, static_argnums=0)
def encoded(programs, operands, params, x):
    """The posteriors of several networks: in one program."""
    return [Model(*of_run).encode(x)[0] for of_run in zip(programs, operands, params, strict=True)]


@functools.cache
def started(*runs):
    """The posteriors of networks that have not been trained, over random images, and the scale heads' parameters.

    Of each run the settings are given, as pairs.
    """
    made = [built(Config(hidden=(), latent=3, grad_every=0, **dict(settings)), (1, PIXELS)) for settings in runs]
    params = [drawn(*of_run) for of_run in made]
    x = np.random.default_rng(0).random((200, PIXELS)).astype(np.float32)
    programs, operands = zip(*made, strict=True)
    return encoded(programs, operands, params, x), [of_run["scale_head"] for of_run in params]


def scale_of(cases, case, **settings):
    """The σ of one of several cases, (head, bound), which are one program."""
    runs = [tuple({"param": name, "bound": bound, **settings}.items()) for name, bound in cases]
    return started(*runs)[0][cases.index(case)].scale


# Every bound over one head, and every head behind one of the bounds.
THROUGH = ("clip:-3,2", "tanh:4", "sigmoid:-3,1", "soft:-3,1", "floor:0.01", "varfloor:0.01")
BEHIND = [*((name, "tanh:4") for name in ("logvar", "fixed")), *(("softplus_std", text) for text in THROUGH)]
# The inverse of each is tested in test_table.py; here, that a network starts there, with one of each kind of head.
ALONE = [(name, "none") for name in ("logvar", "softplus_prec", "square_std", "natural", "fixed")]
QUICK = [*ALONE, *BEHIND]


def at_the_start(name, text, init_std):
    cases = QUICK if (name, text) in QUICK else [(name, text)]
    return scale_of(cases, (name, text), init_std=init_std, init_weight=0.0)


def with_long(pairs):
    return [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.long) for pair in pairs]


@pytest.mark.parametrize("init_std", [pytest.param(1.0, marks=pytest.mark.long), 0.3])
@pytest.mark.parametrize(("name", "text"), with_long((name, "none") for name in HEADS))
def test_centred_starts_at_init_std(name, text, init_std):
    """σ = σ₀ where the features, or the weights, are 0."""
    np.testing.assert_allclose(at_the_start(name, text, init_std), init_std, rtol=1e-6)


@pytest.mark.parametrize(("name", "text"), with_long(itertools.product(("logvar", "softplus_std", "fixed"), THROUGH)))
def test_centred_looks_through_the_bound(name, text):
    np.testing.assert_allclose(at_the_start(name, text, 0.3), 0.3, rtol=1e-6)


@pytest.mark.parametrize("name", LEARNED)
def test_native_bias_is_zero(name):
    parameters, of_logvar = (
        drawn(*built(Config(param=head, hidden=(), latent=3, init="native"), (1, PIXELS)))["scale_head"]
        for head in (name, "logvar")
    )
    assert (parameters["bias"] == 0).all()
    np.testing.assert_array_equal(parameters["kernel"], of_logvar["kernel"])


@pytest.fixture(scope="module")
def spread():
    """The spread of log σ at the start of the default network, over images of MNIST, units and two seeds."""
    x = jnp.asarray(load(Config()).train[:200] / 255, jnp.float32)
    program = build.program(resolve(Config()), (28, 28))

    # To draw weights of this size takes ten times as long if LLVM optimises nothing.
    @functools.partial(jax.jit, compiler_options=OPTIMISED)
    @jax.vmap
    def u(operands):
        return network(program.architecture, steps.initial_params(program, operands, x[0])).encode(x)[1]

    @functools.partial(jax.jit, static_argnums=0)
    def log_scales(heads, us):
        return [HEADS[name].log_scale(u) for name, u in zip(heads, us, strict=True)]

    def measure(heads, **changes):
        runs = [[resolve(Config(param=name, seed=seed, **changes)) for seed in range(2)] for name in heads]
        us = [u(build.operands(of_head)) for of_head in runs]
        return dict(zip(heads, map(np.asarray, log_scales(tuple(heads), us)), strict=True))

    return measure


@pytest.mark.parametrize("init_std", [1.0, pytest.param(0.3, marks=pytest.mark.long)])
def test_matched_spread_agrees_over_all_heads(spread, init_std):
    """To 2 %: what is left is of second order, most of it in elu_std, whose gain has a kink at σ = 1."""
    log_scales = spread(LEARNED, init="matched", init_std=init_std)
    spreads = {name: values.std() for name, values in log_scales.items()}
    assert 0.02 < spreads["logvar"] < 0.06
    assert max(spreads.values()) / min(spreads.values()) < 1.02, spreads
    for values in log_scales.values():
        # Image by image, too, and with the same sign.
        assert np.corrcoef(values.ravel(), log_scales["logvar"].ravel())[0, 1] > 0.99


def test_centred_spread_does_not_agree(spread):
    spreads = [values.std() for values in spread(["logvar", "logstd", "square_std"]).values()]
    assert max(spreads) / min(spreads) > 3.9


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"param": "fixed", "init": "matched"}, "init"),
        ({"param": "fixed", "head_lr": "matched"}, "head_lr"),
        ({"param": "sigmoid_std", "init_std": 2.0}, "init_std"),
        ({"param": "tanh_logstd", "init_std": 1e3}, "init_std"),
        ({"param": "clip_logvar", "init_std": 1e-10}, "init_std"),
        ({"bound": "clip:-5,-1"}, "init_std"),
        ({"bound": "clip:0,5"}, "init_std"),
        ({"bound": "floor:1"}, "init_std"),
        ({"param": "fixed", "bound": "tanh:1", "init_std": 3.0}, "init_std"),
        ({"bound": "floor:0"}, "bound"),
        ({"param": "softplus"}, "param"),
        (
            {"likelihood": "gaussian", "decoder_param": "abs_std", "decoder_init": "native", "decoder_lr": "matched"},
            "decoder_param",
        ),
        ({"likelihood": "gaussian", "decoder_bound": "floor:1"}, "decoder_std"),
        ({"param": "abs_std", "init": "native", "head_lr": "matched"}, "param"),
    ],
)
def test_starts_that_cannot_be_are_refused(changes, field):
    with pytest.raises(ConfigError) as refused:
        validate(Config(**changes))
    assert refused.value.field == field


def test_native_start_does_not_ask_for_init_std():
    for text in ("clip:-5,-1", "floor:2"):
        validate(Config(bound=text, init="native"))
        assert start(*encoder_of(Config(bound=text, init="native"))).bias == 0


def test_bound_leaves_the_match_as_it_is():
    """The same outer function: gains of both heads change by one factor."""
    for text in ("tanh:2", "soft:-2,1", "floor:0.1", "varfloor:0.1"):
        config = Config(param="softplus_std", init="matched", bound=text, init_std=0.5)
        inner = math.exp(parse_bound(text).inverse(math.log(0.5)))
        plain = dataclasses.replace(config, bound="none", init_std=inner)
        assert start(*encoder_of(config)) == pytest.approx(start(*encoder_of(plain)))


def test_factors_of_heads_with_one_form_are_exact():
    third = dataclasses.replace(HEADS["logvar"], slope=1 / 6)
    found = match(HEADS["logvar"], third, OPTIMIZERS["adam"], 0.3)
    assert found.exact
    assert found.head_lr_factor == pytest.approx(3, rel=1e-14)


# What decides a run


def numbers_of(**settings):
    resolved = validate(Config(**settings))
    return numbers(resolved.encoder, resolved.optimizer)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lion", "rmsprop"])
@pytest.mark.parametrize(
    "others", [{}, {"weight_decay": 0.01, "clip_norm": 1.0}, {"bound": "clip:-5,3", "init_std": 0.5}]
)
def test_matched_heads_of_one_form_are_one_run(optimizer, others):
    """That they are, bit for bit, is shown in test_null_control.py; here, that they are known to be."""
    matched = {"init": "matched", "head_lr": "matched", "optimizer": optimizer, **others}
    logvar = numbers_of(param="logvar", optimizer=optimizer, **others)
    assert logvar == numbers_of(param="logvar", **matched)
    assert logvar == numbers_of(param="logstd", **matched) == numbers_of(param="logprec", **matched)
    assert hash(logvar) == hash(numbers_of(param="logstd", **matched))
    # The settings that match them may also be given one by one.
    if optimizer == "adam":
        given = {"init_weight": 0.5, "head_lr": 0.5, "head_eps": 2.0, "head_weight_decay": 4.0, "head_clip": 0.5}
        assert logvar == numbers_of(param="logstd", optimizer=optimizer, **others, **given)


@pytest.mark.parametrize(
    "settings",
    [
        {"param": "logstd"},
        {"param": "logstd", "init": "matched"},
        {"param": "logstd", "head_lr": "matched"},
        {"param": "logvar", "head_lr": 0.5},
        {"param": "logvar", "init_weight": 0.5},
        {"param": "logvar", "init_std": 0.5},
        {"param": "clip_logvar"},
        {"param": "softplus_std", "init": "matched", "head_lr": "matched"},
        {"param": "softplus_prec", "init": "matched", "head_lr": "matched"},
    ],
)
def test_others_are_other_runs(settings):
    assert numbers_of(**settings) != numbers_of(param="logvar")


def test_a_head_that_moves_the_mean_is_another_one():
    matched = {"init": "matched", "head_lr": "matched"}
    natural, control = numbers_of(param="natural", **matched), numbers_of(param="softplus_prec", **matched)
    assert natural[1:] == control[1:]
    assert natural != control


def test_in_units_of_u_heads_with_two_slopes_are_two_runs():
    resolved = [validate(Config(param=name, init="matched", head_lr="matched")) for name in ("logvar", "logstd")]
    logvar, logstd = (numbers(one.encoder, one.optimizer, rescaled=False) for one in resolved)
    assert (logvar.slope, logstd.slope) == (0.5, 1.0)
    assert logvar != logstd
