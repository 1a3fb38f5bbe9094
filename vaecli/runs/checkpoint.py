"""The state of a run as an Orbax checkpoint."""

import hashlib
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from vaecli.config import UsageError
from vaecli.runs.directory import CHECKPOINT

LATEST, BEST = "latest", "best"


def save(path: Path, name: str, state: Any) -> str:
    """Writes a tree of arrays to `<path>/checkpoint/<name>`, in place of an earlier one, and returns its SHA-256."""
    folder = (path / CHECKPOINT / name).resolve()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, state, force=True)
    return _sha256(folder)


def restore(path: Path, name: str, like: Any, sha256: str) -> Any:
    """Reads the tree that `save` wrote.

    Args:
      path: the run's directory.
      name: of the checkpoint.
      like: a tree of the same structure, shapes and types; `jax.eval_shape` makes one without arrays.
      sha256: what `save` returned. Orbax reads many a changed file without complaint, and others with tracebacks.

    Raises:
      UsageError: there is none, it is damaged, or it is not like `like`.
    """
    folder = (path / CHECKPOINT / name).resolve()
    if not folder.is_dir():
        raise UsageError(f"{path}: has no checkpoint in {CHECKPOINT}/{name}")
    try:
        if _sha256(folder) != sha256:
            raise UsageError(f"{folder}: the checkpoint is damaged, its SHA-256 is not that in the run's summary")
    except OSError as error:
        raise UsageError(f"{folder}: the checkpoint cannot be read ({error.strerror})") from error
    unlike = f"{folder}: the checkpoint is of another network or optimiser than the run's config.toml says"
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            found = checkpointer.restore(folder, like)
    except ValueError as error:
        raise UsageError(unlike) from error
    leaves = zip(jax.tree.leaves(found), jax.tree.leaves(like), strict=True)
    if any(leaf.shape != wanted.shape for leaf, wanted in leaves):
        raise UsageError(unlike)
    return found


def _sha256(folder: Path) -> str:
    """Of the names and the content of all files below a folder."""
    total = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{content} {file.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()
