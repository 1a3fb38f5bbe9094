"""The binarisation that is done once, on the host; the dynamic draw of each step is part of the training step."""

import zlib

import numpy as np

# The `fixed` draw belongs to the data set, not to a run: it never depends on a run's seed.
_FIXED_DRAW_SEED = 20_130_912


def binarise(images: np.ndarray, how: str, split: str) -> np.ndarray:
    """Binarises uint8 pixels to {0, 255}, or leaves them as they are.

    Args:
      images: uint8, any shape.
      how: `grey` (as they are), `threshold` (255 where pixel/255 > 1/2) or `fixed` (255 with probability
        pixel/255, one draw for each pixel from a fixed seed).
      split: the split's name; each split has its own stream of fixed draws.

    Returns:
      uint8, the same shape.
    """
    if how == "grey":
        return images
    if how == "threshold":
        return np.where(images > 127, np.uint8(255), np.uint8(0))
    rng = np.random.default_rng([_FIXED_DRAW_SEED, zlib.crc32(split.encode())])
    # A uniform integer of 0..254 lies below v with probability exactly v/255.
    return np.where(rng.integers(0, 255, images.shape, np.uint8) < images, np.uint8(255), np.uint8(0))
