"""Strict JAX for every test: shapes are checked, and no operation promotes ranks in silence."""

import functools
import gc
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

import jax
import mpmath
import numpy as np
import pytest
from helpers.data import write_data
from helpers.optimisation import batched_programs, compile_cheaply, reuse_contexts
from jaxtyping import install_import_hook

from vaecli import startup

# Before the first import of the package, so that in all tests the shapes are checked that its annotations give.
_ROOT = Path(importlib.util.find_spec("vaecli").origin).parents[1]
_ANNOTATED = [path for path in sorted(_ROOT.glob("vaecli/vae/**/*.py")) if "from jaxtyping import" in path.read_text()]
_MODULES = [".".join(path.relative_to(_ROOT).with_suffix("").parts) for path in _ANNOTATED]
install_import_hook(_MODULES, "beartype.beartype")

jax.config.update("jax_numpy_rank_promotion", "raise")

compile_cheaply()
reuse_contexts()


def keep_no_programs():
    """Lets a process that compiles otherwise than a user's leave no executable to one, whatever it calls."""
    keep = startup._keep_compiled_programs

    @functools.wraps(keep)
    def kept():
        keep()
        startup.programs = ""

    startup._keep_compiled_programs = kept


keep_no_programs()

# Where each operation stands in our files is written into a program only for whoever reads it.
jax.config.update("jax_traceback_in_locations_limit", 0)

# As the program does: what jax traces makes a million objects, nearly all of which stay.
gc.set_threshold(50_000)


class ExamplesOnly:
    """Looks for examples in the modules that have one, lest each process imports and searches all others, too."""

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path):
        collectors = yield
        if file_path.suffix != ".py" or ">>>" in file_path.read_text(encoding="utf-8"):
            return collectors
        return [collector for collector in collectors if type(collector) is pytest.Module]


def begin_elsewhere(config):
    """Lets each process read the tests from another folder on, so that it finds what the others have translated.

    In a fresh checkout to translate them takes longer than to import them.
    """
    tests = Path(__file__).parent
    if config.args == config.getini("testpaths"):
        parts = sorted(path for path in tests.iterdir() if path.is_dir() or path.name.startswith("test_"))
        first = len(parts) * int(config.workerinput["workerid"].removeprefix("gw")) // config.workerinput["workercount"]
        others = [path for path in config.args if Path(path).resolve() != tests]
        config.args = [*map(str, parts[first:] + parts[:first]), *others]


def pytest_configure(config):
    """Lets every process take over what another one has compiled: of this session, tests' own included, or before."""
    if not hasattr(config, "workerinput"):
        # Below this folder programs keep what they compile, and leave what the user's own runs have compiled alone.
        if hasattr(config, "cache"):
            folder = config.cache.mkdir("compiled")
        else:
            folder = tempfile.mkdtemp(prefix="vae-tests-")
            config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["XDG_CACHE_HOME"] = os.path.abspath(folder)
        # Else each of hundreds of processes would compile our modules again, and each of pytest's own all tests.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
        # On cores that are busy anyway the threads of a small product of matrices wait for each other, up to 0.5 s.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
    else:
        begin_elsewhere(config)
    config.pluginmanager.register(ExamplesOnly())
    sys.dont_write_bytecode = False
    jax.config.update("jax_compilation_cache_dir", os.path.join(os.environ["XDG_CACHE_HOME"], "vaecli", "jax"))
    # As the program has it.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.02)


_LONGEST = [
    Path(__file__).parent / file
    for file in (
        "sweep/test_ray.py",
        "training/test_resume.py",
        "verify/test_verify.py",
        "analysis/test_probe.py",
        "faults/test_ray_kill.py",
        "faults/test_kill.py",
        "sweep/test_local.py",
        "training/test_pack.py",
        "training/test_null_control.py",
        "faults/test_sweep_kill.py",
        "cli/commands/test_sweep.py",
        "vae/test_divergence.py",
        "vae/test_steps.py",
        "vae/test_matched_scales.py",
        "training/test_train.py",
        "cli/test_main.py",
        "analysis/test_evaluate.py",
        "vae/test_model.py",
        "vae/test_log_densities.py",
        "cli/commands/test_heads.py",
        "vae/test_gradient_rules.py",
        "vae/gradients/test_statistics.py",
        "vae/heads/test_table.py",
        "vae/test_matching.py",
        "vae/test_networks.py",
        "report/test_page.py",
        "report/test_rates.py",
        "test_docs.py",
    )
]


def pytest_collection_modifyitems(items):
    """Puts the longest files first, so that no process waits for them at the end.

    Those that share compiled programs do not begin together, when each would compile them.
    """

    def place(item):
        # By path, too: all processes must agree, wherever they have begun to read.
        return _LONGEST.index(item.path) if item.path in _LONGEST else len(_LONGEST), item.path

    items.sort(key=place)


# e⁻⁸⁷ beside 1 is 38 digits away, and second differences with steps of 1e-20 want as many again.
mpmath.mp.dps = 100


@pytest.fixture(autouse=True)
def environment_as_before():
    """What a test writes into the environment does not reach the processes that later tests start."""
    before = dict(os.environ)
    yield
    if before != os.environ:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def drawn_once():
    """Draws the σ of equal posteriors once: it takes as long as the rest of a small run, and many runs are the same."""
    from vaecli.training import images

    draw = images._heat_map

    @functools.lru_cache(32)
    def drawn(data, dtype, shape):
        return draw(np.frombuffer(data, dtype).reshape(shape))

    @functools.wraps(draw)
    def recalled(scale):
        return drawn(scale.tobytes(), scale.dtype, scale.shape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_heat_map", recalled)
        yield


@pytest.fixture(scope="module")
def as_batched():
    """Trains and evaluates so that a seed of a batch is the run of its own bit for bit, in all tests of a module."""
    with batched_programs():
        yield


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """A data set small enough that a run takes seconds; 230 training images are no multiple of any batch size used."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def small(small_data):
    """The settings of a run that takes seconds; not to be changed."""
    return {
        "name": "small",
        "data_dir": str(small_data),
        "hidden": (12,),
        "latent": 3,
        "epochs": 2,
        "batch_size": 50,
        "grad_every": 0,
    }
