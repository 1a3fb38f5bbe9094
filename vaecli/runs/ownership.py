"""Files and folders that one process has for itself; another one removes those of a process that has died."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from vaecli.runs.lock import read_process, record_of_process

_OWNER = "owner"
"""The file in a private folder that names its process."""

_INSIDE = "r"
"""The folder beside it that is for use; the name is short, since those of sockets in it have to be."""

PRIVATE_NAME = f"12345678/{_INSIDE}"
"""As long as what `private_folder` puts between a prefix and a suffix, and after them."""


@contextlib.contextmanager
def private_folder(parent: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """Makes an empty folder, inside one that only this user may enter, and removes both at the end.

    Those of processes that died before the end are removed first.

    Args:
      parent: where the outer folder lies.
      prefix: the beginning of its name.
      suffix: the end of its name.

    Raises:
      OSError: it cannot be made.
    """
    remove_left_behind(parent, f"{prefix}*{suffix}")
    folder = Path(tempfile.mkdtemp(suffix, prefix, parent))
    try:
        (folder / _OWNER).write_text(record_of_process())
        (folder / _INSIDE).mkdir()
        yield folder / _INSIDE
    finally:
        _remove(folder)


def remove_left_behind(parent: Path, pattern: str) -> None:
    """Removes what processes of this user left that have certainly died.

    Args:
      parent: a folder.
      pattern: matches, in it, private folders, and files with the record of a process.
    """
    for path in parent.glob(pattern):
        with contextlib.suppress(OSError):  # Whatever cannot be read or removed is somebody else's, or already gone.
            if stat.S_ISDIR(os.lstat(path).st_mode):
                if _is_of_a_dead_process(path / _OWNER):
                    _remove(path)
            elif _is_of_a_dead_process(path):
                path.unlink()


def _is_of_a_dead_process(file: Path) -> bool:
    entry = os.lstat(file)
    if not stat.S_ISREG(entry.st_mode) or entry.st_uid != os.geteuid():
        return False
    process = read_process(file)
    return process is not None and process.is_dead() is True


def _remove(folder: Path) -> None:
    """Removes a private folder, into which something that its process started may still be writing."""
    for _ in range(20):
        shutil.rmtree(folder / _INSIDE, ignore_errors=True)
        if not os.path.lexists(folder / _INSIDE):
            break
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)
