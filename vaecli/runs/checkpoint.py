"""The state of a run as an Orbax checkpoint."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from vaecli.config import UsageError
from vaecli.runs.directory import CHECKPOINT

LATEST = "latest"


def save(path: Path, state: Any) -> None:
    """Writes a tree of arrays to `<path>/checkpoint/latest`, in place of an earlier one."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((path / CHECKPOINT / LATEST).resolve(), state, force=True)


def restore(path: Path, like: Any) -> Any:
    """Reads the tree that `save` wrote.

    Args:
      path: the run's directory.
      like: a tree of the same structure, shapes and types; `jax.eval_shape` makes one without arrays.

    Raises:
      UsageError: there is none, it is damaged, or it is not like `like`.
    """
    folder = (path / CHECKPOINT / LATEST).resolve()
    if not folder.is_dir():
        raise UsageError(f"{path}: has no checkpoint in {CHECKPOINT}/{LATEST}")
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            found = checkpointer.restore(folder, like)
    except Exception as error:  # Orbax raises as many kinds as there are ways to damage a file.
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UsageError(f"{folder}: the checkpoint cannot be read ({told})") from error
    if [leaf.shape for leaf in jax.tree.leaves(found)] != [leaf.shape for leaf in jax.tree.leaves(like)]:
        raise UsageError(f"{folder}: the checkpoint is of another network or optimiser than the run's config")
    return found
