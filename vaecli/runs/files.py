"""Files as they are read and written: only regular ones, and each as a whole."""

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from vaecli.config import UsageError

TEMPORARY = ".vae-tmp"
"""At the end of the name of what is still being written."""

# What a file system answers that cannot flush a folder, or a folder that may be written but not listed.
_UNFLUSHED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Opens a regular file: a pipe would wait for its other end, and a device may do anything.

    Args:
      path: the file; links are followed.
      flags: as those of `os.open`.

    Returns:
      Its descriptor.

    Raises:
      OSError: it cannot be opened, or is something else.
    """
    with contextlib.suppress(FileNotFoundError):
        _check_regular(path, os.stat(path).st_mode)
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_regular(path: Path) -> bytes:
    """Reads a regular file.

    Raises:
      OSError: it cannot be read, or is something else.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file under a temporary name and renames it, so that a reader sees all of it or none.

    A file that it replaces hands on its permissions; those of a new one follow from the umask.

    Raises:
      OSError: it cannot be written; what was there before stays.
    """
    data = content.encode() if isinstance(content, str) else content
    # A name may have 255 bytes; half of that is left for the characters of a long one.
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}{TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                before = os.lstat(path).st_mode
                if stat.S_ISREG(before):
                    os.fchmod(file.fileno(), before & 0o777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # The first error says more than one that follows from it.
            temporary.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Lets new names in a folder outlast a loss of power."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNFLUSHED:
            raise


def write_output(path: Path, content: str | bytes) -> None:
    """Writes a file that the user named, as `write_atomically` does.

    A link is followed, and what is there but is not a regular file, such as a device, is written to as it is.

    Raises:
      UsageError: it cannot be written.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        else:
            write_atomically(target, content)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
