"""Executables that one process leaves to another: found only where the program would be the same, and never needed."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from vaecli import Config, startup, train
from vaecli.training import kept
from vaecli.training.train import train_seeds
from vaecli.vae import networks
from vaecli.vae.compiled import compiled_steps
from vaecli.vae.resolve import resolve

COMMAND = """
import sys
from vaecli.__main__ import run
code = run()
print(code, *sorted(name for name in ("flax", "vaecli.vae.networks") if name in sys.modules))
"""
SMALL = ("--hidden", "12", "--latent", "3", "--batch-size", "50", "--epochs", "2", "--grad-every", "0")


def in_another_process(*argv, cache):
    """What a command prints last: its exit code, and which modules of the network it has imported."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", COMMAND, *argv]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split("\n")[-2]


def scalars(runs):
    """What the run in a folder has logged, without its times."""
    (path,) = Path(runs).glob("*/*/*/metrics.jsonl")
    points = [json.loads(line) for line in path.read_text().splitlines()]
    timed = ("time", "wall", "per_sec")
    return [{tag: value for tag, value in point.items() if not any(word in tag for word in timed)} for point in points]


def test_a_later_process_imports_no_network_and_logs_the_same(tmp_path, small_data):
    def trained(runs, *flags):
        argv = ("train", *SMALL, "--data-dir", str(small_data), "--runs", str(tmp_path / runs), *flags)
        return in_another_process(*argv, cache=tmp_path / "cache")

    assert trained("first") == "0 flax vaecli.vae.networks"
    assert trained("second") == "0"
    assert trained("third", "--lr", "0.002", "--seed", "1") == "0"
    assert scalars(tmp_path / "first") == scalars(tmp_path / "second") != scalars(tmp_path / "third")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of compiled programs of a process that has just begun."""
    monkeypatch.setattr(startup, "programs", str(tmp_path / "programs"))
    monkeypatch.setattr(startup, "begun", time.time_ns())
    os.mkdir(startup.programs)
    # What jax finds in its own cache is not kept.
    shared = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
    compilation_cache.reset_cache()
    begin_anew()
    yield tmp_path / "programs"
    begin_anew()
    jax.config.update("jax_compilation_cache_dir", shared)
    compilation_cache.reset_cache()


def begin_anew():
    """Forgets what this process has compiled, loaded or worked out."""
    compiled_steps.cache_clear()
    kept._known.clear()
    kept._of_process.cache_clear()
    kept._is_of_the_source.cache_clear()


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
    return Config(**small | {"grad_every": 1} | changes)


def trained(small, runs, **changes):
    train(config_of(small, **changes), runs=runs)
    return scalars(runs)


def files_of(folder):
    """The files of seven programs, and of the shapes of the parameters and of the state."""
    until = time.monotonic() + 60
    # A thread writes them.
    while len(files := sorted(folder.glob("vae-*-cache"))) < 9:
        assert time.monotonic() < until, files
        time.sleep(0.01)
    assert len(files) == 9
    return files


def test_what_is_damaged_is_compiled_again(folder, traced, small, tmp_path):
    first = trained(small, tmp_path / "first")
    files = files_of(folder)
    for place, file in enumerate(files):
        content = file.read_bytes()
        file.write_bytes([content[: len(content) // 2], b"", content[:-9] + bytes(9)][place % 3])
    begin_anew()
    traced.clear()
    assert trained(small, tmp_path / "second") == first
    assert traced


def test_what_jax_has_itself_is_not_kept_again(folder, small, tmp_path):
    """An executable that was read from a file would be written without its functions."""
    first = trained(small, tmp_path / "first")
    for file in files_of(folder):
        file.unlink()
    begin_anew()
    assert trained(small, tmp_path / "second") == first
    assert not [file for file in folder.iterdir() if file.stat().st_size > 1000]
    begin_anew()
    assert trained(small, tmp_path / "third") == first


def test_a_stopped_run_goes_on_without_a_trace(folder, traced, small, tmp_path):
    first = trained(small, tmp_path / "first")
    files_of(folder)
    begin_anew()
    traced.clear()
    (summary,) = train_seeds(config_of(small), 1, runs=tmp_path / "second", stopped=lambda: True)
    assert summary["status"] == "interrupted"
    begin_anew()
    assert trained(small, tmp_path / "second") == first
    assert not traced


def test_a_diverged_run_finds_its_cause_with_them(folder, small, tmp_path):
    """The last chunk is trained again by the executable that has trained it."""
    diverged = {"optimizer": "sgd", "lr": 1e6, "on_nonfinite": "stop"}
    summaries = [train(config_of(small, **diverged), runs=tmp_path / "first")]
    files_of(folder)
    begin_anew()
    summaries.append(train(config_of(small, **diverged), runs=tmp_path / "second"))
    assert [summary["status"] for summary in summaries] == ["diverged", "diverged"]
    assert summaries[0]["first_non_finite"] == summaries[1]["first_non_finite"] is not None


def test_a_folder_that_is_gone_costs_time_only(folder, small, tmp_path):
    folder.rmdir()
    assert trained(small, tmp_path / "runs")
    assert not folder.exists()


def test_nothing_is_kept_of_somebodys_own_head(folder, small, tmp_path):
    trained(small, tmp_path / "runs", param="helpers.heads:cliff", init_std=0.5)
    assert not list(folder.iterdir())


def test_nothing_is_kept_by_a_process_that_is_older_than_the_source(folder, small, tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "begun", Path(kept.__file__).stat().st_ctime_ns)
    trained(small, tmp_path / "runs")
    assert not list(folder.iterdir())


def test_nothing_is_kept_once_the_source_is_written(folder, small, tmp_path, monkeypatch):
    """What such a process imports from then on may be newer than what names the files."""
    answers = itertools.chain([True], itertools.repeat(False))
    monkeypatch.setattr(kept, "source_is_older", lambda begun: next(answers))
    trained(small, tmp_path / "runs")
    assert not list(folder.iterdir())


def test_nothing_is_kept_from_python(small, tmp_path):
    assert not startup.programs
    trained(small, tmp_path / "runs")
    assert not kept._known


PROGRAM, DEFAULT = jax.jit(lambda x: x), Config()
ARGUMENTS = ({"test": np.zeros((2, 3), np.float32)},)


def file_of(config=DEFAULT, image=(28, 28), arguments=ARGUMENTS, name="measure", vectorise=False):
    programs = kept.KeptPrograms(resolve(config), image, {PROGRAM: name}, vectorise=vectorise)
    return programs._file(PROGRAM, arguments)


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
