"""What the host keeps of a run while the device trains: log points, divergence, the final record."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from vaecli.config import Config
from vaecli.data import Dataset
from vaecli.progress import Observer
from vaecli.runs import checkpoint
from vaecli.runs.directory import RunDirectory, Summary
from vaecli.runs.writers import RunWriter, finite_or_null
from vaecli.vae.lookup import head
from vaecli.vae.statistics import estimates

if TYPE_CHECKING:
    from vaecli.vae.evaluate import Measurement
    from vaecli.vae.statistics import BatchStatistics
    from vaecli.vae.steps import StepSums, TrainState


class RunRecord:
    """One run: what it has shown so far, and the files that hold it."""

    def __init__(self, config: Config, directory: RunDirectory, dataset: Dataset):
        directory.start(config)
        self.images = len(dataset.train)
        self.first_non_finite: Mapping[str, Any] | None = None
        self._config = config
        self._learned = head(config.param).learned
        self._directory = directory
        self._dataset = dataset
        self._writer = RunWriter(directory.path, config)
        self._open = True
        self._step = 0
        self._last: dict[str, float | None] = {}
        self._reconstructions = np.zeros((0, dataset.test.shape[1]))

    def log(
        self, epoch: int, sums: "StepSums | None", measurement: "Measurement", gradients: "BatchStatistics | None"
    ) -> None:
        """Writes one log point, unless the run has diverged before it.

        Args:
          epoch: passes over the training images so far.
          sums: of each step of this epoch, (steps,); None before the first step.
          measurement: of the parameters at the end of the epoch.
          gradients: the statistics of the gradient there, (batches,); None where they are not due.
        """
        if self.first_non_finite:
            return
        steps = -(-self.images // self._config.batch_size)
        scalars = {tag: float(value) for tag, value in measurement.scalars.items()}
        if gradients is not None:
            scalars |= estimates(gradients, self._dataset.probe.shape[1], learned=self._learned)
        if sums is not None:
            reconstruction, kl = (float(np.sum(term, dtype=np.float64)) / self.images for term in sums)
            scalars |= {"train/elbo": reconstruction - kl, "train/reconstruction": reconstruction, "train/kl": kl}
        self.first_non_finite = _first_non_finite(sums, scalars, epoch, steps)
        self._last = finite_or_null(scalars)
        self._step = epoch * steps
        self._reconstructions = np.asarray(measurement.reconstructions)
        histograms = {tag: np.asarray(values) for tag, values in measurement.histograms.items()}
        self._writer.write(self._step, epoch, scalars, histograms)

    def finish(self, state: "TrainState", epochs: int, facts: Mapping[str, Any]) -> Summary:
        """Writes the pictures, the checkpoint and, last, the summary.

        Args:
          state: what was trained, as NumPy arrays.
          epochs: how many were trained.
          facts: what else the summary says, the same for every run of a batch.
        """
        status = "complete" if epochs == self._config.epochs else "interrupted"
        if np.isfinite(self._reconstructions).all():
            self._writer.write_picture(self._step, "test/reconstructions", self._picture())
        self.close()
        sha256 = checkpoint.save(self._directory.path, state._asdict())
        summary = {
            "status": "diverged" if self.first_non_finite else status,
            "first_non_finite": self.first_non_finite,
            "metrics": self._last,
            "epochs": epochs,
            "steps": int(state.step),
            "data_sha256": dict(self._dataset.sha256),
            "checkpoint_sha256": sha256,
            **facts,
        }
        self._directory.finish(summary)
        return summary

    def close(self) -> None:
        """Closes the files; a second time does nothing."""
        if self._open:
            self._open = False
            self._writer.close()

    def _picture(self) -> np.ndarray:
        """The first test images over their reconstructions."""
        count, height, width = len(self._reconstructions), self._dataset.height, self._dataset.width
        rows = np.stack([self._dataset.test[:count] / 255.0, self._reconstructions])
        return rows.reshape(2, count, height, width).transpose(0, 2, 1, 3).reshape(2 * height, count * width)


def _first_non_finite(
    sums: "StepSums | None", scalars: Mapping[str, float], epoch: int, steps: int
) -> Mapping[str, Any] | None:
    """The first quantity that is no finite number, and the step after which it was seen; None where all are finite."""
    if sums is not None:
        broken = {tag: np.flatnonzero(~np.isfinite(values)) for tag, values in sums._asdict().items()}
        first = {tag: int(where[0]) for tag, where in broken.items() if where.size}
        if first:
            tag = min(first, key=first.__getitem__)
            return {"quantity": f"train/{tag}", "step": (epoch - 1) * steps + first[tag]}
    # The terms before their sum, which tells less; a ratio of gradient moments may be undefined in a sound run.
    for tag in sorted(scalars, key=lambda tag: (tag.startswith("safety/"), tag.endswith("/elbo"))):
        if not tag.startswith(("grad/", "grad_se/")) and not math.isfinite(scalars[tag]):
            return {"quantity": tag, "step": epoch * steps}
    return None


class Log:
    """Reads what the device measured one log point late, so that the device never waits for the host."""

    def __init__(self, records: Sequence[RunRecord], observer: Observer):
        self._records = records
        self._observer = observer
        self._pending: tuple[int, StepSums | None, Measurement, BatchStatistics | None] | None = None
        self._times: list[float] = []

    def add(
        self, epoch: int, sums: "StepSums | None", measurement: "Measurement", gradients: "BatchStatistics | None"
    ) -> None:
        """Takes a log point that the device may still be working on, and writes the one before it."""
        self.flush()
        self._pending = (epoch, sums, measurement, gradients)

    def flush(self) -> None:
        """Writes the log point that is pending, once the device has it."""
        if self._pending is None:
            return
        epoch, sums, measurement, gradients = jax.device_get(self._pending)
        self._pending = None
        self._times.append(time.perf_counter())
        for k, record in enumerate(self._records):
            record.log(epoch, *jax.tree.map(lambda leaf, k=k: leaf[k], (sums, measurement, gradients)))
        elbos = measurement.scalars["test/elbo"]
        sound = elbos[np.isfinite(elbos)]
        elbo = float(sound.mean()) if sound.size else math.nan
        self._observer.epoch(epoch, elbo, self._speed(self._times[-2:]))

    @property
    def images_per_second(self) -> float:
        """Training images over the time from the first log point to the last, measuring and writing included."""
        return self._speed(self._times)

    @property
    def all_diverged(self) -> bool:
        """Whether no run is left to train."""
        return all(record.first_non_finite for record in self._records)

    def _speed(self, times: Sequence[float]) -> float:
        if len(times) < 2:
            return 0.0
        return sum(record.images for record in self._records) * (len(times) - 1) / (times[-1] - times[0])
