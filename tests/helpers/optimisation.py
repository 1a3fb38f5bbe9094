"""How far LLVM optimises what tests compile."""

import contextlib
import os

import jax
import pytest


def optimise_nothing():
    """Lets LLVM optimise nothing in this process, which takes half of the time to compile; XLA's own passes stay.

    The flag is read once, with jax's first program, so that processes which tests start are those of a user.
    """
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    jax.jit(lambda x: x + 1)(0)
    del os.environ["XLA_FLAGS"]


@contextlib.contextmanager
def shipped_programs():
    """Trains and evaluates with the programs of a user's process, which are optimised, and round otherwise."""
    from vaecli.vae import compiled

    shipped = compiled.compiler_options() | {"xla_backend_optimization_level": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "compiler_options", lambda: shipped)
        compiled.compiled_steps.cache_clear()
        yield
    compiled.compiled_steps.cache_clear()
