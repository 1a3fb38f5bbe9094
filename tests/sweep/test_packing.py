"""Which tasks of a sweep train together."""

import subprocess
import sys

import pytest

from vaecli import UsageError
from vaecli.config.toml import SweepPlan, pack_limit, sweep_from_toml
from vaecli.environment import may_have_accelerator
from vaecli.sweep import local
from vaecli.sweep.grid import expand
from vaecli.sweep.local import LocalLauncher
from vaecli.sweep.packing import halves, packs
from vaecli.sweep.ray import RayLauncher


@pytest.fixture(scope="module")
def tasks(small, tmp_path_factory):
    """Of two seeds each: four share a program, one has another head, one another optimiser, two more epochs."""
    grids = [
        {"param": ["logvar", "softplus_std", "logstd"]},
        {"optimizer": ["sgd"]},
        {"lr": [0.1, 0.2]},
        {"epochs": [3], "beta": [1.0, 2.0]},
    ]
    return expand(small, SweepPlan(2, False, grids), tmp_path_factory.mktemp("runs")).tasks


@pytest.mark.parametrize(
    ("limit", "slots", "accelerated", "wanted"),
    [
        ("auto", 1, False, [(k,) for k in range(8)]),
        (1, 1, True, [(k,) for k in range(8)]),
        (3, 1, True, [(k,) for k in range(8)]),
        ("auto", 1, True, [(0, 2, 4, 5), (1,), (3,), (6, 7)]),
        (4, 1, False, [(0, 2), (1,), (3,), (4, 5), (6, 7)]),
        (7, 1, False, [(0, 2, 4), (1,), (3,), (5,), (6, 7)]),
        ("auto", 6, True, [(0, 2), (1,), (3,), (4, 5), (6,), (7,)]),
        ("auto", 99, True, [(k,) for k in range(8)]),
    ],
)
def test_tasks_of_one_program_are_packed(tasks, limit, slots, accelerated, wanted):
    """The seeds of a task are never divided, and no more runs together than the limit says."""
    assert packs(tasks, limit, slots=slots, accelerated=accelerated) == wanted


def test_nothing_to_pack():
    assert packs([], "auto", slots=3, accelerated=True) == []
    assert halves([7]) == [[7]]
    assert halves([1, 2, 3]) == [[1, 2], [3]]


def test_what_is_known_of_an_accelerator(tasks, monkeypatch):
    """On a CPU nothing is packed by itself; where something may drive a device, only several processes have to ask."""
    asked = []

    def child(code, **variables):
        asked.append(code)
        return subprocess.CompletedProcess([], 0, "a warning\ncpu\n", "")

    monkeypatch.setattr("vaecli.environment._child", child)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ["a plugin"])
    assert may_have_accelerator()
    assert len(LocalLauncher(1).packs(tasks)) == 4
    assert not asked
    assert len(LocalLauncher(1).packs(tasks, surely=True)) == len(LocalLauncher(2).packs(tasks)) == 8
    assert len(asked) == 2
    assert len(LocalLauncher(2, 8).packs(tasks)) == 4
    monkeypatch.setenv("JAX_PLATFORMS", "cpu,cuda")
    assert not may_have_accelerator()
    assert len(LocalLauncher(1).packs(tasks)) == 8
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [])
    monkeypatch.delenv("JAX_PLATFORMS")
    assert not may_have_accelerator()
    assert len(asked) == 2


def test_ray_packs_where_it_sets_gpus_aside(tasks):
    assert len(RayLauncher().packs(tasks)) == 8
    assert len(RayLauncher(gpus=0.5).packs(tasks)) == 4
    assert len(RayLauncher(gpus=0.5).packs(tasks, slots=5)) == 5
    assert len(RayLauncher(limit=8).packs(tasks)) == 4


@pytest.mark.parametrize("wrong", ["0", "many", "-1", "1.5", "", "100001", "9" * 9, 0, True, 1.0, None])
def test_a_limit_that_is_none(wrong):
    with pytest.raises(UsageError, match=r"^--pack: must be auto, or a whole number from 1 to 100000, got "):
        pack_limit(wrong, "--pack")


def test_a_limit():
    assert (pack_limit("auto", ""), pack_limit("64", ""), pack_limit(7, "")) == ("auto", 64, 7)
    assert sweep_from_toml("[sweep]\npack = 8")[1].pack == 8
    with pytest.raises(UsageError, match=r"^\[sweep\] pack: must be auto"):
        sweep_from_toml("[sweep]\npack = '8 or so'")


def test_packing_needs_no_jax():
    """The process of a sweep never imports it."""
    code = f"import sys, {local.__name__}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
