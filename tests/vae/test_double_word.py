import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import mp, mpf

from vaecli.vae import double_word


def errors(pair, exact, *arguments):
    """The relative errors of pairs."""
    first, second = (np.asarray(word).tolist() for word in pair)
    points = zip(*(np.asarray(argument).tolist() for argument in arguments), strict=True)
    with mp.workdps(40):
        references = [exact(*map(mpf, point)) for point in points]
        sums = [mpf(one) + mpf(other) for one, other in zip(first, second, strict=True)]
        return np.array([float(abs(s / r - 1)) for s, r in zip(sums, references, strict=True)])


def test_exp_pair():
    x = jnp.asarray(np.concatenate([np.random.default_rng(0).uniform(-70, 70, 300), [0, 15, -15, 1e-6]]), jnp.float32)
    first, second = jax.jit(double_word.exp_pair)(x)
    assert errors((first, second), mp.exp, x).max() < 1e-8
    np.testing.assert_array_equal(first, double_word.first_word(first))
    with jax.enable_x64(True):
        assert errors(double_word.exp_pair(jnp.asarray(x, jnp.float64)), mp.exp, x).max() < 1e-12


def test_log1p_pair():
    rng = np.random.default_rng(0)
    y = np.exp(np.concatenate([rng.uniform(-30, 40, 200), rng.uniform(-4, 4, 100)])).astype(np.float32)
    # A first word may be 2 % off.
    first = double_word.first_word(jnp.asarray(y * rng.uniform(0.985, 1.015, y.size), jnp.float32))
    pair = jax.jit(double_word.log1p_pair)((first, y - first))
    assert errors(pair, mp.log1p, y).max() < 2e-8


@pytest.mark.parametrize("number", [0.5, 3.0, 255.0, 1e6 + 0.3])
def test_products_squares_and_quotients(number):
    rng = np.random.default_rng(0)
    x, m, t = (
        jnp.asarray(v, jnp.float32) for v in (rng.random(100), rng.uniform(-2, 2, 100), rng.uniform(-15, 15, 100))
    )

    @jax.jit
    def computed(x, m, t):
        pair = double_word.product(double_word.difference_pair(x, m), double_word.exp_pair(t))
        return pair, double_word.quotient(double_word.square(pair), number)

    pair, quotient = computed(x, m, t)
    assert errors(pair, lambda x, m, t: (x - m) * mp.exp(t), x, m, t).max() < 1e-8
    assert errors(quotient, lambda x, m, t: ((x - m) * mp.exp(t)) ** 2 / mpf(number), x, m, t).max() < 2e-8
    np.testing.assert_array_equal(quotient[0], double_word.first_word(quotient[0]))


def test_a_sum_of_terms_that_cancel():
    total = double_word.sum_of(jnp.float32(-15.3), jnp.float32(15.3), jnp.float32(1e-9))
    assert float(total) == pytest.approx(1e-9)
    rounded, lost = double_word.two_sum(jnp.float32(1), jnp.float32(1e-9))
    assert (float(rounded), float(lost)) == (1, float(np.float32(1e-9)))
    assert float(double_word.sum_of(jnp.float32(-np.inf), jnp.float32(87), jnp.float32(1))) == -np.inf
