"""The convolutions, and their gradients, against a loop over every product of a pixel and a tap in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vaecli.vae.convolutions import Convolution, TransposedConvolution

IN, OUT, BATCH = 3, 4, 2


def products(layer, x, weights):
    """Returns the layer's outputs, and the gradients of their sum with `weights` by inputs, kernel and bias."""
    stride = getattr(layer, "_stride", None)
    kernel = np.asarray(layer.kernel[...], np.float64)
    y = np.tile(np.asarray(layer.bias[...], np.float64)[:, None, None, None], (1, *weights.shape[1:]))
    by_x, by_kernel = np.zeros(x.shape), np.zeros(kernel.shape)
    inner, outer = (weights, x) if stride is None else (x, weights)
    for m, n, a, b in itertools.product(*map(range, inner.shape[1:3]), range(3), range(3)):
        row, column = (stride or 2) * m + a - (stride == 1), (stride or 2) * n + b - (stride == 1)
        if not (0 <= row < outer.shape[1] and 0 <= column < outer.shape[2]):
            continue
        into, out, tap = (row, column), (m, n), np.s_[a, b]
        if stride is not None:
            into, out, tap = out, into, np.s_[:, a, b]
        into, out = (slice(None), *into), (slice(None), *out)
        y[out] += kernel[tap].T @ x[into]
        by_x[into] += kernel[tap] @ weights[out]
        by_kernel[tap] += x[into] @ weights[out].T
    return y, (by_x, by_kernel, weights.sum((1, 2, 3)))


def normal_of(rng):
    """A draw of normal numbers by NumPy, which compiles nothing, and how a layer asks for it."""

    def normal(key, shape, dtype):
        return jnp.asarray(rng.normal(size=shape), dtype)

    return normal, {"rngs": nnx.Rngs(0), "kernel_init": normal, "bias_init": normal}


KINDS = {"convolution": None, "transposed, stride 1": 1, "transposed, stride 2": 2}
SIDES = [(5, 8), (3, 4), (6, 7)]


@pytest.mark.parametrize(
    ("stride", "rows", "columns"),
    [
        # With and without a remainder; the sides of those that are transposed are always multiples.
        pytest.param(
            stride,
            *sides,
            id=f"{kind}-{sides}",
            marks=[pytest.mark.long] * (sides != (5, 8) and (stride, sides) != (None, (6, 7))),
        )
        for (kind, stride), sides in itertools.product(KINDS.items(), SIDES)
    ],
)
def test_layers(stride, rows, columns):
    """Sides that the stride divides, with and without a remainder."""
    normal, draws = normal_of(np.random.default_rng(rows))
    layer = (
        TransposedConvolution(IN, OUT, stride, "float32", **draws)
        if stride
        else Convolution(IN, OUT, "float32", **draws)
    )
    sizes = (rows * stride, columns * stride) if stride else ((rows - 1) // 2, (columns - 1) // 2)
    x = normal(None, (IN, rows, columns, BATCH), jnp.float32)
    weights = normal(None, (OUT, *sizes, BATCH), jnp.float32)

    graph, params = nnx.split(layer)

    def outputs(x, params):
        y = nnx.merge(graph, params)(x)
        return (y * weights).sum(), y

    (by_x, by_params), y = jax.jit(jax.grad(outputs, (0, 1), has_aux=True))(x, params)
    gradients = (by_x, by_params.kernel[...], by_params.bias[...])
    exact, exact_gradients = products(layer, np.asarray(x, np.float64), np.asarray(weights, np.float64))
    np.testing.assert_allclose(y, exact, rtol=1e-5, atol=1e-5)
    for gradient, value in zip(gradients, exact_gradients, strict=True):
        np.testing.assert_allclose(gradient, value, rtol=1e-5, atol=2e-5)


def test_many_networks_at_once():
    """As on an accelerator, where the seeds of a batch have kernels of their own."""
    normal, draws = normal_of(np.random.default_rng(0))
    layers = [TransposedConvolution(IN, OUT, 2, "float32", **draws) for _ in range(2)]
    graph = nnx.split(layers[0])[0]
    params = [nnx.split(layer)[1] for layer in layers]
    x = normal(None, (2, IN, 3, 4, BATCH), jnp.float32)

    @jax.jit
    def gradient(params, x):
        return jax.grad(lambda params: (nnx.merge(graph, params)(x) ** 2).sum())(params)

    together = jax.jit(jax.vmap(gradient))(jax.tree.map(lambda *leaves: np.stack(leaves), *params), x)
    alone = [gradient(*each) for each in zip(params, x, strict=True)]
    jax.tree.map(lambda a, *b: np.testing.assert_allclose(a, np.stack(b), rtol=1e-5, atol=1e-5), together, *alone)
