"""Runs in the environments of strangers: every bit as in a plain one, or refused or recorded by name."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers.cheaply import COMMAND
from helpers.commands import flags_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ANY = ["0", "1", "-1", "7", "true", "no", "maybe", "", "cpu", "highest", "bfloat16", "strict", "disallow", "log", "rbg"]
FLAGS = ["", "--xla_cpu_enable_fast_math=true", "--xla_backend_optimization_level=0", "--xla_nonsense=1", "nowhere"]
FLAGS += ["--xla_force_host_platform_device_count=3", "--xla_cpu_enable_fast_math=maybe"]
BOTH = ["0", "1"]


def each(names, *values):
    """The same values for several variables."""
    return dict.fromkeys(names.split(), values)


VALUES = {
    **{name.upper(): ANY for name in jax.config.values if not name.startswith("jax_compilation_cache")},
    "JAX_PLATFORMS": ["", "cpu", "foo", "cuda", "cpu,foo"],
    "JAX_COMPILATION_CACHE_DIR": ["/dev/null/x", "FOLDER/cache"],
    "JAX_COMPILATION_CACHE_MAX_SIZE": ["0", "-1", "100000", "x"],
    "JAX_NUM_PROCESSES": ["2"],
    "XLA_FLAGS": FLAGS,
    "XLA_PYTHON_CLIENT_PREALLOCATE": ["false", "x"],
    "XLA_PYTHON_CLIENT_MEM_FRACTION": [".5", "x"],
    "PJRT_NPROC": ["1", "3", "0", "x"],
    "TF_CPP_MIN_LOG_LEVEL": ["0", "3", "x"],
    "TF_ENABLE_ONEDNN_OPTS": BOTH,
    **each("OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS", "1", "4", "x"),
    "NPY_DISABLE_CPU_FEATURES": ["AVX2", "SSE", "x"],
    "NUMPY_MADVISE_HUGEPAGE": ["0", "x"],
    "SCIPY_ARRAY_API": BOTH,
    "FLAX_FIX_RNG_SEPARATOR": ["0", "1", "x"],
    "JAXTYPING_DISABLE": ["0", "1", "x"],
    "EPATH_USE_TF": ["true"],
    "ENABLE_PATHWAYS_PERSISTENCE": BOTH,
    "ENABLE_ORBAX_PROMETHEUS_TELEMETRY": ["true"],
    "CRC32C_SW_MODE": ["none", "force", "x"],
    **each("PILLOW_ALIGNMENT PILLOW_BLOCK_SIZE PILLOW_BLOCKS_MAX", "3", "x"),
    "MPLBACKEND": ["agg", "tkagg", "module://nowhere", ""],
    "MATPLOTLIBRC": ["FOLDER/usetex", "FOLDER/binary", "FOLDER/nowhere"],
    "MPLCONFIGDIR": ["FOLDER/mpl", "/dev/null/x"],
    "SOURCE_DATE_EPOCH": ["0", "x"],
    "PYTHONOPTIMIZE": ["1", "2"],
    "PYTHONWARNINGS": ["error", "always", "error::DeprecationWarning", "nonsense"],
    "PYTHONHASHSEED": ["0", "1", "random"],
    "PYTHONUTF8": BOTH,
    "PYTHONCOERCECLOCALE": BOTH,
    "PYTHONIOENCODING": ["ascii", "latin-1", "ascii:strict"],
    **each("PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED PYTHONDEVMODE PYTHONSAFEPATH", "1"),
    **each("PYTHONFAULTHANDLER PYTHONNOUSERSITE PYTHONNODEBUGRANGES", "1"),
    "PYTHONINTMAXSTRDIGITS": ["640"],
    "PYTHONPATH": ["FOLDER", "/dev/null"],
    **each("LC_ALL LANG LC_NUMERIC LC_CTYPE", "C", "POSIX", "C.UTF-8", "de_DE.UTF-8", "xx_YY"),
    "TZ": ["Asia/Kathmandu", "x"],
    "TERM": ["dumb", "xterm", "", "x"],
    **each("COLUMNS LINES", "abc", "0", "1", "-5", "100000"),
    **each("NO_COLOR FORCE_COLOR TTY_COMPATIBLE TTY_INTERACTIVE COLORTERM", "1", "0", "x"),
    "UNICODE_VERSION": ["4.0.0", "x"],
    "HOME": ["/dev/null", "/nowhere", ""],
    "XDG_CONFIG_HOME": ["FOLDER", "/dev/null"],
    "TMPDIR": ["/nowhere", "/dev/null"],
    "GIT_DIR": ["/nowhere", "FOLDER"],
    "GIT_TRACE": ["1"],
    "RAY_ADDRESS": ["nowhere:1"],
}
OPTIONS = sorted(name for name in VALUES if name.lower() in jax.config.values)
# As many of jax's, of which there are more, as of all the others.
ENVIRONMENTS = st.tuples(
    st.sets(st.sampled_from(OPTIONS), max_size=3),
    st.sets(st.sampled_from(sorted(VALUES.keys() - OPTIONS)), min_size=1, max_size=4),
).flatmap(
    lambda names: st.fixed_dictionaries({name: st.sampled_from(VALUES[name]) for name in sorted(names[0] | names[1])})
)


def bits(path):
    """What a run left: its log, and all its arrays."""
    (file,) = path.glob("checkpoint/step*/arrays.npz")
    with np.load(file) as arrays:
        return (path / "metrics.jsonl").read_bytes(), {name: values.tobytes() for name, values in arrays.items()}


@pytest.fixture(scope="module")
def train(small_data, tmp_path_factory):
    """Returns a function that trains a run with more variables; it returns the process, and the run's folder."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "usetex").write_text("text.usetex: True\nfont.size: 40\n")
    (folder / "binary").write_bytes(b"font.size: \xff\n")
    (folder / "matplotlib").mkdir()
    (folder / "matplotlib/matplotlibrc").write_text("text.usetex: True\n")
    settings = {"data_dir": str(small_data), "hidden": (12,), "latent": 2, "batch_size": 50, "epochs": 2}
    command = [sys.executable, "-m", "vaecli", "train", *flags_of(settings | {"grad_every": 0})]

    def trained(variables):
        place = tmp_path_factory.mktemp("run")
        values = {name: value.replace("FOLDER", str(folder)) for name, value in variables.items()}
        done = subprocess.run(command, cwd=place, env=os.environ | values, capture_output=True, timeout=300)
        return done, place / "runs" / small_data.name / "logvar/seed0"

    return trained


@pytest.mark.long
def test_a_run_that_diverges_is_recorded(small, tmp_path):
    """These variables would end the process at the first number that is not finite.

    The sweep of `tests/cli/commands/test_sweep.py` has them, too.
    """
    flags = flags_of(small | {"hidden": (), "picture_every": 0, "lr": 1e30, "seeds": 2, "runs": tmp_path})
    command = [*COMMAND, "train", *flags]
    variables = {"JAX_DEBUG_NANS": "1", "JAX_DEBUG_INFS": "1"}
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 3, done.stderr
    assert "JAX_DEBUG_INFS, JAX_DEBUG_NANS: are set and have no effect" in done.stderr
    summaries = [json.loads(summary.read_text()) for summary in tmp_path.glob("*/*/*/summary.json")]
    assert [summary["status"] for summary in summaries] == ["diverged"] * 2


@pytest.mark.long
def test_a_hundred_environments(train):
    done, path = train({})
    assert done.returncode == 0, done.stderr
    plain, pictures = bits(path), sorted(file.name for file in (path / "pictures").iterdir())
    recorded = json.loads((path / "summary.json").read_text())["environment"]
    counts = {"the same": 0, "recorded": 0, "refused": 0}

    @settings(
        max_examples=100, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(ENVIRONMENTS)
    def check(variables):
        done, path = train(variables)
        words = done.stderr.decode(errors="replace")
        what = f"{variables}\n{done.returncode}\n{words}"
        assert "Traceback" not in words, what
        if done.returncode == 2:
            counts["refused"] += 1
            last = words.splitlines()[-1]
            assert len(last) <= 500, what
            assert any(name in last for name in variables), what
            assert not path.exists(), what
            return
        assert done.returncode == 0, what
        assert sorted(file.name for file in (path / "pictures").iterdir()) == pictures, what
        environment = json.loads((path / "summary.json").read_text())["environment"]
        if bits(path) == plain:
            counts["the same"] += 1
        else:
            counts["recorded"] += 1
            assert any(environment.get(name) != recorded.get(name) for name in (*variables, "threads")), what

    check()
    print(counts)
    assert counts["the same"] > 50
