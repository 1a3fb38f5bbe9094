"""The checkpoints that a run writes: its state, and what the host remembers of it."""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from vaecli.config import UsageError
from vaecli.runs import checkpoint
from vaecli.runs.checkpoint import Snapshot
from vaecli.runs.directory import RunDirectory
from vaecli.training.checkpoint_record import CheckpointRecord
from vaecli.training.run_files import usage_error_if_unwritable
from vaecli.vae.architecture import DECODER_SCALE, Params
from vaecli.vae.steps import TrainState
from vaecli.vae.updates import with_head_unit


class Newest(NamedTuple):
    """The newest checkpoint of a run.

    Attributes:
      step: updates of the parameters before it.
      sha256: the SHA-256 of its checksums.
      best: the epoch and the value of the best parameters in it.
    """

    step: int
    sha256: str
    best: Mapping[str, Any] | None


class GradientUnits(NamedTuple):
    """The units in which an optimiser that takes signs has the gradients of the heads of σ and of τ."""

    head_unit: float
    decoder_scale_unit: float


class Checkpoints:
    """The checkpoints of a run on disk.

    Attributes:
      newest: the last one; None before the first.
    """

    def __init__(self, directory: RunDirectory, snapshot: Snapshot | None):
        """Goes on from a checkpoint, or from none.

        Args:
          directory: the run's.
          snapshot: where the run resumes.
        """
        self._directory = directory
        self.newest = snapshot and Newest(snapshot.step, snapshot.sha256, snapshot.record["best"])

    def save(self, state: TrainState, best: Params | None, record: CheckpointRecord) -> None:
        """Writes a checkpoint.

        Args:
          state: of the run, as NumPy arrays.
          best: its best parameters, where they are kept.
          record: what the host remembers.

        Raises:
          UsageError: it cannot be written.
        """
        step = int(state.step)
        arrays = state._asdict() | ({} if best is None else {"best": best})
        with usage_error_if_unwritable(self._directory.path):
            sha256 = checkpoint.save(self._directory.place, step, arrays, record)
        self.newest = Newest(step, sha256, record["best"])

    def prune(self) -> None:
        """Removes all but the newest, because the run is over."""
        assert self.newest is not None
        with contextlib.suppress(OSError):  # What is left takes room and does no harm.
            checkpoint.prune(self._directory.place, self.newest.step, keep=1)


def restore(snapshot: Snapshot, like: TrainState, units: GradientUnits) -> tuple[TrainState, Params | None]:
    """Returns the state at a checkpoint, and the best parameters where it has them.

    Args:
      snapshot: the checkpoint.
      like: the shapes and types of the state.
      units: those of the run, in which its optimiser has the heads' gradients.

    Raises:
      UsageError: it holds other arrays than those.
    """
    wanted = like._asdict() | ({"best": like.params} if snapshot.record["best"] else {})
    arrays = checkpoint.restore(snapshot, wanted)
    best, state = arrays.pop("best", None), TrainState(**arrays)
    if int(state.step) != snapshot.step:
        raise UsageError(f"{snapshot.folder}: the checkpoint is damaged, it is that of step {int(state.step)}")
    for block, field, unit in zip(("scale_head", DECODER_SCALE), GradientUnits._fields, units, strict=True):
        factor = unit / snapshot.record.get(field, 1.0)
        if factor != 1:
            state = state._replace(opt_state=with_head_unit(state.opt_state, factor, block))
    return state, best
