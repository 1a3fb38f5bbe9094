"""The networks: shapes, starts and activations."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.decoders import normal_params
from helpers.programs import built, config, drawn_params
from scipy import special

from vaecli.config import ConfigError
from vaecli.vae.architecture import Architecture
from vaecli.vae.networks import ACTIVATIONS, VAE, drawn_network, network, parameters
from vaecli.vae.steps import initial_params


@pytest.mark.parametrize(
    ("image", "hidden"),
    [
        ((28, 28), ()),
        ((9, 14), (5,)),
        *(pytest.param(*case, marks=pytest.mark.long) for case in (((28, 28), (5,)), ((9, 14), ()))),
    ],
)
def test_convolutional_shapes(image, hidden):
    """Those of TensorFlow's tutorial for its images; others are cut from the next larger ones."""
    shape = Architecture(image=image, channels=(3, 4), hidden=hidden, latent=2)

    def shapes():
        params = drawn_params(shape, jax.random.key(0))
        vae = network(shape, params)
        return params, vae.encoder(jnp.zeros((7, shape.pixels))), vae.decode(jnp.zeros((2, 7, 2)))

    params, features, pixels = jax.eval_shape(shapes)
    if image == (28, 28) and not hidden:
        assert features.shape == (7, 6 * 6 * 4)
        assert params["decoder"]["layers"][0]["kernel"].shape == (2, 7 * 7 * 3)
    assert pixels.shape == (2, 7, shape.pixels)
    assert all(leaf.size for leaf in jax.tree.leaves(params))


def test_convolutions_see_the_image_as_it_is():
    """The first layer's features again, by a loop over the windows."""
    shape = Architecture(image=(7, 9), channels=(3,), hidden=(), latent=2)
    params = normal_params(shape)
    x = np.random.default_rng(0).random((2, 63)).astype(np.float32)
    first = jax.tree.map(np.asarray, params["encoder"]["layers"][1])
    exact = np.zeros((2, 3, 4, 3))
    for i, j in itertools.product(range(3), range(4)):
        window = x.reshape(2, 7, 9)[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        exact[:, i, j] = np.tensordot(window, first["kernel"][:, :, 0], 2) + first["bias"]
    found = jax.jit(lambda params: network(shape, params).encoder(jnp.asarray(x)))(params)
    np.testing.assert_allclose(found, np.maximum(exact, 0).reshape(2, -1), rtol=1e-5, atol=1e-6)


def test_too_small_an_image():
    with pytest.raises(ConfigError, match="images of 6x5 pixels are too small for 2 convolutions"):
        Architecture(image=(6, 5), channels=(3, 4), hidden=(), latent=2)


def test_activations():
    """Their definitions in NumPy."""
    x = np.linspace(-4, 4, 33)
    exact = {
        "relu": np.maximum(x, 0),
        "tanh": np.tanh(x),
        "gelu": x * special.ndtr(x),
        "silu": x / (1 + np.exp(-x)),
        "elu": np.where(x > 0, x, np.expm1(x)),
        "leaky_relu": np.where(x > 0, x, 0.01 * x),
        "softplus": np.log1p(np.exp(x)),
        "sigmoid": 1 / (1 + np.exp(-x)),
    }
    assert set(exact) == set(ACTIVATIONS)
    found = jax.jit(lambda x: {name: activation(x) for name, activation in ACTIVATIONS.items()})(np.float32(x))
    for name, values in exact.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("init", "variance", "edge"),
    [
        ("torch", lambda fan_in, fan_out, torch_in: 1 / (3 * torch_in), lambda i, o, t: t**-0.5),
        ("lecun", lambda fan_in, fan_out, torch_in: 1 / fan_in, None),
        ("he", lambda fan_in, fan_out, torch_in: 2 / fan_in, None),
        ("glorot", lambda fan_in, fan_out, torch_in: 2 / (fan_in + fan_out), lambda i, o, t: (6 / (i + o)) ** 0.5),
    ],
)
def test_weights_start_as_their_names_say(init, variance, edge):
    """Variance and bounds of a dense layer, a convolution and a transposed one; PyTorch draws its biases too."""
    shape = Architecture(image=(12, 12), channels=(24, 48), hidden=(60,), latent=20, weight_init=init)

    # Those that are looked at, since the draws of all others would be compiled as well.
    @jax.jit
    def layers(key):
        params = drawn_params(shape, key)
        encoder, decoder = params["encoder"]["layers"], params["decoder"]["layers"]
        transposed = next(leaf for leaf in decoder.values() if leaf["kernel"].ndim == 4)
        return encoder[max(encoder)], encoder[3], transposed

    dense, convolution, transposed = layers(jax.random.key(0))
    for layer, fans in (
        (dense, (2 * 2 * 48, 60, 2 * 2 * 48)),
        (convolution, (9 * 24, 9 * 48, 9 * 24)),
        (transposed, (9 * 24, 9 * 48, 9 * 48)),
    ):
        values = np.asarray(layer["kernel"], np.float64).ravel()
        # The truncated normal is scaled so that its variance is right; its edge is at two of its own deviations.
        spread = 6 / np.sqrt(values.size)
        assert values.var() == pytest.approx(variance(*fans), rel=spread)
        assert values.mean() == pytest.approx(0, abs=4 * np.sqrt(variance(*fans) / values.size))
        if edge:
            assert 0.95 * edge(*fans) < np.abs(values).max() <= edge(*fans)
        bias = np.asarray(layer["bias"])
        assert (np.abs(bias) <= fans[2] ** -0.5).all() and bias.any() if init == "torch" else not bias.any()


def test_draws_together_are_those_of_each_layer():
    """As Flax's layers draw, one after the other."""
    shape = Architecture(image=(5, 5), channels=(2,), hidden=(), latent=2)

    @jax.jit
    def drawn(key):
        return [parameters(shape, vae) for vae in (drawn_network(shape, key), VAE(shape, rngs=nnx.Rngs(key)))]

    together, alone = drawn(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, together, alone)


@pytest.mark.parametrize(
    ("likelihood", "channels"),
    [
        ("bernoulli", ()),
        ("gaussian", (3,)),
        *(pytest.param(*case, marks=pytest.mark.long) for case in (("bernoulli", (3,)), ("gaussian", ()))),
    ],
)
def test_the_decoder_starts_at_the_mean_image(likelihood, channels):
    """Where its features are 0; a convolution has one bias, and starts at the mean pixel."""
    chosen = config(likelihood=likelihood, channels=channels, decoder_bias="mean")
    program, operands = built(chosen, (4, 3))
    mean = jnp.asarray(np.linspace(0, 0.9, 12), jnp.float32)

    @jax.jit
    def begun(operands):
        params = initial_params(program, operands, mean)
        layers = params["decoder"]["layers"]
        last = layers[max(layers)]
        last["kernel"] = jnp.zeros_like(last["kernel"])
        return program.likelihood.mean(network(program.architecture, params).decode(jnp.zeros((1, 1, 3))))[0, 0]

    found = begun(operands)
    expected = np.full(12, np.mean(mean)) if channels else np.asarray(mean)
    # Pixels that are black in every image would start at a logit of −∞.
    expected = np.clip(expected, 0.001, None) if likelihood == "bernoulli" else expected
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("output", "channels"),
    [
        ("network", (3,)),
        ("free", ()),
        pytest.param("network", (), marks=pytest.mark.long),
        pytest.param("free", (3,), marks=pytest.mark.long),
    ],
)
def test_a_factor_on_the_gradient_of_u_is_for_the_layer_that_gives_it(output, channels):
    """Encoder and decoder: the values and the gradients of all else are those without it."""
    free = {"scale_output": output, "decoder_scale": "pixel" if output == "free" else "network"}
    shape = Architecture(image=(6, 5), channels=channels, hidden=(4,), latent=2, **free)
    params = normal_params(shape)
    x = np.random.default_rng(1).random((3, 30)).astype(np.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(with_factor, times):
        def outputs(params, x):
            factor = (lambda u: jnp.full_like(u, times)) if with_factor else None
            mean, u = network(shape, params).encode(x, factor)
            location, of_scale = network(shape, params).decode_with_scale(jnp.stack([mean, u]), factor=factor)
            return (location**2).mean() + jnp.sin(of_scale).sum() + jnp.cos(u).sum()

        return jax.value_and_grad(outputs, (0, 1))(params, jnp.asarray(x))

    plain, same, other = (jax.device_get(gradients(*case)) for case in ((False, 1.0), (True, 1.0), (True, 3.0)))
    for of_one, of_other in zip(*map(jax.tree.leaves, (plain, same)), strict=True):
        np.testing.assert_allclose(of_one, of_other, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(plain[0], other[0], rtol=1e-6)
    np.testing.assert_allclose(plain[1][1], other[1][1], rtol=1e-5, atol=1e-6)
    for block, of_block in plain[1][0].items():
        times = 3 if block in ("scale_head", "decoder_scale") else 1
        for of_one, of_other in zip(*map(jax.tree.leaves, (of_block, other[1][0][block])), strict=True):
            np.testing.assert_allclose(times * of_one, of_other, rtol=1e-5, atol=1e-5)
