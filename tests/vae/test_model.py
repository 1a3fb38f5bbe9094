"""The likelihood of a small VAE, where its scale is one number, each pixel's, the network's or in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.decoders import (
    BATCH,
    COLUMNS,
    LATENT,
    PIXELS,
    RNG,
    ROWS,
    SAMPLES,
    X,
    Z,
    differences,
    drawn,
    log_likelihood,
    normal_params,
    settings,
)
from helpers.heads import LEARNED
from helpers.programs import built, drawn_params
from scipy import optimize, stats

from vaecli.vae import build, steps
from vaecli.vae.architecture import Architecture
from vaecli.vae.heads.table import HEADS
from vaecli.vae.matching import factors, match, start
from vaecli.vae.model import Model
from vaecli.vae.networks import network
from vaecli.vae.optimizers import OPTIMIZERS
from vaecli.vae.resolve import resolve


@pytest.mark.parametrize(
    ("likelihood", "scale", "hidden"),
    [
        ("gaussian", "optimal", (4,)),
        ("gaussian", "network", ()),
        *(pytest.param("gaussian", scale, (4,), marks=pytest.mark.long) for scale in ("shared", "pixel", "network")),
        ("laplace", "network", (4,)),
        ("student", "pixel", (4,)),
        ("discretised_logistic", "shared", (4,)),
        pytest.param("discretised_logistic", "network", (4,), marks=pytest.mark.long),
    ],
)
def test_log_likelihood_and_its_gradient(likelihood, scale, hidden):
    """By every parameter of the decoder and by z, against differences of SciPy's densities."""
    config = settings(likelihood, scale, hidden=hidden)
    weights = RNG.normal(size=(SAMPLES, BATCH))
    with jax.enable_x64(True):
        program, operands, params = drawn(config)

        def value(params, z):
            values = Model(program, operands, params).log_likelihood(jnp.asarray(X))(z)
            return (values * weights).sum(), values

        gradient, values = jax.device_get(jax.jit(jax.grad(value, argnums=(0, 1), has_aux=True))(params, Z))
    np.testing.assert_allclose(values, log_likelihood(config, params, Z), rtol=1e-10)
    own = {block: params[block] for block in ("decoder", "decoder_scale")}
    exact = differences(lambda at: (log_likelihood(config, at[0], at[1]) * weights).sum(), (own, Z))
    found = ({block: gradient[0][block] for block in own}, gradient[1])
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    for block in ("encoder", "mean_head", "scale_head"):
        assert not any(leaf.any() for leaf in jax.tree.leaves(gradient[0][block]))


SHAPES = [{"hidden": (4,)}, {"channels": (3,), "hidden": (), "weight_init": "glorot"}]


# That of a dense one is written out for `test_log_likelihood_and_its_gradient`.
@pytest.mark.parametrize("changes", [pytest.param(SHAPES[0], marks=pytest.mark.long), SHAPES[1]])
def test_second_output_is_another_last_layer(changes):
    """u of `network` is what the decoder would put out with that layer for its last one."""
    shape = Architecture(image=(6, 5), latent=2, decoder_scale="network", **changes)
    params = normal_params(shape)

    @jax.jit
    def decoded(params, z):
        layers = params["decoder"]["layers"]
        exchanged = {**layers, max(layers): params["decoder_scale"]}
        other = network(shape, {**params, "decoder": {"layers": exchanged}})
        return network(shape, params).decode_with_scale(z), network(shape, params).decode(z), other.decode(z)

    (outputs, u), alone, exchanged = decoded(params, RNG.normal(size=(2, 3, 2)).astype(np.float32))
    np.testing.assert_array_equal(outputs, alone)
    np.testing.assert_array_equal(u, exchanged)
    assert u.shape == (2, 3, 30)
    assert (u != outputs).any()


@pytest.mark.parametrize("changes", [SHAPES[0], pytest.param(SHAPES[1], marks=pytest.mark.long)])
def test_draws_of_the_other_blocks_do_not_depend_on_it(changes):
    """The layers draw in turn, and this one is the last."""
    shape = {"image": (6, 5), "latent": 2} | changes
    plain, other = (
        drawn_params(Architecture(**shape, decoder_scale=scale), jax.random.key(5)) for scale in ("none", "network")
    )
    assert other.pop("decoder_scale")["kernel"].std() > 0
    assert jax.tree.structure(plain) == jax.tree.structure(other)
    for one, again in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(one, again)


# Starts -------------------------------------------------------------------------------------------------------------


def decoder_of(**changes):
    resolved = resolve(settings(**changes))
    return resolved.decoder, resolved.optimizer


OWN_MEAN = [name for name in LEARNED if not HEADS[name].couples_mean]
# Affine in logvar's u and not, falling with u, and with the least gain for its spread.
FEW = ["logvar", "softplus_std", "softplus_prec", "square_std"]


@pytest.fixture(scope="module")
def spread():
    """The log τ at the start, (seeds, samples, images, pixels), of a decoder with convolutions or without, by head."""

    @functools.cache
    def compiled(channels):
        shape = {"hidden": (50,), "latent": 8, "channels": channels, "decoder_bound": "none"}
        program, _ = built(settings(scale="network", **shape), (8, 8))
        z = jax.random.normal(jax.random.key(0), (1, 100, 8))

        @jax.jit
        @jax.vmap
        def u(operands):
            params = steps.initial_params(program, operands, jnp.zeros(64))
            return network(program.architecture, params).decode_with_scale(z)[1]

        return shape, u

    @functools.partial(jax.jit, static_argnums=0)
    def log_scales(heads, us):
        return [HEADS[name].log_scale(u) for name, u in zip(heads, us, strict=True)]

    def measure(heads, channels=(), **changes):
        shape, u = compiled(channels)
        common = {"scale": "network", **shape, **changes}
        runs = [[resolve(settings(seed=s, decoder_param=name, **common)) for s in (0, 1)] for name in heads]
        us = [u(build.operands(of_head)) for of_head in runs]
        return dict(zip(heads, map(np.asarray, log_scales(tuple(heads), us)), strict=True))

    return measure


@pytest.mark.parametrize(
    ("channels", "heads"),
    [
        ((3,), FEW),
        # The rest of the heads start in test_matching.py, too, at a layer of the encoder without convolutions.
        *(pytest.param(channels, OWN_MEAN, marks=pytest.mark.long) for channels in ((), (3,))),
    ],
)
def test_matched_spread_agrees_over_all_heads(spread, channels, heads):
    """To 2 % in small spreads, with the same sign; centred starts are four times apart."""
    # What is left is of second order in the weights.
    small = {"decoder_std": 0.3, "decoder_init_weight": 0.1}
    found = spread(heads, channels, decoder_init="matched", **small)
    spreads = {name: values.std() for name, values in found.items()}
    assert max(spreads.values()) / min(spreads.values()) < 1.02, spreads
    for values in found.values():
        assert np.corrcoef(values.ravel(), found["logvar"].ravel())[0, 1] > 0.99
    centred = {name: values.std() for name, values in spread(heads, channels, **small).items()}
    assert centred["square_std"] / centred["logvar"] > 4


@pytest.mark.parametrize("name", OWN_MEAN)
@pytest.mark.parametrize("bound", ["none", "soft:-5,2", "floor:0.01", "varfloor:1e-4", "tanh:4"])
def test_starts(name, bound):
    """Centred at --decoder-std, behind the bound too; native at u = 0."""
    (scale, optimizer), std = decoder_of(decoder_param=name, decoder_bound=bound, decoder_std=0.2), 0.2
    begun = start(scale, optimizer)
    log_scale = scale.bound.log_scale(scale.head.log_scale(jnp.float32(begun.bias)))
    assert float(log_scale) == pytest.approx(np.log(std), rel=1e-5)
    assert begun.weight == 1
    native = start(*decoder_of(decoder_param=name, decoder_bound=bound, decoder_init="native", decoder_init_weight=3.0))
    assert native == (3.0, 0.0)


@pytest.mark.parametrize("scale", ["shared", "pixel", "network", "optimal"])
def test_a_run_starts_there(scale):
    own = {} if scale == "optimal" else {"decoder_init_weight": 0.0}
    program, operands = built(settings(scale=scale, decoder_std=0.25, hidden=(), **own), (ROWS, COLUMNS))

    @jax.jit
    def found_at_the_start(operands):
        params = steps.initial_params(program, operands, jnp.zeros(PIXELS))
        return Model(program, operands, params).decoder_scale(jnp.asarray(Z, jnp.float32))

    found = found_at_the_start(operands)
    shapes = {"pixel": (1, 1, PIXELS), "network": (SAMPLES, BATCH, PIXELS)}
    assert found.log_scale.shape == shapes.get(scale, ())
    np.testing.assert_allclose(np.exp(found.log_scale), 0.25, rtol=1e-6)


@pytest.mark.parametrize(("rule", "power"), [("nll", 1), ("natural", -1)])
def test_matched_rates(rule, power):
    """At the τ of the start less its floor, where softplus_std has the gain (1 − e^−τ)/τ and logvar ½."""
    changes = {"decoder_lr": "matched", "decoder_std": 0.3, "decoder_gradient": rule}
    tau = 0.25
    a = -2 * np.expm1(-tau) / tau
    for optimizer, lr_power in (("sgd", 2), ("adam", 1)):
        found = factors(*decoder_of(optimizer=optimizer, **changes))
        assert found.lr == pytest.approx(a ** -(1 + (lr_power - 1) * power), rel=1e-5)
        assert found.clip == pytest.approx(a**-power, rel=1e-5)
    given = {"decoder_lr": 0.5, "decoder_eps": 2.0, "decoder_weight_decay": 3.0, "decoder_clip": 4.0}
    assert factors(*decoder_of(**given)) == (0.5, 2.0, 3.0, 4.0)
    # A factor that is given reaches the run.
    operands = build.operands([resolve(settings(lr=0.1, eps=1e-3, weight_decay=0.2, clip_norm=1.0, **given))])
    rates = [float(value[0]) for value in (*operands.decoder_scale_rates, operands.decoder_scale_clip)]
    assert rates == pytest.approx([0.05, 2e-3, 0.6, 4.0])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_natural_factors_by_hand(optimizer):
    """u = a u′: the natural gradient of u′ is 1/a times that of u, and its step must be so, too."""
    found = match(HEADS["logvar"], HEADS["logstd"], OPTIMIZERS[optimizer], 0.0, natural=True)
    by_hand = {  # Learning rate, eps, weight decay, a = 2.
        "sgd": (1.0, 1.0, 1.0),
        "momentum": (1.0, 1.0, 1.0),
        "adam": (0.5, 0.5, 1.0),
        "adamw": (0.5, 0.5, 2.0),
        "adamax": (0.5, 0.5, 1.0),
        "rmsprop": (0.5, 0.25, 1.0),
        "adagrad": (0.5, 0.25, 1.0),
        "lion": (0.5, 1.0, 2.0),
    }
    assert (found.head_lr_factor, found.eps_factor, found.weight_decay_factor) == by_hand[optimizer]
    assert (found.clip_factor, found.init_weight_factor) == (2.0, 0.5)


# In closed form -------------------------------------------------------------------------------------------------------


def closed_form(likelihood, r):
    """log τ of the best fit."""
    return np.log({"gaussian": np.sqrt((r**2).mean()), "laplace": np.abs(r).mean()}[likelihood])


def searched(likelihood, r):
    """The same, by a search."""
    density = {"gaussian": stats.norm, "laplace": stats.laplace}[likelihood]
    return optimize.minimize_scalar(lambda s: -density.logpdf(r, 0, np.exp(s)).sum(), bracket=(-3, 0), tol=1e-12).x


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
def test_optimal(likelihood):
    """log p of training is at the best τ of the images of weight 1, and its gradient is that of the profile."""
    config = settings(likelihood, "optimal", samples=SAMPLES)
    weight = np.array([1.0, 0.0, 1.0])
    kept = weight > 0
    with jax.enable_x64(True):
        program, operands, params = drawn(config)

        def value(params, z, x):
            values = Model(program, operands, params).log_likelihood(x, jnp.asarray(weight))(z)
            return (values * weight[None]).sum(), values

        by_params_and_z = jax.jit(jax.grad(value, argnums=(0, 1), has_aux=True))
        gradient, values = jax.device_get(by_params_and_z(params, Z, X))
        _, again = by_params_and_z(params, Z, np.where(kept[:, None], X, 0.7))
        np.testing.assert_array_equal(again[:, kept], values[:, kept])

    def residuals(at, z):
        layers = at["decoder"]["layers"]
        first, last = (layers[place] for place in sorted(layers))
        return X - (np.tanh(z @ first["kernel"] + first["bias"]) @ last["kernel"] + last["bias"])

    r = residuals(params, Z)[:, kept].ravel()
    best = closed_form(likelihood, r)
    assert searched(likelihood, r) == pytest.approx(best, abs=1e-6)
    np.testing.assert_allclose(
        values, log_likelihood(config, {**params, "decoder_scale": {"bias": best}}, Z), rtol=1e-10
    )
    # The gradient of the block is its distance from there.
    assert gradient[0]["decoder_scale"]["bias"] == pytest.approx(params["decoder_scale"]["bias"] - best, rel=1e-12)

    def profile(at):
        """log p at the τ that is best there, which moves with the parameters."""
        found = closed_form(likelihood, residuals(*at)[:, kept].ravel())
        return (log_likelihood(config, {**at[0], "decoder_scale": {"bias": found}}, at[1]) * weight).sum()

    exact = differences(profile, ({"decoder": params["decoder"]}, Z))
    for one, other in zip(
        jax.tree.leaves(({"decoder": gradient[0]["decoder"]}, gradient[1])), jax.tree.leaves(exact), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "objective",
    [pytest.param({}, marks=pytest.mark.long), {"objective": "iwae", "samples": 2, "estimator": "dreg"}],
)
def test_a_step_sets_an_optimal_scale(objective):
    """To a rounding of the batch's best, whatever the optimiser, clipping and weight decay; evaluation has it."""
    shape = {"hidden": (), "batch_size": 8}
    config = settings(scale="optimal", optimizer="lion", weight_decay=0.5, clip_norm=1e-3, **shape, **objective)
    program, operands = built(config, (ROWS, COLUMNS))
    images = jnp.asarray(RNG.integers(0, 256, (12, PIXELS)), jnp.uint8)
    index = jnp.asarray([3, 1, 7, -1, -1])
    schedule = steps.ScheduleValues(*[jnp.ones(())] * 2)

    @jax.jit
    def step(operands):
        state = steps.initial_state(program, operands, steps.initial_params(program, operands, jnp.zeros(PIXELS)))
        after, _ = steps.train_step(program, operands, images, state, index, schedule)
        gradient, _ = steps.step_gradient(program, operands, images, state, index, schedule)
        evaluated = Model(program, operands, after.params).decoder_scale(jnp.zeros((1, 1, LATENT)))
        return state, after, gradient, evaluated.log_scale, residuals(operands, state)

    def residuals(operands, state):
        x, _ = steps.step_images(program, operands, images, state, index)
        key = jax.random.fold_in(steps.stream(operands.key, steps.Stream.EPSILON), state.step)
        epsilon = jax.random.normal(key, (config.samples, len(index), LATENT))
        q, _ = Model(program, operands, state.params).encode(x)
        z = q.loc[None] + q.scale[None] * epsilon
        return (x[None] - Model(program, operands, state.params).decode(z))[:, :3]

    state, after, gradient, evaluated, r = step(operands)
    best = 0.5 * np.log(np.mean(np.asarray(r, np.float64) ** 2))
    np.testing.assert_allclose(after.params["decoder_scale"]["bias"], best, rtol=5e-7)
    np.testing.assert_allclose(
        gradient["decoder_scale"]["bias"], state.params["decoder_scale"]["bias"] - best, rtol=1e-5
    )
    np.testing.assert_array_equal(evaluated, after.params["decoder_scale"]["bias"])
