"""The heads against mpmath, with 50 digits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from test_steps import operands, program

from vaecli.config import ConfigError
from vaecli.vae.heads import HEADS, head
from vaecli.vae.steps import head_of

mpmath.mp.dps = 50

# log σ at u, straight from the definition of each head.
LOG_SCALE = {
    "logvar": lambda u: u / 2,
    "logstd": lambda u: u,
    "logprec": lambda u: -u / 2,
    "softplus_std": lambda u: mpmath.log(mpmath.log1p(mpmath.exp(u))),
}
# γ = d log σ / du as a function of σ.
GAIN = {
    "logvar": lambda s: mpmath.mpf(1) / 2,
    "logstd": lambda s: mpmath.mpf(1),
    "logprec": lambda s: -mpmath.mpf(1) / 2,
    "softplus_std": lambda s: -mpmath.expm1(-s) / s,
}
U = np.concatenate([np.linspace(-87, 87, 349), [-16.7, -12.001, -12.0, -11.999, -1e-6, 0.0, 1e-6]]).astype(np.float32)


def reference(function, values):
    return np.array([float(function(mpmath.mpf(float(value)))) for value in values])


def close(actual, expected):
    error = np.abs(np.asarray(actual, np.float64) - expected) / np.maximum(1, np.abs(expected))
    assert error.max() <= 1e-6, (error.max(), U[error.argmax()])


def log_scale(name):
    """The head as a training step applies it."""
    return head_of(program(name), operands(name))


@pytest.mark.parametrize("name", HEADS)
def test_log_scale(name):
    close(log_scale(name)(jnp.asarray(U)), reference(LOG_SCALE[name], U))


@pytest.mark.parametrize("name", HEADS)
def test_gain_is_the_derivative(name):
    gain = jax.vmap(jax.grad(log_scale(name)))(jnp.asarray(U))
    close(gain, reference(lambda u: GAIN[name](mpmath.exp(LOG_SCALE[name](u))), U))


@pytest.mark.parametrize("name", HEADS)
def test_inverse(name):
    wanted = np.linspace(-40, 4, 200).astype(np.float32)
    u = head(name).inverse(jnp.asarray(wanted))
    close(reference(LOG_SCALE[name], u), wanted.astype(np.float64))


def test_exponential_heads_are_one_program():
    assert HEADS["logvar"].f is HEADS["logstd"].f is HEADS["logprec"].f


def test_unknown_head_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'softplus_std'"):
        head("softplus")
