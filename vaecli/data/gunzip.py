"""Unpacks gzip in few large steps, so that it is done while another thread imports.

`gzip.GzipFile` takes 8 KiB at a time (128 from Python 3.12 on), and after each piece waits for the interpreter, which a
thread that imports holds for 5 ms: MNIST then takes 1.1 s where it takes 0.3 alone.
"""

import io
import zlib
from typing import BinaryIO

_PIECE = 1 << 22
"""Packed bytes that are read at a time."""

_WINDOW = 16 + zlib.MAX_WBITS
"""What tells zlib that there is a header and a checksum, which it then reads and checks."""


class Unpacked(io.RawIOBase):
    """The content of a gzip file of one member or several; reading it raises EOFError or zlib.error where damaged."""

    def __init__(self, packed: BinaryIO):
        """Reads nothing yet."""
        self._packed = packed
        self._member = zlib.decompressobj(_WINDOW)

    def readable(self) -> bool:
        """Returns that it can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fills a buffer as far as one step goes; returns with how many bytes, 0 at the end."""
        while True:
            if self._member.eof:
                # Between members, and behind the last one, a tape may be filled with zeros.
                rest = self._member.unused_data.lstrip(b"\0")
                while not rest and (piece := self._packed.read(_PIECE)):
                    rest = piece.lstrip(b"\0")
                if not rest:
                    return 0
                self._member = zlib.decompressobj(_WINDOW)
            else:
                rest = self._member.unconsumed_tail or self._packed.read(_PIECE)
            content = self._member.decompress(rest, len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)
            if not rest:
                raise EOFError("it ends too early")
