"""IDX files as they are found: what is read, and what is refused in which words."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
from helpers.data import write_idx

from vaecli.config import UsageError
from vaecli.data.idx import read_images, read_labels

IMAGES = np.arange(60).reshape(3, 4, 5)


def damaged(tmp_path, change):
    path = tmp_path / "x-idx3-ubyte"
    write_idx(path, np.arange(60).reshape(3, 4, 5))
    data = change(bytearray(path.read_bytes()))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[:14], "truncated"),
        (lambda data: data[:2], "not an IDX"),
        (lambda data: b"", "not an IDX"),
        (lambda data: data + b"\0", "longer"),
        (lambda data: b"\1" + data[1:], "not an IDX"),
        (lambda data: data[:2] + b"\x0d" + data[3:], "0x0d"),
        (lambda data: data[:3] + b"\1" + data[4:], "dimensions"),
        (lambda data: data[:4] + struct.pack(">I", 0) + data[8:], "empty"),
        (lambda data: data[:4] + struct.pack(">I", 2**31) + data[8:], "truncated"),
    ],
)
def test_broken_idx_files_are_refused(tmp_path, change, words):
    path = damaged(tmp_path, change)
    with pytest.raises(UsageError, match=words) as raised:
        read_images(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("change", [lambda data: data[:-9], lambda data: b"plain" + data, lambda data: data[:20]])
def test_broken_gzip_is_refused(tmp_path, change):
    path = tmp_path / "x-idx3-ubyte.gz"
    write_idx(path, np.arange(60).reshape(3, 4, 5))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UsageError, match="gzip"):
        read_images(path)


@pytest.mark.parametrize("name", ["x-idx3-ubyte", "x-idx3-ubyte.gz"])
@pytest.mark.parametrize("times", range(4))
def test_the_content_says_how_often_a_file_is_gzipped(tmp_path, name, times):
    plain, path = tmp_path / "plain", tmp_path / name
    write_idx(plain, IMAGES)
    data = plain.read_bytes()
    for _ in range(times):
        data = gzip.compress(data)
    path.write_bytes(data)
    images, sha256 = read_images(path)
    np.testing.assert_array_equal(images, IMAGES)
    assert sha256 == hashlib.sha256(plain.read_bytes()).hexdigest()
    path.write_bytes(gzip.compress(gzip.compress(gzip.compress(gzip.compress(data)))))
    with pytest.raises(UsageError, match="gzipped more often than three times; unpack it"):
        read_images(path)


def header(*shape, type_code=8, order=">"):
    magic = struct.pack(f"{order}I", (type_code << 8) + len(shape))
    return magic + struct.pack(f"{order}{len(shape)}I", *shape)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an IDX file: it is empty; fetch it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
            "Git LFS, not the data; fetch .*git lfs pull",
        ),
        (b"\n <!DOCTYPE html><html>", "it is a web page"),
        (b"\xef\xbb\xbf<html lang=en>", "it is a web page"),
        (b'{"error": "not found"}', 'a text that begins \'{"error": "not found"}\''),
        (b"PK\3\4", "it is a ZIP archive; unpack it"),
        (b"\xfd7zXZ\0\0", "compressed by xz; unpack it with unxz"),
        (b"BZh91AY", "compressed by bzip2"),
        (b"\x28\xb5\x2f\xfd", "compressed by Zstandard"),
        (gzip.compress(b"train" + bytes(252) + b"ustar\x0000", mtime=0), "a tar archive; unpack it"),
        (bytes(1000), "begins with zeros only"),
        (b"\0\5\x16\7\0\2", "AppleDouble"),
        (header(3, 4, 5, order="<") + bytes(60), "its header is little-endian .*03080000"),
        (b"\0\0\x08\3" + struct.pack("<3I", 3, 4, 5) + bytes(60), r"dimensions are little-endian.*\(3, 4, 5\)"),
        (header(3, 4, 5, type_code=0x0E) + bytes(480), "holds float64 .*0x0e.*, but pixels are unsigned bytes"),
        (header(60) + bytes(60), "has 1 dimensions where images have 3: .*is it the file of the labels"),
        (header(3, 4, 5, 1) + bytes(60), "has 4 dimensions where images have 3"),
        (bytes(range(128, 255)), "nor a gzipped one .the first bytes are 80818283"),
    ],
)
def test_a_file_that_is_something_else_is_called_what_it_is(tmp_path, data, words):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=words) as raised:
        read_images(path)
    assert len(str(raised.value).removeprefix(str(tmp_path))) < 200


def test_labels_of_any_type_and_shape_are_counted(tmp_path):
    """As QMNIST's, eight columns of int32."""
    path = tmp_path / "qmnist-train-labels-idx2-int"
    path.write_bytes(header(7, 8, type_code=0x0C) + bytes(4 * 7 * 8))
    assert read_labels(path) == (7, hashlib.sha256(path.read_bytes()).hexdigest())
