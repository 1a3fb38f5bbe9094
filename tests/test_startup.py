"""What a process sets up before it imports jax: its environment, and the folder of compiled programs."""

import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from vaecli import startup
from vaecli.environment import PINNED

READ_OPTIONS = """
import enum, importlib, json, sys
from vaecli.startup import prepare
prepare()
for name in sys.argv[1:]:
    importlib.import_module(name)
jax = sys.modules["jax"]
values = {name: v.name.lower() if isinstance(v, enum.Enum) else v for name, v in jax.config.values.items()}
print(json.dumps(values, default=str))
"""
LET_THROUGH = {
    "jax_compilation_cache_dir",
    "jax_cuda_visible_devices",
    "jax_enable_compilation_cache",
    "jax_explain_cache_misses",
    "jax_log_compiles",
    "jax_oneapi_visible_devices",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
    "jax_platform_name",
    "jax_platforms",
    "jax_rocm_visible_devices",
}
"""The options whose variables have an effect: where to compute, what to keep, what to print."""


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """An environment that a test may change as it likes, and an empty record of what was taken out of it."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("MATPLOTLIBRC", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.02")
    monkeypatch.setattr(startup, "set_aside", {})
    monkeypatch.setattr(startup, "unused_cache", "")
    monkeypatch.setattr(startup, "programs", "")
    monkeypatch.setattr(startup, "begun", 0)
    return monkeypatch


def python(code, *arguments, **variables):
    """Runs code in a process with more variables; returns what it printed."""
    argv = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(argv, env=os.environ | variables, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


CHOSEN = {"JAX_LOG_COMPILES": "on", "JAX_ENABLE_COMPILATION_CACHE": "No"}
"""Variables that are let through, with values that are not those of jax."""


@pytest.fixture(scope="module")
def plain():
    """The options of jax in a process with no other variables than those chosen."""
    return json.loads(python(READ_OPTIONS, "jax", JAX_PLATFORMS="cpu", **CHOSEN))


def test_no_option_of_jax_follows_a_variable_that_is_not_let_through(plain):
    """Every option of the installed jax is set to what it cannot read, and what other libraries read besides."""
    options = {name.upper(): "maybe" for name in jax.config.values}
    others = {
        "NPY_DISABLE_CPU_FEATURES": "SSE",
        "NUMPY_MADVISE_HUGEPAGE": "x",
        "FLAX_LAZY_RNG": "?",
        "PYTHONWARNINGS": "error",
    }
    others |= {"JAXTYPING_DISABLE": "maybe", "SCIPY_ARRAY_API": "1"}
    texts = {name.upper() for name in LET_THROUGH if "visible" in name or "platform" in name or name.endswith("dir")}
    libraries = ("flax", "jax", "jaxtyping", "numpy", "scipy")
    variables = {name: value for name, value in (options | others).items() if name not in texts}
    variables |= {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(Path(plain["jax_compilation_cache_dir"]).parents[1])}
    values = json.loads(python(READ_OPTIONS, *libraries, **variables))
    assert values == plain | {"jax_log_compiles": False, "jax_enable_compilation_cache": True}
    for name in PINNED.keys() & values.keys():
        assert values[name] == PINNED[name], name


def test_what_is_let_through_has_its_effect(plain):
    values = {name: getattr(jax.config, name, None) for name in LET_THROUGH}
    assert values.keys() == LET_THROUGH
    names = ("jax_platforms", "jax_log_compiles", "jax_enable_compilation_cache")
    assert [plain[name] for name in names] == ["cpu", True, False]


@pytest.mark.parametrize(
    "name",
    [
        "JAX_ENABLE_X64",
        "JAX_DEBUG_NANS",
        "JAX_RANDOM_SEED_OFFSET",
        "JAX_AN_OPTION_OF_TOMORROW",
        "CHECK_VMA",
        "FLAX_RNG",
    ],
)
def test_processes_of_ours_do_not_have_it_either(environment, name):
    environment.setenv(name, "1")
    startup.prepare()
    assert name not in os.environ
    assert startup.set_aside == {name: "1"}


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("JAX_LOG_COMPILES", "1", True),
        ("JAX_LOG_COMPILES", "maybe", False),
        ("JAX_PLATFORMS", "foo", True),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "2.5", True),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "2,5", False),
        ("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "", False),
        ("XLA_FLAGS", "--xla_dump_to=x", True),
    ],
)
def test_a_value_that_jax_cannot_read_has_no_effect(environment, name, value, kept):
    environment.setenv(name, value)
    startup.prepare()
    assert (name not in startup.set_aside) == kept


def mode(folder):
    return stat.S_IMODE(folder.stat().st_mode)


def test_the_folder_of_compiled_programs_is_private(tmp_path):
    before = os.umask(0o002)
    try:
        startup.prepare()
    finally:
        os.umask(before)
    folder = tmp_path / "home/vaecli/jax"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(folder)
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)
    assert startup.unused_cache == ""


@pytest.mark.parametrize(("permissions", "kept"), [(0o755, True), (0o775, False), (0o777, False)])
def test_what_others_could_write_is_not_run(tmp_path, permissions, kept):
    folder = tmp_path / "home/vaecli/jax"
    folder.mkdir(parents=True)
    (folder / "x-cache").write_bytes(b"code")
    folder.chmod(permissions)
    startup.prepare()
    assert mode(folder) == 0o700
    assert (folder / "x-cache").exists() == kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("part", ["home/vaecli", "home/vaecli/jax"])
def test_a_folder_of_another_user_is_not_used(tmp_path, part):
    folder = tmp_path / "home/vaecli/jax"
    folder.mkdir(parents=True)
    os.chown(tmp_path / part, 12345, -1)
    startup.prepare()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert startup.unused_cache == f"{folder}: another user owns it; compiled programs are not kept"


def test_a_folder_that_the_user_names_is_private_or_not_used(environment, tmp_path):
    named = tmp_path / "named"
    environment.setenv("JAX_COMPILATION_CACHE_DIR", str(named))
    startup.prepare()
    assert mode(named) == 0o700
    named.chmod(0o755)
    startup.prepare()
    assert mode(named) == 0o755
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(named)
    named.chmod(0o775)
    startup.prepare()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert startup.unused_cache == f"{named}: other users can write to it; compiled programs are not kept"


def test_a_folder_that_cannot_be_made_costs_only_time(environment, tmp_path):
    (tmp_path / "file").write_text("")
    environment.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    startup.prepare()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert "cannot be made (File exists)" in startup.unused_cache


COMPILE = """
from vaecli.startup import prepare
prepare()
import jax
jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((3, 3)))
"""


def test_nobody_waits_for_a_lock_in_the_folder_and_its_size_is_bounded(environment, tmp_path):
    folder = tmp_path / "home/vaecli/jax"
    folder.mkdir(parents=True)
    environment.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # What was not used for longest goes first, once something has been added.
    size = 2**20
    for number, name in enumerate(("oldest-cache", "older-cache", "new-cache")):
        (folder / name).write_bytes(bytes(size))
        os.utime(folder / name, (1 + number, 1 + number))
    with (folder / ".lockfile").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python(COMPILE, JAX_COMPILATION_CACHE_MAX_SIZE=str(2 * size))
    left = {path.name for path in folder.glob("*-cache")}
    # Of the three one is left, since what was compiled takes some bytes, too.
    assert {name for name in left if not name.startswith("jit_")} == {"new-cache"}
    assert len(left) > 1
    assert sum(path.stat().st_size for path in folder.glob("*-cache")) < 2 * size


def test_executables_are_kept_where_only_this_program_keeps_what_it_compiles(environment, tmp_path):
    code = """
import os
from vaecli import startup
for variable, value in [("X", ""), ("JAX_ENABLE_COMPILATION_CACHE", "No"), ("JAX_COMPILATION_CACHE_DIR", os.getcwd())]:
    startup.programs = ""
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    os.environ[variable] = value
    startup.prepare()
    print([startup.programs, startup.begun > 0])
"""
    folder = str(tmp_path / "home" / "vaecli" / "jax")
    assert python(code).splitlines() == [str([folder, True]), str(["", True]), str(["", True])]


def test_neither_a_matplotlibrc_nor_a_backend_reaches_matplotlib(environment, tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"text.usetex: True\nfont.size: \xff\n")
    (tmp_path / "config/matplotlib").mkdir(parents=True)
    (tmp_path / "config/matplotlib/matplotlibrc").write_text("lines.linewidth: 77\n")
    environment.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    environment.chdir(tmp_path)
    code = "from vaecli.startup import prepare; prepare(); import matplotlib as m; print(m.rcParams['lines.linewidth'])"
    for rc in (str(tmp_path / "matplotlibrc"), ""):
        assert python(code, MATPLOTLIBRC=rc, MPLBACKEND="module://nowhere") == "1.5\n"
