"""A strict reader of IDX files, plain or gzipped.

The format (LeCun, Cortes, Burges: the MNIST database): two zero bytes, a type code, the number of dimensions,
each dimension as a big-endian 32-bit integer, then the elements in C order.
"""

import contextlib
import hashlib
import io
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from vaecli.config import UsageError
from vaecli.data.gunzip import Unpacked
from vaecli.data.signatures import describe

_GZIP, _GZIP_DEPTH = b"\x1f\x8b", 3

_BUFFER = 1 << 20
"""How many unpacked bytes are read ahead."""

_HEAD = 1024
"""How many bytes are read first, by which a file is recognised; the longest header has 1024."""


class _Type(NamedTuple):
    name: str
    size: int


_UNSIGNED_BYTE = 0x08
_TYPES = {
    _UNSIGNED_BYTE: _Type("unsigned bytes", 1),
    0x09: _Type("signed bytes", 1),
    0x0B: _Type("int16", 2),
    0x0C: _Type("int32", 4),
    0x0D: _Type("float32", 4),
    0x0E: _Type("float64", 8),
}


class _Header(NamedTuple):
    type_code: int
    shape: tuple[int, ...]
    length: int
    """How many bytes it has itself."""

    @property
    def size(self) -> int:
        """How many bytes follow it."""
        return math.prod(self.shape) * _TYPES[self.type_code].size


def read_images(path: Path) -> tuple[np.ndarray, str]:
    """Reads an IDX file of images.

    Args:
      path: the file; it is unpacked as often as its content is gzipped, whatever its name says.

    Returns:
      The images, (images, rows, columns), uint8, and the SHA-256 of the unpacked file in hexadecimal.

    Raises:
      UsageError: the file cannot be read, or is not an IDX file of unsigned bytes in three dimensions and exactly that
        length.
    """
    header, body, sha256 = _read(path, images=True)
    return np.frombuffer(body, np.uint8).reshape(header.shape), sha256


def to_idx(array: np.ndarray) -> tuple[bytes, str]:
    """Returns the header of the IDX file of an array of unsigned bytes, and the SHA-256 of the whole file."""
    header = bytes((0, 0, _UNSIGNED_BYTE, array.ndim)) + np.asarray(array.shape, ">u4").tobytes()
    digest = hashlib.sha256(header)
    digest.update(np.ascontiguousarray(array).data)
    return header, digest.hexdigest()


def read_labels(path: Path) -> tuple[int, str]:
    """Reads an IDX file of labels of any type and shape; returns how many there are, and the file's SHA-256 as above.

    Raises:
      UsageError: the file cannot be read, or is not an IDX file.
    """
    header, _, sha256 = _read(path, images=False)
    return header.shape[0], sha256


def _read(path: Path, *, images: bool) -> tuple[_Header, bytes, str]:
    """Reads an IDX file: its header, its elements, and the SHA-256 of both."""
    try:
        with _unpacked(path) as file:
            head = file.read(_HEAD)
            header = _header(path, head, images=images)
            # One byte more than the header promises, so that a longer file shows; never more, whatever it unpacks to.
            body = _read_at_most(file, header.size + 1, head[header.length :])
    except (EOFError, zlib.error) as error:
        raise UsageError(f"{path}: damaged gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(body) != header.size:
        raise UsageError(f"{path}: {_wrong_length(header, len(body))}")
    digest = hashlib.sha256(head[: header.length])
    digest.update(body)
    return header, body, digest.hexdigest()


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    """Opens a file, and unpacks it as often as its first two bytes are those of gzip, up to a limit."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        for _ in range(_GZIP_DEPTH):
            if file.peek(2)[:2] != _GZIP:
                break
            file = io.BufferedReader(Unpacked(file), _BUFFER)
        yield file


def _read_at_most(file: BinaryIO, size: int, begun: bytes) -> bytes:
    """Reads on to `size` bytes at most, in pieces: a header may promise more than there is memory."""
    pieces = [begun[:size]]
    size -= len(pieces[0])
    while size > 0 and (piece := file.read(min(size, 1 << 24))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _header(path: Path, head: bytes, *, images: bool) -> _Header:
    """Reads the header at the beginning of a file, and checks that it is one of images, if it has to be."""
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise UsageError(f"{path}: {describe(head)}")
    type_code, dimensions = head[2], head[3]
    if images and type_code != _UNSIGNED_BYTE:
        holds = f"holds {_TYPES[type_code].name} (IDX type 0x{type_code:02x})"
        raise UsageError(f"{path}: {holds}, but pixels are unsigned bytes from 0 to 255 (0x08); write them as such")
    if images and dimensions != 3:
        why = "; is it the file of the labels?" if dimensions == 1 else ""
        raise UsageError(f"{path}: has {dimensions} dimensions where images have 3: number, rows, columns{why}")
    length = 4 + 4 * dimensions
    if len(head) < length:
        raise UsageError(f"{path}: truncated inside its header; fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(head[:length], ">u4", offset=4))
    if 0 in shape or not shape:
        raise UsageError(f"{path}: is empty, its dimensions are {shape}")
    return _Header(type_code, shape, length)


def _wrong_length(header: _Header, length: int) -> str:
    """Says how the length of a file does not fit its header."""
    swapped = tuple(int(np.uint32(n).byteswap()) for n in header.shape)
    if math.prod(swapped) * _TYPES[header.type_code].size == length:
        return f"its dimensions are little-endian, but those of an IDX file are big-endian; write them so ({swapped})"
    kind = "longer" if length > header.size else f"truncated after {header.length + length} bytes, shorter"
    return f"{kind} than the {header.length + header.size} bytes that its header promises; fetch it again"
