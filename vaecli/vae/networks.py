"""The encoder and decoder, as Flax NNX modules that hold parameters and nothing else."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jaxtyping import Float, Key

from vaecli.vae.architecture import KERNEL, STRIDE, Architecture, Params
from vaecli.vae.convolutions import Convolution, TransposedConvolution
from vaecli.vae.precision import Precision, dot_general, product
from vaecli.vae.scaled_gradient import scale_gradient, split_gradient
from vaecli.vae.threefry import threefry2x32, uniform_of_bits

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
}

_PARTS = 8
"""The parts in which the initial weights of a network are drawn, one after the other."""


class Decoder(nnx.Sequential):
    """The layers from z to the outputs for each pixel."""

    @property
    def _last(self) -> int:
        """The place of the layer whose outputs are those of the pixels."""
        layers = enumerate(self.layers)
        return [place for place, layer in layers if isinstance(layer, nnx.Linear | TransposedConvolution)][-1]

    @property
    def output_bias(self) -> Any:
        """The bias of the last layer: one for each pixel or, of a convolution, one for all of them."""
        layer: Any = self.layers[self._last]
        return layer.bias

    def features(self, z: Array) -> Array:
        """Returns what the last layer receives."""
        return functools.reduce(lambda h, layer: layer(h), self.layers[: self._last], z)

    def outputs(self, features: Array, last: Any = None) -> Array:
        """Returns what the last layer, or another in its place, makes of its input: (rows, pixels)."""
        place = self._last
        h = (self.layers[place] if last is None else last)(features)
        return functools.reduce(lambda h, layer: layer(h), self.layers[place + 1 :], h)


class FreeScale(nnx.Module):
    """Numbers u that depend on no input."""

    def __init__(self, shape: tuple[int, ...]):
        self.bias = nnx.Param(jnp.zeros(shape, jnp.float32))


Factor = Callable[[Array], Array]
"""What a gradient by u is multiplied by, elementwise, as a function of u."""


class VAE(nnx.Module):
    """An encoder q(z|x) and a decoder p(x|z): an MLP each, with convolutions on the side of the image if there are any.

    The convolutions are those of TensorFlow's tutorial on convolutional VAEs: 3×3, stride 2, unpadded in the encoder;
    transposed in the decoder, after a dense layer to as many maps as the first of them has channels, with one more of
    stride 1 at the end. Its attributes are the blocks; `encoder` is the trunk before the two heads, and `decoder_scale`
    what the likelihood's u comes from.
    """

    def __init__(
        self, architecture: Architecture, *, rngs: nnx.Rngs, uniform: Callable[..., Array] = jax.random.uniform
    ):
        a, make = architecture, _Layers(architecture, rngs, uniform)
        self._precision: Precision = a.precision
        trunk = (math.prod(a.encoded) * a.channels[-1] if a.channels else a.pixels, *a.hidden)
        layers = make.convolutions() + make.dense(trunk, last=True)
        self.encoder = nnx.Sequential(*layers)
        self.mean_head = make.linear(trunk[-1], a.latent)
        free = FreeScale((a.latent,)) if a.scale_output == "free" else None
        self.scale_head = make.linear(trunk[-1], a.latent) if a.scale_output == "network" else free
        maps = math.prod(a.decoded) * a.channels[0] if a.channels else a.pixels
        layers = make.dense((a.latent, *reversed(a.hidden), maps), last=bool(a.channels))
        self.decoder = Decoder(*layers, *make.transposed_convolutions())
        # The last, so that the draws of the others are the same without it.
        self.decoder_scale = make.decoder_scale()

    def encode(
        self, x: Float[Array, "batch pixels"], factor: Factor | None = None
    ) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"] | None]:
        """Returns the encoder's outputs: the mean, and the head's unconstrained input u where there is one.

        With a `factor`, the gradient of what gives u is multiplied by it on its way to those parameters, and nowhere
        else.
        """
        mean, scale = self.mean_head, self.scale_head
        if not isinstance(scale, nnx.Linear):
            loc = mean(self.encoder(x))
            return loc, None if scale is None else self._own(jnp.broadcast_to(scale.bias[...][None], loc.shape), factor)
        # The heads are two blocks, but one matrix product: two narrow ones cost a CPU 3 % of a training step.
        assert mean.bias is not None
        assert scale.bias is not None
        features, of_scale = self.encoder(x), (scale.kernel[...], scale.bias[...])
        through = of_scale if factor is None else lax.stop_gradient(of_scale)
        kernel = jnp.concatenate([mean.kernel[...], through[0]], axis=1)
        bias = jnp.concatenate([mean.bias[...], through[1]])
        loc, u = jnp.split(product(features, kernel, self._precision) + bias[None], 2, axis=1)
        if factor is not None:
            again = product(lax.stop_gradient(features), of_scale[0], self._precision) + of_scale[1][None]
            u = split_gradient(u, again, factor(u))
        return loc, u

    @staticmethod
    def _own(u: Array, factor: Factor | None) -> Array:
        return u if factor is None else scale_gradient(u, factor(u))

    def decode(self, z: Float[Array, "samples batch latent"]) -> Float[Array, "samples batch pixels"]:
        """Returns what p(x|z) is made from, for each pixel: a logit or a location."""
        return self._of_draws(z, self.decoder(z.reshape(-1, z.shape[-1])))

    def decode_with_scale(
        self, z: Float[Array, "samples batch latent"], *, apart: bool = False, factor: Factor | None = None
    ) -> tuple[Float[Array, "samples batch pixels"], Float[Array, "..."]]:
        """Returns the same, and the likelihood's u: (), (1, 1, pixels), or (samples, batch, pixels).

        With `apart`, no gradient goes from u to the decoder's other layers and to z; with a `factor`, that of u is
        multiplied by it on its way to the parameters that give u, and nowhere else.
        """
        scale = self.decoder_scale
        if isinstance(scale, FreeScale):
            u = self._own(scale.bias[...], factor)
            return self.decode(z), u[None, None] if u.ndim else u
        features = self.decoder.features(z.reshape(-1, z.shape[-1]))
        outputs, held = self.decoder.outputs(features), lax.stop_gradient(features)
        u = self.decoder.outputs(held if apart or factor else features, scale)
        if factor is not None:
            graph, parameters = nnx.split(scale)
            through = nnx.merge(graph, jax.tree.map(lax.stop_gradient, parameters))
            u = split_gradient(self.decoder.outputs(features, through), u, factor(u))
        return self._of_draws(z, outputs), self._of_draws(z, u)

    @staticmethod
    def _of_draws(z: Array, rows: Array) -> Array:
        return rows.reshape(*z.shape[:-1], rows.shape[-1])


class _Layers:
    """Makes the layers of an architecture, the activations between them included."""

    def __init__(self, architecture: Architecture, rngs: nnx.Rngs, uniform: Callable[..., Array]):
        self._architecture = architecture
        self._rngs = rngs
        self._uniform = uniform
        self._activation = ACTIVATIONS[architecture.activation]

    def linear(self, fan_in: int, fan_out: int) -> nnx.Linear:
        dot = dot_general(self._architecture.precision)
        return nnx.Linear(fan_in, fan_out, rngs=self._rngs, dot_general=dot, **self._init(fan_in))

    def dense(self, widths: Sequence[int], *, last: bool) -> list[Any]:
        """Returns dense layers, each with an activation after it; the last one has it only if `last`."""
        layers = []
        for index, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            layers.append(self.linear(fan_in, fan_out))
            if last or index < len(widths) - 2:
                layers.append(self._activation)
        return layers

    def convolutions(self) -> list[Any]:
        """Returns the layers from rows of pixels to rows of features."""
        a, layers = self._architecture, []
        for inputs, outputs in itertools.pairwise((1, *a.channels)):
            init = self._init(inputs * KERNEL**2)
            layers += [Convolution(inputs, outputs, a.precision, rngs=self._rngs, **init), self._activation]
        return [lambda x: x.T.reshape(1, *a.image, len(x)), *layers, _rows] if layers else []

    def transposed_convolutions(self) -> list[Any]:
        """Returns the layers from rows of features to rows of pixels."""
        a, layers = self._architecture, []
        if not a.channels:
            return []
        for inputs, outputs in itertools.pairwise((a.channels[0], *reversed(a.channels))):
            layers += [self._transposed(inputs, outputs, STRIDE), self._activation]
        layers.append(self._transposed(a.channels[0], 1, 1))
        (rows, columns), (height, width) = a.decoded, a.image
        # Images whose sides are not multiples of the strides are cut from larger ones.
        return [
            lambda h: h.reshape(-1, rows, columns, a.channels[0]).transpose(3, 1, 2, 0),
            *layers,
            lambda h: _rows(h[:, :height, :width]),
        ]

    def decoder_scale(self) -> Any:
        """Returns what the likelihood's u comes from; None where it has none."""
        a = self._architecture
        match a.decoder_scale:
            case "none":
                return None
            case "pixel":
                return FreeScale((a.pixels,))
            case "network" if a.channels:
                return self._transposed(a.channels[0], 1, 1)
            case "network":
                return self.linear((a.latent, *reversed(a.hidden))[-1], a.pixels)
        return FreeScale(())

    def _transposed(self, inputs: int, outputs: int, stride: int) -> TransposedConvolution:
        # PyTorch takes the number of channels that come out for that of the channels that go in.
        init = self._init(outputs * KERNEL**2, in_axis=0)
        precision = self._architecture.precision
        return TransposedConvolution(inputs, outputs, stride, precision, rngs=self._rngs, **init)

    def _init(self, torch_fan_in: int, in_axis: int = -2) -> dict[str, Any]:
        """Returns how a layer draws its weights and biases."""

        def uniform(key, shape, dtype):
            return self._uniform(key, shape, dtype, -(torch_fan_in**-0.5), torch_fan_in**-0.5)

        draw = jax.nn.initializers
        rules = {"lecun": draw.lecun_normal, "glorot": draw.glorot_uniform, "he": draw.he_normal}
        if self._architecture.weight_init == "torch":
            return {"kernel_init": uniform, "bias_init": uniform}
        return {"kernel_init": rules[self._architecture.weight_init](in_axis=in_axis), "bias_init": draw.zeros}


def _rows(maps: Float[Array, "channels rows columns batch"]) -> Float[Array, "batch features"]:
    """Returns the maps as rows of features, the channels innermost."""
    return maps.transpose(3, 1, 2, 0).reshape(maps.shape[-1], -1)


class _Abstract(NamedTuple):
    """A network without its arrays: its structure, and shape and bound of each uniform draw in the order of its layers.

    Only the weights of `torch` are such draws.
    """

    graph: nnx.GraphDef[VAE]
    draws: Sequence[tuple[tuple[int, ...], float]]


@functools.cache
def _abstract(architecture: Architecture) -> _Abstract:
    draws = []

    def note(key, shape, dtype, low, high):
        draws.append((shape, high))
        return jnp.zeros(shape, dtype)

    abstract = nnx.eval_shape(lambda: VAE(architecture, rngs=nnx.Rngs(0), uniform=note))
    return _Abstract(nnx.split(abstract)[0], draws)


def drawn_network(architecture: Architecture, key: Key[Array, ""]) -> VAE:
    """Draws a network, always with a scale output, so that the draws of its other blocks are the same without one."""
    whole, rngs = dataclasses.replace(architecture, scale_output="network"), nnx.Rngs(key)
    if whole.weight_init != "torch":
        return VAE(whole, rngs=rngs)
    drawn = iter(_uniform_arrays(whole, key))
    return VAE(whole, rngs=rngs, uniform=lambda *_: next(drawn))


def _uniform_arrays(architecture: Architecture, key: Key[Array, ""]) -> list[Array]:
    """Draws the arrays of a network with the keys that its layers would draw them with, and bit for bit as they would.

    They are one draw, in which every number has the key, the count and the bound of its place: a draw takes 0.1 s to
    compile.
    """
    shapes, bounds = zip(*_abstract(architecture).draws, strict=True)
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    starts = np.r_[0, ends[:-1]]
    keys = jax.vmap(lambda count: jax.random.key_data(jax.random.fold_in(key, count)))(jnp.arange(len(shapes)))
    first, bound = jnp.asarray(starts, jnp.uint32), jnp.asarray(bounds, jnp.float32)

    def draw(place):
        array = sum((place >= start).astype(jnp.int32) for start in starts[1:])
        count = place - first[array]
        bits = jnp.bitwise_xor(*threefry2x32(keys[array, 0], keys[array, 1], jnp.zeros_like(count), count))
        return uniform_of_bits(bits, -bound[array], bound[array])

    # In a loop, since XLA would compile and compute all of it again for each array that is cut out of it.
    rows = -(-ends[-1] // _PARTS)
    drawn = lax.map(draw, jnp.arange(_PARTS * rows, dtype=jnp.uint32).reshape(_PARTS, rows)).ravel()
    return [drawn[start:end].reshape(shape) for start, end, shape in zip(starts, ends, shapes, strict=True)]


def parameters(architecture: Architecture, vae: VAE) -> Params:
    """Returns those parameters of a drawn network that the architecture has."""
    params = nnx.to_pure_dict(nnx.split(vae)[1])
    if architecture.scale_output == "none":
        del params["scale_head"]
    elif architecture.scale_output == "free":
        del params["scale_head"]["kernel"]
    # An encoder without hidden layers has no parameters, nor has a scale head without output; both are still blocks.
    return {block: params.get(block, {}) for block in architecture.blocks}


def network(architecture: Architecture, params: Params) -> VAE:
    """Returns the module that holds `params`: made inside each traced function, never kept."""
    return nnx.merge(_abstract(architecture).graph, params)
