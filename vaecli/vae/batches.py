"""The choice of the images that a step sees, and the independent streams of random keys of a seed."""

import enum
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Key, Real, UInt32

from vaecli.vae import threefry

threefry.unroll()

PADDING = -1
"""The index that stands for no image: it fills the last batch of a pass, and weighs nothing."""


Redraw = Literal["none", "binary", "uniform"]
"""How a training step draws the pixels of its images."""


class Stream(enum.IntEnum):
    """The purpose of a draw; no draw depends on the variance head."""

    WEIGHTS = 0
    EPSILON = 1
    PIXELS = 2
    EVALUATION = 3
    GRADIENTS = 4
    PROBE = 5
    IMPORTANCE = 6
    PILOTS = 7
    CALIBRATION = 8


def seed_key(seed: UInt32[Array, ""]) -> Key[Array, ""]:
    """Returns the key of a seed: threefry, whose draws are the same in a batch or not, and on every kind of device."""
    return jax.random.key(seed, impl="threefry2x32")


def pilot_key(key: Key[Array, ""], pilot: UInt32[Array, ""]) -> Key[Array, ""]:
    """Returns the key of a pilot, from the key of its seed, with which it shares no draw."""
    return jax.random.fold_in(stream(key, Stream.PILOTS), pilot)


def stream(key: Key[Array, ""], purpose: Stream) -> Key[Array, ""]:
    """Returns the key of one purpose, from the key of the seed."""
    return jax.random.fold_in(key, int(purpose))


def pad(index: np.ndarray, batch_size: int) -> np.ndarray:
    """Lays indices out as (batches, batch_size), the last batch filled with `PADDING`."""
    batches = -(-len(index) // batch_size)
    padded = np.full(batches * batch_size, PADDING, np.int32)
    padded[: len(index)] = index
    return padded.reshape(batches, batch_size)


def epoch_order(seed: int, epoch: int, images: int, batch_size: int, pilot: int = 0) -> np.ndarray:
    """Returns the batch order of one epoch: a permutation drawn from (seed, epoch, pilot), as (batches, batch_size).

    It is drawn on the host while the device trains: a sort on the device costs up to 4 % of an epoch.
    """
    # To NumPy, a 0 at the end is the same as none.
    return pad(np.random.default_rng([seed, epoch, pilot]).permutation(images), batch_size)


def gather(
    images: Real[Array, "images pixels"], index: Int[Array, " batch"]
) -> tuple[Float[Array, "batch pixels"], Float[Array, " batch"]]:
    """Returns the pixels, in [0, 1], of the images at `index`, and their weights: 1, or 0 for padding.

    The images hold the levels 0 to 255, uint8, or such pixels, float32. In the place of padding stands the first of the
    images: what is not finite for an image counts at any weight.
    """
    weight = (index != PADDING).astype(jnp.float32)
    chosen = images[jnp.where(index == PADDING, index[0], index)]
    return chosen.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else chosen, weight


def redrawn(how: Redraw, key: Key[Array, ""], x: Float[Array, "batch pixels"]) -> Float[Array, "batch pixels"]:
    """Returns pixels in [0, 1] as a training step draws them.

    `binary`: 1 with probability x. `uniform`: within the level that x stands for, (255 x + U)/256 with U in [0, 1).
    """
    match how:
        case "binary":
            return jax.random.bernoulli(key, x).astype(jnp.float32)
        case "uniform":
            return (255 * x + jax.random.uniform(key, x.shape, jnp.float32)) / 256
    return x
