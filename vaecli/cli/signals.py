"""How SIGINT and SIGTERM stop a command that trains: after its epoch, with the command that resumes."""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from vaecli.config.naming import flag
from vaecli.training.terminal import print_uncut

STOPPING = "stopping after this epoch; once more stops at once"


@contextlib.contextmanager
def stopping_signals(*, announce: bool = True, erasure: Callable[[], str] | None = None) -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, so that training ends after its epoch; a second one ends the process at once.

    Args:
      announce: whether a line on stderr says so when the first one comes; otherwise the caller does.
      erasure: returns what is sent to the terminal before the second one ends the process, so that nothing of what is
        shown is left there; only where the main thread never waits long outside of Python.
    """
    received: list[int] = []
    # What was started with a signal ignored, as by nohup or in the background of a script, leaves it so.
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN}

    def write(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # Not through a buffer, which may be in use when a signal comes.
            os.write(sys.stderr.fileno(), text.encode())

    def end(number: int, frame: FrameType | None) -> None:
        write(erasure() if erasure else "")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for n in before:
            signal.signal(n, end if erasure else signal.SIG_DFL)
        # The progress bar hides the cursor, and a second signal leaves it no time to show it again; the line of the bar
        # is taken.
        on_terminal = sys.stderr.isatty()
        line = f"vae: {STOPPING}\n" if announce else ""
        write("\x1b[?25h" * on_terminal + "\r\x1b[2K" * (on_terminal and announce) + line)

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped(number: int, argv: Sequence[str]) -> int:
    """Prints the command with which to go on after a signal, and returns the exit code."""
    print_uncut(f"vae: stopped by {signal.Signals(number).name}; to go on: {command_again(argv)}")
    return 128 + number


def command_again(argv: Sequence[str]) -> str:
    """Returns the command that goes on with what a command began."""
    return shlex.join(["vae", *(word for word in argv if word != flag("overwrite"))])
