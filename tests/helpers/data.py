"""Small data sets as IDX files."""

import gzip
import struct

import numpy as np


def write_idx(path, array):
    """Writes an IDX file independently of the package's reader."""
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


def write_data(folder, train=230, test=70, size=(6, 5), prefix=""):
    """Writes a small data set of blobs in four IDX files."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("t10k", test)):
        images = (rng.random((count, *size)) * rng.random((count, 1, 1)) * 256).astype(np.uint8)
        write_idx(folder / f"{prefix}{split}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}{split}-labels-idx1-ubyte.gz", rng.integers(0, 10, count))
    return folder
