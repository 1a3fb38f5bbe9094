"""Programs that are compiled, and modules that are imported, on other threads before they are needed."""

import concurrent.futures
import importlib
from collections.abc import Callable
from typing import Any

import jax

from vaecli.environment import threads


class Ahead:
    """Compiles programs before they are called, in the order in which they are given.

    Two at a time: what XLA does on one thread for one of them goes on beside the other. A program that is compiled here
    is not compiled again when it is called, since jax keeps it by the shapes and types of its arguments.
    """

    def __init__(self):
        self._pool = concurrent.futures.ThreadPoolExecutor(min(2, threads()), thread_name_prefix="ahead")
        self._compiling: dict[Any, concurrent.futures.Future[Any]] = {}

    def compile(self, program: Any, *arguments: Any) -> None:
        """Begins to compile a jitted function for arguments like these, of which only shapes and types matter."""
        # What is on the device is not held there by a thread that is still busy.
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arguments)
        self._compiling[program] = self._pool.submit(lambda: program.lower(*like).compile())

    def load(self, *modules: str) -> None:
        """Imports modules once everything before is compiled."""
        for module in modules:
            self._pool.submit(importlib.import_module, module)

    def is_compiling(self, program: Any) -> bool:
        """Returns whether a program would have to be waited for."""
        return program in self._compiling and not self._compiling[program].done()

    def __call__(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a program that can be called at once; one that is being compiled is waited for.

        Raises what compiling it raised.
        """
        if (compiling := self._compiling.pop(program, None)) is not None:
            compiling.result()
        return program

    def close(self) -> None:
        """Drops what has not begun; what has begun ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
