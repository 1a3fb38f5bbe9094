"""A run's directory on its way to another machine, as the contents of its files."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from vaecli.config import Config, UsageError
from vaecli.runs.directory import LOCK, TEMPORARY, claim, finished, write_atomically

Files = Mapping[str, bytes]
"""The contents of a directory's files, by their paths in it."""


def pack(path: Path) -> Files:
    """The files of a run directory that this process holds, without its lock and files whose writing was cut off.

    Raises:
      UsageError: a file cannot be read.
    """
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and file != path / LOCK)
    names = [file.relative_to(path) for file in files]
    try:
        return {str(name): (path / name).read_bytes() for name in names if not _cut_off(name)}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def unpack(files: Files, path: Path) -> None:
    """Writes the files of a run directory that does not exist yet."""
    path.mkdir(parents=True)
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
        unpack(files, staging)
        with contextlib.suppress(OSError):
            os.rename(staging, path)
            return
        # An earlier part of the run lies there.
        directory = claim(path)
        try:
            if not finished(path, config):
                os.rename(path, aside)
                try:
                    os.rename(staging, path)
                except OSError:
                    os.rename(aside, path)
                    raise
        finally:
            directory.release()
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _cut_off(name: Path) -> bool:
    return any(part.endswith(TEMPORARY) for part in name.parts)
