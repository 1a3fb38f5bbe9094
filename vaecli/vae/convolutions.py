"""3×3 convolutions and transposed ones as matrix products, over maps (channels, rows, columns, batch).

With the batch innermost, channels are the rows of a matrix, a shift by a row or a column moves long runs of numbers,
and no array is transposed on the way. On a CPU, XLA's own convolutions take three times as long, and half a minute to
compile (bench/convolutions.py).
"""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Float

from vaecli.vae.precision import Precision, product

KERNEL, STRIDE = 3, 2

_TAPS = tuple(itertools.product(range(KERNEL), repeat=2))


@dataclasses.dataclass(frozen=True)
class Windows:
    """The 3×3 windows of an image: tap (a, b) of window (m, n) is pixel (s m + a − before, s n + b − before).

    What lies outside of the image is 0.

    Attributes:
      image: the image's numbers of rows and columns.
      count: the numbers of windows along them.
      stride: s.
      before: the number of rows and columns that the first window has before the image.
    """

    image: tuple[int, int]
    count: tuple[int, int]
    stride: int
    before: int = 0

    def taps(self, image: Float[Array, "channels rows columns batch"]) -> Float[Array, "taps_channels m n batch"]:
        """Returns the taps of all windows, one after the other: the first of every channel, and so on."""
        margins = [(self.before, self._framed(axis) - self.before - self.image[axis]) for axis in (0, 1)]
        frame = jnp.pad(image, [(0, 0), *margins, (0, 0)])
        (m, n), s = self.count, self.stride
        return jnp.concatenate([frame[:, a : a + s * m - s + 1 : s, b : b + s * n - s + 1 : s] for a, b in _TAPS])

    def summed(self, taps: Float[Array, "taps_channels m n batch"]) -> Float[Array, "channels rows columns batch"]:
        """Returns the image that adds up, for each pixel, all the taps that are that pixel: the transpose of `taps`."""
        parts = dict(zip(_TAPS, jnp.split(taps, len(_TAPS)), strict=True))
        columns = [self._joined([parts[a, b] for a in range(KERNEL)], 0) for b in range(KERNEL)]
        return self._joined(columns, 1)

    def _joined(self, taps: list[Array], axis: int) -> Array:
        """Adds up the three taps along one axis of the image.

        Pixels whose numbers leave the same remainder when divided by the stride come from the same taps, and are
        computed together.
        """
        blocks = self._framed(axis) // self.stride

        def shifted(tap: Array, by: int) -> Array:
            margin = (by, blocks - self.count[axis] - by)
            return jnp.pad(tap, [margin if k == axis + 1 else (0, 0) for k in range(tap.ndim)])

        remainders = [
            functools.reduce(jnp.add, [shifted(taps[a], a // self.stride) for a in range(first, KERNEL, self.stride)])
            for first in range(self.stride)
        ]
        shape = taps[0].shape
        frame = jnp.stack(remainders, axis + 2).reshape(*shape[: axis + 1], -1, *shape[axis + 2 :])
        return lax.slice_in_dim(frame, self.before, self.before + self.image[axis], axis=axis + 1)

    def _framed(self, axis: int) -> int:
        """Returns the size of the image with its margins: what the windows cover, up to a multiple of the stride."""
        return self.stride * (self.count[axis] + (KERNEL - 1) // self.stride)


# Each is the other's derivative, which JAX would work out as nine arrays of zeros that are added up.
@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def taps_of(windows: Windows, image: Array) -> Array:
    return windows.taps(image)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def image_of(windows: Windows, taps: Array) -> Array:
    return windows.summed(taps)


taps_of.defvjp(lambda windows, image: (taps_of(windows, image), None), lambda windows, _, g: (image_of(windows, g),))
image_of.defvjp(lambda windows, taps: (image_of(windows, taps), None), lambda windows, _, g: (taps_of(windows, g),))


class Convolution(nnx.Module):
    """A 3×3 convolution of stride 2 without padding: along rows, and then columns, y[m] = Σ x[2m + a] k[a] + b."""

    def __init__(
        self, inputs: int, outputs: int, precision: Precision, *, kernel_init: Any, bias_init: Any, rngs: nnx.Rngs
    ):
        self._precision: Precision = precision
        self.kernel = nnx.Param(kernel_init(rngs.params(), (KERNEL, KERNEL, inputs, outputs), jnp.float32))
        self.bias = nnx.Param(bias_init(rngs.params(), (outputs,), jnp.float32))

    def __call__(self, x: Float[Array, "inputs rows columns batch"]) -> Float[Array, "outputs m n batch"]:
        _, rows, columns, _ = x.shape
        taps: Array = taps_of(Windows((rows, columns), (convolved(rows), convolved(columns)), STRIDE), x)
        y = _product(taps, self.kernel[...].reshape(len(taps), -1), self._precision)
        return y + self.bias[...][:, None, None, None]


class TransposedConvolution(nnx.Module):
    """The transpose of a 3×3 convolution of stride s: along rows, and then columns, y[2m + a] += x[m] k[a] for s = 2,
    y[m + a − 1] += x[m] k[a] for s = 1, a = 0, 1, 2, with s times as many outputs as inputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        precision: Precision,
        *,
        kernel_init: Any,
        bias_init: Any,
        rngs: nnx.Rngs,
    ):
        self._stride = stride
        self._precision: Precision = precision
        self.kernel = nnx.Param(kernel_init(rngs.params(), (inputs, KERNEL, KERNEL, outputs), jnp.float32))
        self.bias = nnx.Param(bias_init(rngs.params(), (outputs,), jnp.float32))

    def __call__(self, x: Float[Array, "inputs m n batch"]) -> Float[Array, "outputs rows columns batch"]:
        s, (inputs, m, n, _) = self._stride, x.shape
        taps = _product(x, self.kernel[...].reshape(inputs, -1), self._precision)
        return image_of(Windows((s * m, s * n), (m, n), s, before=2 - s), taps) + self.bias[...][:, None, None, None]


def _product(
    x: Float[Array, "inputs m n batch"], kernel: Float[Array, "inputs outputs"], precision: Precision
) -> Float[Array, "outputs m n batch"]:
    return product(x.reshape(len(x), -1), kernel, precision, columns=True).reshape(-1, *x.shape[1:])


def convolved(size: int) -> int:
    """Returns the number of rows, or columns, that a convolution makes of so many."""
    return (size - KERNEL) // STRIDE + 1
