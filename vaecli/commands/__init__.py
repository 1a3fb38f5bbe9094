"""The commands of `vae`, one module each: its flags and its `run`. Nothing heavy is imported at the top."""

from typing import Annotated

import tyro

DONE, UNEXPECTED, USAGE, DIVERGED = 0, 1, 2, 3
"""Exit codes; 128 + N where signal N stopped a command after a checkpoint."""

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag without a value and without a --no- twin."""
