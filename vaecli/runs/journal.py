"""A file that only grows, and that can be cut back to where a checkpoint saw it."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from vaecli.runs.files import open_regular


class JournalMark(TypedDict):
    """A length, in bytes, and the SHA-256 of what lies before it."""

    bytes: int
    sha256: str


Marks = Mapping[str, JournalMark]
"""Where each file ends, by its name."""


class Journal:
    """Appends to a file, each time all of what it is given or, where the disk is full, none of it."""

    def __init__(self, path: Path, mark: JournalMark | None = None):
        """Opens a file, cut back to its mark, or to nothing.

        Raises:
          OSError: it cannot be written.
        """
        self._file = os.fdopen(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab", buffering=0)
        self._length = mark["bytes"] if mark else 0
        self._file.truncate(self._length)
        self._digest = hashlib.sha256(_head(path, self._length))

    def append(self, data: bytes) -> None:
        """Appends data to the file.

        Raises:
          OSError: they cannot be written; the file is as it was before.
        """
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(self._length)
            raise
        self._length += len(data)
        self._digest.update(data)

    def mark(self) -> JournalMark:
        """Returns where the file ends now, with all of it on the disk."""
        os.fsync(self._file.fileno())
        return {"bytes": self._length, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def matches(path: Path, mark: JournalMark) -> bool:
    """Returns whether a file still begins with what it held at a mark."""
    try:
        return hashlib.sha256(_head(path, mark["bytes"])).hexdigest() == mark["sha256"]
    except OSError:
        return False


def _head(path: Path, length: int) -> bytes:
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(length)
