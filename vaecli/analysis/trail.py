"""Why a run diverged: its last steps, taken again, and the first number in them that is not finite."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaecli.analysis.restore import last_snapshot, resolved_config, training_data
from vaecli.config import UsageError
from vaecli.config.toml import differences
from vaecli.environment import differing, require_default_jax
from vaecli.report.trail import Origin, Trail, TrailRow
from vaecli.runs.directory import NO_UPDATE, divergence
from vaecli.runs.reading import Run, open_run
from vaecli.training.memory import memory_shortage_as_usage_error
from vaecli.vae.resolve import Resolved

if TYPE_CHECKING:
    from vaecli.analysis.autopsy import Examined
    from vaecli.analysis.replay import Replay, StepTaken
    from vaecli.vae.divergence import Cause
    from vaecli.vae.steps import TrainState

STEPS = 8
"""The number of steps in a trail, unless another is asked for."""

_OF_A_STEP = ("train/", "gradient", "parameter", "optimiser state")
"""How the causes begin that are those of a step alone; an undefined log σ or log τ may be that of a log point, too."""


def diverged_run(path: str | os.PathLike[str]) -> Run:
    """Opens a run that has diverged.

    Raises:
      UsageError: there is no run, it is damaged, or it has not diverged.
    """
    run = open_run(Path(path))
    status = run.summary["status"]
    if status != "diverged":
        raise UsageError(f"{path}: did not diverge (it is {status}); vae explain RUN says why a run diverged")
    return run


def trail_of(
    run: Run,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    steps: int = STEPS,
    trust_heads: bool = False,
    follow: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Trail:
    """Returns why a run diverged. Nothing is written, and its directory need not be writable.

    Args:
      run: the run.
      data_dir: where its data lie now, "" for those in this package; by default where they lay.
      steps: the length of the trail; with 1 nothing is trained again.
      trust_heads: whether the modules of heads of its own that the run names are imported, which runs their code.
      follow: takes the numbers of the epochs that are trained again and gives them back, to show the progress.

    Raises:
      UsageError: the run, its data or its checkpoint cannot be used.
    """
    if not 1 <= steps <= 1000:
        raise UsageError(f"--steps: must lie between 1 and 1000, got {steps}")
    resolved = resolved_config(run, trust_heads=trust_heads)
    dataset = training_data(run, data_dir)
    last_snapshot(run)
    require_default_jax()
    from vaecli.analysis.replay import Replay

    with memory_shortage_as_usage_error(run.config):
        return _Trail(run, resolved, Replay(run, resolved, dataset), steps).explained(follow)


class _Trail:
    """The last steps of a run, while they are examined."""

    def __init__(self, run: Run, resolved: Resolved, replay: "Replay", steps: int):
        self._run, self._resolved, self._replay = run, resolved, replay
        recorded: Mapping[str, Any] = run.summary["first_non_finite"]
        self._quantity, self._step = recorded["quantity"], int(recorded["step"])
        # The last parameters of the trail: before the step that spoilt the run, or at the log point that did.
        self._last = int(run.summary["steps"])
        # No step is taken after updates that were all dropped, so the last one that was ends the trail.
        self._is_stuck = self._quantity == NO_UPDATE
        self._first = max(0, self._last - steps + (not self._is_stuck))
        self._checkpoint = replay.restored()
        self._is_of_a_step, self._logged = self._told_apart()

    def explained(self, follow: Callable[[Sequence[int]], Iterable[int]]) -> Trail:
        """Returns the trail."""
        from vaecli.analysis.autopsy import examined

        start, states = self._states(follow)
        identical = self._is_same(states[self._last], self._checkpoint)
        states[self._last] = self._checkpoint
        taken = {step: self._replay.taken(before, step) for step, before in states.items() if self._is_taken(step)}
        examined_state, spoiling = self._spoiling(states, taken)
        found = examined(self._replay, self._resolved, self._quantity, examined_state, spoiling, self._inspected_step)
        shown = sorted(taken if self._is_stuck else states)
        rows = [self._row(step, states[step], taken.get(step), found) for step in shown]
        origin = self._origin(start, identical=identical)
        breakdown = found.breakdown
        if self._is_stuck:
            # All of it is finite, in every precision.
            norm = rows[-1].gradient_norm or math.nan
            breakdown = dataclasses.replace(breakdown, quantity="norm", value=norm, in_float32=None)
        return Trail(
            path=str(self._run.path),
            recorded=divergence(self._run.summary),
            recorded_quantity=self._quantity,
            step=self._step,
            followed=found.followed,
            breakdown=breakdown,
            rows=rows,
            ranges=self._ranges(states[self._first]),
            origin=origin,
            images=len(self._replay.dataset.train),
            survivors=survivors(self._run),
        )

    def _told_apart(self) -> "tuple[bool, Cause | None]":
        """Returns whether a step spoilt the run and, where a log point did, what it meets at the last parameters."""
        from vaecli.training.run_batch import due

        if self._is_stuck or self._quantity.startswith(_OF_A_STEP):
            return not self._is_stuck, None
        may_be_of_a_step = self._quantity.startswith("log ")
        config, (epoch, steps) = self._run.config, divmod(self._last, self._replay.steps_per_epoch)
        if may_be_of_a_step and (steps or not due(config.log_every, epoch, last=epoch == config.epochs)):
            return True, None
        logged = self._replay.measured(self._checkpoint, self._step)
        # A step would have met the same log σ or log τ, but after the log point.
        is_of_a_step = may_be_of_a_step and (logged is None or logged.quantity != self._quantity)
        return is_of_a_step, None if is_of_a_step else logged

    def _spoiling(
        self, states: "Mapping[int, TrainState]", taken: "Mapping[int, StepTaken]"
    ) -> "tuple[TrainState, StepTaken | None]":
        """Returns the parameters that are examined, and the step from them that spoilt the run, if a step did."""
        if self._is_stuck:
            # The last update that was dropped; the parameters are the same before and after it.
            step = max(taken, default=self._last)
            return states[step], taken.get(step)
        return states[self._last], taken.get(self._last)

    @property
    def _inspected_step(self) -> int:
        """The step whose images and draws are looked at."""
        return self._last if self._is_of_a_step else max(self._last - 1, 0)

    def _is_taken(self, step: int) -> bool:
        """Returns whether a step was taken from the parameters before it."""
        return step < self._last or self._is_of_a_step

    def _states(self, follow: Callable[[Sequence[int]], Iterable[int]]) -> "tuple[int, dict[int, TrainState]]":
        """Returns from where the run was trained again, and the parameters at each step of the trail."""
        if self._first == self._last:
            return self._last, {self._last: self._checkpoint}
        start, state = self._replay.nearest(self._first)
        state = self._replay.advanced(state, start, self._first, follow)
        states = {self._first: state}
        for step in range(self._first, self._last):
            states[step + 1] = state = self._replay.advanced(state, step, step + 1)
        return start, states

    def _is_same(self, state: "TrainState", checkpoint: "TrainState") -> bool:
        from vaecli.analysis.replay import same_bits

        return same_bits(state, checkpoint)

    def _row(self, step: int, before: "TrainState", taken: "StepTaken | None", found: "Examined") -> TrailRow:
        """Returns the trail at the parameters before one step: of that step, and of the unit on what spoilt the run."""
        values = found.values(self._replay.anatomy(before, found.inputs, self._inspected_step))
        if taken is None:
            return TrailRow(step=step, loss=None, gradient_norm=None, values=values)
        return TrailRow(step=step, loss=self._loss(taken), gradient_norm=self._norm(taken), values=values)

    def _loss(self, taken: "StepTaken") -> float:
        images = (self._replay.order(taken.step) >= 0).sum()
        return -float(taken.outputs.sums.objective) / float(images)

    def _norm(self, taken: "StepTaken") -> float:
        from vaecli.analysis.replay import gradient_norm

        operands = self._replay.operands
        clips = float(operands.head_clip), float(operands.decoder_scale_clip)
        is_learned = self._replay.program.optimizer.decoder_scale == "learned"
        return gradient_norm(taken.gradient, *clips, is_learned=is_learned)

    def _ranges(self, first: "TrainState") -> Mapping[str, tuple[float, float]]:
        """Returns the least and the greatest log σ and log τ at the log points and at the first parameters here."""
        from vaecli.runs.collection import log_points

        points = [] if self._first == 0 and self._last == 0 else log_points(self._run.path)
        step = min(self._first, self._inspected_step)
        values = self._replay.anatomy(first, self._replay.inputs(first, step), step)
        learned = {"σ": ("sigma", values.log_scale, True), "τ": ("tau", values.log_tau, self._resolved.decoder)}
        ranges = {}
        for symbol, (tag, logs, is_there) in learned.items():
            logged = [point.get(f"safety/{tag}/{end}") for point in points for end in ("min", "max")]
            seen = [np.log([value]) for value in logged if value is not None and 0 < value < math.inf]
            if is_there and (between := finite_range([np.asarray(logs), *seen])):
                ranges[symbol] = between
        return ranges

    def _origin(self, start: int, *, identical: bool) -> Origin:
        """Returns how the trail was come by, and whether the run diverges again as it did."""
        from vaecli.environment import recorded_environment
        from vaecli.runs.provenance import versions

        differs = differing(self._run.summary.get("versions") or {}, versions())
        differs += differing(self._run.summary.get("environment") or {}, recorded_environment())
        cause, same = self._again()
        return Origin(start=start, identical=identical, reproduced=same, cause=cause, differs=differs)

    def _again(self) -> tuple[str | None, bool]:
        """Returns what the run diverges over when it is taken up at its last state, and whether that is the same."""
        if self._is_stuck:
            return divergence(self._run.summary), True
        cause = self._replay.located(self._checkpoint, self._last) if self._is_of_a_step else self._logged
        if cause is None:
            return None, False
        recorded = self._run.summary["first_non_finite"]
        words = divergence({"first_non_finite": cause._asdict()})
        # An earlier version recorded the term of the loss where this one says which log σ was not finite.
        same = (cause.quantity, cause.step) == (recorded["quantity"], recorded["step"])
        follows = cause.quantity.startswith("log ") and recorded["quantity"].endswith(
            ("/kl", "/elbo", "/reconstruction")
        )
        return words, same or (follows and cause.step == recorded["step"])


def survivors(run: Run) -> tuple[int, int]:
    """Returns how many runs of the same variant, in the folders beside a run, are complete, and how many have ended."""
    complete = total = 0
    for folder in sorted(run.path.resolve().parent.glob("seed*")):
        try:
            other = open_run(folder)
        except UsageError:
            continue
        if not differences(dataclasses.replace(run.config, seed=other.config.seed), other.config):
            total += other.summary["status"] in ("complete", "diverged")
            complete += other.summary["status"] == "complete"
    return complete, total


def finite_range(values: Iterable[np.ndarray]) -> tuple[float, float] | None:
    """Returns the least and the greatest finite number of some arrays; None where there is none."""
    flat = [array[np.isfinite(array)] for array in values]
    flat = [array for array in flat if array.size]
    return (float(min(a.min() for a in flat)), float(max(a.max() for a in flat))) if flat else None
