"""Safety metrics against NumPy and SciPy, on posteriors made by hand and small decoders."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.decoders import normal_params
from helpers.heads import as_trained
from helpers.programs import built, config
from scipy import stats

from vaecli.vae.heads.bounds import parse_bound
from vaecli.vae.model import Model
from vaecli.vae.posterior import posterior
from vaecli.vae.safety import quantiles, safety, tau_safety

EDGES = (math.log(float(np.finfo(np.float32).tiny)), math.log(float(np.finfo(np.float32).max)) / 2)


def measured(name, u, text="none", precision="float32"):
    found, scale = statistics(name, text, precision, np.asarray(u, np.float32).reshape(1, -1))
    return {tag: float(value) for tag, value in found.items()} | quantiles("sigma", np.asarray(scale))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def statistics(name, text, precision, u):
    head, given = as_trained(name), parse_bound(text)
    q = posterior(head, given, jnp.zeros_like(u), u, precision)
    return safety(head, given, q, u, precision), q.scale


@pytest.mark.parametrize("size", [1, 2, 10, 2560])
def test_quantiles(size):
    u = np.random.default_rng(size).normal(size=size).astype(np.float32)
    shares = {"min": 0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1}
    of_u = quantiles("u", u.reshape(2, -1) if size > 1 else u)
    for label, share in shares.items():
        assert of_u[f"safety/u/{label}"] == pytest.approx(np.quantile(u, share), rel=1e-5, abs=1e-6)
    by_jax = jnp.quantile(u, jnp.asarray(list(shares.values()), jnp.float32))
    np.testing.assert_array_max_ulp(np.asarray(list(of_u.values()), np.float32), np.asarray(by_jax), 1)


def test_quantiles_of_what_is_not_finite():
    spoilt = quantiles("u", np.asarray([1, np.nan, 2], np.float32))
    assert all(math.isnan(value) for value in spoilt.values())
    assert quantiles("u", np.asarray([-np.inf, 1, 2, np.inf], np.float32))["safety/u/median"] == 1.5


def test_nothing_is_amiss_far_from_the_edges():
    u = np.random.default_rng(0).normal(size=1000)
    found = measured("logstd", u)
    assert found["safety/sigma/q95"] == pytest.approx(np.quantile(np.exp(u), 0.95), rel=1e-5)
    assert found["safety/edge_distance"] == pytest.approx(EDGES[1] - u.max(), rel=1e-5)
    assert found["safety/saturated"] == found["safety/zero_gradient"] == 0


def test_a_clip_saturates_and_has_no_gradient():
    found = measured("clip_logvar", [-40, -30.5, -29.9, 0, 19.96, 19.99, 21, 30])
    assert found["safety/saturated"] == pytest.approx(5 / 8)  # u = 19.99 lies within 1 % of the edge, 19.96 does not
    assert found["safety/zero_gradient"] == pytest.approx(4 / 8)
    assert found["safety/edge_distance"] == 0


def test_a_soft_bound_saturates_with_a_gradient():
    found = measured("sigmoid_std", [-3, 0, 6, 9])
    assert found["safety/saturated"] == pytest.approx(2 / 4)
    assert found["safety/zero_gradient"] == 0
    assert found["safety/edge_distance"] == pytest.approx(math.log1p(math.exp(-9)), rel=1e-2)


def test_a_bound_moves_the_edge():
    assert measured("logstd", [0.0, -1.0], "clip:-2,5")["safety/edge_distance"] == pytest.approx(1)
    floored = measured("logstd", [0.0, -9.0], "floor:0.01")
    assert floored["safety/edge_distance"] == pytest.approx(math.log1p(math.exp(-9) / 0.01), rel=1e-4)
    assert measured("logstd", [-87.0])["safety/edge_distance"] == pytest.approx(-87 - EDGES[0], rel=1e-3)


def test_edges_of_a_precision():
    """σ leaves the normal float16 at 6.1e-5, and float16 at 65504; bfloat16 has the range of float32."""
    assert measured("logstd", [-9.0], precision="float16")["safety/edge_distance"] == pytest.approx(
        14 * math.log(2) - 9
    )
    assert measured("logstd", [11.0], precision="float16")["safety/edge_distance"] == pytest.approx(
        math.log(65504) - 11, abs=1e-3
    )
    for u in (-9.0, 11.0):
        assert measured("logstd", [u], precision="bfloat16") == measured("logstd", [u]) | {
            f"safety/sigma/{label}": measured("logstd", [u], precision="bfloat16")[f"safety/sigma/{label}"]
            for label in ("min", "q05", "median", "q95", "max")
        }


def test_a_singular_point_is_seen():
    found = measured("abs_std", [0.0, 1.0])
    assert found["safety/edge_distance"] == -math.inf
    assert found["safety/sigma/min"] == 0


def test_fixed_has_no_u():
    found = measured("fixed", [0.2, 0.2])
    assert not any(tag.startswith("safety/u") for tag in found)
    assert "safety/zero_gradient" not in found
    assert found["safety/sigma/median"] == pytest.approx(math.exp(0.2), rel=1e-6)


def small_model(chosen):
    program, operands = built(chosen, (3, 4))
    return Model(program, operands, jax.tree.map(jnp.asarray, normal_params(program.architecture)))


def likelihoods_scale(likelihood, u=None, **changes):
    """The statistics of τ of a small network at some images and z, with what they come from, in float64."""
    vae = small_model(config(likelihood=likelihood, **changes))
    if u is not None:
        vae = dataclasses.replace(vae, params=vae.params | {"decoder_scale": {"bias": jnp.asarray(u, jnp.float32)}})
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(0, 256, (6, 12)) / 255, jnp.float32)
    z = jnp.asarray(rng.normal(size=(1, 6, 3)), jnp.float32)

    @jax.jit
    def both():
        decoded = vae.decoder_scale(z)
        return tau_safety(vae, decoded, x), decoded

    found, decoded = jax.device_get(both())
    return {tag: float(value) for tag, value in found.items()}, x, jax.tree.map(np.float64, decoded)


def discretised_logistic(m, log_tau, x):
    """The log mass of a level, whose first and last bin are open, by SciPy."""
    tau = np.exp(log_tau)
    upper = np.where(x == 1, 1.0, stats.logistic.cdf((x + 0.5 / 255 - m) / tau))
    return np.log(upper - np.where(x == 0, 0.0, stats.logistic.cdf((x - 0.5 / 255 - m) / tau)))


LOG_DENSITIES = {
    "gaussian": lambda m, log_tau, x: stats.norm.logpdf(x, m, np.exp(log_tau)),
    "laplace": lambda m, log_tau, x: stats.laplace.logpdf(x, m, np.exp(log_tau)),
    "student": lambda m, log_tau, x: stats.t.logpdf(x, 4, m, np.exp(log_tau)),
    "discretised_logistic": discretised_logistic,
}


@pytest.mark.parametrize(
    ("likelihood", "changes", "u"),
    [
        ("gaussian", {}, None),
        ("gaussian", {"decoder_scale": "optimal"}, -1.5),
        ("gaussian", {"decoder_param": "fixed"}, None),
        ("laplace", {"decoder_scale": "pixel", "decoder_bound": "floor:0.05"}, np.linspace(-20, 1, 12)),
        ("student", {"decoder_scale": "network", "decoder_param": "softplus_std"}, None),
        ("discretised_logistic", {"decoder_scale": "pixel"}, np.linspace(-4, 1, 12)),
    ],
)
def test_scale_of_a_likelihood(likelihood, changes, u):
    found, x, (m, _, log_tau) = likelihoods_scale(likelihood, u, **changes)
    log_density, x, h = LOG_DENSITIES[likelihood], np.float64(np.round(255 * np.float64(x)) / 255), 1e-5
    score = (log_density(m, log_tau + h, x) - log_density(m, log_tau - h, x)) / (2 * h)
    assert found["safety/tau_calibration"] == pytest.approx(1 + score.mean(), rel=1e-4)
    if likelihood == "gaussian":
        assert found["safety/tau_calibration"] == pytest.approx(np.mean((x - m) ** 2 / np.exp(2 * log_tau)), rel=1e-4)
    learned = changes.get("decoder_scale") != "optimal" and changes.get("decoder_param") != "fixed"
    low = math.log(0.05) if "decoder_bound" in changes else -EDGES[1]
    distance = np.minimum(log_tau - low, 2 * EDGES[1] - log_tau)
    assert found["safety/tau_edge_distance"] == pytest.approx(distance.min(), rel=1e-4)
    if learned:
        assert found["safety/tau_saturated"] == pytest.approx((distance < 0.01).mean())
        assert found["safety/tau_saturated"] > 0 or "decoder_bound" not in changes
        assert found["safety/tau_zero_gradient"] == 0
    else:
        assert not {"safety/tau_saturated", "safety/tau_zero_gradient"} & set(found)


def test_a_clip_on_tau_has_no_gradient():
    u = np.append(np.arange(11.0) - 8.5, 1.99)
    found, *_ = likelihoods_scale("gaussian", u, decoder_scale="pixel", decoder_bound="clip:-3,1")
    # Of log τ = u/2, three are below −3, none is above 1, and the last is within 0.01 of it.
    assert found["safety/tau_zero_gradient"] == pytest.approx(3 / 12)
    assert found["safety/tau_saturated"] == pytest.approx(4 / 12)


@pytest.mark.parametrize(
    ("likelihood", "variance"), [("laplace", 1.0), pytest.param("student", 8 / 7, marks=pytest.mark.long)]
)
def test_tau_is_calibrated_where_pixels_are_drawn_from_it(likelihood, variance):
    vae = small_model(config(likelihood=likelihood, decoder_scale="network"))

    @jax.jit
    def calibration():
        decoded = vae.decoder_scale(jax.random.normal(jax.random.key(0), (1, 5000, 3)))
        x = vae.program.likelihood.sample(jax.random.key(1), decoded.outputs, decoded.log_scale)[0]
        return tau_safety(vae, decoded, x)["safety/tau_calibration"]

    # The variance of the score is its information.
    assert float(calibration()) == pytest.approx(1, abs=4 * math.sqrt(variance / 60000))
