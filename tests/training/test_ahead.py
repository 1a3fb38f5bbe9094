"""Programs that are compiled before they are called."""

import signal
import threading

import jax
import numpy as np
import pytest

from vaecli.training.ahead import Ahead

FOUR = jax.ShapeDtypeStruct((4,), np.float32)


@pytest.fixture
def ahead():
    begun = Ahead()
    yield begun
    begun.close()


def test_what_was_compiled_ahead_is_not_compiled_again(ahead):
    traces = []

    def twice(x):
        traces.append(x)
        return 2 * x

    program = jax.jit(twice)
    ahead.compile(program, FOUR)
    ready = ahead(program)
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.stages.Lowered, "compile", None)
        np.testing.assert_array_equal(ready(np.arange(4, dtype=np.float32)), [0, 2, 4, 6])
    assert ready is program
    assert len(traces) == 1


def test_an_error_of_the_compiler_comes_where_the_program_is_called(ahead):
    def broken(x):
        raise MemoryError(x.shape)

    program = jax.jit(broken)
    ahead.compile(program, FOUR)
    with pytest.raises(MemoryError):
        ahead(program)


def test_nothing_waits_for_what_is_dropped():
    """As when Ctrl-C ends a run while its programs are being compiled."""
    ahead, gate = Ahead(), threading.Event()

    def slow(x):
        gate.wait(10)
        return x

    programs = [jax.jit(lambda x, k=k: slow(x) + k) for k in range(5)]
    for program in programs:
        ahead.compile(program, FOUR)
    assert ahead.is_compiling(programs[-1])
    ahead.close()
    assert not ahead.is_compiling(programs[-1])
    gate.set()


def test_modules_are_imported_after_the_programs_are_compiled(ahead):
    loaded = []
    program = jax.jit(lambda x: x + len(loaded))
    ahead.compile(program, FOUR)
    ahead.load("colorsys")
    ahead(program)
    assert ahead._pool.submit(lambda: True).result()


def test_an_interrupt_is_not_held_up(ahead):
    """The main thread waits where Python hears signals."""
    gate = threading.Event()
    program = jax.jit(lambda x: gate.wait(10) or x)
    ahead.compile(program, FOUR)
    threading.Timer(0.05, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        ahead(program)
    gate.set()
