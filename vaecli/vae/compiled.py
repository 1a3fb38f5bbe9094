"""The compiled programs of a run: the seed axis is outside them, and the data are an argument."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from vaecli.vae import evaluate, steps
from vaecli.vae.gradients import statistics
from vaecli.vae.model import Operands, Program
from vaecli.vae.steps import finite_at_once
from vaecli.vae.undefined import undefined_on


class CompiledSteps(NamedTuple):
    """The compiled functions over a leading seed axis; that of a model runs through its operands and parameters.

    Attributes:
      initial_params: maps (operands, mean image) to parameters.
      initial_state: maps (operands, parameters) to a state; a program of its own, since draws take long to compile, and
        runs that differ in the optimiser share the first one.
      train_chunk: maps (operands, images, state, order, schedule, until) to (state, steps). The given state stays:
        what went wrong in a chunk is located by training it again (`divergence`), and the checkpoint of the state is
        written meanwhile.
      step_gradient: maps (operands, images, state, index, schedule) to (gradient, sums) of one step of one seed.
      undefined_at_step: maps (operands, images, state, index) of one step of one seed to which of `UNDEFINED` it meets.
      undefined_on: maps (model, images) of one seed to which of `UNDEFINED` there are.
      finite: maps a state to whether all its numbers are finite.
      measure: maps (model, splits, probe) to a measurement.
      gradient_statistics: maps (model, probe batches, schedule) to the statistics of each batch.
      visuals: maps (model, images, z) to what pictures are drawn from.
    """

    initial_params: Callable[..., Any]
    initial_state: Callable[..., Any]
    train_chunk: Callable[..., Any]
    step_gradient: Callable[..., Any]
    undefined_at_step: Callable[..., Any]
    undefined_on: Callable[..., Any]
    finite: Callable[..., Any]
    measure: Callable[..., Any]
    gradient_statistics: Callable[..., Any]
    visuals: Callable[..., Any]

    def init(self, operands: Operands, mean: Any) -> Any:
        """Returns the states at the start, from the mean image."""
        return self.initial_state(operands, self.initial_params(operands, mean))


_PARTS: dict[str, Callable[[Program], Program | None]] = {
    "initial_params": Program.of_start,
    "initial_state": Program.of_state,
    "finite": lambda program: None,
    **dict.fromkeys(("measure", "gradient_statistics", "visuals"), Program.of_models),
}
"""What those of `CompiledSteps` read that read less than the whole program."""


def part_read(name: str, program: Program) -> Program | None:
    """Returns the part of a program that one of `CompiledSteps`, by its name, reads; None where it reads nothing."""
    return _PARTS[name](program) if name in _PARTS else program


def over_seeds(function: Callable[..., Any], axes: tuple[int | None, ...], vectorise: bool) -> Callable[..., Any]:
    """Maps a function over the leading axis of the arguments whose entry in `axes` is 0.

    Vectorised, the seeds are one batched program, which fills a GPU. On a CPU the batched matrix products of XLA are
    slower than plain ones (bench/seeds.py), so there the seeds take turns inside the program, and each seed's
    arithmetic is that of a run of its own.
    """
    if vectorise:
        return jax.vmap(function, in_axes=axes)

    def in_turn(*args):
        mapped = tuple(arg for arg, axis in zip(args, axes, strict=True) if axis == 0)

        def one(values):
            remaining = iter(values)
            return function(*(next(remaining) if axis == 0 else arg for arg, axis in zip(args, axes, strict=True)))

        return jax.lax.map(one, mapped)

    return in_turn


@functools.cache
def compiled_steps(program: Program, *, vectorise: bool) -> CompiledSteps:
    """Returns the programs of a run; equal arguments give the same functions, compiled once in a process."""

    def train_chunk(operands, images, state, order, schedule, until):
        if vectorise:
            # A separate count for each seed would make every step choose between two states; what a seed does
            # beyond its count is never read.
            until = until.max()
        axes = (0, None, 0, 0, 0, None if vectorise else 0)
        mapped = over_seeds(functools.partial(steps.train_chunk, program), axes, vectorise)
        return mapped(operands, images, state, order, schedule, until)

    def shared(function: Callable[..., Any], axes: tuple[int | None, ...], *given: Any) -> Callable[..., Any]:
        return _shared(function, axes, given, vectorise, tuple(compiler_options().items()))

    return CompiledSteps(
        initial_params=shared(steps.initial_params, (0, None), part_read("initial_params", program)),
        initial_state=shared(steps.initial_state, (0, 0), part_read("initial_state", program)),
        train_chunk=compiled(train_chunk),
        step_gradient=compiled(functools.partial(steps.step_gradient, program)),
        undefined_at_step=compiled(functools.partial(steps.undefined_at_step, program)),
        undefined_on=compiled(undefined_on),
        finite=shared(finite_at_once, (0,)),
        measure=shared(evaluate.measure, (0, None, None)),
        gradient_statistics=shared(statistics.gradient_statistics, (0, None, 0)),
        visuals=shared(evaluate.visuals, (0, None, None)),
    )


@functools.cache
def _shared(
    function: Callable[..., Any],
    axes: tuple[int | None, ...],
    given: tuple[Any, ...],
    vectorise: bool,
    options: tuple[tuple[str, bool | int], ...],
) -> Callable[..., Any]:
    """Returns a compiled function that runs share whose programs differ in nothing that it reads.

    See `Program.of_models`, `of_start` and `of_state`.
    """
    return compiled(over_seeds(functools.partial(function, *given), axes, vectorise))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function jitted with what every program here needs."""

    def traced(*args):
        # On a GPU the default precision rounds the factors of a product to 10 bits.
        with jax.default_matmul_precision("float32"):
            return function(*args)

    return jax.jit(traced, compiler_options=compiler_options())


def compiler_options() -> dict[str, bool | int]:
    """Returns the options of XLA.

    * On a CPU: the whole width of AVX-512 where there is one, 2 to 8 % of an epoch.
    * On a GPU: cuBLAS, with the algorithm that its heuristics choose. XLA's own choice is by timing, so that another
      process, which may continue the run, chooses another one and rounds otherwise; and timing takes most of 20 s of
      compilation, of which 1.3 s are left, for steps that take 1.02 (64 runs) to 1.2 times as long (one run).
    """
    options: dict[str, dict[str, bool | int]] = {
        "cpu": {"xla_cpu_prefer_vector_width": 512},
        "gpu": {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False},
    }
    return options.get(jax.default_backend(), {})
