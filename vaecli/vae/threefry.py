"""The hash from which every draw comes, in a form that compiles faster on a CPU; its bits are the same."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.random import threefry2x32_p
from jax.interpreters import mlir

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry2x32(key_1: Array, key_2: Array, count_1: Array, count_2: Array) -> tuple[Array, Array]:
    """Returns the 20 rounds of Threefry-2x32 (Salmon et al. 2011), elementwise over uint32."""
    # By jax's primitives, since an operator takes several times as long to trace, and there are 110 of them.
    add, xor, left, right = lax.add, lax.bitwise_xor, lax.shift_left, lax.shift_right_logical
    keys = (key_1, key_2, xor(xor(key_1, key_2), np.uint32(_PARITY)))
    x, y = add(count_1, keys[0]), add(count_2, keys[1])
    for group in range(5):
        for by in _ROTATIONS[group % 2]:
            x = add(x, y)
            y = xor(lax.bitwise_or(left(y, np.uint32(by)), right(y, np.uint32(32 - by))), x)
        x = add(x, keys[(group + 1) % 3])
        y = add(add(y, keys[(group + 2) % 3]), np.uint32(group + 1))
    return x, y


def uniform_of_bits(bits: Array, low: Array, high: Array) -> Array:
    """Returns the float32 that `jax.random.uniform` makes of each 32 random bits, between bounds."""
    unit = lax.bitcast_convert_type(bits >> jnp.uint32(9) | jnp.uint32(0x3F800000), jnp.float32) - 1
    return jnp.maximum(low, unit * (high - low) + low)


def unroll() -> None:
    """Lets jax compile the hash on a CPU as it does elsewhere: as one loop over the numbers that are drawn.

    There jax makes it a loop over the rounds, of some twenty small kernels for each draw; a kernel takes 10 to 20 ms to
    compile, and the programs of a run have a dozen draws.
    """
    mlir.register_lowering(threefry2x32_p, mlir.lower_fun(threefry2x32, multiple_results=True), platform="cpu")
