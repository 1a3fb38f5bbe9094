"""The launcher for this machine: tasks in processes of their own, and what becomes of them when one ends."""

import os
import signal
import subprocess

import pytest
from helpers.shared import shared_programs

from vaecli import UsageError
from vaecli.config.toml import SweepPlan
from vaecli.sweep import local
from vaecli.sweep.grid import expand
from vaecli.sweep.local import LocalLauncher


def launched(sweep, jobs=1, at_event=None, limit="auto"):
    events = []

    def emit(event):
        events.append(event)
        if at_event:
            at_event(event)

    LocalLauncher(jobs, limit)(sweep, sweep.tasks, emit, lambda: False)
    return events


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Each is compiled once, by the first process that trains."""
    with shared_programs("cheap"):
        yield


@pytest.fixture(scope="module")
def small(small):
    """Without pictures and without hidden layers, so that there is less to compile."""
    return small | {"picture_every": 0, "hidden": ()}


def workers():
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "vaecli.sweep.worker"], capture_output=True, text=True
    )
    return [int(line) for line in found.stdout.split()]


@pytest.fixture(scope="module")
def scarce(small, tmp_path_factory):
    """The events of four tasks, where three processes were wished for and one can be started, and those that died.

    The first task fails; the next two are a pack, whose process is killed, and then twice that of the first of them, as
    soon as it goes on; the last one is undisturbed.
    """
    grids = [
        {"param": ["logvar"], "epochs": [1]},
        {"param": ["logvar", "logstd"], "epochs": [12]},
        {"param": ["logvar"], "epochs": [3]},
    ]
    sweep = expand(small, SweepPlan(1, False, grids), tmp_path_factory.mktemp("scarce"))
    blocked = sweep.path(sweep.tasks[0], 0)
    blocked.mkdir(parents=True)
    (blocked / "config.toml").write_text("nonsense")
    started, killed = [], []

    class Scarce(local._Worker):
        def __init__(self, messages):
            if any(worker.process.poll() is None for worker in started):
                raise OSError(24, "Too many open files")
            started.append(self)
            super().__init__(messages)

    def is_to_die(event):
        if event.kind == "epoch":
            return event.payload[0] > 2 and not killed
        return event.task == 1 and event.kind == "note" and "going on after epoch" in event.payload

    def kill(event):
        if is_to_die(event):
            # What it emitted before it was killed still comes in, maybe before there is another one.
            for worker in set(workers()) - set(killed):
                killed.append(worker)
                os.kill(worker, signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_Worker", Scarce)
        events = launched(sweep, jobs=3, at_event=kill, limit=2)
    return sweep, events, killed


def ends(events):
    """How each task ended, in the order of time."""
    return [(event.task, event.kind) for event in events if event.kind in ("ended", "failed")]


def notes(events):
    return [event.payload for event in events if event.kind == "note"]


def test_a_task_that_fails_does_not_end_the_others(scarce):
    _, events, _ = scarce
    failed = next(event for event in events if event.kind == "failed")
    assert failed.task == 0
    assert "--overwrite" in failed.payload
    assert [task for task, kind in ends(events) if kind == "ended"] == [2, 3]


def test_fewer_processes_than_wished_for_are_enough(scarce):
    _, events, _ = scarce
    assert ends(events) == [(0, "failed"), (1, "failed"), (2, "ended"), (3, "ended")]


def test_where_not_even_one_process_can_be_started_no_task_has_a_result(small, tmp_path, monkeypatch):
    def none(messages):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(local, "_Worker", none)
    events = []
    with pytest.raises(UsageError, match="no process can be started to train in"):
        launched(expand(small, SweepPlan(2), tmp_path), at_event=events.append)
    assert events == []


def test_a_worker_that_dies_twice_fails_its_task_alone(scarce):
    _, events, killed = scarce
    assert ends(events)[1:] == [(1, "failed"), (2, "ended"), (3, "ended")]
    assert len(killed) == 3
    assert "logvar,epochs=12: its process ended (SIGKILL); another one goes on" in notes(events)
    assert any("going on after epoch" in event.payload for event in events if event.kind == "note" and event.task == 1)
    assert "SIGKILL" in [event.payload for event in events if event.kind == "failed"][1]


@pytest.mark.parametrize("last", ['[0, "ended", [{"sta', "", '[0, "ended"'])
def test_a_line_that_is_cut_off_is_a_death(small, tmp_path, monkeypatch, last):
    """As when a process is killed while it writes; the sweep neither waits for ever nor takes it for an outcome."""
    code = f"import sys; sys.stdin.readline(); print('[0, \"begin\", null]'); sys.stdout.write({last!r})"
    monkeypatch.setattr(local, "_START", code)
    sweep = expand(small, SweepPlan(1, False, [{"param": ["logvar", "logstd"]}]), tmp_path)
    events = launched(sweep, jobs=2)
    assert sorted(event.task for event in events if event.kind == "failed") == [0, 1]
    assert not [event for event in events if event.kind == "ended"]


def test_a_pack_in_one_process(scarce):
    """Two variants in one program: each has its own events and end. If its process dies, others go on with each."""
    sweep, events, _ = scarce
    of_pack = [event for event in events if event.task in (1, 2)]
    assert ends(of_pack) == [(1, "failed"), (2, "ended")]
    for event in (event for event in events if event.kind == "ended"):
        (summary,) = event.payload
        config = sweep.tasks[event.task].config
        assert (summary["status"], summary["epochs"]) == ("complete", config.epochs)
        assert summary["config"]["param"] == config.param
    begun = [event.task for event in of_pack if event.kind == "begin"]
    # Whoever is killed as soon as it goes on may not have begun.
    assert (begun[:2], begun[2:].count(2)) == ([1, 2], 1)
    for task in (1, 2):
        assert [event.payload[0] for event in of_pack if event.kind == "epoch" and event.task == task][:3] == [0, 1, 2]
        # The death of a pack does not count as that of any one task.
        going_on = [note for note in notes(event for event in of_pack if event.task == task) if "going on" in note]
        assert len(going_on) == (2 if task == 1 else 1)
    assert "logvar,epochs=12 and 1 more: its process ended (SIGKILL); another one goes on" in notes(of_pack)
