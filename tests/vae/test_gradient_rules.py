"""The rules of the scale's gradient, against differences of what each of them amounts to, in NumPy and SciPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.decoders import (
    COLUMNS,
    FLOOR,
    PIXELS,
    RNG,
    ROWS,
    X,
    Z,
    decoded,
    densities,
    differences,
    drawn,
    log_likelihood,
    log_scale_of,
    settings,
)
from helpers.programs import built

from vaecli import Config
from vaecli.config import ConfigError
from vaecli.vae import build
from vaecli.vae.gradient_rules import NLL, GradientRule, natural_factor, parse_gradient_rule
from vaecli.vae.heads.bounds import parse_bound
from vaecli.vae.heads.table import HEADS
from vaecli.vae.loss import loss
from vaecli.vae.model import EncoderOutputs, Model
from vaecli.vae.resolve import resolve

WEIGHTS = RNG.normal(size=Z.shape[:2])
SCORES = {
    "gaussian": (lambda t: t**2 - 1, 2.0),
    "laplace": (lambda t: np.abs(t) - 1, 1.0),
    "student": (lambda t: 3.5 * t**2 / (2.5 + t**2) - 1, 5 / 5.5),
}
"""The score of log τ at r/τ, and the information about it."""


def gradient_of(config, params=None):
    """The gradient of weighted log p(x|z) by the decoder's blocks and by z; and log p itself."""
    with jax.enable_x64(True):
        program, operands, params = drawn(config)

        def value(params, z):
            values = Model(program, operands, params).log_likelihood(jnp.asarray(X))(z)
            return (values * WEIGHTS).sum(), values

        gradient, values = jax.device_get(jax.jit(jax.grad(value, argnums=(0, 1), has_aux=True))(params, Z))
    return ({block: gradient[0][block] for block in ("decoder", "decoder_scale")}, gradient[1]), values, params


def close(found, exact):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6)


def own_blocks(params):
    return {block: params[block] for block in ("decoder", "decoder_scale")}


def total(per_pixel):
    return (per_pixel.sum(axis=-1) * WEIGHTS).sum()


def with_rest(cases, *axes):
    """Every combination of the axes, of which only these cases, with nearly every value, are tested by default."""
    rest = [case for case in itertools.product(*axes) if case not in cases]
    return [*cases, *(pytest.param(*case, marks=pytest.mark.long) for case in rest)]


SCALES = ("shared", "pixel", "network")
OF_BETA = [("gaussian", 1, "shared"), ("gaussian", 0.5, "pixel"), ("laplace", 2, "network")]


@pytest.mark.parametrize(
    ("likelihood", "beta", "scale"), with_rest(OF_BETA, ("gaussian", "laplace"), (0.5, 1, 2), SCALES)
)
def test_beta(likelihood, beta, scale):
    """Each pixel's log p times its τ^2B at the point itself, held fixed."""
    config = settings(likelihood, scale, decoder_gradient=f"beta:{beta}")
    found, values, params = gradient_of(config)
    np.testing.assert_allclose(values, log_likelihood(config, params, Z), rtol=1e-10)
    factor = np.exp(2 * beta * log_scale_of(config, decoded(config, params, Z)[1]))

    def weighted(at):
        outputs, u = decoded(config, *at)
        return total(factor * densities(likelihood, outputs, log_scale_of(config, u)))

    close(found, differences(weighted, (own_blocks(params), Z)))
    if (likelihood, beta) == ("gaussian", 1):

        def squares(at):
            return -total((X - decoded(config, {**at, "decoder_scale": params["decoder_scale"]}, Z)[0]) ** 2) / 2

        if scale != "network":  # There, the other layers serve the scale, too.
            close({"decoder": found[0]["decoder"]}, differences(squares, {"decoder": params["decoder"]}))


OF_FAITHFUL = [("gaussian", "shared"), ("student", "network")]


@pytest.mark.parametrize(("likelihood", "scale"), with_rest(OF_FAITHFUL, ("gaussian", "student"), SCALES))
def test_faithful(likelihood, scale):
    """Nothing of the scale's branch in the gradient of the other layers and of z, nor of the squares in its own."""
    config = settings(likelihood, scale, decoder_gradient="faithful")
    found, values, params = gradient_of(config)
    np.testing.assert_allclose(values, log_likelihood(config, params, Z), rtol=1e-10)

    def squares(at):
        return -total((X - decoded(config, {**params, "decoder": at[0]}, at[1])[0]) ** 2) / 2

    close((found[0]["decoder"], found[1]), differences(squares, (params["decoder"], Z)))

    def of_scale(at):
        return (log_likelihood(config, {**params, "decoder_scale": at}, Z) * WEIGHTS).sum()

    close(found[0]["decoder_scale"], differences(of_scale, params["decoder_scale"]))


OF_NATURAL = [("gaussian", "shared"), ("laplace", "network"), ("student", "pixel")]


@pytest.mark.parametrize(("likelihood", "scale"), with_rest(OF_NATURAL, SCORES, SCALES))
def test_natural(likelihood, scale):
    """Of what gives u: that by u is score/(I γ), which is (∂ log p/∂u)/(I γ²), γ behind the bound. Else it is plain."""
    config = settings(likelihood, scale, decoder_gradient="natural")
    found, values, params = gradient_of(config)
    np.testing.assert_allclose(values, log_likelihood(config, params, Z), rtol=1e-10)
    outputs, u = decoded(config, params, Z)
    score, information = SCORES[likelihood]
    gain = 1 / (1 + np.exp(-u)) / (np.log1p(np.exp(u)) + FLOOR)
    by_u = score((X - outputs) / np.exp(log_scale_of(config, u))) / (information * gain)

    def of_u(at):
        return total(by_u * decoded(config, {**params, "decoder_scale": at}, Z)[1])

    close(found[0]["decoder_scale"], differences(of_u, params["decoder_scale"]))

    def objective(at):
        return (log_likelihood(config, {**params, "decoder": at[0]}, at[1]) * WEIGHTS).sum()

    close((found[0]["decoder"], found[1]), differences(objective, (params["decoder"], Z)))


@functools.cache
def iwae(rule):
    """The loss with three draws of an iwae."""
    with jax.enable_x64(True):
        config = settings(scale="network", objective="iwae", samples=2, decoder_gradient=rule)
        model = Model(*drawn(config))
        return float(jax.jit(loss)(model, jnp.asarray(X), jnp.ones(len(X)), jnp.asarray(Z))[0])


# What a rule makes of the values of log p is tested with each of its gradients above.
@pytest.mark.parametrize(
    "rule", ["faithful", *(pytest.param(r, marks=pytest.mark.long) for r in ("beta:0.5", "natural"))]
)
def test_no_rule_changes_a_value(rule):
    """The loss, to the last bit that one compiled program shares with another."""
    np.testing.assert_allclose(iwae(rule), iwae("nll"), rtol=1e-14)


OF_THE_ENCODER = [("network", ("dreg", "iwae")), ("free", ("reparam", "elbo"))]


@pytest.mark.parametrize(
    ("scale", "target"), with_rest(OF_THE_ENCODER, ("network", "free"), (("dreg", "iwae"), ("reparam", "elbo")))
)
def test_natural_gradient_of_the_encoder(scale, target):
    """That by u, which a shift of u shows, over 2γ², taken back to what gives u; every other block has its own."""
    shared = {"param": "softplus_std", "bound": f"floor:{FLOOR}", "hidden": (4,), "latent": 2, "encoder_scale": scale}
    shared |= {"samples": 2, "estimator": target[0], "objective": target[1]}
    with jax.enable_x64(True):
        x, weight, epsilon = jnp.asarray(X), jnp.asarray([1.0, 0.0, 1.0]), jnp.asarray(Z)
        runs = [built(Config(**shared, head_gradient=rule), (ROWS, COLUMNS)) for rule in ("plain", "natural")]

        @jax.jit
        def gradients(params):
            """Plain, natural, and what the natural one is; each rule's by u as well."""
            found = []
            for program, operands in runs:

                def value(params, shift, program=program, operands=operands):
                    model = Model(program, operands, params)
                    return loss(model, x, weight, epsilon, EncoderOutputs(0 * shift, shift))[0]

                found.append(jax.grad(value, argnums=(0, 1))(params, jnp.zeros((3, 2))))
            (_, u), back = jax.vjp(lambda at: Model(*runs[0], at).network.encode(x), params)
            gain = 1 / (1 + jnp.exp(-u)) / (jnp.log1p(jnp.exp(u)) + FLOOR)
            return found, back((0 * u, found[0][1] / (2 * gain**2)))[0]

        ((plain, by_u), (natural, again)), exact = jax.device_get(gradients(drawn(Config(**shared))[2]))
        np.testing.assert_allclose(again, by_u, rtol=1e-12)
    for block, of_block in natural.items():
        close(of_block, exact[block] if block == "scale_head" else plain[block])


def test_damping_is_of_matched_heads_alike():
    """Where a head has next to no gain the factor ends at 1/(damping · slope²); in units of the slope for all alike."""
    u = jnp.asarray([-30.0, 0.0, 30.0])
    flat = natural_factor(HEADS["logvar"], parse_bound("clip:-1,1"), u, 2.0)
    np.testing.assert_allclose(flat, [4e8, 2, 4e8], rtol=1e-6)
    for name, a in (("logstd", 2.0), ("logprec", -1.0)):
        again = natural_factor(HEADS[name], parse_bound("clip:-1,1"), u / a, 2.0)
        np.testing.assert_array_equal(again * a**2, flat)


def test_rules_from_text():
    assert parse_gradient_rule("nll") == parse_gradient_rule("beta:0") == NLL
    assert parse_gradient_rule("beta:0.50") == GradientRule("beta", 0.5)
    for text in (
        "",
        "beta",
        "beta:",
        "beta:-1",
        "beta:nan",
        "beta:inf",
        "beta:11",
        "beta:a",
        "nll:",
        "nll:1",
        "Natural",
    ):
        with pytest.raises(ConfigError, match=r"must be nll, beta:B with B from 0 to 10") as refused:
            parse_gradient_rule(text)
        assert refused.value.field == "decoder_gradient"


def test_beta_of_0_is_nll():
    """It is the same program, so the same bits."""
    one, other = (
        build.program(resolve(settings(decoder_gradient=rule)), (2, PIXELS // 2)) for rule in ("nll", "beta:0.0")
    )
    assert one == other
