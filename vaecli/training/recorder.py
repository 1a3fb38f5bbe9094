"""Results of the device, read late and handed to the records of the runs."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from vaecli.training.progress import Observer
from vaecli.training.run_record import Point, RunRecord
from vaecli.vae.divergence import Cause

if TYPE_CHECKING:
    from vaecli.vae.steps import TrainState


class _Pending(NamedTuple):
    epoch: int
    point: Point
    state: "TrainState"
    locate: Callable[[int], tuple[Cause, "TrainState"]]
    ends: Mapping[str, bool]


class Log:
    """Reads what the device measured one log point late, so that the device never waits for the host."""

    def __init__(self, records: Sequence[RunRecord], observer: Observer, facts: Mapping[str, Any]):
        self._records = records
        self._observer = observer
        self._facts = facts
        self._pending: _Pending | None = None
        # When an epoch was read, and how many images were trained in it.
        self._times: list[tuple[float, int]] = []

    def add(
        self,
        epoch: int,
        point: Point,
        state: "TrainState",
        locate: Callable[[int], tuple[Cause, "TrainState"]],
        **ends: bool,
    ) -> None:
        """Takes an epoch that the device may still be working on; the one before it has been written by then.

        Args:
          epoch: its number.
          point: what is to be written of it.
          state: the state after it.
          locate: what was not finite in it first, for one row of the seed axis, and the state before that.
          ends: how it ends, as `RunRecord.log` takes it.
        """
        self.flush()
        self._pending = _Pending(epoch, point, state, locate, ends)

    def flush(self) -> None:
        """Writes the epoch that is pending, once the device has it."""
        if self._pending is None:
            return
        epoch, point, state, locate, ends = self._pending
        self._pending = None
        point = jax.device_get(point)
        images = sum(record.images for record in self._records if not record.summary)
        self._times.append((time.perf_counter(), images))
        for k, record in enumerate(self._records):
            if record.summary:
                continue
            mine = jax.tree.map(lambda leaf, k=k: leaf[k], point)
            if record.sound(mine):
                if cause := record.log(epoch, mine, **ends):
                    self._diverged(record, epoch, jax.tree.map(lambda leaf, k=k: leaf[k], state), cause)
            else:
                cause, before = locate(k)
                self._diverged(record, max(epoch - 1, 0), before, cause)
        elbo = None
        if point.measurement is not None:
            elbos = point.measurement.scalars["test/elbo"]
            sound = elbos[np.isfinite(elbos)]
            elbo = float(sound.mean()) if sound.size else math.nan
        self._observer.epoch(epoch, elbo, self._speed(self._times[-2:]))

    def _diverged(self, record: RunRecord, epoch: int, state: "TrainState", cause: Cause) -> None:
        record.finish(epoch, jax.device_get(state), self.facts, cause=cause)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a summary says of the device: which it is, and its training images over the time of this session."""
        return {**self._facts, "images_per_second": self._speed(self._times)}

    @property
    def all_diverged(self) -> bool:
        """Whether no run is left to train."""
        return all(record.summary for record in self._records)

    def _speed(self, times: Sequence[tuple[float, int]]) -> float:
        if len(times) < 2:
            return 0.0
        return sum(images for _, images in times[1:]) / (times[-1][0] - times[0][0])
