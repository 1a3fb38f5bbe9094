"""Programs that a test and the processes it starts leave to each other: whoever needs one first compiles it for all."""

import contextlib
import json
import os
import time
from pathlib import Path

import pytest
from jax._src import compiler

from helpers.optimisation import batched_programs, shipped_programs
from helpers.startup.sitecustomize import OPTIONS
from vaecli import startup
from vaecli.vae import compiled

STARTUP = Path(__file__).parent / "startup"
"""On the path of a process, it lets that one compile as the test says."""

_KINDS = {"cheap": contextlib.nullcontext, "batched": batched_programs, "shipped": shipped_programs}


@contextlib.contextmanager
def shared_programs(kind="batched"):
    """Lets this process, and those that it starts, however deep, train with programs that only one of them compiles.

    They leave them to each other as a user's processes do, in a folder that no such process knows: a kept program is
    named by all but the options that it was compiled with. Nor is it the folder of this session, since of what jax has
    kept there already nothing would be left to others.

    Args:
      kind: `cheap` programs, as all tests have them; `batched` ones, with which a seed of a batch is the run of its own
        bit for bit, so that a batch may be cut anywhere; or `shipped` ones, which are a user's.
    """
    caches = os.environ["XDG_CACHE_HOME"]
    with _KINDS[kind](), pytest.MonkeyPatch.context() as patch:
        folder = Path(caches, kind)
        programs = folder / "vaecli" / "jax"
        programs.mkdir(mode=0o700, parents=True, exist_ok=True)
        patch.setattr(startup, "programs", str(programs))
        patch.setattr(startup, "begun", time.time_ns())
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("MPLCONFIGDIR", str(Path(caches, "matplotlib")))  # To make its list of fonts takes a second.
        own = compiled.compiler_options()
        here = compiler.get_compile_options(1, 1, env_options_overrides=own).env_option_overrides
        if kind != "shipped":
            patch.setenv(OPTIONS, json.dumps(dict(here)))
            patch.setenv("PYTHONPATH", str(STARTUP), prepend=os.pathsep)
        yield
