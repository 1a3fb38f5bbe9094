"""The only module that relies on how tyro words, draws and prints its messages.

tyro prints an error as a box of several lines at the width of the terminal, and exits. Here it becomes one line.
`tests/cli/test_tyro_errors.py` says what is relied on.
"""

import contextlib
import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tyro

from vaecli.config import UsageError

_NARROWEST_HELP = 50
# So wide that tyro wraps no line of an error.
_ERROR_WIDTH = 10_000


class UnknownWordError(UsageError):
    """A command line has a word that its command does not know.

    Attributes:
      word: the word.
    """

    def __init__(self, word: str):
        super().__init__(f"unexpected {word!r}")
        self.word = word


def prints_only(argv: Sequence[str]) -> bool:
    """Whether a command line asks tyro for help or for a completion script."""
    return any(word in ("-h", "--help") or word.startswith("--tyro-") for word in argv)


def parse(commands: Mapping[str, type], argv: Sequence[str], description: str) -> Any:
    """Parses a command line into an instance of the type of the command that it begins with.

    Raises:
      UnknownWordError: it has an option or argument that the command does not have.
      UsageError: it does not parse for another reason.
      SystemExit: it asked for help or for a completion script, which has been printed.
    """
    printing = prints_only(argv)
    # Help must stay legible on a narrow terminal.
    width = max(_NARROWEST_HELP, shutil.get_terminal_size().columns) if printing else _ERROR_WIDTH
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box), _columns(width):
            return tyro.extras.subcommand_cli_from_dict(
                dict(commands), prog="vae", description=description, args=argv, config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise usage_error(box.getvalue()) from None
    except (AssertionError, ImportError) as error:
        # An unknown shell, and one for which tyro asks for a package that is not installed.
        if not printing:
            raise
        raise UsageError("no completion script: the shells are bash, zsh and fish") from error
    except OSError as error:
        if not printing:
            raise
        raise UsageError(f"no completion script: {error}") from error


@contextlib.contextmanager
def _columns(width: int) -> Iterator[None]:
    """Sets the width at which tyro wraps what it prints."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def usage_error(box: str) -> UsageError:
    """Returns the error in the box that tyro draws around it, in our words."""
    # A title, then the message, between frames and rules that are drawn in ASCII where the output is.
    lines = [line for raw in box.splitlines() if (line := raw.strip(" │╭╮╰╯─")) and set(line) != {"-"}]
    if match := re.match(r"Unrecognized (?:or misplaced )?options:\s*([^\s,]+)", " ".join(lines[1:])):
        return UnknownWordError(match[1])
    return UsageError(_reworded(lines[1] if len(lines) > 1 else " ".join(lines)))


def _reworded(message: str) -> str:
    """Returns a message of tyro's, or of the number types that it calls, in the words of this program."""
    message = re.sub(r"^Error parsing (--\S+): ", r"\1: ", message)
    message = re.sub(r"invalid literal for int\(\) with base 10: ", "must be a whole number, got ", message)
    message = re.sub(r"could not convert string to float: ", "must be a number, got ", message)
    return re.sub(
        r"no type matching {None}\|(INT|FLOAT) could be instantiated from \[(.*)\]\.",
        lambda match: f"must be a {'whole ' if match[1] == 'INT' else ''}number, got {match[2]}",
        message,
    )
