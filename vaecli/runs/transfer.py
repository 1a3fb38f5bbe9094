"""A run's directory on its way to another machine, as the contents of its files."""

import contextlib
import glob
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from vaecli.config import Config, UsageError
from vaecli.runs.directory import CHECKPOINT, PICTURES, UnwritableError, claim, discard, finished
from vaecli.runs.files import TEMPORARY, read_regular, write_atomically
from vaecli.runs.lock import is_lock

Files = Mapping[str, bytes]
"""The contents of a directory's files, by their paths in it."""


def pack(path: Path) -> Files:
    """The files of a run directory that this process holds, without its lock and files whose writing was cut off.

    Raises:
      UsageError: a file cannot be read.
    """
    # The run's own folders may be links, into which a search from above does not go.
    entries = {entry for folder in (path, path / CHECKPOINT, path / PICTURES) for entry in folder.rglob("*")}
    names = sorted(entry.relative_to(path) for entry in entries if entry.is_file())
    try:
        return {str(name): read_regular(path / name) for name in names if not is_lock(str(name)) and not _cut_off(name)}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def unpack(files: Files, path: Path) -> None:
    """Writes the files of a run directory that holds none yet."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path / name, content)


def place(files: Files, path: Path, config: Config) -> None:
    """Puts a run directory in its place, as a whole; a run that is finished there stays as it is.

    Args:
      files: the files of the directory.
      path: its place.
      config: the config of the run.

    Raises:
      UsageError: it cannot be written, another process is working on that run, or something else lies there.
    """
    staging, aside = (path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}") for _ in range(2))
    try:
        # Held, so that another process does not take it for one of a process that has died.
        held = claim(staging)
        try:
            unpack(files, held.place)
            _move(staging, path, aside, config)
        finally:
            with contextlib.suppress(OSError):
                held.lock.remove()
            held.release()
            _discard_quietly(staging)
    except UnwritableError as error:
        raise UsageError(str(error).replace(str(staging), str(path))) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error
    _remove_dead(path)


def _move(staging: Path, path: Path, aside: Path, config: Config) -> None:
    """Renames a directory to its place, where an earlier part of the run may lie."""
    with contextlib.suppress(OSError):
        os.rename(staging, path)
        return
    directory = claim(path)
    try:
        if not finished(path, config):
            directory.check()
            os.rename(path, aside)
            try:
                os.rename(staging, path)
            except OSError:
                os.rename(aside, path)
                raise
    finally:
        directory.release()
    _discard_quietly(aside)


def _remove_dead(path: Path) -> None:
    """Removes what processes that have died left beside a directory while they put one in its place."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"):
        with contextlib.suppress(UsageError):
            directory = claim(left)
            _discard_quietly(left)
            directory.release()


def _discard_quietly(entry: Path) -> None:
    with contextlib.suppress(OSError):
        discard(entry)


def _cut_off(name: Path) -> bool:
    return any(part.endswith(TEMPORARY) for part in name.parts)
