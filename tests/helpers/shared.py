"""Programs that a test and the processes it starts leave to each other: whoever needs one first compiles it for all."""

import contextlib
import json
import os
import time
from pathlib import Path

import pytest

from vaecli import startup
from vaecli.vae import compiled

from .optimisation import batched_programs, shipped_programs
from .startup.sitecustomize import OPTIONS

STARTUP = Path(__file__).parent / "startup"
"""On the path of a process, it lets that one compile as the test says."""

_LEVEL = "xla_backend_optimization_level"


@contextlib.contextmanager
def shared_programs(*, shipped=False):
    """Lets this process, and those that it starts, however deep, train with programs that only one of them compiles.

    They leave them to each other as a user's processes do, in a folder that no such process knows: a kept program is
    named by all but the options that it was compiled with. Nor is it the folder of this session, since of what jax has
    kept there already nothing would be left to others.

    Args:
      shipped: whether they are a user's programs, which are optimised; otherwise they compile cheaply, and a seed of a
        batch is the run of its own bit for bit all the same.
    """
    caches = os.environ["XDG_CACHE_HOME"]
    with (shipped_programs if shipped else batched_programs)(), pytest.MonkeyPatch.context() as patch:
        # Where jax has no cheap programs of that kind, they are a user's, too.
        cheap = compiled.compiler_options()[_LEVEL] == 0
        folder = Path(caches, "cheap" if cheap else "shipped")
        programs = folder / "vaecli" / "jax"
        programs.mkdir(mode=0o700, parents=True, exist_ok=True)
        patch.setattr(startup, "programs", str(programs))
        patch.setattr(startup, "begun", time.time_ns())
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("MPLCONFIGDIR", str(Path(caches, "matplotlib")))  # To make its list of fonts takes a second.
        if cheap:
            patch.setenv(OPTIONS, json.dumps({_LEVEL: 0, "xla_cpu_parallel_codegen_split_count": 1}))
            patch.setenv("PYTHONPATH", str(STARTUP), prepend=os.pathsep)
        yield
