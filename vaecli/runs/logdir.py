"""A folder of event files for TensorBoard that no run has written: one file in a folder of its own for each name."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vaecli.config import UsageError
from vaecli.runs import tensorboard
from vaecli.runs.files import TEMPORARY, write_atomically

_OURS = ".vae-bands"
"""At the end of the name of a file that may be replaced."""


def check_logdir(flag: str, folder: Path) -> None:
    """Makes sure, before the work is done, that a folder can be written and holds nothing else.

    Raises:
      UsageError: it cannot, or it does.
    """
    written = _written(flag, folder)
    existing = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    places = [existing, *{file.parent for file in written}]
    if not all(place.is_dir() and os.access(place, os.W_OK | os.X_OK) for place in places):
        raise UsageError(f"{flag}: {folder} cannot be written ({_reason(existing)})")


def write_logdir(flag: str, folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes event files, each into a folder of the name that it has, and removes those of an earlier call.

    Raises:
      UsageError: the folder holds something else, or cannot be written; what was there before stays.
    """
    before = _written(flag, folder)
    name = f"{tensorboard.file_name()}{_OURS}"
    new = {folder / place / name: content for place, content in files.items()}
    made = []
    try:
        for file, content in new.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            made.append(file)
            write_atomically(file, content)
        _remove(file for file in before if file not in new)
    except OSError as error:
        _remove(file for file in made if file not in before)
        raise UsageError(f"{flag}: {folder} cannot be written ({error.strerror or error})") from error


def _written(flag: str, folder: Path) -> Sequence[Path]:
    """Returns the files in a folder that an earlier call has written, or was writing when it was killed.

    Raises:
      UsageError: it holds something else.
    """
    try:
        files = []
        for place in sorted(folder.iterdir()) if os.path.lexists(folder) else ():
            if place.is_symlink() or not place.is_dir():
                raise UsageError(_holds(flag, folder, place))
            for file in sorted(place.iterdir()):
                if not file.name.endswith((_OURS, TEMPORARY)) or file.is_symlink() or not file.is_file():
                    raise UsageError(_holds(flag, folder, file))
                files.append(file)
        return files
    except FileNotFoundError as error:
        raise UsageError(f"{flag}: {folder} is a link that leads nowhere") from error
    except NotADirectoryError as error:
        raise UsageError(f"{flag}: {folder} is a file and not a folder") from error
    except OSError as error:
        raise UsageError(f"{flag}: {folder} cannot be read ({error.strerror})") from error


def _holds(flag: str, folder: Path, entry: Path) -> str:
    other = "name one that does not exist yet, or that was written by this option"
    return f"{flag}: {folder} holds something else ({entry.relative_to(folder)}); {other}"


def _reason(existing: Path) -> str:
    if not existing.is_dir():
        return f"{existing} is not a folder"
    return "no permission"


def _remove(files: Iterable[Path]) -> None:
    """Removes files, and their folders where nothing else is in them."""
    for file in files:
        with contextlib.suppress(OSError):
            file.unlink()
            file.parent.rmdir()
