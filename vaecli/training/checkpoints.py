"""The checkpoints that a run writes: its state, and what the host remembers of it."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from vaecli.runs import checkpoint
from vaecli.runs.checkpoint import Snapshot
from vaecli.runs.journal import Marks
from vaecli.training.run_files import usage_error_if_unwritable
from vaecli.vae.networks import Params
from vaecli.vae.steps import TrainState


class CheckpointRecord(TypedDict):
    """What the host remembers of a run at a checkpoint, as its `record.json` has it.

    Attributes:
      epoch: passes over the training images so far.
      pending: whether the log point of this epoch has yet to be written.
      ended: the cause of a divergence after which no step follows.
      unsound: the first number of the last log point that was not finite.
      metrics: the scalars of the last log point.
      sums: the sums of the losses since then, as `Totals` has them.
      skipped_updates: how many updates were left out.
      best: the epoch and the value of the best parameters.
      wall_time_s: how long the run has trained, in seconds.
      logs: where each log file ended.
      config: the run's, in TOML.
      data_sha256: the checksums of the data.
      versions: the versions of what trained it.
    """

    epoch: int
    pending: bool
    ended: Mapping[str, Any] | None
    unsound: Mapping[str, Any] | None
    metrics: Mapping[str, float | None]
    sums: list[list[float]]
    skipped_updates: int
    best: Mapping[str, Any] | None
    wall_time_s: float
    logs: Marks
    config: str
    data_sha256: Mapping[str, str]
    versions: Mapping[str, str]


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


class Checkpoints:
    """The checkpoints of a run on disk.

    Attributes:
      newest: the last one; None before the first.
    """

    def __init__(self, path: Path, snapshot: Snapshot | None):
        """Goes on from a checkpoint, or from none.

        Args:
          path: the run's directory.
          snapshot: where the run resumes.
        """
        self._path = path
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
        with usage_error_if_unwritable(self._path):
            self.newest = Newest(step, checkpoint.save(self._path, step, arrays, record), record["best"])

    def prune(self) -> None:
        """Removes all but the newest, because the run is over."""
        assert self.newest is not None
        with contextlib.suppress(OSError):  # What is left takes room and does no harm.
            checkpoint.prune(self._path, self.newest.step, keep=1)


def restore(snapshot: Snapshot, like: TrainState) -> tuple[TrainState, Params | None]:
    """Returns the state at a checkpoint, and the best parameters where it has them.

    Args:
      snapshot: the checkpoint.
      like: the shapes and types of the state.

    Raises:
      UsageError: it holds other arrays than those.
    """
    wanted = like._asdict() | ({"best": like.params} if snapshot.record["best"] else {})
    arrays = checkpoint.restore(snapshot, wanted)
    best = arrays.pop("best", None)
    return TrainState(**arrays), best
