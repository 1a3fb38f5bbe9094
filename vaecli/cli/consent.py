"""Asking before a command trains what it was not told to train."""

import sys

from vaecli.config import UsageError
from vaecli.training.terminal import print_in_place


def check_agreed(what: str, *, yes: bool, otherwise: str) -> bool:
    """Returns whether the user agrees to some training, which is asked for where there is a terminal.

    Args:
      what: what is to be trained, and how long that takes, as one line.
      yes: whether `--yes` has agreed already.
      otherwise: what to do without training, for a user who cannot be asked.

    Raises:
      UsageError: nobody can be asked.
    """
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{what}; --yes agrees to it, {otherwise}")
    print_in_place(f"vae: {what}. Go on? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
