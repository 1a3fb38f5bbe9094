"""How the programs of tests are compiled: cheaply, or as a user's process does."""

import contextlib
import functools

import jax
import pytest
from jax._src import compiler

_CHEAP = {"xla_backend_optimization_level": 0, "xla_cpu_parallel_codegen_split_count": 1}
"""LLVM optimises nothing, in one piece. XLA's own passes stay."""

_SIMPLE = {"xla_cpu_use_fusion_emitters": False}
"""XLA's older and simpler code generator, which jax 0.12 has no more."""

_AS_SHIPPED = "xla_backend_optimization_level"
"""An option that programs have which are compiled as shipped; it is taken off before XLA sees it."""

OPTIMISED = {_AS_SHIPPED: 3}
"""Options of a program that computes for longer than it is compiled."""


def compile_cheaply():
    """Lets all programs of this process, but for `shipped_programs`, be compiled in a third to two thirds of the time.

    The options of a user's programs are left alone, so that tests share them with the processes that they start.
    """
    options_of = compiler.get_compile_options
    cheap = _CHEAP | (_SIMPLE if _is_known(_SIMPLE) else {})

    @functools.wraps(options_of)
    def options(*args, env_options_overrides=None, **rest):
        own = dict(env_options_overrides or {})
        shipped = own.pop(_AS_SHIPPED, None) is not None
        return options_of(*args, env_options_overrides=own if shipped else cheap | own, **rest)

    compiler.get_compile_options = options


def _is_known(options):
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0)
    except jax.errors.JaxRuntimeError:
        return False
    return True


@contextlib.contextmanager
def shipped_programs():
    """Trains and evaluates with the programs of a user's process, which are optimised, and round otherwise."""
    from vaecli.vae import compiled

    shipped = compiled.compiler_options() | OPTIMISED
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "compiler_options", lambda: shipped)
        compiled.compiled_steps.cache_clear()
        yield
    compiled.compiled_steps.cache_clear()
