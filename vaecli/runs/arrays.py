"""The files in a checkpoint's folder, and the door to Orbax.

Orbax makes the folder appear whole or not at all. A handler of our own puts all arrays in one NumPy file, in a third of
the time that Orbax's own forms take for the many small arrays of a network. Only this module imports Orbax;
`tests/runs/test_orbax_contract.py` says what is relied on.
"""

import dataclasses
import json
import os
import struct
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import orbax.checkpoint as ocp

from vaecli.runs.files import write_atomically

ARRAYS, RECORD = "arrays.npz", "record.json"

DAMAGES = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, OverflowError, MemoryError, RuntimeError),
    *(SyntaxError, struct.error, BadZipFile, zlib.error),
)
"""What NumPy, its zip archives and Orbax raise where a file is not what they wrote."""


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    """Writes a checkpoint's folder, as a whole.

    Args:
      folder: its absolute path; nothing lies there yet.
      arrays: the arrays, by name.
      record: what JSON can hold.

    Raises:
      OSError: it cannot be written; what Orbax had begun may be left under a temporary name.
    """
    with ocp.Checkpointer(Handler()) as checkpointer:
        checkpointer.save(folder, _Save(arrays, record))


def read_arrays(folder: Path, roots: Collection[str]) -> Mapping[str, np.ndarray]:
    """Reads those arrays of a checkpoint's folder whose names begin, up to the first slash, with one of `roots`."""
    with ocp.Checkpointer(Handler()) as checkpointer:
        return checkpointer.restore(folder, _Restore(roots))


class Handler(ocp.CheckpointHandler):
    """The handler that Orbax calls to write and to read a folder; the metadata that it puts there name this class."""

    def save(self, directory: Any, args: "_Save") -> None:
        with open(directory / ARRAYS, "wb") as file:
            np.savez(file, **args.arrays)  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())
        write_atomically(Path(directory / RECORD), json.dumps(args.record, allow_nan=False) + "\n")

    def restore(self, directory: Any, args: "_Restore") -> Mapping[str, np.ndarray]:
        # NumPy does not close a file of its own in which it finds nothing to read.
        with open(directory / ARRAYS, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if name.split("/")[0] in args.roots}


@ocp.args.register_with_handler(Handler, for_save=True)
@dataclasses.dataclass
class _Save(ocp.args.CheckpointArgs):
    """The arrays and the record that are written."""

    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any]


@ocp.args.register_with_handler(Handler, for_restore=True)
@dataclasses.dataclass
class _Restore(ocp.args.CheckpointArgs):
    """The beginnings of the names of the arrays that are read."""

    roots: Collection[str]
