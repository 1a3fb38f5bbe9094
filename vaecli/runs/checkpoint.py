"""The state of a run on disk: Orbax checkpoints, each beside the checksums of its files.

`checkpoint/step0000469` holds the arrays, as `arrays.npz`, and what the host knew then, as `record.json`;
`checkpoint/step0000469.sha256` is written after it, so that a checkpoint without it was never finished.
`sha256sum -c` reads it too.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vaecli.config import UsageError
from vaecli.runs.directory import CHECKPOINT, claim, leftovers
from vaecli.runs.files import read_regular, write_atomically

# A checkpoint, its checksums, and the names that Orbax and `write_atomically` give them before they are whole.
_NAME = re.compile(r"\.?(step\d{7,})(\.sha256(\..*)?|\.orbax-checkpoint-tmp.*)?")
_FOREIGN = "the checkpoint is damaged, though its SHA-256 is that of its files; restore it from a copy, or train anew"
_KEPT = 2
"""The last, and the one before, in case the last is damaged."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A checkpoint whose files are what was written.

    Attributes:
      folder: its folder.
      step: how many updates of the parameters came before it.
      sha256: the SHA-256 of its checksums.
      record: what the host knew.
    """

    folder: Path
    step: int
    sha256: str
    record: Mapping[str, Any]


def save(path: Path, step: int, state: Any, record: Mapping[str, Any]) -> str:
    """Writes a checkpoint, and removes all but the newest two.

    Args:
      path: the run's directory.
      step: how many updates of the parameters there were so far.
      state: a tree of NumPy arrays.
      record: what JSON can hold.

    Returns:
      The SHA-256 of its checksums.

    Raises:
      OSError: it cannot be written; those before it stay.
    """
    from vaecli.runs.arrays import save_arrays

    folder = Path(os.path.abspath(path / CHECKPOINT / f"step{step:07d}"))
    try:
        _remove(path, folder.name)
        save_arrays(folder, flat(state), record)
        text = _checksums(folder)
        write_atomically(_checksum_file(folder), text)
    except BaseException:
        _remove(path, folder.name)
        raise
    prune(path, step, keep=_KEPT)
    return hashlib.sha256(text.encode()).hexdigest()


def prune(path: Path, step: int, *, keep: int) -> None:
    """Removes all checkpoints but the `keep` newest up to a step, and what a write that was cut off left."""
    written = sorted(number for number in _steps(path) if number <= step)
    kept = {f"step{number:07d}" for number in written[-keep:]}
    for name in {name for _, name in _entries(path)} - kept:
        _remove(path, name)


def tidy(path: Path, step: int) -> None:
    """Removes what a finished run has left over, unless a process works on it: old checkpoints and temporary files.

    Args:
      path: the run's directory.
      step: that of its last checkpoint; where that is missing, nothing is removed.
    """
    old = {name for _, name in _entries(path)} - {f"step{step:07d}"}
    if (old and step in _steps(path)) or leftovers(path):
        with contextlib.suppress(OSError, UsageError):
            directory = claim(path)
            try:
                if step in _steps(directory.place):
                    prune(directory.place, step, keep=1)
            finally:
                directory.release()


def snapshots(path: Path) -> tuple[list[Snapshot], list[str]]:
    """Returns the undamaged checkpoints of a run, the newest first, and what is wrong with the others."""
    undamaged, complaints = [], []
    for step in sorted(_steps(path), reverse=True):
        try:
            undamaged.append(snapshot(path, step))
        except UsageError as error:
            complaints.append(str(error))
    # A process that is killed leaves at most one without its checksums.
    bare = sorted(entry.name for entry, name in _entries(path) if entry.name == name and entry.is_dir())
    if not undamaged and not complaints and len(bare) > 1:
        complaints.append(f"{path / CHECKPOINT}: the checksums of its checkpoints are gone ({bare[-1]}.sha256)")
    return undamaged, complaints


def snapshot(path: Path, step: int, sha256: str | None = None) -> Snapshot:
    """Opens one checkpoint.

    Args:
      path: the run's directory.
      step: its step.
      sha256: what `save` returned, where it is known.

    Raises:
      UsageError: there is no such checkpoint, or it is damaged.
    """
    folder = (path / CHECKPOINT / f"step{step:07d}").resolve()
    if not folder.is_dir():
        raise UsageError(f"{path}: has no checkpoint of step {step} in {CHECKPOINT}/")
    try:
        text = _checksums(folder)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if read_regular(_checksum_file(folder)) != text.encode() or sha256 not in (None, digest):
            raise UsageError(f"{folder}: the checkpoint is damaged, its SHA-256 is not what was written")
        record = json.loads(read_regular(folder / "record.json"))
        if not isinstance(record, dict):
            raise UsageError(f"{folder}: {_FOREIGN}")
        return Snapshot(folder, step, digest, record)
    except OSError as error:
        raise UsageError(f"{folder}: the checkpoint cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{folder}: {_FOREIGN}") from error


def restore(source: Snapshot, like: Mapping[str, Any]) -> Any:
    """Reads the arrays of a checkpoint, as a tree.

    Args:
      source: the checkpoint.
      like: a tree with the shapes and types of those that are wanted, which may leave out whole entries of its root;
        `jax.eval_shape` makes one without arrays.

    Raises:
      UsageError: the arrays are not like that, or damaged.
    """
    import jax

    from vaecli.runs.arrays import DAMAGES, read_arrays

    try:
        arrays = read_arrays(source.folder, tuple(like))
    except DAMAGES as error:
        raise UsageError(f"{source.folder}: {_FOREIGN}") from error
    wanted = flat(like)
    arrays = _under_names_of_today(arrays, wanted)
    if {name: (a.shape, a.dtype) for name, a in arrays.items()} != {n: (a.shape, a.dtype) for n, a in wanted.items()}:
        raise UsageError(
            f"{source.folder}: the checkpoint is of another network or optimiser than the run's config.toml says"
        )
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


_FORMER_NAMES = (("/inner_states/decoder_scale/", "/inner_states/rest/"), ("/decoder_scale/bias", "/decoder/u"))
"""The parts of names of the likelihood's scale, and those of earlier versions, in which it was the decoder's."""


def _under_names_of_today(arrays: Mapping[str, Any], wanted: Collection[str]) -> Mapping[str, Any]:
    """Returns the arrays of a checkpoint; those of an earlier version's Gaussian likelihood have new names."""
    old = [name for name in arrays if name.endswith("/decoder/u")]
    if not old:
        return arrays

    def former(name: str) -> str:
        return functools.reduce(lambda text, names: text.replace(*names), _FORMER_NAMES, name)

    renamed = {name: arrays[former(name)] for name in wanted if name not in arrays and former(name) in arrays}
    return {name: array for name, array in arrays.items() if name not in old} | renamed


def flat(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their paths, as in `params/encoder/layers/0/kernel`."""
    import jax

    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _steps(path: Path) -> list[int]:
    """The steps of the checkpoints that were finished."""
    entries = _entries(path)
    files = {entry.name for entry, _ in entries}
    return [int(name[4:]) for name in {name for _, name in entries} if {name, f"{name}.sha256"} <= files]


def _checksum_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.sha256")


def _checksums(folder: Path) -> str:
    """The SHA-256 of every file below a folder, in the form of `sha256sum`."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder.parent)}\n" for file in files)
    return "".join(lines)


def _remove(path: Path, name: str) -> None:
    """Removes a checkpoint, its checksums first, and what a write of it that was cut off left."""
    folder = path / CHECKPOINT
    (folder / f"{name}.sha256").unlink(missing_ok=True)
    for entry, checkpoint in _entries(path):
        if checkpoint == name and entry.is_dir():
            shutil.rmtree(entry)
        elif checkpoint == name:
            entry.unlink(missing_ok=True)


def _entries(path: Path) -> list[tuple[Path, str]]:
    """The files and folders of checkpoints, whole or not, each with the name of its checkpoint."""
    try:
        entries = list((path / CHECKPOINT).iterdir())
    except FileNotFoundError:
        return []
    return [(entry, match[1]) for entry in entries if (match := _NAME.fullmatch(entry.name))]
