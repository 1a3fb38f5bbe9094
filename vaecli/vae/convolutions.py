"""3×3 convolutions and transposed ones as matrix products, over maps (channels, rows, columns, batch).

With the batch innermost, channels are the rows of a matrix, a shift by a row or a column moves long runs of numbers,
and no array is transposed on the way: bench/README.md has what this gains over XLA's own convolutions.
"""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from vaecli.vae.architecture import KERNEL, STRIDE, convolved
from vaecli.vae.precision import Precision, product

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
        after = [framed - self.before - size for framed, size in zip(self.frame, self.image, strict=True)]
        frame = jnp.pad(image, [(0, 0), *((self.before, size) for size in after), (0, 0)])
        (m, n), s = self.count, self.stride
        # Rows and columns in two steps: half as many copies to compile.
        rows = jnp.stack([frame[:, a : a + s * m - s + 1 : s] for a in range(KERNEL)])
        taps = jnp.stack([rows[:, :, :, b : b + s * n - s + 1 : s] for b in range(KERNEL)], 1)
        return taps.reshape(-1, *taps.shape[3:])

    def summed(self, taps: Float[Array, "taps_channels m n batch"]) -> Float[Array, "channels rows columns batch"]:
        """Returns the image that adds up, for each pixel, all the taps that are that pixel: the transpose of `taps`."""
        s, parts = self.stride, dict(zip(_TAPS, jnp.split(taps, len(_TAPS)), strict=True))

        def pixels(row: int, column: int) -> Array:
            """Returns the pixels at one place of every block of s by s."""
            added = [
                jnp.pad(parts[a, b], [(0, 0), *((k // s, self.spare - k // s) for k in (a, b)), (0, 0)])
                for a, b in _TAPS
                if (a % s, b % s) == (row, column)
            ]
            return functools.reduce(jnp.add, added)

        blocks = jnp.stack([jnp.stack([pixels(row, column) for column in range(s)], 3) for row in range(s)], 2)
        frame = blocks.reshape(-1, *self.frame, taps.shape[-1])
        rows, columns = (slice(self.before, self.before + size) for size in self.image)
        return frame[:, rows, columns]

    @property
    def frame(self) -> tuple[int, ...]:
        """The numbers of rows and columns that the windows cover, up to multiples of the stride."""
        return tuple(self.stride * (count + self.spare) for count in self.count)

    @property
    def spare(self) -> int:
        """The number of blocks of s by s that the last window covers besides its own."""
        return (KERNEL - 1) // self.stride


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
