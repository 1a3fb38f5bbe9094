"""What files are that lie under the name of a data file and hold something else, by their first bytes."""

_SIGNATURES = {
    b"\x1f\x8b": "it is gzipped more often than three times; unpack it with gunzip",
    b"\x1f\x9d": "it is compressed; unpack it with uncompress",
    b"\xfd7zXZ\0": "it is compressed by xz; unpack it with unxz",
    b"BZh": "it is compressed by bzip2; unpack it with bunzip2",
    b"\x28\xb5\x2f\xfd": "it is compressed by Zstandard; unpack it with unzstd",
    b"\x04\x22\x4d\x18": "it is compressed by LZ4; unpack it with unlz4",
    b"PK": "it is a ZIP archive; unpack it",
    b"7z\xbc\xaf\x27\x1c": "it is a 7-Zip archive; unpack it",
    b"Rar!": "it is a RAR archive; unpack it",
    b"\0\5\x16\7": "it is what macOS keeps beside a file (AppleDouble), not the data; fetch it again",
    b"\0\5\x16\0": "it is what macOS keeps beside a file (AppleSingle), not the data; fetch it again",
    b"version https://git-lfs": "it is a pointer of Git LFS, not the data; fetch them with: git lfs pull",
    b"\x93NUMPY": "it is a NumPy array; write it as an IDX file",
    b"\x89PNG": "it is a PNG picture; a data file holds all images, as IDX",
    b"\xff\xd8\xff": "it is a JPEG picture; a data file holds all images, as IDX",
    b"\x89HDF": "it is an HDF5 file; write its images as an IDX file",
    b"PAR1": "it is a Parquet file; write its images as an IDX file",
}

_TAR, _TAR_OFFSET = b"ustar", 257


def describe(head: bytes) -> str:
    """Says what a file is that is not an IDX file, and what to do about it.

    Args:
      head: its first bytes, several hundred where it has them.
    """
    return f"not an IDX file{_what(head)}"


def _what(head: bytes) -> str:
    """Says what a file is, as the end of a sentence."""
    if not head:
        return ": it is empty; fetch it again"
    for signature, what in _SIGNATURES.items():
        if head.startswith(signature):
            return f": {what}"
    if head[_TAR_OFFSET:].startswith(_TAR):
        return ": it is a tar archive; unpack it"
    first = f"the first bytes are {head[:4].hex()}"
    if not any(head):
        return ": it begins with zeros only, as a download does that was cut off; fetch it again"
    if head[2:4] == b"\0\0" and head[0] and head[1] in range(0x08, 0x0F):
        return f": its header is little-endian ({first}), where IDX is big-endian; write it again"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"<":
        return ": it is a web page (HTML), such as one that asks to log in; fetch the file itself"
    words = " ".join(text[:40].decode("latin-1").split())
    if words and words.isascii() and words.isprintable():
        return f", nor a gzipped one: it is a text that begins {words!r}"
    return f", nor a gzipped one ({first})"
