"""What the host keeps of a run while the device trains: log points, divergence, the final record."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from vaecli.config import Config
from vaecli.data import Dataset
from vaecli.progress import Observer
from vaecli.runs import checkpoint
from vaecli.runs.directory import PICTURES, RunDirectory, Summary
from vaecli.runs.writers import RunWriter, finite_or_null
from vaecli.vae.lookup import head
from vaecli.vae.statistics import estimates

if TYPE_CHECKING:
    from vaecli.vae.evaluate import Look, Measurement
    from vaecli.vae.networks import Params
    from vaecli.vae.statistics import BatchStatistics
    from vaecli.vae.steps import StepSums, TrainState


class Point(NamedTuple):
    """What the device has of an epoch; None for what is not due there.

    Attributes:
      epoch: passes over the training images so far.
      sums: of each step of this epoch, (steps,); None before the first step.
      measurement: of the parameters at the end of the epoch; where there is one, it is a log point.
      gradients: the statistics of the gradient there, (batches,).
      look: what pictures are drawn from.
      params: the parameters, where the best ones are kept.
    """

    epoch: int
    sums: "StepSums | None" = None
    measurement: "Measurement | None" = None
    gradients: "BatchStatistics | None" = None
    look: "Look | None" = None
    params: "Params | None" = None


class Best(NamedTuple):
    """The log point with the greatest bound on the validation split."""

    epoch: int
    value: float
    params: "Params"


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
        # Since the last log point: the sum of each of `StepSums` in every epoch.
        self._sums: list[list[float]] = []
        self._best: Best | None = None
        elbo = config.objective == "elbo"
        self._criterion = f"validation/{config.objective}"
        self._maximised = not elbo or config.beta != 1 or config.beta_warmup > 0

    def log(self, point: Point) -> None:
        """Writes a log point, or keeps the sums of an epoch for the next, unless the run has diverged before."""
        if self.first_non_finite:
            return
        epoch, sums, measurement = point[:3]
        steps = -(-self.images // self._config.batch_size)
        if sums is not None:
            self._sums.append([float(np.sum(term, dtype=np.float64)) for term in sums])
        scalars = self._scalars(point) if measurement else {}
        self.first_non_finite = _first_non_finite(sums, scalars, epoch, steps)
        if measurement is None:
            if self.first_non_finite:
                self._last = {}
            return
        self._sums = []
        self._last = finite_or_null(scalars)
        self._step = epoch * steps
        if point.params is not None and not self.first_non_finite:
            value = scalars[self._criterion]
            if self._best is None or value > self._best.value:
                # Copied: a view would keep the parameters of all seeds.
                self._best = Best(epoch, value, jax.tree.map(np.array, point.params))
        histograms = {tag: np.asarray(values) for tag, values in measurement.histograms.items()}
        self._writer.write(self._step, epoch, scalars, histograms)
        if point.look is not None:
            self._draw(point.look, epoch)

    def _draw(self, look: "Look", epoch: int) -> None:
        """Writes the pictures of an epoch, unless there is a number in them that is not finite."""
        if all(np.isfinite(values).all() for values in look):
            from vaecli.report import pictures

            drawn = pictures.sheets(self._dataset, *map(np.asarray, look))
            pictures.save(drawn, self._directory.path / PICTURES, epoch)
            for tag, picture in drawn.items():
                self._writer.write_picture(self._step, tag, picture)

    def _scalars(self, point: Point) -> dict[str, float]:
        """What a log point records, by tag."""
        assert point.measurement is not None
        scalars = {tag: float(value) for tag, value in point.measurement.scalars.items()}
        if point.gradients is not None:
            scalars |= estimates(point.gradients, self._dataset.probe.shape[1], learned=self._learned)
        if self._sums:
            reconstruction, kl, objective = (float(mean) / self.images for mean in np.mean(self._sums, axis=0))
            scalars |= {"train/elbo": reconstruction - kl, "train/reconstruction": reconstruction, "train/kl": kl}
            if self._maximised:
                scalars["train/objective"] = objective
        return scalars

    def finish(self, state: "TrainState", look: "Look", epochs: int, facts: Mapping[str, Any]) -> Summary:
        """Writes the last pictures, the checkpoints and, last, the summary.

        Args:
          state: what was trained, as NumPy arrays.
          look: what the pictures are drawn from.
          epochs: how many were trained.
          facts: what else the summary says, the same for every run of a batch.
        """
        status = "complete" if epochs == self._config.epochs else "interrupted"
        sha256 = checkpoint.save(self._directory.path, checkpoint.LATEST, state._asdict())
        best = self._save_best()
        try:
            self._draw(look, epochs)
        except Exception as error:  # Hours of training are worth more than a picture.
            print(f"vae: {self._directory.path}: no pictures ({error})", file=sys.stderr)
        self.close()
        summary = {
            "status": "diverged" if self.first_non_finite else status,
            "first_non_finite": self.first_non_finite,
            "metrics": self._last,
            "epochs": epochs,
            "steps": int(state.step),
            "data_sha256": dict(self._dataset.sha256),
            "checkpoint_sha256": sha256,
            "best": best,
            **facts,
        }
        self._directory.finish(summary)
        return summary

    def close(self) -> None:
        """Closes the files; a second time does nothing."""
        if self._open:
            self._open = False
            self._writer.close()

    def _save_best(self) -> Mapping[str, Any] | None:
        """Writes the best parameters, and tells which they are; None where no validation split is held out."""
        if self._best is None:
            return None
        sha256 = checkpoint.save(self._directory.path, checkpoint.BEST, {"params": self._best.params})
        return {"epoch": self._best.epoch, self._criterion: self._best.value, "checkpoint_sha256": sha256}


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
    bounds = ("/elbo", "/iwae", "/objective")
    for tag in sorted(scalars, key=lambda tag: (tag.startswith("safety/"), tag.endswith(bounds))):
        if not tag.startswith(("grad/", "grad_se/")) and not math.isfinite(scalars[tag]):
            return {"quantity": tag, "step": epoch * steps}
    return None


class Log:
    """Reads what the device measured one log point late, so that the device never waits for the host."""

    def __init__(self, records: Sequence[RunRecord], observer: Observer):
        self._records = records
        self._observer = observer
        self._pending: Point | None = None
        self._times: list[float] = []

    def add(self, point: Point) -> None:
        """Takes an epoch that the device may still be working on; the one before it has been written by then."""
        self.flush()
        self._pending = point

    def flush(self) -> None:
        """Writes the epoch that is pending, once the device has it."""
        if self._pending is None:
            return
        epoch, *found = jax.device_get(self._pending)
        self._pending = None
        self._times.append(time.perf_counter())
        for k, record in enumerate(self._records):
            record.log(Point(epoch, *jax.tree.map(lambda leaf, k=k: leaf[k], found)))
        elbo = None
        if measurement := Point(epoch, *found).measurement:
            elbos = measurement.scalars["test/elbo"]
            sound = elbos[np.isfinite(elbos)]
            elbo = float(sound.mean()) if sound.size else math.nan
        self._observer.epoch(epoch, elbo, self._speed(self._times[-2:]))

    @property
    def images_per_second(self) -> float:
        """Training images over the time from the start to the last epoch, measuring and writing included."""
        return self._speed(self._times)

    @property
    def all_diverged(self) -> bool:
        """Whether no run is left to train."""
        return all(record.first_non_finite for record in self._records)

    def _speed(self, times: Sequence[float]) -> float:
        if len(times) < 2:
            return 0.0
        return sum(record.images for record in self._records) * (len(times) - 1) / (times[-1] - times[0])
