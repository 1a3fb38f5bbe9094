"""The options that several commands share, and the checks of what they name."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from vaecli.config import UsageError
from vaecli.config.validators import unusable_text
from vaecli.training.fitting import MARGIN
from vaecli.training.terminal import stderr_console

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag without a value and without a --no- twin."""

JsonSwitch = Annotated[Switch, tyro.conf.arg(help="Print the result as JSON on stdout.")]

TrustSwitch = Annotated[
    Switch,
    tyro.conf.arg(help="Import the modules of heads that only the run's config names; this runs their code."),
]

ConfigOption = Annotated[
    str,
    tyro.conf.arg(
        metavar="NAME|FILE",
        help="Config file, or its bare name. Those that ship and those in ./configs have one; flags override what the "
        "file says.",
        help_behavior_hint="(default: mnist)",
    ),
]

RunsFolder = Annotated[Path, tyro.conf.arg(help="Folder of all results.")]

RunArgument = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="RUN", help="Directory of a run that has ended or was stopped.", help_behavior_hint="(required)"
    ),
]
"""The run that a command looks at."""

DataFolder = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="DIR",
        help="Folder in which the run's data lie now; '' for the MNIST in this package.",
        help_behavior_hint="(default: where they lay)",
    ),
]

PICTURES = (".png", ".svg")
"""The formats of a picture that the user names."""


def file_option(help: str) -> Any:
    """Returns the annotation of an option that names a file to write."""
    return tyro.conf.arg(metavar="FILE", help=help, help_behavior_hint="")


def named_config(argv: Sequence[str]) -> str | None:
    """Returns what `--config` names in a command line that is not parsed yet: the flags take their defaults from it."""
    named = None
    for word, following in itertools.zip_longest(argv, argv[1:]):
        if word == "--config" and following is not None:
            named = following
        elif word.startswith("--config="):
            named = word.removeprefix("--config=")
    return named


def named_path(flag: str, text: str) -> Path:
    """Returns the path that an option names, with ~ resolved.

    Raises:
      UsageError: no file can have it.
    """
    path = Path(text)
    try:
        path = path.expanduser()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError) as error:  # A name too long, a home that does not exist.
        raise UsageError(f"{flag}: {text}: {getattr(error, 'strerror', None) or error}") from error
    return path


def data_folder(text: str | None) -> str | None:
    """Returns the data folder that `--data-dir` names, "" for that of this package, or None where it was not given.

    Raises:
      UsageError: no folder can have it.
    """
    return str(named_path("--data-dir", text)) if text else text


def required_run(text: str, command: str) -> str:
    """Returns the run that a command was given.

    Raises:
      UsageError: no run was given.
    """
    if not text:
        raise UsageError(f"a run is needed, as in: vae {command} runs/mnist/logvar/seed0")
    return text


def check_runs_folder(runs: Path) -> None:
    """Refuses a folder of results whose name no path can have.

    Raises:
      UsageError: it is such a name.
    """
    if complaint := unusable_text(str(runs)):
        raise UsageError(f"--runs: {complaint}")


def outside_run(flag: str, path: Path, run: str) -> Path:
    """Returns a path that an option names for what a command will write, which must not lie among the run's own files.

    Raises:
      UsageError: it does.
    """
    if path.resolve().is_relative_to(Path(run).resolve()):
        raise UsageError(f"{flag}: {path} lies in the run's own directory; name a folder outside of it")
    return path


def output_file(flag: str, text: str, suffixes: tuple[str, ...] = ()) -> Path | None:
    """Returns the file that an option names for what a command will write, or None where it names none.

    Raises:
      UsageError: it has another suffix, or cannot be written; this is said before the work is done.
    """
    if not text:
        return None
    path = named_path(flag, text)
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(f"{flag}: must name a {' or '.join(suffixes)} file, got {text!r}")
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        reason = "is a folder" if path.is_dir() else "no such folder" if not folder.is_dir() else "no permission"
        raise UsageError(f"{flag}: {text} cannot be written ({reason})")
    return path


def check_different(files: Mapping[str, Path | None]) -> None:
    """Refuses two options that name one file to write.

    Args:
      files: what each option names.

    Raises:
      UsageError: two of them do.
    """
    named = ((flag, path.resolve()) for flag, path in files.items() if path)
    for (flag, path), (other, other_path) in itertools.combinations(named, 2):
        if path == other_path:
            raise UsageError(f"{flag} and {other} name the same file")


def progress(description: str) -> Callable[[Sequence[int]], Iterable[int]]:
    """Returns what shows a bar while it hands out numbers, where stderr is a terminal."""

    def follow(numbers: Sequence[int]) -> Iterable[int]:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        console = stderr_console()
        columns = TextColumn("{task.description}"), BarColumn(None), TaskProgressColumn(), TimeRemainingColumn()
        # As wide as the terminal, so that it is the bar that gives way, without the columns of a ^C.
        console.width = min(console.width - MARGIN, 80)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal, expand=True) as shown:
            yield from shown.track(numbers, description=description)

    return follow
