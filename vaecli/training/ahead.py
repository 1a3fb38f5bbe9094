"""Programs that are compiled, and modules that are imported, on other threads before they are needed."""

import concurrent.futures
import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import jax

from vaecli.environment import threads
from vaecli.training.kept import KeptPrograms, compiled


class Ahead:
    """Compiles programs before they are called, in the order in which they are given.

    Two at a time: what XLA does on one thread for one of them goes on beside the other. A program that is compiled here
    is not compiled again when it is called: jax keeps it by the shapes and types of its arguments, or what is called is
    the executable itself, where those are kept for other processes.
    """

    def __init__(self, kept: KeptPrograms | None = None):
        """Compiles nothing yet; `kept` is where executables are found, and left to other processes."""
        self._kept = kept
        self._ready: dict[Any, Callable[..., Any]] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(min(2, threads()), thread_name_prefix="ahead")
        self._loading: list[concurrent.futures.Future[Any]] = []
        self._compiling: dict[Any, concurrent.futures.Future[Any]] = {}

    def compile(self, program: Any, *arguments: Any) -> None:
        """Begins to compile a jitted function for arguments like these, of which only shapes and types matter."""
        # What is on the device is not held there by a thread that is still busy.
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arguments)
        self._compiling[program] = self._pool.submit(self._compiled, program, like)

    def _compiled(self, program: Any, like: Any) -> Callable[..., Any]:
        """Returns what is to be called for a program."""
        if self._kept is None:
            program.lower(*like).compile()
            return program
        if (executable := self._kept.load(program, like)) is None:
            executable, is_new = compiled(program, like)
            if is_new:
                with contextlib.suppress(RuntimeError):  # What has been closed begins nothing any more.
                    self._pool.submit(self._kept.keep, program, like, executable)
        return executable

    def load(self, *modules: str) -> None:
        """Imports modules once everything before is compiled."""
        self._loading += [self._pool.submit(importlib.import_module, module) for module in modules]

    def is_compiling(self, program: Any) -> bool:
        """Returns whether a program would have to be waited for."""
        return program in self._compiling and not self._compiling[program].done()

    def __call__(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """Returns what can be called at once for a program; one that is being compiled is waited for.

        Raises what compiling it raised.
        """
        if (compiling := self._compiling.pop(program, None)) is not None:
            self._ready[program] = compiling.result()
        return self._ready.get(program, program)

    def close(self) -> None:
        """Drops what has not begun; what has begun ends by itself, and what is compiled is still kept."""
        for future in (*self._compiling.values(), *self._loading):
            future.cancel()
        self._pool.shutdown(wait=False)
