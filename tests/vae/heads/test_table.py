"""The heads against their formulas in mpmath, with 100 digits."""

import dataclasses
import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from helpers import reference
from helpers.heads import LEARNED, ONE_SIDED, SINGULAR, as_trained
from hypothesis import given, settings
from hypothesis import strategies as st

from vaecli.vae.heads.bounds import parse_bound
from vaecli.vae.heads.table import HEADS, Head
from vaecli.vae.posterior import Posterior, posterior
from vaecli.vae.terms import kl_divergence
from vaecli.verify.oracles import GAINS

U = np.unique(
    np.concatenate(
        [
            np.linspace(-87, 87, 263),
            np.outer([-1, 1], np.geomspace(1e-20, 1, 21)).ravel(),
            [0.0, -16.7, -12.001, -12.0, -11.999, 2.4999, 2.5001, 44.3],
        ]
    ).astype(np.float32)
)


@functools.partial(jax.jit, static_argnums=0)
def program(form, slope, u):
    """Everything that float32 must have right, at each u; heads of one form have one program, as in training."""

    def quantities(u):
        head = dataclasses.replace(form, slope=slope)

        def kl(value):
            q = Posterior(jnp.zeros((1, 1)), head.log_scale(value).reshape(1, 1), head.scale(value).reshape(1, 1))
            return kl_divergence(q)[0, 0]

        found = {
            "log_scale": head.log_scale(u),
            "scale": head.scale(u),
            "scale_gradient": jax.grad(head.scale)(u),
        }
        found["gain"], found["gain_gradient"] = jax.value_and_grad(jax.grad(head.log_scale))(u)
        found["kl"], found["kl_gradient"] = jax.value_and_grad(kl)(u)
        return found

    return jax.vmap(quantities)(u)


def computed(name, u):
    """What `program` gives at any number of u, which are put to it as many at a time as `U` has."""
    u = np.asarray(u, np.float32)
    whole = np.resize(u, (-(-len(u) // len(U)), len(U)))
    # Where its mean goes makes nothing else of a head.
    form, slope = dataclasses.replace(HEADS[name].form, couples_mean=False), np.float32(HEADS[name].slope)
    parts = [jax.device_get(program(form, slope, part)) for part in whole]
    return {key: np.concatenate([part[key] for part in parts])[: len(u)] for key in parts[0]}


@pytest.mark.parametrize("name", HEADS)
def test_every_quantity_and_its_gradient(name):
    reference.check(computed(name, U), [reference.quantities(name, float(u)) for u in U], U)


def some(heads):
    """All heads, those that are not among these as long ones."""
    return [pytest.param(name, marks=[pytest.mark.long] * (name not in heads)) for name in HEADS]


@pytest.mark.parametrize("examples", [8, pytest.param(100, marks=pytest.mark.long)])
# Of those with branches; at fixed points, and many, each head is in `test_every_quantity_and_its_gradient`.
@pytest.mark.parametrize("name", some({"softplus_std", "elu_std", "tanh_logstd"}))
def test_random_inputs(name, examples):
    @given(u=st.lists(st.floats(-87, 87, width=32, allow_subnormal=False), min_size=8, max_size=8))
    @settings(max_examples=examples, deadline=None)
    def check(u):
        reference.check(computed(name, u), [reference.quantities(name, point) for point in u], u)

    check()


@pytest.mark.parametrize("name", GAINS)
def test_gain_has_its_closed_form(name):
    gain = np.asarray(computed(name, U)["gain"], np.float64)
    for u, value in zip(U, gain, strict=True):
        log_scale, first, _ = reference.derivatives(name, float(u))
        if first is None:
            continue
        closed = GAINS[name](mpmath.exp(log_scale), mpmath)
        if name in SINGULAR and u < 0:
            closed = -closed
        assert abs(value - closed) <= 1e-6 * max(1, abs(closed)), (u, value, closed)


def test_singular_points_are_the_documented_ones():
    """Where log σ is not finite for any u in [−87, 87] at which the head has a σ."""
    singular = {
        name
        for name in HEADS
        if not all(mpmath.isfinite(reference.derivatives(name, float(u))[0]) for u in reference.domain(name, U))
    }
    assert singular == SINGULAR
    assert {
        name for name in HEADS if any(mpmath.isnan(reference.derivatives(name, float(u))[0]) for u in U)
    } == ONE_SIDED


@pytest.mark.parametrize("name", sorted(ONE_SIDED))
def test_no_number_where_a_head_has_no_scale(name):
    """No value and no derivative looks like one, whichever of them a loss is made of; −0 is 0."""
    below = computed(name, -np.geomspace(2e-38, 87, 50))
    assert all(np.isnan(values).all() for quantity, values in below.items() if quantity != "gain_gradient")
    zero = computed(name, [-0.0, 0.0])
    assert (zero["scale"] == 0).all()
    assert (zero["log_scale"] == -np.inf).all()


@pytest.mark.parametrize("name", LEARNED)
def test_inverse(name):
    head = HEADS[name]
    wanted = np.linspace(max(head.limits[0], -40) + 1e-3, min(head.limits[1], 4) - 1e-3, 200).astype(np.float32)
    u = np.asarray(jax.jit(head.inverse)(wanted), np.float64)
    for target, point in zip(wanted, u, strict=True):
        assert abs(reference.log_sigma(name, mpmath.mpf(point)) - target) <= 1e-6 * max(1, abs(target)), (target, point)


@pytest.mark.parametrize("name", LEARNED)
def test_limits_are_never_left_and_nearly_reached(name):
    u = reference.domain(name, np.concatenate([U, [-200, 200]]))
    values = [reference.log_sigma(name, mpmath.mpf(float(point))) for point in u]
    low, high = HEADS[name].limits
    assert low - 1e-12 <= min(values) < max(low + 0.02, -2.5)
    assert min(high - 0.02, 2.5) < max(values) <= high + 1e-12


@pytest.fixture(scope="module")
def millions():
    """A million draws for each of two posteriors."""
    return np.random.default_rng(3).standard_normal((2, 10**6))


# Their KL is one function of μ and σ: one of each kind of μ and of u.
@pytest.mark.parametrize("name", some({"logvar", "natural", "std", "fixed"}))
def test_kl_is_that_of_a_million_samples(name, millions):
    """log q(z) − log p(z) averaged over z ~ q, in float64."""
    head = as_trained(name)

    @jax.jit
    def posterior_and_kl(mu, u):
        q = posterior(head, parse_bound("none"), mu, u)
        return q, kl_divergence(q)

    for mu, u, epsilon in zip((0.7, -1.1), (-1.3, 0.9), millions, strict=True):
        u = abs(u) if name in ONE_SIDED else u
        q, kl = posterior_and_kl(
            np.full((1, 1), mu, np.float32), np.full((1, 1), u if head.learned else 0.4, np.float32)
        )
        loc, scale = float(q.loc[0, 0]), float(q.scale[0, 0])
        z = loc + scale * epsilon
        samples = -np.log(scale) - 0.5 * epsilon**2 + 0.5 * z**2
        error = samples.std() / 1e3
        assert float(kl[0, 0]) == pytest.approx(samples.mean(), abs=4 * error)


@pytest.mark.parametrize("name", HEADS)
def test_kl_is_never_negative(name):
    u = np.concatenate([U[np.isfinite(U)], np.linspace(-1e-3, 1e-3, 2001)])
    assert (computed(name, reference.domain(name, u))["kl"] >= 0).all()


def test_natural_couples_mean_and_scale():
    """η₂ = −softplus(u)/2 and η₁ give μ = −η₁/(2η₂) and σ² = −1/(2η₂)."""
    eta_1, u = np.float32([[0.4, -2.0, 7.0]]), np.float32([[-3.0, 0.0, 5.0]])
    of_bound = jax.jit(
        lambda text, *outputs: posterior(as_trained("natural"), parse_bound(text), *outputs), static_argnums=0
    )
    q = of_bound("none", eta_1, u)
    eta_2 = -0.5 * np.log1p(np.exp(u.astype(np.float64)))
    np.testing.assert_allclose(q.loc, -eta_1 / (2 * eta_2), rtol=1e-6)
    np.testing.assert_allclose(q.scale**2, -1 / (2 * eta_2), rtol=1e-6)
    bounded = of_bound("clip:-0.5,0.5", eta_1, u)
    np.testing.assert_allclose(bounded.loc, eta_1 * np.exp(np.clip(np.log(-0.5 / eta_2), -1, 1)), rtol=1e-6)


def test_posterior_has_the_heads_own_sigma():
    """Not exp(log σ), which at |u| = 1e-30 is 3e-6 off."""
    u = jnp.asarray([[1e-30, 3.3, -70.0]], jnp.float32)
    np.testing.assert_array_equal(posterior(as_trained("abs_std"), parse_bound("none"), u, u).scale, jnp.abs(u))


def test_gradient_of_the_kl_goes_through_the_mean_of_natural():
    """dμ/du = 2γμ, so dKL/du = γ(2μ² + σ² − 1)."""
    head, eta_1, u = as_trained("natural"), jnp.full((1, 1), 1.7), -0.4

    def kl(value):
        return kl_divergence(posterior(head, parse_bound("none"), eta_1, value.reshape(1, 1)))[0, 0]

    variance = 1 / np.log1p(np.exp(u))
    gain = -variance * -np.expm1(-1 / variance) / 2
    wanted = gain * (2 * (1.7 * variance) ** 2 + variance - 1)
    assert float(jax.jit(jax.grad(kl))(jnp.float32(u))) == pytest.approx(wanted, rel=1e-5)


def test_exponential_heads_are_one_program():
    assert HEADS["logvar"].form == HEADS["logstd"].form == HEADS["logprec"].form
    assert hash(HEADS["logvar"].form) == hash(HEADS["logprec"].form)
    assert HEADS["logvar"].form != HEADS["softplus_std"].form


@pytest.mark.parametrize(
    "name",
    [
        "logvar",
        "sigmoid_std",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("softplus_std", "softplus_prec")),
    ],
)
def test_derived_inverse_agrees_with_the_declared_one(name):
    head = HEADS[name]
    inverse = jax.jit(Head(f=head.f, slope=head.slope).inverse)
    # As many as in `test_inverse`, whose program of the declared one serves.
    wanted = np.linspace(-2, 0.6, 200).astype(np.float32)
    np.testing.assert_allclose(inverse(wanted), jax.jit(head.inverse)(wanted), rtol=1e-5, atol=1e-5)
    if name == "sigmoid_std":  # Whose log σ ends at ln 2.
        assert np.isnan(inverse(np.ones_like(wanted))).all()


def test_inverse_that_is_none_is_nan():
    """A jump over the value, an edge of NaN, and an inverse that is another function's."""
    jump, edge = Head(f=lambda u: jnp.where(u > 0, 1 + u, u - 1)), Head(f=lambda u: jnp.sqrt(u) + 2)
    wrong = Head(f=lambda u: u, f_inverse=lambda y: 2 * y)
    for head in (jump, edge, wrong):
        assert np.isnan(jax.jit(head.inverse)(jnp.float32(0.5)))
    assert float(jax.jit(jump.inverse)(jnp.float32(1.5))) == pytest.approx(0.5, abs=1e-5)


def test_documentation_has_a_row_for_each_head():
    text = (Path(__file__).parents[3] / "docs" / "heads.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(HEADS)
