"""The limits of the file system and of this process, which are checked before anything is trained."""

import errno
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from vaecli.config import UsageError

_NAME_MAX, _PATH_MAX = 255, 4096
"""Where the file system does not say how many bytes a name and a path may have."""

_INSIDE = 256
"""Bytes for the paths of files within a run."""

_OPEN_PER_RUN, _OPEN_BESIDES = 4, 40
"""What a run keeps open (its folder, lock and logs), and what jax and the checkpoints need for a while."""


def check_paths(paths: Iterable[Path]) -> None:
    """Checks that run directories exist or can be made, as far as names, lengths and links say.

    Raises:
      UsageError: one cannot be made.
    """
    checked: set[Path] = set()
    missing: set[Path] = set()
    for path in paths:
        unchecked: list[Path] = []
        folder = path
        while folder not in checked and folder not in unchecked:  # A path ends with one that is its own parent.
            unchecked.append(folder)
            folder = folder.parent
        for folder in reversed(unchecked):
            if folder.parent in missing or not _is_folder(folder):
                missing.add(folder)
            _check_length(folder, missing)
        checked.update(unchecked)


def _is_folder(path: Path) -> bool:
    """Returns whether a folder is there; false where nothing is.

    Raises:
      UsageError: something else is there.
    """
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return True
    except FileNotFoundError as error:
        if path.is_symlink():
            leads = f"is a link to {path.readlink()}, which does not exist"
            raise UsageError(f"{path}: {leads}; make that folder, or remove the link") from error
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    raise UsageError(f"{path}: cannot be written (it is a file, where a folder is needed); move it away")


def _check_length(path: Path, missing: set[Path]) -> None:
    """Checks that the file system takes the name and the path of a folder that is yet to be made.

    Raises:
      UsageError: it does not.
    """
    if path not in missing:
        return
    there = next(folder for folder in path.parents if folder not in missing)
    name, limit = os.fsencode(path.name), _limit(there, "PC_NAME_MAX", _NAME_MAX)
    if len(name) > limit:
        begins = f"{_beginning(path.parent)}: a folder's name has at most {limit} bytes here, but that of"
        raise UsageError(f"{begins} {path.name[:60]}… has {len(name)}; use shorter names, or vary fewer settings")
    length, most = len(os.fsencode(_absolute(path))), _limit(there, "PC_PATH_MAX", _PATH_MAX) - _INSIDE
    if length > most:
        raise UsageError(f"{_beginning(path)}: the path of a run has at most {most} bytes here, but this one {length}")


def _absolute(path: Path) -> str:
    try:
        return os.path.abspath(path)
    except OSError:  # The working folder has been removed.
        return str(path)


def _beginning(path: Path) -> str:
    """Returns a path, or its beginning where it is long."""
    return str(path) if len(str(path)) <= 100 else f"{str(path)[:100]}…"


def _limit(folder: Path, name: str, default: int) -> int:
    try:
        return os.pathconf(folder, name)
    except (AttributeError, OSError, ValueError):
        return default


def allow_open_files(runs: int) -> None:
    """Lets this process open the files of so many runs that train together, if the system allows it.

    Raises:
      UsageError: it does not.
    """
    if sys.platform == "win32":
        return
    import resource

    needed = _open_now() + _OPEN_PER_RUN * runs + _OPEN_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--seeds: {runs} runs that train together open up to {needed} files, but this process may open only "
            f"{hard} (ulimit -Hn); train fewer seeds at a time, from another --seed on, or raise the limit"
        ) from error


def _open_now() -> int:
    """Returns how many files this process has open, as far as the system says."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 3
