"""The only module that relies on how tyro words, draws and prints its messages.

tyro prints an error as a box of several lines at the width of the terminal, and exits. Here it becomes one line.
`tests/cli/test_tyro_errors.py` says what is relied on.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import tyro

from vaecli.config import UsageError
from vaecli.config.validators import nearest

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


def parse(kind: type, argv: Sequence[str], program: str) -> Any:
    """Parses the words after a command into an instance of a dataclass.

    Args:
      kind: the dataclass, whose fields are dataclasses of flags.
      argv: the words.
      program: the name of the command.

    Raises:
      UnknownWordError: it has an option or argument that the command does not have.
      UsageError: it does not parse for another reason.
    """
    if own := next((word for word in argv if word.startswith("--tyro-")), ""):
        raise UnknownWordError(own)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box), _columns(_ERROR_WIDTH):
            return tyro.cli(kind, prog=program, args=argv, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit:
        error = usage_error(box.getvalue())
    if isinstance(error, UnknownWordError):
        # A word may have blanks and commas in it, as the list of them has between.
        begins = [word for word in argv if error.word.startswith(" ".join(word.split()))]
        raise UnknownWordError(max(begins, key=len, default=re.split(r"[\s,]", error.word)[0]))
    raise error


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
    """Returns the error in the box that tyro draws around it, in our words; of unknown words, all of them."""
    # A title, then the message, between frames and rules that are drawn in ASCII where the output is, then a hint.
    box = box.partition("For full helptext")[0]
    lines = [line for raw in box.splitlines() if (line := raw.strip(" │╭╮╰╯─")) and set(line) != {"-"}]
    # A value that has lines is drawn on as many.
    message, joined = lines[1] if len(lines) > 1 else "", " ".join(lines[1:])
    if match := re.match(r"Unrecognized (?:or misplaced )?options:\s*(.*)", joined):
        return UnknownWordError(match[1])
    if match := re.match(r"invalid choice '(.*?)' for argument '(--\S+)'\. Expected one of \((.*?)\)\.", joined):
        word, flag, choices = match[1], match[2], re.findall(r"'([^']*)'", match[3])
        return UsageError(f"{flag}: must be one of {', '.join(choices)}, got {word!r}{nearest(word, choices)}")
    return UsageError(_reworded(message or " ".join(lines)))


def _reworded(message: str) -> str:
    """Returns a message of tyro's, or of the number types that it calls, in the words of this program."""
    if match := re.fullmatch(r"Missing value for argument '(--\S+)'\..*", message):
        return f"{match[1]}: needs a value"
    message = re.sub(r"^Error parsing (--\S+): ", r"\1: ", message)
    message = re.sub(r"invalid literal for int\(\) with base 10: ", "must be a whole number, got ", message)
    return re.sub(r"could not convert string to float: ", "must be a number, got ", message)
