"""The commands of `vae`, one module each: its flags and its `run`. Nothing heavy is imported at the top."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from vaecli.config import UsageError

DONE, UNEXPECTED, USAGE, DIVERGED = 0, 1, 2, 3
"""Exit codes; 128 + N where signal N stopped a command after a checkpoint."""

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag without a value and without a --no- twin."""

RunPath = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="RUN", help="Directory of a run that is over, or was stopped.", help_behavior_hint="(required)"
    ),
]
"""The run that a command looks at."""


def progress(description: str) -> Callable[[Sequence[int]], Iterable[int]]:
    """What follows numbers with a bar, where stderr is a terminal."""

    def follow(numbers: Sequence[int]) -> Iterable[int]:
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        hidden = not console.is_terminal
        return track(numbers, description, console=console, transient=True, disable=hidden, show_speed=False)

    return follow


def named_path(flag: str, text: str) -> Path:
    """The path that an option names, with ~ resolved.

    Raises:
      UsageError: no file can have it.
    """
    path = Path(text)
    try:
        path = path.expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # A name too long, a home that does not exist.
        raise UsageError(f"{flag}: {text}: {error}") from error
    return path


def output_file(flag: str, text: str, suffixes: tuple[str, ...] = ()) -> Path | None:
    """The file that an option names for what a command will write, or None where it names none.

    Raises:
      UsageError: it has another suffix, or cannot be written; said before the work is done.
    """
    if not text:
        return None
    path = named_path(flag, text)
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(f"{flag}: must name a {' or '.join(suffixes)} file, got {text!r}")
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        why = "is a folder" if path.is_dir() else "no such folder" if not folder.is_dir() else "no permission"
        raise UsageError(f"{flag}: {text} cannot be written ({why})")
    return path
