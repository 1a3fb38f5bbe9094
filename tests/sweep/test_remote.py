"""Tasks on a machine that sees no runs, and what a sweep makes of what comes back."""

import dataclasses
import os
import signal

import pytest
from helpers.runs import same, stopping

from vaecli import train_seeds
from vaecli.config.toml import Plan
from vaecli.runs.directory import finished, read_summary
from vaecli.runs.transfer import pack, place
from vaecli.sweep.grid import expand
from vaecli.sweep.launcher import Job
from vaecli.sweep.ray import _Desk
from vaecli.sweep.remote import Errand, Result, carry_out, identity, interrupts


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """Two seeds that are complete, and the sweep that they make."""
    sweep = expand(small, Plan(2), tmp_path_factory.mktemp("trained"))
    train_seeds(sweep.tasks[0].config, 2, runs=sweep.runs)
    return sweep


def errand(sweep, runs, **changes):
    (task,) = sweep.tasks
    job = dataclasses.replace(Job.of(sweep, task), runs=str(runs))
    return Errand(job, os.getcwd(), (str(runs / ".x.vae-tmp"), "x"), {**identity(task.config), **changes}, 2, 0)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """An environment that a task may change, and scratch space."""
    for name in ("JAX_COMPILATION_CACHE_DIR", "PJRT_NPROC", "JAX_PLATFORMS", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    return scratch


@pytest.mark.parametrize("name", ["SHA-256", "jax", "source of vaecli"])
def test_a_machine_that_is_not_like_that_of_the_sweep(trained, machine, tmp_path, name):
    here = identity(trained.tasks[0].config)
    key = next(key for key in here if key.startswith(name))
    result = carry_out(errand(trained, tmp_path / "runs", **{key: "0123"}), print, dict, lambda: False)
    assert (result.kind, result.directories) == ("refused", {})
    assert result.told == f"{key} {here[key]} instead of 0123"
    assert not (tmp_path / "runs").exists()


def test_a_machine_without_the_data(trained, machine, tmp_path):
    wanted = errand(trained, tmp_path / "runs")
    job = dataclasses.replace(wanted.job, settings={**wanted.job.settings, "data_dir": str(tmp_path / "nowhere")})
    result = carry_out(wanted._replace(job=job), print, dict, lambda: False)
    assert result.kind == "refused"
    assert str(tmp_path / "nowhere") in result.told


def test_interrupts_are_collected():
    handler = signal.getsignal(signal.SIGINT)
    with interrupts() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGINT)
        assert stopped()
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_machine_that_does_not_see_the_runs(trained, machine, tmp_path):
    """A task is stopped after its first epoch there, and goes on with what came of that."""
    (task,) = trained.tasks
    there = errand(trained, tmp_path / "runs")
    stopped = carry_out(there, print, dict, stopping(1))
    assert (stopped.kind, list(stopped.directories)) == ("ended", [0, 1])
    assert [(summary["status"], summary["epochs"]) for summary in stopped.told] == [("interrupted", 1)] * 2
    letters = []
    ended = carry_out(there, lambda *letter: letters.append(letter), lambda: stopped.directories, lambda: False)
    assert [summary["status"] for summary in ended.told] == ["complete"] * 2
    # A note has the path of a run as the sweep has it.
    first = tmp_path / "runs/small/logvar/seed0"
    assert letters[:2] == [("note", f"{first} and 1 other: going on after epoch 1"), ("begin", None)]
    assert {kind for kind, _ in letters[2:]} == {"epoch"}
    assert not list(machine.iterdir())
    assert not (tmp_path / "runs").exists()
    for seed, files in ended.directories.items():
        path = tmp_path / "placed/small/logvar" / f"seed{seed}"
        place(files, path, dataclasses.replace(task.config, seed=seed))
        other = trained.path(task, seed)
        same(read_summary(path) | {"path": str(path)}, read_summary(other) | {"path": str(other)})


@pytest.fixture
def desk(trained, tmp_path):
    """Where the results of two tasks come in, and what it tells; their settings are those of `trained`."""
    config = dataclasses.asdict(trained.tasks[0].config)
    sweep = expand(config, Plan(2, False, [{"param": ["logvar", "logstd"]}]), tmp_path / "runs")
    told = []
    return _Desk(sweep, sweep.tasks, told.append), sweep, told


def directories(trained):
    (task,) = trained.tasks
    return {seed: pack(trained.path(task, seed)) for seed in task.seeds}


def test_letters_of_a_task_that_has_ended_are_late(desk):
    desk, _, told = desk
    desk.receive(0, "placed", "one")
    desk.receive(0, "begin", None)
    desk.receive(0, "epoch", [1, -20.0])
    desk.end(0, Result("failed", "no luck", {}))
    assert [tuple(event) for event in told] == [(0, "begin", None), (0, "epoch", [1, -20.0]), (0, "failed", "no luck")]
    for kind, what in (("placed", "two"), ("begin", None), ("epoch", [2, -19.0]), ("note", "something")):
        desk.receive(0, kind, what)
    assert len(told) == 3
    desk.receive(1, "note", "something")
    assert tuple(told[-1]) == (1, "note", "something")


def test_a_task_that_is_placed_again_was_lost(desk):
    desk, _, told = desk
    desk.receive(1, "placed", "one")
    desk.receive(0, "placed", "two")
    assert told == []
    desk.receive(1, "placed", "three")
    (event,) = told
    assert event[:2] == (1, "note")
    assert event.told.startswith("logstd: one was lost with it; three ")


def test_a_task_that_was_cancelled(desk):
    """Only what has begun has an end."""
    desk, _, told = desk
    desk.receive(1, "placed", "one")
    desk.receive(1, "begin", None)
    desk.end(0, None)
    desk.end(1, None)
    assert [tuple(event) for event in told] == [(1, "begin", None), (1, "ended", [])]


def test_the_first_refusal_is_told(desk):
    desk, _, told = desk
    assert not desk.refusal
    desk.receive(0, "placed", "there")
    desk.end(0, Result("refused", "jax 1 instead of 2", {}))
    desk.end(1, Result("refused", "jax 3 instead of 2", {}), "elsewhere")
    assert desk.refusal == "there is not like this one: jax 1 instead of 2"
    assert told == []


def test_runs_come_in(desk, trained):
    desk, sweep, told = desk
    (task,) = trained.tasks
    summaries = [read_summary(trained.path(task, seed)) | {"path": "/elsewhere"} for seed in range(2)]
    desk.end(0, Result("ended", summaries, directories(trained)))
    (event,) = told
    assert event[:2] == (0, "ended")
    assert [summary["path"] for summary in event.told] == [str(sweep.path(sweep.tasks[0], seed)) for seed in range(2)]
    assert [summary["metrics"] for summary in event.told] == [summary["metrics"] for summary in summaries]
    for seed in range(2):
        path = sweep.path(sweep.tasks[0], seed)
        assert finished(path, dataclasses.replace(task.config, seed=seed))


def test_a_run_that_cannot_be_placed(desk, trained):
    """It fails its task, and the other runs of it are not lost."""
    desk, sweep, told = desk
    paths = [sweep.path(sweep.tasks[0], seed) for seed in range(2)]
    paths[0].mkdir(parents=True)
    (paths[0] / "notes.txt").write_text("mine")
    desk.end(0, Result("ended", [{"status": "complete"}] * 2, directories(trained)))
    (event,) = told
    assert event[:2] == (0, "failed")
    assert "is no run directory" in event.told
    assert [path.name for path in paths[0].iterdir() if path.name != ".lock"] == ["notes.txt"]
    assert finished(paths[1], dataclasses.replace(sweep.tasks[0].config, seed=1)), "the second seed is thrown away"
