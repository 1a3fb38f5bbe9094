"""Arithmetic in fewer bits, against the same in NumPy with the types themselves: `ml_dtypes` has bfloat16."""

import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from helpers.programs import BATCH, IMAGES, MEAN, PIXELS, initial_state, operands, program, schedule_values

from vaecli.vae import steps
from vaecli.vae.batches import Stream, stream
from vaecli.vae.precision import held, product, rounded

TYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
NARROW = pytest.mark.parametrize("precision", TYPES)


def narrow(x, precision):
    """The nearest number of a precision, as a float64."""
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float32).astype(TYPES.get(precision, np.float32)).astype(np.float64)


def numbers():
    """Normal and subnormal numbers, ties, the ends of both ranges, and what is no number."""
    random = np.random.default_rng(0)
    spread = random.normal(size=4000) * np.exp2(random.uniform(-30, 20, 4000))
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = np.sort(halves[np.isfinite(halves)])
    ends = [65519.99, 65520, 1e38, 3.3895e38, 3.39e38, 2.0**-25, 1.01 * 2.0**-25, 0.0, -0.0, np.inf, -np.inf, np.nan]
    x = np.concatenate([spread, halves, (halves[1:] + halves[:-1]) / 2, ends]).astype(np.float32)
    return x[(x == 0) | ~(np.abs(x) < np.finfo(np.float32).tiny)]


@NARROW
def test_rounded_is_a_conversion(precision):
    """Also where XLA could do without: between two operations that it fuses."""
    x = numbers()
    with np.errstate(over="ignore"):
        expected = narrow(x, precision)
    np.testing.assert_array_equal(np.asarray(jax.jit(lambda x: rounded(x, precision))(x)), expected)
    fused = jax.jit(lambda x: rounded(x * 1.5, precision) - x)(x[np.abs(x) < 1e4])
    small = x[np.abs(x) < 1e4]
    np.testing.assert_array_equal(
        np.asarray(fused), (narrow(np.float32(1.5) * small, precision).astype(np.float32) - small)
    )


@NARROW
def test_held_rounds_its_gradient(precision):
    x = jnp.asarray([0.1, -3.3, 1e-6])
    value, back = jax.vjp(lambda x: held(x, precision), x)
    np.testing.assert_array_equal(np.asarray(value), narrow(x, precision))
    (gradient,) = back(jnp.asarray([1.001, 1e-7, -0.3]))
    np.testing.assert_array_equal(np.asarray(gradient), narrow([1.001, 1e-7, -0.3], precision))


@functools.partial(jax.jit, static_argnums=0)
def product_and_gradients(of, x, kernel, arriving):
    value, back = jax.vjp(of, x, kernel)
    return value, *back(arriving)


@NARROW
def test_products_add_up_in_float32(precision):
    """Factors, arriving gradient and the input's gradient are rounded; sums, and the kernel's gradient, are not."""
    x, kernel, arriving = (np.random.default_rng(k).normal(size=s) for k, s in enumerate([(6, 300), (300, 4), (6, 4)]))
    given = [jnp.asarray(a, jnp.float32) for a in (x, kernel, arriving)]
    value, by_x, by_kernel = product_and_gradients(lambda x, k: product(x, k, precision), *given)
    x, kernel, arriving = (narrow(a, precision) for a in (x, kernel, arriving))
    np.testing.assert_allclose(np.asarray(value), x @ kernel, atol=1e-4)
    np.testing.assert_allclose(np.asarray(by_kernel), x.T @ arriving, atol=1e-5)
    assert (np.asarray(by_kernel) != narrow(by_kernel, precision)).any()
    np.testing.assert_array_equal(np.asarray(by_x), narrow(by_x, precision))
    np.testing.assert_allclose(np.asarray(by_x), arriving @ kernel.T, rtol=2.0**-8, atol=1e-3)


@NARROW
def test_products_of_columns_round_as_those_of_rows_do(precision):
    random = np.random.default_rng(0)
    x, kernel, arriving = (random.normal(size=shape).astype(np.float32) for shape in [(6, 30), (30, 4), (6, 4)])
    results = []
    for of in (lambda x, k: product(x, k, precision), lambda x, k: product(x.T, k, precision, columns=True).T):
        results.append(product_and_gradients(of, x, kernel, arriving))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=2.0**-7, atol=1e-5)


@pytest.mark.parametrize(
    ("precision", "head"),
    [
        ("bfloat16", "float32"),
        ("float16", "float16"),
        pytest.param("bfloat16", "bfloat16", marks=pytest.mark.long),
    ],
)
def test_gradient_of_a_step_is_that_of_arithmetic_in_numpy(precision, head):
    """A network with a hidden layer, forwards and backwards, step by step as docs/heads.md says; no XLA."""
    chosen = {"precision": precision, "head_precision": head, "activation": "tanh", "name": "softplus_std"}
    of_config, given = program(**chosen), operands(**chosen)
    images = jax.random.randint(jax.random.key(1), (IMAGES, PIXELS), 0, 256).astype(jnp.uint8)
    # The weights are drawn in float32 and stay it; their draws take long to compile.
    state = steps.initial_state(of_config, given, initial_state(program(), operands(**chosen), MEAN).params)
    step = jax.jit(steps.step_gradient, static_argnums=0)
    seen, sums = step(of_config, given, images, state, jnp.arange(BATCH), schedule_values())

    key = jax.random.fold_in(stream(given.key, Stream.EPSILON), 0)
    epsilon = np.asarray(jax.random.normal(key, (BATCH, 3)), np.float64)
    weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
    expected, reconstruction, kl = by_hand(weights, np.asarray(images[:BATCH]) / 255, epsilon, precision, head)
    assert float(sums.reconstruction) == pytest.approx(reconstruction, rel=1e-5)
    assert float(sums.kl) == pytest.approx(kl, rel=1e-5)
    exact, *_ = by_hand(weights, np.asarray(images[:BATCH]) / 255, epsilon, "float32", "float32")
    for path, leaf in jax.tree_util.tree_leaves_with_path(seen):
        by_numpy, unrounded = (np.asarray(jax.tree_util.tree_leaves(of_path(t, path))[0]) for t in (expected, exact))
        error, effect = np.abs(np.asarray(leaf) - by_numpy).max(), np.abs(unrounded - by_numpy).max()
        assert error < 2e-5 * np.abs(by_numpy).max()
        assert error < effect / 5


def of_path(tree, path):
    for key in path:
        tree = tree[key.key]
    return tree


def by_hand(weights, x, epsilon, precision, head):
    """The gradient of −ELBO averaged over the batch, in float64 but for what is rounded; softplus_std, tanh."""

    def low(values):
        return narrow(values, precision)

    def high(values):
        return narrow(values, head)

    (first,), (second, last) = ([*weights[part]["layers"].values()] for part in ("encoder", "decoder"))
    loc_head, scale_head = weights["mean_head"], weights["scale_head"]

    def dense(inputs, layer):
        return low(inputs) @ low(layer["kernel"]) + layer["bias"]

    def backwards(inputs, layer, gradient):
        by_layer = {"bias": gradient.sum(0), "kernel": low(inputs).T @ low(gradient)}
        return by_layer, low(gradient) @ low(layer["kernel"]).T

    h = np.tanh(dense(x, first))
    mu, u = dense(h, loc_head), high(dense(h, scale_head))
    sigma_exact = np.logaddexp(0, u)
    sigma, log_sigma = high(sigma_exact), high(np.log(sigma_exact))
    z = mu + sigma * epsilon
    g = np.tanh(dense(z, second))
    logits = dense(g, last)
    reconstruction = (x * logits - np.logaddexp(0, logits)).sum()
    # As the program takes it: from log σ up to 1/2, from σ above.
    wide = log_sigma > 0.5
    kl = (0.5 * mu**2 + np.where(wide, 0.5 * sigma**2 - 0.5, 0.5 * np.expm1(2 * log_sigma)) - log_sigma).sum()

    count = len(x)
    by_logits = (1 / (1 + np.exp(-logits)) - x) / count
    last_gradient, by_g = backwards(g, last, by_logits)
    second_gradient, by_z = backwards(z, second, low(by_g) * (1 - g**2))
    by_z = low(by_z)
    by_mu = by_z + mu / count
    by_sigma = high(by_z * epsilon + np.where(wide, sigma, 0) / count)
    by_log_sigma = high((np.where(wide, 0, np.exp(2 * log_sigma)) - 1) / count)
    slope = 1 / (1 + np.exp(-u))
    by_u = high(by_sigma * slope + by_log_sigma * slope / sigma_exact)
    loc_gradient, _ = backwards(h, loc_head, by_mu)
    scale_gradient, _ = backwards(h, scale_head, by_u)
    # The two heads are one product, whose sum is rounded once.
    both = low(by_mu) @ low(loc_head["kernel"]).T + low(by_u) @ low(scale_head["kernel"]).T
    first_gradient, _ = backwards(x, first, low(both) * (1 - h**2))
    gradients = {
        "encoder": dict(zip(weights["encoder"]["layers"], [first_gradient], strict=True)),
        "decoder": dict(zip(weights["decoder"]["layers"], [second_gradient, last_gradient], strict=True)),
    }
    layers = {block: {"layers": of_block} for block, of_block in gradients.items()}
    return {**layers, "mean_head": loc_gradient, "scale_head": scale_gradient}, reconstruction, kl
