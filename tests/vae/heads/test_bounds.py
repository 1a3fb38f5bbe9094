import itertools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from helpers import reference
from helpers.heads import LEARNED, as_trained

from vaecli.config import ConfigError
from vaecli.vae.heads.bounds import parse_bound
from vaecli.vae.posterior import bounded_log_scale, posterior


def softplus(x):
    return mpmath.log(1 + mpmath.exp(x))


BOUNDS = {
    "none": lambda s: s,
    "clip:-4,1.5": lambda s: min(max(s, mpmath.mpf(-4)), mpmath.mpf(1.5)),
    "tanh:3": lambda s: 3 * mpmath.tanh(s / 3),
    "sigmoid:-4.5,1.25": lambda s: mpmath.mpf(-4.5) + mpmath.mpf(5.75) / (1 + mpmath.exp(-2 * (s + 1.625) / 2.875)),
    "soft:-4,1.5": lambda s: -4 + softplus(1.5 - softplus(1.5 - s) + 4),
    "soft:-60,45": lambda s: -60 + softplus(45 - softplus(45 - s) + 60),
    "floor:1e-3": lambda s: mpmath.log(mpmath.exp(s) + mpmath.mpf(1e-3)),
    "varfloor:1e-4": lambda s: mpmath.log(mpmath.sqrt(mpmath.exp(2 * s) + mpmath.mpf(1e-4))),
}
U = np.linspace(-40.03, 40.03, 161).astype(np.float32)


# Every bound over an affine head; and every head behind one of the bounds in turn, so that each has others before it.
PAIRS = list(itertools.product(LEARNED, BOUNDS))
QUICK = {*itertools.product(("logvar",), BOUNDS), *zip(LEARNED, itertools.cycle(BOUNDS))}


@pytest.mark.parametrize(
    ("name", "text"), [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.long) for pair in PAIRS]
)
def test_bound_over_any_head(name, text):
    """log σ and its derivative against mpmath, and one σ for sampling and for the KL."""
    given, head = parse_bound(text), as_trained(name)

    @jax.jit
    def measured(u):
        value_and_gain = jax.vmap(jax.value_and_grad(lambda u: bounded_log_scale(head, given, u)))(u)
        return *value_and_gain, posterior(head, given, jnp.zeros((1, len(u))), u[None])

    values, gains, q = jax.device_get(measured(U))
    np.testing.assert_allclose(q.scale, np.exp(np.asarray(q.log_scale, np.float64)), rtol=4e-6)
    for u, value, gain in zip(U, values, gains, strict=True):
        raw, first, _ = reference.derivatives(name, float(u))
        if not mpmath.isfinite(raw):
            continue
        wanted = BOUNDS[text](raw)
        assert abs(float(value) - wanted) <= 1e-6 * max(1, abs(wanted)), (u, value)
        if first is not None:
            h = mpmath.mpf(10) ** -30
            slope = first * (BOUNDS[text](raw + h) - BOUNDS[text](raw - h)) / (2 * h)
            assert abs(float(gain) - slope) <= 1e-6 * max(1, abs(slope)), (u, gain, slope)


def test_no_gradient_beyond_a_clip():
    gain = jax.jit(jax.grad(lambda u: bounded_log_scale(as_trained("logstd"), parse_bound("clip:-1,1"), u)))
    assert [float(gain(u)) for u in (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)] == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("text", BOUNDS)
def test_inverse_and_limits(text):
    given = parse_bound(text)
    low, high = given.limits(-math.inf, math.inf)
    for log_scale in (-2.9, -0.5, 1.0):
        assert low < log_scale < high
        assert float(BOUNDS[text](mpmath.mpf(given.inverse(log_scale)))) == pytest.approx(log_scale, rel=1e-12)
    for far, limit in ((-1e6, low), (1e6, high)):
        assert limit == pytest.approx(float(BOUNDS[text](mpmath.mpf(far))), rel=1e-12) or math.isinf(limit)


NONSENSE = [
    "clip",
    "clip:",
    "clip:1",
    "clip:1,2,3",
    "clip:2,1",
    "clip:1,1",
    "clip:a,b",
    "clip:-inf,1",
    "clip:nan,1",
    "clip:1,,2",
    "clip:1;2",
    "Clip:1,2",
    "tanh",
    "tanh:0",
    "tanh:-1",
    "tanh:inf",
    "tanh:1,2",
    "sigmoid",
    "sigmoid:1",
    "sigmoid:2,1",
    "sigmoid:1,1",
    "sigmoid:0,1e-31",
    "sigmoid:-1e300,1e300",
    "soft:2,1",
    "soft:1,1",
    "soft:nan,1",
    "soft:1,inf",
    "varfloor",
    "varfloor:0",
    "varfloor:-1",
    "varfloor:1e-50",
    "varfloor:1,2",
    "floor",
    "floor:0",
    "floor:-1e-3",
    "floor:nan",
    "floor:1e-50",
    "none:1",
    "soft:1",
]


@pytest.mark.parametrize("text", ["", *NONSENSE])
def test_nonsense_is_refused(text):
    with pytest.raises(ConfigError, match="bound") as refused:
        parse_bound(text)
    assert repr(text) in refused.value.message
