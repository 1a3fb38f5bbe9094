"""What is done to pixels once, on the host; the draws of each step are part of the training step."""

import zlib

import numpy as np

# The `fixed` draw belongs to the data set, not to a run: it never depends on a run's seed.
_FIXED_DRAW_SEED = 20_130_912


def binarise(images: np.ndarray, how: str, split: str) -> np.ndarray:
    """Binarises uint8 pixels to {0, 255}, dequantises them, or leaves them as they are.

    Args:
      images: uint8, any shape.
      how: `grey` (as they are), `threshold` (255 where pixel/255 > 1/2), `fixed` (255 with probability
        pixel/255, one draw for each pixel from a fixed seed) or `dequantised` ((pixel + U)/256, with one draw of U
        for each pixel, uniform in [0, 1)).
      split: the split's name; each split has its own stream of fixed draws.

    Returns:
      uint8, the same shape; of dequantised pixels float32, in [0, 1].
    """
    if how == "grey":
        return images
    if how == "threshold":
        return np.where(images > 127, np.uint8(255), np.uint8(0))
    rng = np.random.default_rng([_FIXED_DRAW_SEED, zlib.crc32(split.encode())])
    if how == "dequantised":
        return (images + rng.random(images.shape, np.float32)) / np.float32(256)
    # A uniform integer of 0..254 lies below v with probability exactly v/255.
    return np.where(rng.integers(0, 255, images.shape, np.uint8) < images, np.uint8(255), np.uint8(0))


def drawn_once(how: str) -> str:
    """Returns what is done to pixels of which each training step draws its own, where they are drawn only once."""
    return "fixed" if how == "dynamic" else how


def in_unit(images: np.ndarray) -> np.ndarray:
    """Returns pixels in [0, 1], float32, of levels, uint8, or of such pixels."""
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images
