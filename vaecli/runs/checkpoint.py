"""The state of a run as an Orbax checkpoint."""

from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from vaecli.runs.directory import CHECKPOINT

LATEST = "latest"


def save(path: Path, state: Any) -> None:
    """Writes a tree of arrays to `<path>/checkpoint/latest`, in place of an earlier one."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((path / CHECKPOINT / LATEST).resolve(), state, force=True)


def restore(path: Path) -> Any:
    """Reads the tree that `save` wrote, as nested dictionaries and lists of NumPy arrays."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore((path / CHECKPOINT / LATEST).resolve())
