"""Tasks on a machine that sees no runs."""

import dataclasses
import os
import signal

import pytest
from helpers.runs import same, stopping

from vaecli.runs.directory import read_summary
from vaecli.runs.transfer import place
from vaecli.sweep.launcher import Job
from vaecli.sweep.remote import Marker, RemoteJob, carry_out, identity, interrupts


def remote_job(sweep, runs, **changes):
    (task,) = sweep.tasks
    job = dataclasses.replace(Job.of(sweep, [task]), runs=str(runs))
    return RemoteJob(
        job, os.getcwd(), Marker(str(runs / ".x.vae-tmp"), "x"), {**identity(task.config), **changes}, 2, 0
    )


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Its scratch space."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    return scratch


@pytest.mark.parametrize("name", ["SHA-256", "jax", "source of vaecli"])
def test_a_machine_that_is_not_like_that_of_the_sweep(trained, machine, tmp_path, name):
    here = identity(trained.tasks[0].config)
    key = next(key for key in here if key.startswith(name))
    (result,) = carry_out(remote_job(trained, tmp_path / "runs", **{key: "0123"}), print, list, lambda: False)
    assert (result.kind, result.directories) == ("refused", {})
    assert result.payload == f"{key} {here[key]} instead of 0123"
    assert not (tmp_path / "runs").exists()


def test_a_machine_without_the_data(trained, machine, tmp_path):
    wanted = remote_job(trained, tmp_path / "runs")
    (task,) = wanted.job.tasks
    elsewhere = task._replace(settings={**task.settings, "data_dir": str(tmp_path / "nowhere")})
    job = dataclasses.replace(wanted.job, tasks=[elsewhere])
    (result,) = carry_out(wanted._replace(job=job), print, list, lambda: False)
    assert result.kind == "refused"
    assert str(tmp_path / "nowhere") in result.payload


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
    there = remote_job(trained, tmp_path / "runs")
    (stopped,) = carry_out(there, print, lambda: [{}], stopping(1))
    assert (stopped.kind, list(stopped.directories)) == ("ended", [0, 1])
    assert [(summary["status"], summary["epochs"]) for summary in stopped.payload] == [("interrupted", 1)] * 2
    events = []
    (ended,) = carry_out(there, lambda *event: events.append(event), lambda: [stopped.directories], lambda: False)
    assert [summary["status"] for summary in ended.payload] == ["complete"] * 2
    # A note has the path of a run as the sweep has it.
    first = tmp_path / "runs/small/logvar/seed0"
    assert events[:2] == [(0, "note", f"{first} and 1 other: going on after epoch 1"), (0, "begin", None)]
    assert {event[:2] for event in events[2:]} == {(0, "epoch")}
    assert not list(machine.iterdir())
    assert not (tmp_path / "runs").exists()
    for seed, files in ended.directories.items():
        path = tmp_path / "placed/small/logvar" / f"seed{seed}"
        place(files, path, dataclasses.replace(task.config, seed=seed))
        other = trained.path(task, seed)
        same(read_summary(path) | {"path": str(path)}, read_summary(other) | {"path": str(other)})
