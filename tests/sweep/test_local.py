"""The launcher for this machine: tasks in processes of their own, and what becomes of them when one ends."""

import os
import signal
import subprocess

import pytest

from vaecli import UsageError
from vaecli.config.toml import SweepPlan
from vaecli.sweep import local
from vaecli.sweep.grid import expand
from vaecli.sweep.local import LocalLauncher

SEEDS = 2
"""Of a task, and runs of a pack: one program, which a process that has compiled it leaves to all others."""


def launched(sweep, jobs=1, stopped=lambda: False, at_event=None, limit="auto"):
    return launched_by(LocalLauncher(jobs, limit), sweep, stopped, at_event)


def launched_by(launcher, sweep, stopped=lambda: False, at_event=None):
    events = []

    def emit(event):
        events.append(event)
        if at_event:
            at_event(event)

    launcher(sweep, sweep.tasks, emit, stopped)
    return events


@pytest.fixture(scope="module")
def scarce(small, tmp_path_factory):
    """The events of two tasks, the first of which fails, where five processes were wished for and one can be started.

    Then what was raised when none could.
    """
    sweep = expand(small, SweepPlan(SEEDS, False, [{"param": ["logvar", "logstd"]}]), tmp_path_factory.mktemp("scarce"))
    blocked = sweep.path(sweep.tasks[0], 0)
    blocked.mkdir(parents=True)
    (blocked / "config.toml").write_text("nonsense")
    started = []

    class Scarce(local._Worker):
        def __init__(self, messages):
            if started:
                raise OSError(24, "Too many open files")
            started.append(self)
            super().__init__(messages)

    launcher = LocalLauncher(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_Worker", Scarce)
        events = launched_by(launcher, sweep)
        with pytest.raises(UsageError) as error:
            launched_by(launcher, sweep)
    return events, str(error.value)


def test_a_task_that_fails_does_not_end_the_others(scarce):
    events, _ = scarce
    (failed,) = [event for event in events if event.kind == "failed"]
    assert failed.task == 0
    assert "--overwrite" in failed.payload
    (ended,) = [event for event in events if event.kind == "ended"]
    assert ended.task == 1
    assert [summary["status"] for summary in ended.payload] == ["complete"] * SEEDS


def test_fewer_processes_than_wished_for_are_enough(scarce):
    """And where not even one can be started, no task has a result."""
    events, refusal = scarce
    assert [event.task for event in events if event.kind in ("ended", "failed")] == [0, 1]
    assert "no process can be started to train in" in refusal


def workers():
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "vaecli.sweep.worker"], capture_output=True, text=True
    )
    return [int(line) for line in found.stdout.split()]


def test_a_worker_that_dies_twice_fails_its_task_alone(small, tmp_path):
    killed = []

    def kill(event):
        first, again = event.kind == "epoch" and event.payload[0] > 0, "going on after epoch" in str(event.payload)
        if event.task == 0 and (again if killed else first):
            # What it emitted before it was killed still comes in, maybe before there is another one.
            for worker in set(workers()) - set(killed):
                killed.append(worker)
                os.kill(worker, signal.SIGKILL)

    grids = [{"param": ["logvar"]}, {"param": ["logstd"], "epochs": [2]}]
    sweep = expand(small | {"epochs": 2000}, SweepPlan(SEEDS, False, grids), tmp_path)
    events = launched(sweep, at_event=kill)
    ends = [(event.task, event.kind) for event in events if event.kind in ("ended", "failed")]
    assert ends == [(0, "failed"), (1, "ended")]
    assert len(killed) == 2
    notes = [event.payload for event in events if event.kind == "note"]
    assert "logvar,epochs=2000: its process ended (SIGKILL); another one goes on" in notes
    assert any("going on after epoch" in note for note in notes)
    assert "SIGKILL" in next(event.payload for event in events if event.kind == "failed")


@pytest.mark.parametrize("last", ['[0, "ended", [{"sta', "", '[0, "ended"'])
def test_a_line_that_is_cut_off_is_a_death(small, tmp_path, monkeypatch, last):
    """As when a process is killed while it writes; the sweep neither waits for ever nor takes it for an outcome."""
    code = f"import sys; sys.stdin.readline(); print('[0, \"begin\", null]'); sys.stdout.write({last!r})"
    monkeypatch.setattr(local, "_START", code)
    sweep = expand(small, SweepPlan(1, False, [{"param": ["logvar", "logstd"]}]), tmp_path)
    events = launched(sweep, jobs=2)
    assert sorted(event.task for event in events if event.kind == "failed") == [0, 1]
    assert not [event for event in events if event.kind == "ended"]


def test_a_pack_in_one_process(small, tmp_path):
    """Two variants in one program: each has its own events and end. If its process dies, others go on with each."""
    sweep = expand(small | {"epochs": 20}, SweepPlan(1, False, [{"param": ["logvar", "logstd"]}]), tmp_path)
    killed = []

    def kill(event):
        if event.kind == "epoch" and event.payload[0] > 2 and not killed:
            killed.extend(workers())
            os.kill(killed[0], signal.SIGKILL)

    events = launched(sweep, at_event=kill, limit=SEEDS)
    ends = [event for event in events if event.kind in ("ended", "failed")]
    assert [(event.task, event.kind) for event in ends] == [(0, "ended"), (1, "ended")]
    for event in ends:
        (summary,) = event.payload
        assert (summary["status"], summary["config"]["param"]) == ("complete", sweep.tasks[event.task].config.param)
    assert [event.task for event in events if event.kind == "begin"] == [0, 1, 0, 1]
    assert [event.payload[0] for event in events if event.kind == "epoch" and event.task][:3] == [0, 1, 2]
    notes = [event.payload for event in events if event.kind == "note"]
    assert "logvar and 1 more: its process ended (SIGKILL); another one goes on" in notes
    assert sum("going on after epoch" in note for note in notes) == 2
