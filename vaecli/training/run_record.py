"""What the host keeps of a run while the device trains: log points, checkpoints, divergence, the final record."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from vaecli.config import UsageError
from vaecli.config.toml import to_toml
from vaecli.data import Dataset
from vaecli.runs import checkpoint
from vaecli.runs.checkpoint import Snapshot
from vaecli.runs.directory import PICTURES, RunDirectory, Summary
from vaecli.runs.provenance import versions
from vaecli.runs.writers import RunWriter, finite_or_null
from vaecli.vae.divergence import Cause, measured
from vaecli.vae.gradients.statistics import estimates
from vaecli.vae.resolve import Resolved

if TYPE_CHECKING:
    from vaecli.vae.evaluate import Measurement, Visuals
    from vaecli.vae.gradients.statistics import BatchStatistics
    from vaecli.vae.networks import Params
    from vaecli.vae.steps import Step, TrainState


class Point(NamedTuple):
    """What the device has of an epoch, along a leading seed axis; None for what is not due there.

    Attributes:
      steps: what each step of this epoch left, (steps,); None before the first step, and where a run goes on.
      sound: whether the state is finite.
      measurement: of the parameters at the end of the epoch; where there is one, it is a log point.
      gradients: the statistics of the gradient there, (batches,).
      visuals: what pictures are drawn from.
      state: where there is a checkpoint, or the best parameters are kept.
    """

    steps: "Step | None" = None
    sound: Any = None
    measurement: "Measurement | None" = None
    gradients: "BatchStatistics | None" = None
    visuals: "Visuals | None" = None
    state: "TrainState | None" = None


class Best(NamedTuple):
    """The log point with the greatest bound on the validation split."""

    epoch: int
    value: float
    params: "Params"


class _Saved(NamedTuple):
    """The newest checkpoint: its step, its checksum, and the epoch and value of the best parameters in it."""

    step: int
    sha256: str
    best: Mapping[str, Any] | None


class RunRecord:
    """One run: what it has shown so far, and the files that hold it."""

    def __init__(
        self,
        resolved: Resolved,
        directory: RunDirectory,
        dataset: Dataset,
        begun: float,
        snapshot: Snapshot | None,
        note: Callable[[str], None],
    ):
        """Starts a run's files, or goes on where a checkpoint saw them; its time counts from `begun` on."""
        self.images = len(dataset.train)
        self.summary: Summary | None = None
        config, objective = resolved.config, resolved.objective.objective
        self._config, self._note = config, note
        self._learned = resolved.head.learned
        self._directory = directory
        self._dataset = dataset
        self._steps = -(-self.images // config.batch_size)
        self._begun = begun
        self._best: Best | None = None
        self._criterion = f"validation/{objective.tag}"
        self._maximised = not objective.is_elbo or config.beta != 1 or config.beta_warmup > 0
        then = snapshot.record if snapshot else {}
        # What a log point was last told, and since then, for each epoch, the sums of its loss and their images.
        self._last: dict[str, float | None] = then.get("metrics", {})
        self._sums: list[list[float]] = then.get("sums", [])
        self._skipped: int = then.get("skipped_updates", 0)
        self._elapsed: float = then.get("wall_time_s", 0.0)
        self._ended, self._unsound = (Cause(**then[key]) if then.get(key) else None for key in ("ended", "unsound"))
        self._saved = _Saved(snapshot.step, snapshot.sha256, then["best"]) if snapshot else None
        with self._written():
            if snapshot:
                directory.resume()
            else:
                directory.start(config)
            self._writer = RunWriter(directory.path, config, then.get("logs", {}))

    def restore(self, snapshot: Snapshot, like: "TrainState") -> "TrainState":
        """The state at a checkpoint; what was best by then is kept."""
        best, tree = snapshot.record["best"], like._asdict()
        if best:
            tree["best"] = like.params
        found = checkpoint.restore(snapshot, tree)
        if best:
            self._best = Best(best["epoch"], best["value"], found.pop("best"))
        return type(like)(**found)

    def sound(self, point: Point) -> bool:
        """Whether all losses of an epoch that count, and the state behind it, are finite."""
        skips = self._config.on_nonfinite == "skip"
        losses = () if skips or point.steps is None else point.steps.sums
        return bool(point.sound) and all(np.isfinite(of_steps).all() for of_steps in losses)

    def log(self, epoch: int, point: Point, *, checkpoint: bool = False, stopped: bool = False) -> Cause | None:
        """Writes what there is of an epoch: its log point, its checkpoint.

        Args:
          epoch: passes over the training images so far.
          point: what the device has of it.
          checkpoint: whether one is written.
          stopped: the run ends here before its time. Its log point may not be due then, so that the checkpoint goes
            before it: when the run goes on, it is taken back.

        Returns:
          The first number of the log point that is not finite, if that ends the run.
        """
        if point.steps is not None:
            sums = np.array(point.steps.sums, np.float64)
            # An update that was skipped may have had a loss that is no number.
            counted = np.isfinite(sums).all(axis=0)
            sizes = np.full(self._steps, self._config.batch_size)
            sizes[-1] = self.images - sizes[:-1].sum()
            self._sums.append([*sums[:, counted].sum(axis=1).tolist(), int(sizes[counted].sum())])
            self._skipped += int(np.sum(point.steps.skipped))
        if stopped:
            self.save(epoch, point.state, pending=True)
        cause = None
        if point.measurement is not None:
            scalars = self._scalars(point)
            self._unsound = measured(scalars, epoch * self._steps)
            cause = self._unsound if self._config.on_nonfinite == "stop" else None
            self._sums = []
            self._last = finite_or_null(scalars)
            if self._dataset.validation is not None and point.state is not None and self._unsound is None:
                value = scalars[self._criterion]
                if self._best is None or value > self._best.value:
                    # Copied: a view would keep the parameters of all seeds.
                    self._best = Best(epoch, value, jax.tree.map(np.array, point.state.params))
            histograms = {tag: np.asarray(values) for tag, values in point.measurement.histograms.items()}
            with self._written():
                self._writer.write(epoch * self._steps, epoch, scalars, histograms)
            if point.visuals is not None:
                self._draw(point.visuals, epoch)
        if checkpoint and not cause:
            self.save(epoch, point.state)
        return cause

    def save(
        self, epoch: int, state: "TrainState | None", *, pending: bool = False, ended: Cause | None = None
    ) -> None:
        """Writes a checkpoint, unless it is there.

        Args:
          epoch: of which the state is.
          state: of this run, as NumPy arrays.
          pending: whether the log point of this epoch is not written yet.
          ended: why no step follows.
        """
        assert state is not None
        step = int(state.step)
        if self._saved and self._saved.step == step:
            return
        tree = state._asdict() | ({"best": self._best.params} if self._best else {})
        best = self._best and {"epoch": self._best.epoch, "value": self._best.value}
        with self._written():
            logs = self._writer.marks()
        record = {
            "epoch": epoch,
            "pending": pending,
            "ended": ended and ended._asdict(),
            "unsound": self._unsound and self._unsound._asdict(),
            "metrics": self._last,
            "sums": self._sums,
            "skipped_updates": self._skipped,
            "best": best,
            "wall_time_s": self._elapsed + time.perf_counter() - self._begun,
            "logs": logs,
            "config": to_toml(self._config),
            "data_sha256": dict(self._dataset.sha256),
            "versions": versions(),
        }
        with self._written():
            self._saved = _Saved(step, checkpoint.save(self._directory.path, step, tree, record), best)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Tells of a file that cannot be written in one line."""
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"{self._directory.path}: cannot be written ({error.strerror or error}); once it can, the same command "
                "goes on from the last checkpoint there is"
            ) from error

    def _draw(self, visuals: "Visuals", epoch: int) -> None:
        """Writes the pictures of an epoch, unless there is a number in them that is not finite."""
        if not all(np.isfinite(values).all() for values in visuals):
            return
        from vaecli.training import images

        try:
            with np.errstate(all="ignore"):
                drawn = images.sheets(self._dataset, *map(np.asarray, visuals))
            images.save(drawn, self._directory.path / PICTURES, epoch)
        except Exception as error:  # Hours of training are worth more than a picture.
            self._note(f"{self._directory.path}: no pictures ({error})")
            return
        with self._written():
            for tag, picture in drawn.items():
                self._writer.write_picture(epoch * self._steps, tag, picture)

    def _scalars(self, point: Point) -> dict[str, float]:
        """What a log point records, by tag."""
        assert point.measurement is not None
        scalars = {tag: float(value) for tag, value in point.measurement.scalars.items()}
        if point.gradients is not None:
            scalars |= estimates(point.gradients, self._dataset.probe.shape[1], learned=self._learned)
        if self._sums:
            *totals, images = np.sum(self._sums, axis=0)
            reconstruction, kl, objective = (float(total / images) if images else math.nan for total in totals)
            scalars |= {"train/elbo": reconstruction - kl, "train/reconstruction": reconstruction, "train/kl": kl}
            if self._maximised:
                scalars["train/objective"] = objective
        if self._config.on_nonfinite == "skip":
            scalars["train/skipped"] = float(self._skipped)
        return scalars

    def finish(
        self,
        epoch: int,
        state: "TrainState",
        facts: Mapping[str, Any],
        *,
        visuals: "Visuals | None" = None,
        cause: Cause | None = None,
    ) -> Summary:
        """Writes the last checkpoint and pictures and, last, the summary.

        Args:
          epoch: passes over the training images.
          state: what was trained, as NumPy arrays; of a run that diverged, before the step that spoilt it.
          facts: what else the summary says, the same for every run of a batch.
          visuals: what the pictures are drawn from.
          cause: what ended the run.
        """
        complete = epoch == self._config.epochs
        cause = cause or self._ended or (self._unsound if complete else None)
        status = "diverged" if cause else "complete" if complete else "interrupted"
        self.save(epoch, state, ended=cause)
        assert self._saved is not None
        best = self._saved.best
        if visuals is not None:
            self._draw(visuals, epoch)
        with self._written():
            self._writer.end()
        self.close()
        self.summary = {
            "status": status,
            "first_non_finite": cause and cause._asdict(),
            "metrics": self._last,
            "epochs": epoch,
            "steps": self._saved.step,
            "skipped_updates": self._skipped,
            "wall_time_s": self._elapsed + time.perf_counter() - self._begun,
            "data_sha256": dict(self._dataset.sha256),
            "checkpoint_sha256": self._saved.sha256,
            "best": best and {"epoch": best["epoch"], self._criterion: best["value"]},
            "versions": versions(),
            **facts,
        }
        with self._written():
            self._directory.finish(self.summary)
        if status != "interrupted":
            with contextlib.suppress(OSError):  # The run is over; what is left takes room and does no harm.
                checkpoint.prune(self._directory.path, self._saved.step, keep=1)
        return self.summary

    def close(self) -> None:
        """Closes the files; a second time does nothing."""
        self._writer.close()
