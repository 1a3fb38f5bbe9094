"""A strict reader of IDX files of unsigned bytes, plain or gzipped.

The format (LeCun, Cortes, Burges: the MNIST database): two zero bytes, a type code, the number of dimensions,
each dimension as a big-endian 32-bit integer, then the elements in C order.
"""

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vaecli.config import UsageError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, *, dimensions: int) -> tuple[np.ndarray, str]:
    """Reads one IDX file.

    Args:
      path: the file; a name that ends in `.gz` is decompressed.
      dimensions: how many dimensions the file must have (3 for images, 1 for labels).

    Returns:
      The array, uint8, and the SHA-256 of the decompressed file in hexadecimal.

    Raises:
      UsageError: the file cannot be read, is not gzip, or is not an IDX file of that form and exactly that length.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            header = file.read(4 + 4 * dimensions)
            shape = _shape(header, dimensions, path)
            size = math.prod(shape)
            # One byte more than the header promises, so that a longer file shows; never more, whatever it unpacks to.
            body = _read(file, size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path}: damaged gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(body) != size:
        kind = "longer" if len(body) > size else f"truncated after {len(header) + len(body)} bytes, shorter"
        raise UsageError(f"{path}: {kind} than the {len(header) + size} bytes that its header promises; fetch it again")
    digest = hashlib.sha256(header)
    digest.update(body)
    return np.frombuffer(body, np.uint8).reshape(shape), digest.hexdigest()


def _read(file: BinaryIO | gzip.GzipFile, size: int) -> bytes:
    """Reads at most `size` bytes, in pieces: a header may promise more than there is memory."""
    pieces = []
    while size > 0 and (piece := file.read(min(size, 1 << 24))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _shape(header: bytes, dimensions: int, path: Path) -> tuple[int, ...]:
    if len(header) < 4 or header[:2] != b"\0\0":
        raise UsageError(f"{path}: not an IDX file (the first bytes are {header[:4].hex() or 'missing'})")
    if header[2] != _UNSIGNED_BYTE:
        raise UsageError(f"{path}: holds IDX type 0x{header[2]:02x}, but pixels and labels are unsigned bytes, 0x08")
    if header[3] != dimensions:
        raise UsageError(f"{path}: has {header[3]} dimensions where {dimensions} are expected")
    if len(header) != 4 + 4 * dimensions:
        raise UsageError(f"{path}: truncated inside its header; fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
    if 0 in shape:
        raise UsageError(f"{path}: is empty, its dimensions are {shape}")
    return shape
