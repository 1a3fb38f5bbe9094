"""Results of the device, read late and handed to the records of the runs."""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from vaecli.config import UsageError
from vaecli.training.epoch_result import EpochResult
from vaecli.training.progress import Observer
from vaecli.training.run_record import RunRecord
from vaecli.vae.divergence import Cause
from vaecli.vae.steps import TrainState

_CHECKPOINTS_SHARE = 0.1
"""Of the time of a batch whose files several threads write, at most so much goes into checkpoints."""

Locate = Callable[[int], tuple[Cause, TrainState]]
"""From a row of a batch to what was not finite in it first, and the state before that."""


Explain = Callable[[int, Cause], Cause]
"""From a row of a batch and the first scalar of its log point that is not finite to why it is not."""


class Follower(NamedTuple):
    """Who follows some runs of a batch: those of one variant, or all of them.

    Attributes:
      observer: is shown how far they are.
      rows: their places in the batch.
    """

    observer: Observer
    rows: Sequence[int]


class _Pending(NamedTuple):
    """An epoch that has not been read; the fields are the arguments of `Recorder.add`."""

    epoch: int
    result: EpochResult
    state: TrainState
    locate: Locate
    explain: Explain
    checkpoint: bool
    stopped: bool


class Recorder:
    """Reads the results of an epoch once the next one is under way, so that the device never waits for the host."""

    def __init__(
        self,
        records: Sequence[RunRecord],
        followers: Sequence[Follower],
        facts: Mapping[str, Any],
        *,
        isolate: bool,
        threads: int,
    ):
        """Starts before any epoch.

        Args:
          records: one for each row of the batch.
          followers: who follows the progress.
          facts: what summaries say of the machine and the code.
          isolate: whether a run ends by itself where its files cannot be written.
          threads: how many write the files of different runs at the same time.
        """
        self._threads = ThreadPoolExecutor(threads) if min(threads, len(records)) > 1 else None
        self._isolate = isolate
        self._records = records
        self._followers = followers
        self._facts = facts
        self._pending: _Pending | None = None
        self._next_checkpoint = 0.0
        # When an epoch was read, and how many images were trained in it.
        self._times: list[tuple[float, int]] = []

    def add(
        self,
        epoch: int,
        result: EpochResult,
        state: TrainState,
        locate: Locate,
        explain: Explain,
        *,
        checkpoint: bool,
        stopped: bool,
    ) -> None:
        """Takes an epoch that the device may still be working on, and writes the one before it if it is pending.

        Args:
          epoch: its number.
          result: what is to be written of it.
          state: the state after it.
          locate: says how it diverged, if it did.
          explain: says why its log point is not finite, if it is not.
          checkpoint: whether a checkpoint is written after it.
          stopped: whether the runs stop here before their last epoch.
        """
        self.flush()
        self._pending = _Pending(epoch, result, state, locate, explain, checkpoint, stopped)

    def flush(self) -> None:
        """Writes the epoch that is pending, once the device has it."""
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        result = jax.device_get(pending.result)
        training = [row for row, record in enumerate(self._records) if not record.ended]
        begun = time.perf_counter()
        self._times.append((begun, sum(self._records[row].images for row in training)))
        losses = EpochResult(finite=result.finite, steps=result.steps)
        lost = [row for row in training if not self._records[row].is_finite(of_row(losses, row))]
        # Rows that were lost at the same step are located together.
        for row in sorted(lost, key=lambda row: _first_lost(of_row(losses, row))):
            with self.guarded(row):
                self._write_lost(row, pending, of_row(result, row))
        self.each([row for row in training if row not in lost], lambda row: self._write(row, pending, result))
        if self._threads and pending.checkpoint:
            ended = time.perf_counter()
            self._next_checkpoint = ended + (ended - begun) / _CHECKPOINTS_SHARE
        for observer, rows in self._followers:
            if not set(training).isdisjoint(rows):
                observer.epoch(pending.epoch, _mean_elbo(result, rows), self._speed(self._times[-2:]))

    def each(self, rows: Iterable[int], write: Callable[[int], None]) -> None:
        """Writes what there is of each of some rows, guarded; those of different runs at the same time.

        Raises:
          UsageError: that of the first row with one, where runs are not isolated.
        """

        def guarded(row: int) -> None:
            with self.guarded(row):
                write(row)

        for _ in self._threads.map(guarded, rows) if self._threads else map(guarded, rows):
            pass

    def close(self) -> None:
        """Ends its threads."""
        if self._threads:
            self._threads.shutdown()

    @contextlib.contextmanager
    def guarded(self, row: int) -> Iterator[None]:
        """Lets what is wrong with the files of one run end only that run, where it is isolated from the others.

        Raises:
          UsageError: that was raised within, where it is not.
        """
        try:
            yield
        except UsageError as error:
            if not self._isolate:
                raise
            self._records[row].give_up(error)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a summary says of machine and code, with the training images over the time of this session."""
        return {**self._facts, "images_per_second": self._speed(self._times)}

    @property
    def affords_checkpoint(self) -> bool:
        """Whether a checkpoint now leaves their writing within its share of the time."""
        return time.perf_counter() >= self._next_checkpoint

    @property
    def all_ended(self) -> bool:
        """Whether no run is left to train."""
        return all(record.ended for record in self._records)

    def _write_lost(self, row: int, pending: _Pending, result: EpochResult) -> None:
        """Finishes a run whose state or losses are not finite, with its state before that."""
        record, epoch = self._records[row], pending.epoch
        cause, before = pending.locate(row)
        record.log_before(epoch, result, cause.step)
        record.finish(max(epoch - 1, 0), jax.device_get(before), self.facts, cause=cause)

    def _write(self, row: int, pending: _Pending, results: EpochResult) -> None:
        """Hands one run its results, and finishes it if a measurement in them is not finite."""
        record, epoch = self._records[row], pending.epoch
        result = of_row(results, row)
        explain = functools.partial(pending.explain, row)
        if cause := record.log(epoch, result, explain, checkpoint=pending.checkpoint, stopped=pending.stopped):
            record.finish(epoch, jax.device_get(of_row(pending.state, row)), self.facts, cause=cause)

    def _speed(self, times: Sequence[tuple[float, int]]) -> float:
        """Returns the images per second from the first of the times to the last."""
        if len(times) < 2:
            return 0.0
        return sum(images for _, images in times[1:]) / (times[-1][0] - times[0][0])


def of_row(tree: Any, row: int) -> Any:
    """Returns one row of a tree of arrays."""
    return jax.tree.map(lambda leaf: leaf[row], tree)


def _first_lost(losses: EpochResult) -> int:
    """Returns the first step of an epoch whose loss is not finite, or one after the last."""
    sums = np.array(losses.steps.sums) if losses.steps else np.zeros((1, 0))
    return int(np.append(np.isfinite(sums).all(axis=0), False).argmin())


def _mean_elbo(result: EpochResult, rows: Sequence[int]) -> float | None:
    """Returns the mean test ELBO over those of some rows where it is finite, or None where it was not measured."""
    if result.measurement is None:
        return None
    elbos = np.asarray(result.measurement.scalars["test/elbo"])[list(rows)]
    finite = elbos[np.isfinite(elbos)]
    return float(finite.mean()) if finite.size else math.nan
