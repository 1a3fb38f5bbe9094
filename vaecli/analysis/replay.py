"""Trains the last steps of a run again, from its beginning or a checkpoint, without touching its directory."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vaecli.analysis.restore import last_snapshot
from vaecli.data import Dataset
from vaecli.runs.checkpoint import Snapshot, snapshots
from vaecli.runs.reading import Run
from vaecli.training.checkpoints import GradientUnits, restore
from vaecli.training.run_batch import RunBatch
from vaecli.vae.anatomy import Anatomy, Inputs, step_anatomy, step_inputs
from vaecli.vae.architecture import DECODER_SCALE, Params
from vaecli.vae.compiled import compiled
from vaecli.vae.divergence import Cause, Chunk, first_non_finite
from vaecli.vae.matching import gradient_unit
from vaecli.vae.model import Program
from vaecli.vae.resolve import Resolved
from vaecli.vae.schedules import ScheduleValues
from vaecli.vae.steps import Step, TrainState


class StepTaken(NamedTuple):
    """What a step is taken from, and what it comes to.

    Attributes:
      step: how many updates came before it.
      before: the state before it.
      after: the state after it.
      outputs: the terms of its loss, and whether its update was dropped.
      gradient: its gradient, in nats per image.
    """

    step: int
    before: TrainState
    after: TrainState
    outputs: Step
    gradient: Params


class Replay:
    """A run's own compiled program, one step at a time. States are those of one run, without an axis of runs.

    A step that is taken by itself is the first of a chunk whose rows have been moved, so that the program is the one
    that has trained the run, and rounds as it did.
    """

    def __init__(self, run: Run, resolved: Resolved, dataset: Dataset):
        """Compiles nothing yet.

        Args:
          run: the run.
          resolved: its config.
          dataset: its data.
        """
        self._run, self._resolved, self.dataset = run, resolved, dataset
        self._batch = RunBatch([resolved], dataset)
        self.program, self.steps_per_epoch = self._batch.program, self._batch.steps_per_epoch
        self.operands, self.images = _row(self._batch.operands), self._batch.images
        self._inputs, self._anatomy = _examination(self.program)

    def restored(self, snapshot: Snapshot | None = None) -> TrainState:
        """Returns the state at a checkpoint, by default the last one.

        Raises:
          UsageError: the checkpoint is missing, damaged, or of another version.
        """
        resolved = self._resolved
        decoder = gradient_unit(resolved.decoder, resolved.optimizer) if resolved.decoder else 1.0
        units = GradientUnits(gradient_unit(resolved.encoder, resolved.optimizer), decoder)
        return restore(snapshot or last_snapshot(self._run), self._batch.state_like(), units)[0]

    def begun(self) -> TrainState:
        """Returns the state before the first step."""
        return _row(self._batch.initial_state())

    def nearest(self, step: int) -> tuple[int, TrainState]:
        """Returns the last state up to a step that need not be trained again, and its step."""
        undamaged, _ = snapshots(self._run.path)
        before = [saved for saved in undamaged if saved.step <= step]
        return (before[0].step, self.restored(before[0])) if before else (0, self.begun())

    def advanced(
        self,
        state: TrainState,
        step: int,
        until: int,
        follow: Callable[[Sequence[int]], Iterable[int]] = iter,
    ) -> TrainState:
        """Returns the state after the steps from one to another.

        Args:
          state: the state before the first of them.
          step: its number.
          until: the number of the first step that is not taken.
          follow: takes the numbers of the epochs and gives them back, to show the progress.
        """
        first, last = step // self.steps_per_epoch, -(-until // self.steps_per_epoch)
        for epoch in follow(range(first, last)):
            end = min(until, (epoch + 1) * self.steps_per_epoch)
            state = _row(self._batch.train(self._chunk(state, step), [end - step])[0])
            step = end
        return state

    def taken(self, state: TrainState, step: int) -> StepTaken:
        """Takes one step."""
        chunk = self._chunk(state, step)
        after, outputs = self._batch.train(chunk, [1])
        gradient, _ = self._batch.compiled.step_gradient(
            self.operands, self.images, state, chunk.order[0, 0], self.schedule(step)
        )
        first = jax.tree.map(lambda of_steps: of_steps[0][0], outputs)
        return StepTaken(step, state, _row(after), first, gradient)

    def located(self, state: TrainState, step: int) -> Cause:
        """Returns what is not finite first from a step on, as training would record it."""
        chunk = self._chunk(state, step)
        _, outputs = self._batch.train(chunk, [1])
        is_finite = all(np.isfinite(of_steps[0, 0]) for of_steps in outputs.sums)
        return self._batch.locate(chunk, None if is_finite else outputs, 0)[0]

    def measured(self, state: TrainState, step: int) -> Cause | None:
        """Returns what is not finite first at a log point, as training would record it; None where all is finite."""
        of_batch = jax.tree.map(lambda leaf: leaf[None], state)
        scalars = _row(jax.device_get(self._batch.measurement(of_batch).scalars))
        cause = first_non_finite({tag: float(value) for tag, value in sorted(scalars.items())}, step)
        return cause and self._batch.explain(of_batch, 0, cause)

    def inputs(self, state: TrainState, step: int) -> Inputs:
        """Returns what a step sees besides the parameters."""
        return self._inputs(self.operands, self.images, state, self.order(step))

    def anatomy(self, state: TrainState, inputs: Inputs, step: int) -> Anatomy:
        """Returns the values of a step, as NumPy arrays, on any inputs."""
        return jax.device_get(self._anatomy(self.operands, state, inputs, self.schedule(step)))

    def order(self, step: int) -> np.ndarray:
        """Returns the numbers of the training images of a step."""
        chunk = self._batch.chunk(step // self.steps_per_epoch + 1, self._batch.state_like())
        return chunk.order[0, step % self.steps_per_epoch]

    def schedule(self, step: int) -> ScheduleValues:
        """Returns the factors of a step."""
        chunk = self._batch.chunk(step // self.steps_per_epoch + 1, self._batch.state_like())
        return jax.tree.map(lambda of_steps: of_steps[0, step % self.steps_per_epoch], chunk.schedule)

    def _chunk(self, state: TrainState, step: int) -> Chunk:
        """Returns the chunk whose first step is this one; what comes after the epoch's last are its first ones."""
        before = jax.tree.map(lambda leaf: leaf[None], state)
        chunk = self._batch.chunk(step // self.steps_per_epoch + 1, before)
        moved = -(step % self.steps_per_epoch)
        order, schedule = jax.tree.map(
            lambda rows: np.roll(np.asarray(rows), moved, axis=1), (chunk.order, chunk.schedule)
        )
        return Chunk(before, order, schedule)


@functools.cache
def _examination(program: Program) -> tuple[Callable[..., Inputs], Callable[..., Anatomy]]:
    """Returns `step_inputs` and `step_anatomy` of a program, each compiled once in a process."""
    return compiled(functools.partial(step_inputs, program)), compiled(functools.partial(step_anatomy, program))


def gradient_norm(gradient: Params, head_clip: float, decoder_clip: float, *, is_learned: bool) -> float:
    """Returns the norm of a gradient as `--clip-norm` and `--skip-norm` measure it, in float64.

    Args:
      gradient: the gradient by block.
      head_clip: the factor on the scale head's part.
      decoder_clip: that on the part of the likelihood's scale.
      is_learned: whether that scale is learned; otherwise it has no gradient.
    """
    factors = {"scale_head": head_clip, DECODER_SCALE: decoder_clip if is_learned else 0.0}
    squares = 0.0
    for block, of_block in gradient.items():
        for leaf in jax.tree.leaves(of_block):
            values = factors.get(block, 1.0) * np.asarray(leaf, np.float64)
            squares += float((values**2).sum())
    return squares**0.5


def same_bits(one: TrainState, other: TrainState) -> bool:
    """Returns whether two states are the same, bit for bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def _row(tree: Any) -> Any:
    """Returns what belongs to the only run of a batch."""
    return jax.tree.map(lambda leaf: leaf[0], tree)
