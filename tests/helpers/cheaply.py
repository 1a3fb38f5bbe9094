"""`python -m vaecli` in a process that compiles as this one does, so that either finds what the other has compiled."""

import functools
import runpy
import sys
from pathlib import Path

COMMAND = [sys.executable, __file__]
"""What stands in front of the arguments of a command."""


def prepare_then_compile_cheaply(*, keep=False):
    """Lets what a process does before it imports jax be followed by what the tests do.

    Args:
      keep: whether executables are left to other processes, which no process of a user may find.
    """
    from vaecli import startup

    prepare = startup.prepare

    @functools.wraps(prepare)
    def prepared():
        prepare()
        from helpers.optimisation import compile_cheaply

        compile_cheaply()
        if not keep:
            startup.programs = ""

    startup.prepare = prepared


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    prepare_then_compile_cheaply()
    sys.path.insert(0, "")  # The folder that `python -m` puts there.
    runpy.run_module("vaecli", run_name="__main__", alter_sys=True)
