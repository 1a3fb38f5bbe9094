"""The first number of a chunk of steps that is not finite, found by training the chunk again."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jaxtyping import UInt8

from vaecli.vae.compiled import CompiledSteps
from vaecli.vae.model import Operands
from vaecli.vae.networks import BLOCKS, Params
from vaecli.vae.schedules import ScheduleValues
from vaecli.vae.steps import Step, TrainState, finite


class Chunk(NamedTuple):
    """What a chunk of steps is trained from, along a leading axis of rows."""

    before: TrainState
    order: np.ndarray
    schedule: ScheduleValues


class Cause(NamedTuple):
    """What was not finite.

    Attributes:
      quantity: a term of the loss as its tag says it, `gradient`, `parameter` or `optimiser state`.
      block: of parameters; of several, the one that backpropagation meets first. None for a term of the loss.
      step: updates of the parameters before it.
    """

    quantity: str
    block: str | None
    step: int


def locate(
    run: CompiledSteps,
    operands: Operands,
    images: UInt8[Array, "images pixels"],
    chunk: Chunk,
    found: Step | None,
    row: int,
) -> tuple[Cause, TrainState]:
    """What was not finite first in one row of a chunk, and the state before that step.

    Args:
      run: the compiled programs.
      operands: what they receive.
      images: what was trained on.
      chunk: where it began.
      found: what its steps left; None before the first one.
      row: of that axis.

    Training pays nothing for it: only the losses of the steps and the state at the end of a chunk are looked at there,
    since a state that is not finite remains so. Training again up to some step is the same program, and has the same
    rounding.
    """
    count = chunk.order.shape[1]

    def after(taken: int) -> TrainState:
        until = np.zeros(len(chunk.order), np.int32)
        until[row] = taken
        return run.train_chunk(operands, images, chunk.before, chunk.order, chunk.schedule, until)[0]

    def mine(tree):
        return jax.tree.map(lambda leaf: leaf[row], tree)

    def sound(taken: int) -> bool:
        return bool(run.finite(after(taken))[row])

    start = int(np.asarray(chunk.before.step)[row])
    sums = found.sums._asdict() if found else {}
    losses = {f"train/{term}": ~np.isfinite(np.asarray(of_rows)[row]) for term, of_rows in sums.items()}
    broken = np.flatnonzero(np.any(list(losses.values()), axis=0)) if found else []
    bad = int(broken[0]) if len(broken) else count if found else 0
    if len(broken) and sound(bad):
        quantity = next(tag for tag, of_steps in losses.items() if of_steps[bad])
        return Cause(quantity, None, start + bad), mine(after(bad))

    # The step before the first bad loss is the likely one; it is looked for backwards, in strides that double.
    good, stride = max(bad - 1, 0), 1
    while good and not sound(good):
        stride *= 2
        bad, good = good, max(good - stride, 0)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if sound(middle) else (good, middle)
    state = mine(after(good))
    if not sound(good):
        return Cause("parameter", _first(state.params), start), state
    at = jax.tree.map(lambda of_steps: of_steps[row][good], chunk.schedule)
    gradients, _ = run.step_gradient(mine(operands), images, state, chunk.order[row, good], at)
    for quantity, tree in (("gradient", gradients), ("parameter", mine(after(bad)).params)):
        if block := _first(tree):
            return Cause(quantity, block, start + good), state
    return Cause("optimiser state", None, start + good), state


def measured(scalars: Mapping[str, float], step: int) -> Cause | None:
    """The first scalar of a log point, by tag, that is no finite number; None where all are finite."""
    # The terms before their sum, which tells less; a ratio of gradient moments may be undefined in a sound run.
    bounds = ("/elbo", "/iwae", "/objective")
    for tag in sorted(scalars, key=lambda tag: (tag.startswith("safety/"), tag.endswith(bounds))):
        if not tag.startswith(("grad/", "grad_se/")) and not math.isfinite(scalars[tag]):
            return Cause(tag, None, step)
    return None


def _first(params: Params) -> str | None:
    """The block that is not finite, in the order of backpropagation."""
    return next((block for block in reversed(BLOCKS) if params[block] and not finite(params[block])), None)
