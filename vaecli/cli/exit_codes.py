"""The exit codes of `vae`."""

import enum


class ExitCode(enum.IntEnum):
    """How a command ended, as a shell sees it; 128 + N where signal N stopped it after a checkpoint."""

    DONE = 0
    FAILED = 1
    """Something unexpected happened, or runs were left without an outcome."""
    USAGE = 2
    """The usage, the config, the data or the disk is at fault, and one line on stderr says how."""
    DIVERGED = 3
    NOT_MET = 4
    """What `vae compare --expect` names is shown not to be so."""
    UNDECIDED = 5
    """What `vae compare --expect` names is shown neither to be so nor not to be."""
    READER_LEFT = 141
    """Whoever read stdout closed it, as SIGPIPE would say it."""
