"""How many runs the memory of an accelerator holds, from the shapes of all that a run computes."""

import functools
import gc
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Var

from vaecli.data import Dataset
from vaecli.environment import require_default_jax
from vaecli.training.images import PICTURED, points
from vaecli.vae import build, evaluate, steps
from vaecli.vae.gradients.statistics import gradient_statistics
from vaecli.vae.model import Model
from vaecli.vae.resolve import Resolved
from vaecli.vae.schedules import ScheduleValues

_SHARE = 0.85
"""The part of the free memory that is planned for; libraries need some, and what is freed leaves gaps."""

_STATES = 4
"""The states of a run that are kept at once besides what a step computes: of the epochs whose log point is being taken
and written, the one before, from which a step that diverges is located, and one on the way there."""


def has_accelerator() -> bool:
    """Returns whether jax computes on something else than a CPU.

    Raises:
      UsageError: jax does not compute here as it must.
    """
    require_default_jax()
    return jax.default_backend() != "cpu"


def free_bytes() -> int | None:
    """Returns the free memory of the device; None where it does not say, as on a CPU."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" not in statistics:
        return None
    return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)


def runs_that_fit(runs: Sequence[Resolved], dataset: Dataset) -> int:
    """Returns how many of some runs of one batch the device has memory for, at least one.

    Args:
      runs: the config of each, resolved.
      dataset: what they are trained on.

    Raises:
      UsageError: jax does not compute here as it must.
    """
    require_default_jax()
    free = free_bytes()
    if free is None:
        return len(runs)
    shared, of_each = memory_needed(runs[0], dataset)
    if shared + len(runs) * of_each > _SHARE * free:
        gc.collect()  # What the runs before have left behind, if anything.
        free = free_bytes() or free
    return min(max(int((_SHARE * free - shared) / of_each), 1), len(runs))


def memory_needed(run: Resolved, dataset: Dataset) -> tuple[int, int]:
    """Returns the bytes that a batch needs on the device for all its runs, and those that it needs for each.

    What a run computes counts as if XLA fused no two operations, so that this is more than there is need for.
    """
    program = build.program(run, (dataset.height, dataset.width))
    operands = jax.tree.map(lambda leaf: leaf[0], build.operands([run]))
    state = build.state_like(program, operands)
    batch, samples = run.config.batch_size, len(dataset.train)
    in_epoch = -(-samples // batch)

    def shape(*sizes: int, dtype: Any = jnp.float32) -> Any:
        return jax.ShapeDtypeStruct(sizes, dtype)

    order = shape(in_epoch, batch, dtype=jnp.int32)
    schedule, of_step = ScheduleValues(shape(in_epoch), shape(in_epoch)), ScheduleValues(shape(), shape())
    pixels = functools.partial(shape, dtype=dataset.test.dtype)
    splits = {"test": pixels(*dataset.test.shape)}
    if dataset.validation is not None:
        splits["validation"] = pixels(*dataset.validation.shape)
    model = Model(program, operands, state.params)
    z = shape(*points(run.config.latent).shape)
    train = functools.partial(steps.train_chunk, program)
    calls: list[tuple[Any, ...]] = [
        (train, operands, shape(*dataset.train.shape, dtype=jnp.uint8), state, order, schedule, shape(dtype=jnp.int32)),
        (evaluate.measure, model, splits, pixels(batch, dataset.test.shape[1])),
        (evaluate.visuals, model, pixels(PICTURED, dataset.test.shape[1]), z),
    ]
    if run.config.grad_every:
        calls.append((gradient_statistics, model, pixels(*dataset.probe.shape), of_step))
    computed = max(peak_bytes(jax.make_jaxpr(function)(*arguments).jaxpr) for function, *arguments in calls)
    kept = _STATES * _bytes(state) + 2 * _bytes((order, schedule))
    images = [dataset.train, dataset.test, dataset.validation, dataset.probe]
    return sum(array.nbytes for array in images if array is not None), kept + computed


def peak_bytes(jaxpr: Jaxpr) -> int:
    """Returns the most bytes of what a function computes that are alive at once, its results included.

    A value lives from the operation that makes it to the last one that reads it; what is made of an operation's
    operands does not take their place.
    """
    last_use: dict[Var, int] = {}
    for number, equation in enumerate(jaxpr.eqns):
        last_use |= {operand: number for operand in equation.invars if isinstance(operand, Var)}
    results = {result for result in jaxpr.outvars if isinstance(result, Var)}
    made: set[Var] = set()
    alive = peak = 0
    for number, equation in enumerate(jaxpr.eqns):
        made.update(equation.outvars)
        alive += sum(_size(value.aval) for value in equation.outvars)
        peak = max(peak, alive + max(map(peak_bytes, _inner(equation.params)), default=0))
        gone = {operand for operand in equation.invars if isinstance(operand, Var)} | set(equation.outvars)
        alive -= sum(_size(value.aval) for value in gone & made - results if last_use.get(value, number) == number)
    return peak


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """Yields the functions that an operation calls, such as the body of a loop."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else [value]:
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


def _size(aval: Any) -> int:
    # A random key is two words.
    return math.prod(aval.shape) * (8 if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key) else aval.dtype.itemsize)


def _bytes(tree: Any) -> int:
    return sum(map(_size, jax.tree.leaves(tree)))
