"""The figures of `vae heads`, measured, against what theory and the floating-point types say."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import ml_dtypes
import mpmath
import numpy as np
import pytest
from helpers import reference
from helpers.heads import LEARNED

from vaecli import Head
from vaecli.vae.characteristics import GAIN_AT, RESOLUTION_AT, characteristics, curves, table
from vaecli.vae.heads.table import HEADS
from vaecli.vae.matching import inverse_and_gain
from vaecli.vae.posterior import Posterior
from vaecli.vae.terms import kl_divergence
from vaecli.verify.oracles import GAINS

TINY, MAX = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@functools.cache
def measured(name):
    return characteristics(HEADS[name])


def some(names):
    """These heads, those of them long whose map is another one's but for a factor on σ, u or log σ."""
    return [pytest.param(name, marks=[pytest.mark.long] * (name in LIKE_OTHERS)) for name in names]


LIKE_OTHERS = {"softplus_var", "softplus_ln2", "natural"}


@pytest.mark.parametrize("name", some(HEADS))
def test_gain_and_start(name):
    found, head = measured(name), HEADS[name]
    assert found.sigma_at_zero == pytest.approx(float(reference.sigma(name, mpmath.mpf(0))), rel=1e-6)
    for sigma, gain in zip(GAIN_AT, found.gain, strict=True):
        if gain is None:
            assert not head.limits[0] < math.log(sigma) < head.limits[1]
        else:
            assert gain == pytest.approx(float(GAINS[name](mpmath.mpf(sigma), mpmath)), rel=1e-5)
    if head.learned:
        assert float(reference.sigma(name, mpmath.mpf(found.inverse_at_1))) == pytest.approx(1, rel=1e-6)


def test_safe_ranges():
    """The ends where σ leaves the normal numbers, or where the KL, at large σ half its square, or dKL/du overflows."""
    assert measured("logstd").safe_float32 == (pytest.approx(math.log(TINY)), pytest.approx(math.log(MAX) / 2))
    assert measured("logvar").safe_float32[0] == pytest.approx(2 * math.log(TINY))
    assert measured("clip_logvar").safe_float32 == (pytest.approx(-30), pytest.approx(20))
    for name in ("std", "abs_std"):
        low, high = measured(name).safe_float32
        assert (low, high) == (pytest.approx(TINY), pytest.approx(math.sqrt(MAX) * math.sqrt(2), rel=1e-3))
    assert measured("square_std").safe_float32[0] == pytest.approx(math.sqrt(TINY))
    assert measured("elu_std").safe_float32[1] == pytest.approx(math.sqrt(MAX) * math.sqrt(2), rel=1e-3)
    assert measured("fixed").safe_float32 is None


IN_BFLOAT16 = ["logvar", "softplus_std", "elu_std", "square_std"]


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *(pytest.param(*one.values, "float32", marks=one.marks) for one in some(LEARNED)),
        *((name, "bfloat16") for name in IN_BFLOAT16),
        *(pytest.param(name, "bfloat16", marks=pytest.mark.long) for name in LEARNED if name not in IN_BFLOAT16),
    ],
)
def test_safe_ranges_hold_and_end(name, precision):
    """Every u between the ends is safe, in that type, and the neighbour beyond is not; seen head by head."""
    low, high = getattr(measured(name), f"safe_{precision}")
    assert low < measured(name).inverse_at_1 < high
    inside = np.linspace(max(low, -1e3), min(high, 1e3), 999)
    for edge, beyond in ((low, -math.inf), (high, math.inf)):
        neighbour = jnp.nextafter(jnp.asarray(edge, precision), jnp.asarray(beyond, precision))
        u = jnp.concatenate([jnp.asarray([*inside, edge], precision), neighbour[None]])
        safe = safe_at(HEADS[name].form, jnp.asarray(HEADS[name].slope, precision), u)
        assert safe[:-1].all()
        assert not safe[-1]


@functools.partial(jax.jit, static_argnums=0)
def safe_at(form, slope, u):
    """The definition again, quantity by quantity, in the type of u."""
    head = dataclasses.replace(form, slope=slope)
    scale, log_scale = head.scale(u), head.log_scale(u)

    def kl_at(v):
        return kl_divergence(Posterior(jnp.zeros_like(v)[None], head.log_scale(v)[None], head.scale(v)[None]))[0]

    # Each u has a term of its own in a sum.
    gain = jax.grad(lambda v: head.log_scale(v).sum())(u)
    kl_gradient = jax.grad(lambda v: kl_at(v).sum())(u)
    finite = [jnp.isfinite(values) for values in (scale, log_scale, gain, kl_at(u), kl_gradient)]
    return jnp.stack([*finite, scale > 0, gain != 0]).all(axis=0)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", some(LEARNED))
def test_resolution_counts_the_floats(name, precision):
    """Beyond u there are as many numbers of a type as σ has steps: every one of them is tried."""
    dtype = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}[precision]
    with np.errstate(invalid="ignore"):
        numbers = np.arange(2**16, dtype=np.uint16).view(dtype).astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    for sigma, step in zip(RESOLUTION_AT, measured(name).resolution[precision], strict=True):
        (u,), _ = inverse_and_gain(HEADS[name], np.log([sigma]))
        if abs(u) < 1e-6:
            # Next to 0 lies the least subnormal number.
            assert step <= 2.0**-24
            continue
        beyond = np.unique(numbers[(numbers / u >= 1) & (numbers / u < 1.1)])
        distances = np.array([abs(float(mpmath.log(reference.sigma(name, mpmath.mpf(v)) / sigma))) for v in beyond])
        assert (distances < 8 * step).sum() == pytest.approx(8, abs=1)


@pytest.mark.parametrize("name", some(LEARNED))
def test_resolution_in_float32_is_that_of_the_neighbour(name):
    """Where theory has it: |γ| times the spacing, which lies between |γu| 2⁻ᵖ and twice that, with p = 24 digits."""
    (u,), (gain,) = inverse_and_gain(HEADS[name], np.log([0.05]))
    step = measured(name).resolution["float32"][0]
    assert step == pytest.approx(abs(gain) * float(np.spacing(np.float32(abs(u)))), rel=1e-6)
    assert 1 <= step / (abs(gain * u) * 2.0**-24) <= 2


def test_resolution_in_bfloat16_by_hand():
    assert measured("logvar").resolution["bfloat16"][0] == pytest.approx(0.5 * 2.0**-5)
    assert measured("abs_std").resolution["bfloat16"][0] == pytest.approx(20 * 2.0**-12)
    assert measured("fixed").resolution["bfloat16"] == (None, None)


def test_table_is_json_without_nonsense():
    rows = table([HEADS["sigmoid_std"], HEADS["fixed"], Head(f=lambda u: abs(u) + 1, name="my:own")])
    assert rows[0]["gain"] == {"0.05": 0.975, "0.2": 0.9, "1": 0.5, "5": None}
    assert rows[1]["safe_float32"] is None
    assert rows[2]["inverse_at_1"] is None
    assert rows[2]["gain"]["5"] == 1


def test_curves():
    drawn = curves(HEADS["softplus_std"])
    np.testing.assert_allclose(drawn.sigma, np.log1p(np.exp(drawn.u)), rtol=1e-5)
    np.testing.assert_allclose(drawn.gain, -np.expm1(-drawn.sigma_axis) / drawn.sigma_axis, rtol=1e-5)
    assert np.isnan(curves(HEADS["sigmoid_std"]).gain[-1])
    assert (curves(HEADS["fixed"]).gain == 0).all()
