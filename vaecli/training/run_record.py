"""What the host keeps of a run while the device trains, and how it ends."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vaecli.config import UsageError
from vaecli.config.toml import to_toml
from vaecli.data import Dataset
from vaecli.environment import recorded_environment
from vaecli.runs.checkpoint import Snapshot
from vaecli.runs.directory import NO_UPDATE, RunDirectory, Summary, outcome_settings
from vaecli.runs.provenance import versions
from vaecli.runs.step_points import StepPoint
from vaecli.runs.writers import finite_or_null
from vaecli.training.best import BestParameters
from vaecli.training.checkpoint_record import CheckpointRecord
from vaecli.training.checkpoints import Checkpoints, GradientUnits, restore
from vaecli.training.epoch_result import EpochResult
from vaecli.training.run_files import RunFiles, usage_error_if_unwritable
from vaecli.training.totals import Skips, Totals
from vaecli.vae.divergence import Cause, first_non_finite
from vaecli.vae.evaluate import Visuals
from vaecli.vae.gradients.statistics import estimates
from vaecli.vae.matching import gradient_unit
from vaecli.vae.resolve import Resolved
from vaecli.vae.safety import quantiles
from vaecli.vae.steps import Step, TrainState

_WITH_QUANTILES = {
    "sigma": "posterior/sigma",
    "u": "posterior/u",
    "tau": "likelihood/tau",
    "decoder_u": "likelihood/u",
}
"""The histograms whose quantiles are scalars, by what these are called."""

_LONG_WITHOUT = 100
"""So many steps without an update, and an epoch of them, are too many; a short epoch may be bad luck."""

_WITHIN_EPOCH = ("train_steps/elbo", "train_steps/reconstruction", "train_steps/kl")


class RunRecord:
    """One run: what its log points have shown so far, its files, its checkpoints and, at the end, its summary.

    Attributes:
      images: how many training images an epoch has.
      summary: what `summary.json` holds; None while the run trains.
      error: why the run was given up; None while nothing is wrong.
    """

    def __init__(
        self,
        resolved: Resolved,
        directory: RunDirectory,
        dataset: Dataset,
        snapshot: Snapshot | None,
        *,
        begun: float,
        note: Callable[[str], None],
    ):
        """Knows what a checkpoint remembers, and writes nothing yet.

        Args:
          resolved: the run's config, and the objects that its names stand for.
          directory: its directory, claimed.
          dataset: what it is trained on.
          snapshot: the checkpoint at which it resumes.
          begun: the `time.perf_counter()` from which its time counts.
          note: takes what a person should know.
        """
        self.images = len(dataset.train)
        self.summary: Summary | None = None
        self.error: UsageError | None = None
        config, objective = resolved.config, resolved.objective.objective
        self._config, self._directory, self._dataset = config, directory, dataset
        self._learned_scale = resolved.head.learned
        encoder, decoder = resolved.encoder, resolved.decoder
        decoder_unit = gradient_unit(decoder, resolved.optimizer) if decoder else 1.0
        self._units = GradientUnits(gradient_unit(encoder, resolved.optimizer), decoder_unit)
        self._criterion = f"validation/{objective.tag}"
        self._logs_objective = not objective.is_elbo or config.beta != 1 or config.beta_warmup > 0
        self._environment = recorded_environment()
        self._steps_per_epoch = -(-self.images // config.batch_size)
        saved = snapshot.record if snapshot else {}
        self._begun = begun - saved.get("wall_time_s", 0.0)
        self._metrics: Mapping[str, float | None] = saved.get("metrics", {})
        self._ended, self._non_finite = (
            Cause(**saved[key]) if saved.get(key) else None for key in ("ended", "unsound")
        )
        skips = Skips(*(saved.get(key, 0) for key in ("skipped_updates", "skipped_by_norm", "skipped_in_a_row")))
        self._totals = Totals(self.images, config.batch_size, saved.get("sums", []), skips)
        self._best = BestParameters()
        self._checkpoints = Checkpoints(directory, snapshot)
        self._snapshot, self._note = snapshot, note
        self._opened: RunFiles | None = None

    @property
    def ended(self) -> bool:
        """Whether no epoch follows."""
        return self.summary is not None or self.error is not None

    def open(self) -> None:
        """Starts the run's files, or takes them up again where its checkpoint saw them.

        Raises:
          UsageError: one cannot be written.
        """
        directory, snapshot = self._directory, self._snapshot
        with usage_error_if_unwritable(directory.path):
            if snapshot:
                directory.resume()
                directory.write_config(self._config)  # Its data may have another place now.
            else:
                directory.start(self._config)
        logs = snapshot.record["logs"] if snapshot else {}
        self._opened = RunFiles(directory, self._config, self._dataset, logs, self._note)

    def give_up(self, error: UsageError) -> None:
        """Leaves the run where its last checkpoint has it, since something cannot be read or written."""
        self.error = error
        self.close()

    def restore(self, snapshot: Snapshot, like: TrainState) -> TrainState:
        """Returns the state at a checkpoint, and keeps the parameters that were the best by then.

        Args:
          snapshot: the checkpoint.
          like: the shapes and types of the state.
        """
        state, best = restore(snapshot, like, self._units)
        if best is not None:
            self._best.restore(best, snapshot.record["best"])
        return state

    def is_finite(self, result: EpochResult) -> bool:
        """Returns whether all losses of an epoch that count, and the state after it, are finite."""
        skips = self._config.on_nonfinite == "skip"
        losses = () if skips or result.steps is None else result.steps.sums
        return bool(result.finite) and all(np.isfinite(of_steps).all() for of_steps in losses)

    def log(
        self,
        epoch: int,
        result: EpochResult,
        explain: Callable[[Cause], Cause],
        *,
        checkpoint: bool,
        stopped: bool,
    ) -> Cause | None:
        """Writes what there is of an epoch: its log point, its checkpoint.

        Args:
          epoch: passes over the training images so far.
          result: of that epoch, as NumPy arrays.
          explain: says why the first scalar of the log point that is not finite is not.
          checkpoint: whether one is written.
          stopped: whether the run stops here before its last epoch. Its log point may not be due then, so the
            checkpoint is written before it: when the run resumes, the log point is taken back.

        Returns:
          What ends the run: the first number of the log point that is not finite, or that no update is made any more.
        """
        self._check_directory()
        if result.steps is not None:
            self._totals.add(result.steps)
            self._log_steps(epoch, result.steps, self._steps_per_epoch)
        if stopped:
            self._save(epoch, result.state, pending=True)
        if result.measurement is not None:
            self._log_point(epoch, result, explain)
            if self._non_finite and self._config.on_nonfinite == "stop":
                return self._non_finite
        if self._is_stuck(epoch):
            return Cause(NO_UPDATE, None, epoch * self._steps_per_epoch)
        if checkpoint:
            self._save(epoch, result.state)
        return None

    def finish(
        self,
        epoch: int,
        state: TrainState,
        facts: Mapping[str, Any],
        *,
        visuals: Visuals | None = None,
        cause: Cause | None = None,
    ) -> None:
        """Writes the last checkpoint and pictures and, last, the summary.

        Args:
          epoch: passes over the training images.
          state: what was trained, as NumPy arrays; of a run that diverged, before the step that spoilt it.
          facts: what else the summary says, the same for every run of a batch.
          visuals: what the pictures are drawn from.
          cause: what ended the run before its time.
        """
        self._check_directory()
        complete = epoch == self._config.epochs
        cause = cause or self._ended or (self._non_finite if complete else None)
        status = "diverged" if cause else "complete" if complete else "interrupted"
        self._save(epoch, state, ended=cause)
        if visuals is not None:
            self._files.write_pictures(epoch * self._steps_per_epoch, epoch, visuals)
        self._files.end(status)
        self.close()
        summary = {**self._summary(status, epoch, cause), **facts}
        with usage_error_if_unwritable(self._directory.path):
            self._directory.finish(summary)
        self.summary = summary
        if status != "interrupted":
            self._checkpoints.prune()

    def _is_stuck(self, epoch: int) -> bool:
        """Returns whether updates have been skipped, by their norm, for so long that none is to be expected."""
        steps, in_a_row = epoch * self._steps_per_epoch, self._totals.skips.in_a_row
        if not self._config.skip_norm or not in_a_row:
            return False
        complete = epoch == self._config.epochs
        return in_a_row >= max(self._steps_per_epoch, _LONG_WITHOUT) or (complete and in_a_row == steps)

    def close(self) -> None:
        """Closes the files, if they are open."""
        if self._opened:
            self._opened.close()

    @property
    def _files(self) -> RunFiles:
        assert self._opened is not None
        return self._opened

    def _check_directory(self) -> None:
        """Makes sure that what is about to be written goes where the run is."""
        with usage_error_if_unwritable(self._directory.path):
            self._directory.check()

    def log_before(self, epoch: int, result: EpochResult, step: int) -> None:
        """Writes the points within an epoch that a step has spoilt, up to that step; the epoch itself has no other."""
        self._check_directory()
        if result.steps is not None:
            self._log_steps(epoch, result.steps, step - (epoch - 1) * self._steps_per_epoch)

    def _log_steps(self, epoch: int, steps: Step, until: int) -> None:
        """Writes the points within an epoch of which all steps are before `until`."""
        if every := self._config.log_steps:
            first = (epoch - 1) * self._steps_per_epoch
            means = self._totals.within_epoch(steps, every)
            self._files.write_steps(
                [
                    StepPoint(first + end, dict(zip(_WITHIN_EPOCH, values, strict=True)))
                    for end, values in means
                    if end <= until
                ]
            )

    def _log_point(self, epoch: int, result: EpochResult, explain: Callable[[Cause], Cause]) -> None:
        """Writes a log point and its pictures, and remembers what it showed."""
        assert result.measurement is not None
        step = epoch * self._steps_per_epoch
        scalars = self._scalars(result)
        self._totals.clear()
        self._metrics = finite_or_null(scalars)
        first = first_non_finite(scalars, step)
        self._non_finite = first and explain(first)
        if self._dataset.validation is not None and result.state is not None and self._non_finite is None:
            self._best.offer(epoch, scalars[self._criterion], result.state.params)
        histograms = {tag: np.asarray(values) for tag, values in result.measurement.histograms.items()}
        self._files.write_log_point(step, epoch, scalars, histograms)
        if result.visuals is not None:
            self._files.write_pictures(step, epoch, result.visuals)

    def _scalars(self, result: EpochResult) -> dict[str, float]:
        """Returns what a log point records, by tag."""
        assert result.measurement is not None
        scalars = {tag: float(value) for tag, value in result.measurement.scalars.items()}
        for name, tag in _WITH_QUANTILES.items():
            if (values := result.measurement.histograms.get(tag)) is not None:
                scalars |= quantiles(name, np.asarray(values))
        scalars = dict(sorted(scalars.items()))
        if result.gradients is not None:
            batch_size = self._dataset.probe.shape[1]
            scalars |= estimates(result.gradients, batch_size, learned=self._learned_scale)
        if self._totals.sums:
            reconstruction, kl, objective = self._totals.means()
            scalars |= {"train/elbo": reconstruction - kl, "train/reconstruction": reconstruction, "train/kl": kl}
            if self._logs_objective:
                scalars["train/objective"] = objective
        config, skips = self._config, self._totals.skips
        if config.on_nonfinite == "skip" or config.loss_scale == "dynamic" or config.skip_norm:
            scalars["train/skipped"] = float(skips.updates)
        if config.skip_norm:
            scalars["train/skipped_by_norm"] = float(skips.by_norm)
        return scalars

    def _save(self, epoch: int, state: TrainState | None, *, pending: bool = False, ended: Cause | None = None) -> None:
        """Writes a checkpoint, unless there is one of this step.

        Args:
          epoch: passes over the training images.
          state: the state then, as NumPy arrays.
          pending: whether the log point of this epoch has yet to be written.
          ended: why no step follows.
        """
        assert state is not None
        if self._checkpoints.newest and self._checkpoints.newest.step == int(state.step):
            return
        logs = self._files.marks()
        record: CheckpointRecord = {
            "epoch": epoch,
            "pending": pending,
            "ended": ended and ended._asdict(),
            "unsound": self._non_finite and self._non_finite._asdict(),
            "metrics": self._metrics,
            "sums": self._totals.sums,
            "skipped_updates": self._totals.skips.updates,
            "skipped_by_norm": self._totals.skips.by_norm,
            "skipped_in_a_row": self._totals.skips.in_a_row,
            "best": self._best.record,
            "wall_time_s": time.perf_counter() - self._begun,
            "logs": logs,
            "config": to_toml(self._config),
            "data_sha256": dict(self._dataset.sha256),
            "versions": versions(),
            "environment": self._environment,
            "head_unit": self._units.head_unit,
            "decoder_scale_unit": self._units.decoder_scale_unit,
        }
        self._checkpoints.save(state, self._best.params, record)

    def _summary(self, status: str, epoch: int, cause: Cause | None) -> Summary:
        """Returns what `summary.json` says of this run, after its last checkpoint."""
        newest = self._checkpoints.newest
        assert newest is not None
        best = newest.best
        return {
            "status": status,
            "config": outcome_settings(self._config),
            "first_non_finite": cause and cause._asdict(),
            "metrics": self._metrics,
            "epochs": epoch,
            "steps": newest.step,
            "skipped_updates": self._totals.skips.updates,
            **({"skipped_by_norm": self._totals.skips.by_norm} if self._config.skip_norm else {}),
            "wall_time_s": time.perf_counter() - self._begun,
            "data": self._dataset.record(),
            "data_sha256": dict(self._dataset.sha256),
            "checkpoint_sha256": newest.sha256,
            "best": best and {"epoch": best["epoch"], self._criterion: best["value"]},
            "versions": versions(),
            "environment": self._environment,
        }


def _cause(recorded: Mapping[str, Any] | None) -> Cause | None:
    """Returns a cause as a checkpoint recorded it."""
    return Cause(**recorded) if recorded else None
