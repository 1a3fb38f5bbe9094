"""Where a run diverged: the first number that is not finite, located by training the last chunk of steps again."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jaxtyping import Bool, UInt8

from vaecli.vae.architecture import BLOCKS, DECODER_SCALE, Params
from vaecli.vae.compiled import CompiledSteps
from vaecli.vae.model import Operands
from vaecli.vae.schedules import ScheduleValues
from vaecli.vae.steps import Step, TrainState, finite
from vaecli.vae.undefined import UNDEFINED


class Chunk(NamedTuple):
    """What a chunk of steps is trained from, along a leading axis of rows.

    Attributes:
      before: the state before its first step.
      order: the images of each step.
      schedule: the factors of each step.
    """

    before: TrainState
    order: np.ndarray
    schedule: ScheduleValues


class Cause(NamedTuple):
    """The first quantity of a run that is not finite.

    Attributes:
      quantity: the tag of a loss term or of a scalar of a log point, one of `UNDEFINED` where that is why it is not
        finite, `gradient`, `parameter` or `optimiser state`.
      block: the block of parameters; of several, the one that backpropagation meets first. None for a scalar.
      step: how many updates of the parameters came before it.
    """

    quantity: str
    block: str | None
    step: int

    def because(self, undefined: Bool[Array, " kinds"]) -> "Cause":
        """Returns the cause with the first of `UNDEFINED` that there is in place of what follows from it."""
        kinds = np.flatnonzero(np.asarray(undefined))
        return Cause(UNDEFINED[kinds[0]], None, self.step) if kinds.size else self


class Replayed:
    """What training a chunk again has shown of all its rows, where each of them takes as many steps as the others.

    Attributes:
      chunk: the chunk; None before the first.
      finite: which rows were finite after so many steps.
      last: the number of steps that was last taken, and the states after it.
    """

    def __init__(self) -> None:
        self.chunk: Chunk | None = None
        self.finite: dict[int, np.ndarray] = {}
        self.last: tuple[int, TrainState] | None = None

    def turn_to(self, chunk: Chunk | None) -> None:
        """Forgets what is known of another chunk."""
        if chunk is not self.chunk:
            self.chunk, self.finite, self.last = chunk, {}, None


class _Replay:
    """One row of a chunk, trained again up to any of its steps.

    The program is the one that trained the chunk, so it rounds the same way.
    """

    def __init__(
        self,
        steps: CompiledSteps,
        operands: Operands,
        images: UInt8[Array, "images pixels"],
        chunk: Chunk,
        row: int,
        replayed: Replayed | None,
    ):
        self._steps, self._operands, self._images, self._chunk, self._row = steps, operands, images, chunk, row
        self._replayed = replayed
        if replayed:
            replayed.turn_to(chunk)

    def state_after(self, taken: int) -> TrainState:
        """Returns the row's state after so many steps of the chunk."""
        return self._of_row(self._states_after(taken))

    def is_finite_after(self, taken: int) -> bool:
        """Returns whether that state is finite."""
        known = self._replayed.finite if self._replayed else {}
        if taken not in known:
            known[taken] = np.asarray(self._steps.finite(self._states_after(taken)))
        return bool(known[taken][self._row])

    def gradient(self, state: TrainState, step: int) -> Params:
        """Returns the gradient of one step of the chunk at a state of the row."""
        schedule = jax.tree.map(lambda of_step: of_step[self._row][step], self._chunk.schedule)
        index = self._chunk.order[self._row, step]
        gradient, _ = self._steps.step_gradient(self._of_row(self._operands), self._images, state, index, schedule)
        return gradient

    def undefined(self, state: TrainState, step: int) -> Bool[Array, " kinds"]:
        """Returns which of `UNDEFINED` one step of the chunk meets at a state of the row."""
        index = self._chunk.order[self._row, step]
        return self._steps.undefined_at_step(self._of_row(self._operands), self._images, state, index)

    def _states_after(self, taken: int) -> TrainState:
        if self._replayed and self._replayed.last and self._replayed.last[0] == taken:
            return self._replayed.last[1]
        until = np.zeros(len(self._chunk.order), np.int32)
        until[self._row] = taken
        states = self._steps.train_chunk(self._operands, self._images, *self._chunk, until)[0]
        if self._replayed:
            self._replayed.last = taken, states
        return states

    def _of_row(self, tree: Any) -> Any:
        return _row_of(tree, self._row)


@jax.jit
def _row_of(tree: Any, row: int | Array) -> Any:
    """Returns one row of a tree of arrays, by one program, where else there would be two for each shape."""
    return jax.tree.map(lambda leaf: leaf[row], tree)


def locate(
    steps: CompiledSteps,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    chunk: Chunk,
    outputs: Step | None,
    row: int,
    replayed: Replayed | None = None,
) -> tuple[Cause, TrainState]:
    """Returns what was not finite first in one row of a chunk, and the state before the step that made it so.

    Training pays nothing for this: there, only the losses of the steps and the state at the end of the chunk are
    examined, since a state that is not finite remains so.

    Args:
      steps: the compiled programs.
      operands: what they receive.
      images: the training images.
      chunk: what was trained.
      outputs: what its steps returned; None before the first step.
      row: which row of the leading axis.
      replayed: what is known of the rows of a batched program, to which this adds.
    """
    replay = _Replay(steps, operands, images, chunk, row, replayed)
    start = int(np.asarray(chunk.before.step)[row])
    bad = 0
    if outputs is not None:
        sums = outputs.sums._asdict()
        broken = {f"train/{term}": ~np.isfinite(np.asarray(of_rows)[row]) for term, of_rows in sums.items()}
        bad_losses = np.flatnonzero(np.any(list(broken.values()), axis=0))
        bad = int(bad_losses[0]) if len(bad_losses) else chunk.order.shape[1]
        if len(bad_losses) and replay.is_finite_after(bad):
            quantity = next(tag for tag, of_steps in broken.items() if of_steps[bad])
            state = replay.state_after(bad)
            return Cause(quantity, None, start + bad).because(replay.undefined(state, bad)), state
    good = _last_finite(replay.is_finite_after, bad)
    state = replay.state_after(good)
    if not replay.is_finite_after(good):
        return Cause("parameter", first_block(state.params), start), state
    for quantity, tree in (
        ("gradient", replay.gradient(state, good)),
        ("parameter", replay.state_after(good + 1).params),
    ):
        if block := first_block(tree):
            return Cause(quantity, block, start + good), state
    return Cause("optimiser state", None, start + good), state


def first_non_finite(scalars: Mapping[str, float], step: int) -> Cause | None:
    """Returns the first scalar of a log point, by tag, that is not finite; None where all are finite."""
    # A sum comes after its terms, because it says less; a ratio of gradient moments may be undefined in a healthy run.
    bounds = ("/elbo", "/iwae", "/objective", "/bits_per_dim")
    for tag in sorted(scalars, key=lambda tag: (tag.startswith("safety/"), tag.endswith(bounds))):
        if not tag.startswith(("grad/", "grad_se/")) and not math.isfinite(scalars[tag]):
            return Cause(tag, None, step)
    return None


def _last_finite(is_finite_after: Callable[[int], bool], bad: int) -> int:
    """Returns the number of steps after which the state was last finite, or 0 where it never was.

    Args:
      is_finite_after: whether the state is finite after so many steps.
      bad: a number of steps after which it is not, or at which the loss is not.
    """
    # The step before the first bad loss is the likely one, so the search goes backwards, in strides that double.
    good, stride = max(bad - 1, 0), 1
    while good and not is_finite_after(good):
        stride *= 2
        bad, good = good, max(good - stride, 0)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if is_finite_after(middle) else (good, middle)
    return good


def first_block(params: Params) -> str | None:
    """Returns the first block that is not finite, in the order of backpropagation."""
    order = (DECODER_SCALE, *reversed(BLOCKS))
    return next((block for block in order if params.get(block) and not finite(params[block])), None)
