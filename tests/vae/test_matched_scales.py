"""Matched exponential heads of either scale are one run bit for bit, and natural gradients make any two nearly so.

The runs are the rows of one compiled program, which takes hundreds of steps of a small network.
"""

import functools
import itertools

import jax
import numpy as np
import pytest
from helpers.heads import LEARNED

from vaecli import Config
from vaecli.training.batch_key import batch_key
from vaecli.vae import build
from vaecli.vae.batches import epoch_order
from vaecli.vae.compiled import compiled_steps
from vaecli.vae.heads.table import HEADS
from vaecli.vae.optimizers import OPTIMIZERS
from vaecli.vae.resolve import resolve
from vaecli.vae.schedules import schedule_values

IMAGES, SIZE, BATCH = 40, (3, 4), 8
ROWS, STEPS = 7, 200
"""Those of every program, of which a test leaves out what it does not need: another number is another program."""
FIRST_PROGRAMS = {}
PICTURES = np.random.default_rng(5).integers(0, 256, (IMAGES, 12)).astype(np.uint8)
HEADS_OF_ONE_FORM = ("logvar", "logstd", "logprec")
MATCHED = {"decoder_init": "matched", "decoder_lr": "matched"}
EVERYTHING = {"weight_decay": 0.1, "clip_norm": 5.0, "eps": 1e-2, "decoder_bound": "soft:-4,1", "lr_warmup": 20}
RATES = {"sgd": 1e-2, "momentum": 1e-3, "adam": 1e-2, "adamw": 1e-2, "adamax": 1e-2, "rmsprop": 1e-2}
RATES |= {"adagrad": 3e-2, "lion": 1e-3}
GRANULARITIES, RULES = ("shared", "pixel", "network"), ("nll", "beta:0.5", "faithful", "natural")


def decoder(decoder_param="logvar", **changes):
    shape = {"hidden": (5,), "latent": 2, "likelihood": "gaussian", "no_maximum": "train", "decoder_std": 0.3}
    return Config(**{**shape, "decoder_param": decoder_param, "batch_size": BATCH, "lr": 1e-2, **changes})


def trained(configs, steps=STEPS, taken=None, order=None):
    """The states of runs before and after so many steps, and the terms of their losses at each, by run."""
    runs, taken = len(configs), taken or [steps] * len(configs)
    configs, taken = [*configs, *[configs[0]] * (ROWS - runs)], [*taken, *[0] * (ROWS - runs)]
    resolved = [resolve(config) for config in configs]
    assert len({batch_key(of_run) for of_run in resolved}) == 1
    program = build.program(resolved[0], SIZE)
    run = compiled_steps(program, vectorise=False)
    operands = build.operands(resolved)
    if order is None:
        order = np.concatenate([epoch_order(0, epoch, IMAGES, BATCH) for epoch in range(STEPS // (IMAGES // BATCH))])
    order = np.broadcast_to(np.asarray(order, np.int32), (ROWS, STEPS, BATCH))
    # Where no bias starts at the mean image, the first parameters are drawn alike whatever else the program is.
    first = compiled_steps(FIRST_PROGRAMS.setdefault(program.architecture, program), vectorise=False)
    state = run.initial_state(operands, first.initial_params(operands, np.full(12, 0.5, np.float32)))
    schedule = schedule_values(configs, 1, STEPS)
    after, outputs = run.train_chunk(operands, PICTURES, state, order, schedule, np.asarray(taken, np.int32))
    state, after, sums = jax.device_get((state, after, np.stack(outputs.sums, axis=-1)))
    return *jax.tree.map(lambda leaf: leaf[:runs], (state, after)), sums[:runs, :steps]


def assert_one_run(settings, *blocks, steps=STEPS):
    """All numbers of three runs are the same but those of some blocks, which are the same times their heads' slopes."""
    fields = {"scale_head": "param", "decoder_scale": "decoder_param"}
    names = HEADS_OF_ONE_FORM
    before, after, sums = trained([decoder(**settings, **{fields[b]: name for b in blocks}) for name in names], steps)
    assert np.isfinite(sums).all()
    assert (sums[0, -1] != sums[0, 0]).all()
    slopes = np.array([HEADS[name].slope for name in names], np.float32)
    for row in range(1, len(names)):
        np.testing.assert_array_equal(sums[row], sums[0], err_msg=names[row])
        for other, tree in after.params.items():
            scale = slopes[[row, 0]] if other in blocks else np.ones(2, np.float32)
            for leaf in jax.tree.leaves(tree):
                np.testing.assert_array_equal(scale[0] * leaf[row], scale[1] * leaf[0], err_msg=f"{names[row]} {other}")
    for one, other in zip(*map(jax.tree.leaves, (before.params, after.params)), strict=True):
        assert (one[0] != other[0]).any()


# By natural gradients, and by the other optimisers, in the tests below and those of the flags of `vae match`.
CASES = [("adamw", "network", "beta:0.5")]
REST = [case for case in itertools.product(OPTIMIZERS, GRANULARITIES, RULES) if case not in CASES]


@pytest.mark.parametrize(
    ("optimizer", "scale", "rule"), [*CASES, *(pytest.param(*case, marks=pytest.mark.long) for case in REST)]
)
def test_matched_heads_of_the_decoder(optimizer, scale, rule):
    """With weight decay, clipping, eps, a bound and a warm-up."""
    own = {"optimizer": optimizer, "lr": RATES[optimizer], "decoder_scale": scale, "decoder_gradient": rule}
    assert_one_run(EVERYTHING | own | MATCHED, "decoder_scale")


LIKELIHOODS, LIKELIHOOD_RULES = ("laplace", "student", "discretised_logistic"), ("nll", "beta:1", "faithful", "natural")
CONVOLUTIONS = itertools.product(LIKELIHOODS, LIKELIHOOD_RULES, [(2,)])


@pytest.mark.parametrize(
    ("likelihood", "rule", "channels"),
    [
        pytest.param("discretised_logistic", "natural", (), marks=pytest.mark.long),
        *(pytest.param(*case, marks=pytest.mark.long) for case in CONVOLUTIONS),
    ],
)
def test_matched_heads_of_other_likelihoods(likelihood, rule, channels):
    """By Adam."""
    own = {"likelihood": likelihood, "decoder_scale": "network", "decoder_gradient": rule, "channels": channels}
    own |= {"no_maximum": "refuse", "decoder_bound": "floor:0.01"}
    assert_one_run(own | MATCHED, "decoder_scale", steps=60)


OF_THE_ENCODER = {"init": "matched", "head_lr": "matched", "bound": "tanh:3", "init_std": 0.5}


# A granularity, a rule and a likelihood that are left. Other optimisers have their turn in test_null_control.py, a
# shared scale by NLL and Lion in test_decoder_scale.py, both in tests/training, and natural gradients in `vae verify`.
@pytest.mark.parametrize(
    ("optimizer", "encoder_scale", "decoder_scale", "rule", "likelihood"),
    [
        ("momentum", "network", "pixel", "faithful", "discretised_logistic"),
        pytest.param("momentum", "free", "shared", "faithful", "gaussian", marks=pytest.mark.long),
        pytest.param("lion", "network", "pixel", "nll", "gaussian", marks=pytest.mark.long),
    ],
)
def test_matched_heads_of_both(optimizer, encoder_scale, decoder_scale, rule, likelihood):
    """In one run, that of the encoder by natural gradients."""
    own = {"optimizer": optimizer, "lr": RATES[optimizer], "encoder_scale": encoder_scale, "head_gradient": "natural"}
    own |= {"decoder_scale": decoder_scale, "decoder_gradient": rule, "likelihood": likelihood}
    own |= {} if likelihood == "gaussian" else {"no_maximum": "refuse"}
    assert_one_run(EVERYTHING | own | OF_THE_ENCODER | MATCHED, "scale_head", "decoder_scale")


@pytest.mark.long
@pytest.mark.parametrize(("optimizer", "scale"), [*itertools.product(OPTIMIZERS, ("network", "free"))])
@pytest.mark.parametrize("gradient", ["natural", "plain"])
def test_matched_heads_of_the_encoder(optimizer, scale, gradient):
    own = {"optimizer": optimizer, "lr": RATES[optimizer], "encoder_scale": scale, "head_gradient": gradient}
    own |= {"weight_decay": 0.1, "clip_norm": 1.0, "eps": 1e-2}
    own |= {"likelihood": "bernoulli", "no_maximum": "refuse", "decoder_std": 0.1}
    assert_one_run(own | OF_THE_ENCODER, "scale_head")


@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [
        ("beta:0.5", "adamw"),
        pytest.param("natural", "rmsprop", marks=pytest.mark.long),
        pytest.param("nll", "adamw", marks=pytest.mark.long),
        pytest.param("natural", "adamw", marks=pytest.mark.long),
    ],
)
def test_each_factor_matters(rule, optimizer):
    """A match without one of its factors is not a match, unless the factor is 1; the programs are those of `CASES`."""
    own = {"optimizer": optimizer, "weight_decay": 0.3, "clip_norm": 1.0, "eps": 0.1, "decoder_gradient": rule}
    shared = EVERYTHING | {"decoder_scale": "network", "lr_warmup": 0, **own}
    p = -1 if rule == "natural" else 1
    decay = {"adamw": 2.0, "rmsprop": 2.0 ** (1 + p)}[optimizer]
    factors = {"decoder_lr": 0.5, "decoder_eps": 2.0 ** (p * OPTIMIZERS[optimizer].eps_power)}
    factors |= {"decoder_weight_decay": decay, "decoder_clip": 2.0**-p, "decoder_init_weight": 0.5}
    wanting = {name: {**factors, name: 1.0} for name, value in factors.items() if value != 1}
    configs = [decoder("logvar", **shared)]
    configs += [decoder("logstd", **shared, **of_run) for of_run in (factors, *wanting.values())]
    _, _, sums = trained(configs, steps=40)
    np.testing.assert_array_equal(sums[1], sums[0])
    for name, of_run in zip(wanting, sums[2:], strict=True):
        assert (of_run != sums[0]).any(), name


# Natural gradients of a σ of its own ----------------------------------------------------------------------------------

FIRST_ORDER = ("softplus_std", "softplus_prec", "square_std")
OTHERS = [name for name in LEARNED if name not in (*FIRST_ORDER, *HEADS_OF_ONE_FORM) and not HEADS[name].couples_mean]


@functools.cache
def log_scales(place, name, rule):
    """The log scale of a head after one time at a rate and at half of it, and before: (3, …)."""
    rate, steps = {"encoder": (0.1, 40), "shared": (0.01, 30), "pixel": (0.05, 60)}[place]
    own = {"likelihood": "bernoulli", "decoder_std": 0.1, "no_maximum": "refuse", "encoder_scale": "free"}
    own |= {"head_gradient": rule, "param": name, "init_std": 0.3, "init": "matched", "head_lr": "matched"}
    field, block = "param", "scale_head"
    if place != "encoder":
        own = {"decoder_scale": place, "decoder_gradient": "nll" if rule == "plain" else rule, "decoder_param": name}
        own |= {"decoder_std": 0.8, **MATCHED}
        field, block = "decoder_param", "decoder_scale"
    configs = [decoder(**{field: name, "optimizer": "sgd", "lr": of_run, **own}) for of_run in (rate, rate / 2)]
    before, after, _ = trained(configs, 2 * steps, (steps, 2 * steps), order=np.arange(BATCH)[None])
    u = np.stack([*after.params[block]["bias"], before.params[block]["bias"][0]])
    return np.asarray(jax.jit(HEADS[name].log_scale)(u), np.float64)


def apart(place, name, rule):
    """How far from logvar's a head's log scale is after one time, at a rate and at half of it."""
    logvar, other = (log_scales(place, head, rule) for head in ("logvar", name))
    assert np.abs(logvar[0] - logvar[2]).max() > 0.3
    np.testing.assert_allclose(other[2], logvar[2], atol=1e-6)
    return np.abs(other - logvar).reshape(3, -1).max(axis=1)[:2]


PLACES = ("encoder", "shared", "pixel")
FIRST = [("encoder", "softplus_std")]
LATER = [case for case in itertools.product(PLACES, (*FIRST_ORDER, *OTHERS)) if case not in FIRST]


@pytest.mark.parametrize(("place", "name"), [*FIRST, *(pytest.param(*case, marks=pytest.mark.long) for case in LATER)])
def test_natural_gradients_agree_to_first_order(place, name):
    """At half the rate, in twice the steps, a head is half as far from logvar."""
    natural = apart(place, name, "natural")
    if natural[0] < 1e-4:
        assert name in ("elu_std", "clip_logvar", "tanh_logstd")  # There they are, or nearly, logstd and logvar.
        return
    # The draws at the two rates are not the same, which shows in heads whose gain hardly changes.
    assert natural[0] / natural[1] == pytest.approx(2, abs=0.2 if name in FIRST_ORDER else 0.6)


REST_OF_PLAIN = [case for case in itertools.product(PLACES, FIRST_ORDER) if case != FIRST[0]]


@pytest.mark.parametrize(
    ("place", "name"), [FIRST[0], *(pytest.param(*case, marks=pytest.mark.long) for case in REST_OF_PLAIN)]
)
def test_plain_gradients_do_not(place, name):
    """With a matched rate a head is as far from logvar at half of it, and much farther than by natural gradients."""
    plain = apart(place, name, "plain")
    assert plain[0] / plain[1] == pytest.approx(1, abs=0.1)
    assert plain[1] > 10 * apart(place, name, "natural")[1]
