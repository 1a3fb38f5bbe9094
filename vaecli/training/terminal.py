"""What is printed in words. Whoever wrote the words, a line stays a line and acts on no terminal."""

import abc
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vaecli.config import UsageError
from vaecli.config.texts import message, printable

if TYPE_CHECKING:
    from rich.console import Console


class ReaderLeftError(Exception):
    """Whoever read our stdout reads it no more."""


def print_result(line: str = "") -> None:
    """Prints a line on stdout."""
    print(printable(line))


def print_lines(text: str) -> None:
    """Prints a text of several lines on stdout."""
    for line in text.splitlines():
        print_result(line)


def print_message(text: str) -> None:
    """Prints a message on stderr."""
    print_uncut(message(text))


def print_uncut(line: str) -> None:
    """Prints a line on stderr of which nothing may be left out, such as a command."""
    # Whoever reads it may have left, or its disk may be full, which is no reason to stop.
    with contextlib.suppress(OSError):
        print(printable(line), file=sys.stderr, flush=True)


def print_in_place(text: str) -> None:
    """Prints on stderr what its next text replaces, and no line end of its own."""
    with contextlib.suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


def stderr_console() -> "Console":
    """Returns a console on stderr; what cannot be shown there, since its terminal has gone, is no reason to stop."""
    from rich.console import Console

    quiet: Any = _QuietStream(sys.stderr)
    return Console(file=quiet)


@contextlib.contextmanager
def checked_stdout() -> Iterator[None]:
    """Makes the faults of stdout differ from those of files, and sees to it that all of it is written.

    Raises:
      ReaderLeftError: nobody reads it any more.
      UsageError: it cannot be written for another reason.
    """
    checked: Any = _CheckedStream(sys.stdout)
    with contextlib.redirect_stdout(checked):
        try:
            yield
        finally:
            checked.flush()


class _Stream(abc.ABC):
    """A stream of which every fault is handled in one way."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._faults():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._faults():
            self._stream.flush()

    @abc.abstractmethod
    def _faults(self) -> contextlib.AbstractContextManager[Any]:
        """Handles what is raised within."""


class _QuietStream(_Stream):
    """A stream whose faults do not matter."""

    def _faults(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.suppress(OSError)


class _CheckedStream(_Stream):
    """A stream with the faults of stdout."""

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _discard(self._stream)
            if isinstance(error, BrokenPipeError):
                raise ReaderLeftError from error
            raise UsageError(f"stdout: cannot be written ({error.strerror})") from error


def _discard(stream: Any) -> None:
    """Lets go what a stream still holds, which Python would complain about at its end."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
