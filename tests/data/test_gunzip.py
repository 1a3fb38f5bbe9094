"""What is unpacked in large steps is what Python's gzip unpacks, and what is damaged is noticed."""

import gzip
import io
import tracemalloc
import zlib

import numpy as np
import pytest

from vaecli.data import gunzip
from vaecli.data.gunzip import Unpacked

CONTENT = np.random.default_rng(0).integers(0, 9, 50_000, np.uint8).tobytes()


def read(packed, buffer=io.DEFAULT_BUFFER_SIZE):
    return io.BufferedReader(Unpacked(io.BytesIO(packed)), buffer).read()


@pytest.mark.parametrize("piece", [7, 1000, 1 << 22])
@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(CONTENT),
        gzip.compress(b""),
        gzip.compress(CONTENT) + gzip.compress(b"") + gzip.compress(CONTENT[:99]),
        gzip.compress(b"a") + bytes(3000) + gzip.compress(b"b") + bytes(5000),
    ],
    ids=["one member", "of nothing", "three members", "zeros between and behind"],
)
def test_it_is_what_gzip_unpacks(packed, piece, monkeypatch):
    monkeypatch.setattr(gunzip, "_PIECE", piece)
    assert read(packed) == gzip.GzipFile(fileobj=io.BytesIO(packed)).read()


@pytest.mark.parametrize("size", [1, 7, 65_536])
def test_pieces_of_any_size_are_read(size):
    file = io.BufferedReader(Unpacked(io.BytesIO(gzip.compress(CONTENT))), 16)
    assert b"".join(iter(lambda: file.read(size), b"")) == CONTENT


def test_no_more_is_unpacked_than_is_asked_for():
    """So that a small file that holds a great many zeros does not fill the memory."""
    file = io.BufferedReader(Unpacked(io.BytesIO(gzip.compress(bytes(1 << 24)))), 1 << 12)
    tracemalloc.start()
    try:
        assert file.read(1 << 16) == bytes(1 << 16)
        assert tracemalloc.get_traced_memory()[1] < 1 << 19
    finally:
        tracemalloc.stop()


# The time is in it, and all processes must agree on the names of the tests.
WHOLE = gzip.compress(CONTENT, mtime=0)


@pytest.mark.parametrize(
    ("damaged", "error"),
    [
        (b"", EOFError),
        (WHOLE[:5], EOFError),
        (WHOLE[:-1], EOFError),
        (WHOLE[:9999], EOFError),
        (WHOLE[:-8] + bytes(8), zlib.error),
        (WHOLE[:-4] + bytes(4), zlib.error),
        (b"\x1f\x8b" + bytes(30), zlib.error),
        (WHOLE + b"not a member", zlib.error),
        (WHOLE + WHOLE[:-3], EOFError),
    ],
)
def test_what_is_damaged_is_noticed(damaged, error):
    with pytest.raises(error):
        read(damaged)
