"""How the programs of tests are compiled: cheaply, or as a user's process does."""

import contextlib
import functools
import threading

import jax
import pytest
from jax._src import compiler
from jax._src.interpreters import mlir

_CHEAP = {"xla_backend_optimization_level": 0, "xla_cpu_parallel_codegen_split_count": 1}
"""LLVM optimises nothing, in one piece. XLA's own passes stay."""

_SIMPLE = {"xla_cpu_use_fusion_emitters": False}
"""XLA's older and simpler code generator, which jax 0.12 has no more. It rounds a seed of a batch otherwise than a run
of its own."""

_LEVEL = "xla_backend_optimization_level"
"""How far LLVM optimises; a program that names it has XLA's own code generator."""

OPTIMISED = {_LEVEL: 3}
"""Options of a program that is compiled as shipped, or computes for longer than it is compiled."""

_BATCHED = {_LEVEL: 0}


def compile_cheaply():
    """Lets all programs of this process, but for those of `OPTIMISED`, compile in a third to two thirds of the time.

    The options of a user's programs are left alone, so that tests share them with the processes that they start.
    """
    options_of = compiler.get_compile_options
    simple = _SIMPLE if _is_known(_SIMPLE) else {}

    @functools.wraps(options_of)
    def options(*args, env_options_overrides=None, **rest):
        own = dict(env_options_overrides or {})
        level = own.pop(_LEVEL, None)
        if not level:
            own = _CHEAP | ({} if level == 0 else simple) | own
        return options_of(*args, env_options_overrides=own, **rest)

    compiler.get_compile_options = options


def reuse_contexts():
    """Keeps what each thread lowers programs in, as jax does from 0.12 on: to make it anew takes 5 ms a program."""
    if hasattr(mlir, "_create_ir_context"):
        return
    make, kept = mlir.make_ir_context, threading.local()

    @functools.wraps(make)
    def context():
        # A context keeps all that was ever written in it, so that one for ever would grow without end.
        kept.uses = getattr(kept, "uses", 0) + 1
        if kept.uses % 20 == 1:
            kept.context = make()
        return kept.context

    mlir.make_ir_context = context


def _is_known(options):
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0)
    except jax.errors.JaxRuntimeError:
        return False
    return True


@contextlib.contextmanager
def _programs(options):
    """Trains and evaluates with programs of other options."""
    from vaecli.vae import compiled

    all_options = compiled.compiler_options() | options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "compiler_options", lambda: all_options)
        compiled.compiled_steps.cache_clear()
        yield
    compiled.compiled_steps.cache_clear()


def shipped_programs():
    """Trains and evaluates with the programs of a user's process, which are optimised, and round otherwise."""
    return _programs(OPTIMISED)


def batched_programs():
    """Trains and evaluates so that a seed of a batch is the run of its own bit for bit, as a user's process does.

    From jax 0.12 on it is so only where LLVM optimises.
    """
    return _programs(_BATCHED if _is_known(_SIMPLE) else OPTIMISED)
