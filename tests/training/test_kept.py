"""Executables that one process leaves to another: found only where the program would be the same, and never needed."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import helpers
import jax
import numpy as np
import pytest
from helpers.commands import flags_of
from jax.experimental.compilation_cache import compilation_cache

from vaecli import Config, startup, train
from vaecli.training import kept
from vaecli.training.train import train_seeds
from vaecli.vae import build, compiled, networks
from vaecli.vae.resolve import resolve

COMMAND = """
import sys
from vaecli.__main__ import run
code = run()
print(code, *sorted(name for name in ("flax", "vaecli.vae.networks") if name in sys.modules))
"""
CHEAP = f"""
import sys
sys.path.append({str(Path(helpers.__file__).parents[1])!r})
from helpers.cheaply import prepare_then_compile_cheaply
prepare_then_compile_cheaply(keep=True)
{COMMAND}"""
"""The same, which leaves what the tests here would compile."""


@pytest.fixture(scope="module")
def small(small):
    """Without hidden layers, so that there is less to compile."""
    return small | {"hidden": (), "grad_every": 1}


def in_another_process(code, config, runs, cache, variables=None):
    """What `vae train` prints last: its exit code, and which modules of the network it has imported."""
    own = {"XDG_CACHE_HOME": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-c", code, "train", *flags_of(config), "--runs", str(runs)]
    how = {"cwd": runs, "check": True, "capture_output": True, "text": True}
    return subprocess.run(command, env=os.environ | own | (variables or {}), **how).stdout.split("\n")[-2]


def logged(runs):
    """What the run in a folder has logged."""
    (path,) = Path(runs).glob("*/*/*/metrics.jsonl")
    return path.read_bytes()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """An empty folder for the caches of the process that trains first."""
    return tmp_path_factory.mktemp("cache")


VARIABLES = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DEBUG_NANS": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_TRANSFER_GUARD": "disallow",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONWARNINGS": "error",
}
"""What a user may have set for other programs."""


@pytest.fixture(scope="module")
def folder_of_first(tmp_path_factory):
    return tmp_path_factory.mktemp("first")


@pytest.fixture(scope="module")
def first(small, cache, folder_of_first, tmp_path_factory):
    """What the first run has logged, by another process, and the folder with the programs that it has left.

    It is in a user's environment, in a folder with settings of Matplotlib that nobody can read.
    """
    runs = folder_of_first
    (runs / "matplotlibrc").write_bytes(b"font.size: \xff")
    variables = VARIABLES | {"TMPDIR": str(runs / "nowhere")}
    assert in_another_process(CHEAP, small, runs, cache, variables) == "0 flax vaecli.vae.networks"
    programs = tmp_path_factory.mktemp("programs")
    # Seven programs, and the shapes of the parameters and of the state.
    files = list((cache / "vaecli" / "jax").glob("vae-*-cache"))
    assert len(files) == 9
    for file in files:
        shutil.copy(file, programs)
    return logged(runs), programs


@pytest.fixture(scope="module")
def plain(first):
    """The same log without gradient statistics, which no run below has, since they take long to trace."""
    lines = [json.loads(line) for line in first[0].splitlines()]
    return [{tag: value for tag, value in line.items() if not tag.startswith("grad")} for line in lines]


def test_a_later_process_imports_no_network_and_logs_the_same(first, cache, small, tmp_path):
    assert in_another_process(COMMAND, small, tmp_path, cache) == "0"
    assert logged(tmp_path) == first[0]


@pytest.fixture(scope="module")
def from_python(small, tmp_path_factory):
    """The folder of the same run in this process, as it is called from Python, and what is kept of its programs."""
    begin_anew()
    assert not startup.programs
    runs = tmp_path_factory.mktemp("python")
    train(Config(**small), runs=runs)
    return runs, dict(kept._known)


def test_the_environment_of_a_user_changes_no_bit(first, folder_of_first, from_python):
    """The run is one without hidden layers, whose statistics have a 0/0, which jax would be asked to report."""
    runs, _ = from_python
    assert logged(runs) == first[0]
    assert b'"grad/snr/encoder": null' in first[0]
    one, other = (next(folder.glob("*/*/*/pictures")) for folder in (runs, folder_of_first))
    pictures = sorted(file.name for file in one.iterdir())
    assert pictures
    for name in pictures:
        assert (other / name).read_bytes() == (one / name).read_bytes(), name


def begin_anew():
    """Forgets what this process has compiled, loaded or worked out."""
    compiled.compiled_steps.cache_clear()
    compiled._shared.cache_clear()
    kept._known.clear()
    kept._of_process.cache_clear()
    kept._is_of_the_source.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def cache_of_jax(cache):
    """What jax finds in its own cache is not kept, nor what it does not write.

    Here it has what the first process has compiled, and writes all.
    """

    def use(options):
        for name, value in options.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()

    folder, least = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: jax.config.values[name] for name in (folder, least)}
    use({folder: str(cache / "vaecli" / "jax"), least: 0.0})
    yield
    begin_anew()
    use(before)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The empty folder of compiled programs of a process that has just begun."""
    monkeypatch.setattr(startup, "programs", str(tmp_path / "programs"))
    monkeypatch.setattr(startup, "begun", time.time_ns())
    os.mkdir(startup.programs)
    begin_anew()
    return tmp_path / "programs"


@pytest.fixture
def filled(folder, first):
    """A copy of that folder, in its place."""
    shutil.copytree(first[1], folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def traced(monkeypatch):
    """The architectures of the networks that are drawn while a program is traced."""
    drawn, right = [], networks.drawn_network

    def drawn_network(architecture, key):
        drawn.append(architecture)
        return right(architecture, key)

    monkeypatch.setattr(networks, "drawn_network", drawn_network)
    return drawn


def config_of(small, **changes):
    return Config(**small | {"grad_every": 0, **changes})


def trained(small, runs):
    train(config_of(small), runs=runs)
    return [json.loads(line) for line in logged(runs).splitlines()]


def test_a_stopped_run_goes_on_without_a_trace(filled, plain, traced, small, tmp_path):
    (summary,) = train_seeds(config_of(small), 1, runs=tmp_path / "runs", stopped=lambda: True)
    assert summary["status"] == "interrupted"
    begin_anew()
    assert trained(small, tmp_path / "runs") == plain
    assert not traced


def test_a_diverged_run_finds_its_cause_with_them(filled, traced, small, tmp_path, monkeypatch):
    """The last chunk is trained again by the executable that has trained it."""
    diverged = config_of(small, lr=1e30)
    with_them = train(diverged, runs=tmp_path / "with")
    monkeypatch.setattr(startup, "programs", "")
    begin_anew()
    without = train(diverged, runs=tmp_path / "without")
    assert with_them["status"] == without["status"] == "diverged"
    assert with_them["first_non_finite"] == without["first_non_finite"] is not None


def test_what_is_damaged_is_compiled_again(filled, plain, traced, small, tmp_path):
    for place, file in enumerate(sorted(filled.iterdir())):
        content = file.read_bytes()
        file.write_bytes([content[: len(content) // 2], b"", content[:-9] + bytes(9)][place % 3])
    assert trained(small, tmp_path / "runs") == plain
    assert traced


def test_what_jax_has_itself_is_not_kept_again(folder, plain, traced, small, tmp_path):
    """An executable that was read from a file would be written without its functions."""
    assert trained(small, tmp_path / "second") == plain
    executables = [file for file in folder.iterdir() if file.stat().st_size > 1500]
    assert not executables
    begin_anew()
    traced.clear()
    assert trained(small, tmp_path / "third") == plain
    assert traced


def test_a_folder_that_is_gone_costs_time_only(folder, plain, small, tmp_path):
    folder.rmdir()
    assert trained(small, tmp_path / "runs") == plain
    assert not folder.exists()


def test_nothing_is_kept_from_python(from_python, first):
    runs, known = from_python
    assert logged(runs) == first[0]
    assert not known


PROGRAM, DEFAULT = jax.jit(lambda images: 2 * images["test"]), Config()
ARGUMENTS = ({"test": np.zeros((2, 3), np.float32)},)


def programs_of(config=DEFAULT, image=(28, 28), name="train_chunk", vectorise=False):
    return kept.KeptPrograms(resolve(config), image, {PROGRAM: name}, vectorise=vectorise)


def file_of(config=DEFAULT, arguments=ARGUMENTS, **changes):
    return programs_of(config, **changes)._file(PROGRAM, arguments)


def is_kept(config=DEFAULT):
    """Whether another process finds what this one leaves; what it finds is the same function."""
    executable = PROGRAM.lower(*ARGUMENTS).compile()
    programs_of(config).keep(PROGRAM, ARGUMENTS, executable)
    kept._known.clear()
    found = programs_of(config).load(PROGRAM, ARGUMENTS)
    if found is not None:
        np.testing.assert_array_equal(found(*ARGUMENTS), PROGRAM(*ARGUMENTS))
    return found is not None


def test_what_is_left_is_found(folder):
    assert is_kept()
    assert len(list(folder.iterdir())) == 1


def test_nothing_is_kept_of_somebodys_own_head(folder):
    assert not is_kept(Config(param="helpers.heads:cliff", init_std=0.5))
    own = {"likelihood": "gaussian", "decoder_scale": "shared", "no_maximum": "train", "decoder_std": 0.5}
    assert not is_kept(Config(decoder_param="helpers.heads:cliff", **own))
    assert not list(folder.iterdir())


def test_nothing_is_kept_of_another_device(folder, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not is_kept()


def test_nothing_is_kept_by_a_process_that_is_older_than_the_source(folder, monkeypatch):
    monkeypatch.setattr(startup, "begun", Path(kept.__file__).stat().st_ctime_ns)
    assert not is_kept()
    assert not list(folder.iterdir())


def test_nothing_is_kept_once_the_source_is_written(folder, monkeypatch):
    """What such a process imports from then on may be newer than what names the files."""
    answers = itertools.chain([True], itertools.repeat(False))
    monkeypatch.setattr(kept, "source_is_older", lambda begun: next(answers))
    assert not is_kept()
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"config": Config(param="softplus_std")},
        {"config": Config(bound="floor:0.1")},
        {"config": Config(clip_norm=1.0)},
        {"config": Config(loss_scale=2.0)},
        {"image": (28, 27)},
        {"arguments": ({"test": np.zeros((2, 4), np.float32)},)},
        {"arguments": ({"test": np.zeros((2, 3), np.float16)},)},
        {"arguments": ({"validation": np.zeros((2, 3), np.float32)},)},
        {"name": "visuals"},
        {"vectorise": True},
    ],
)
def test_another_program_has_another_file(folder, changes):
    same = Config(param="logstd", lr=0.1, epochs=7, seed=3)
    assert file_of() == file_of(same) != file_of(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"param": "std", "bound": "tanh:3", "objective": "iwae", "samples": 3, "grad_draws": 3},
        {"head_gradient": "natural", "on_nonfinite": "skip"},
        {"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 1.0, "skip_norm": 9.0},
        {"precision": "float16", "loss_scale": "dynamic"},
        {"likelihood": "gaussian", "decoder_scale": "shared", "decoder_param": "std", "decoder_bias": "mean"},
        {"activation": "tanh"},
    ],
)
def test_what_runs_share_in_a_process_has_one_file(folder, changes):
    """Which runs share a compiled function is decided by their programs, and not by their settings."""
    config = Config(**changes)
    program, default = (build.program(resolve(each), (28, 28)) for each in (config, DEFAULT))
    run, plain = compiled.compiled_steps(program, vectorise=False), compiled.compiled_steps(default, vectorise=False)
    shared = {name: getattr(run, name) is getattr(plain, name) for name in ("initial_params", "initial_state")}
    shared |= dict.fromkeys(("measure", "gradient_statistics", "visuals"), program.of_models() == default.of_models())
    shared["train_chunk"] = program == default
    for name, is_shared in shared.items():
        assert (file_of(config, name=name) == file_of(name=name)) == is_shared, name


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("source_sha256", "0"),
        ("versions", {"jax": "0.0"}),
        ("recorded_environment", {"device": "cpu", "threads": 99}),
        ("cpu_instructions", "fpu"),
    ],
)
def test_another_process_has_other_files(folder, monkeypatch, function, value):
    before = file_of()
    monkeypatch.setattr(kept, function, lambda: value)
    kept._of_process.cache_clear()
    assert file_of() != before
