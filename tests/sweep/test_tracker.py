"""What a sweep makes of what comes back from tasks on other machines."""

import dataclasses

import pytest

from vaecli.config.toml import SweepPlan
from vaecli.runs.directory import finished, read_summary
from vaecli.runs.transfer import pack
from vaecli.sweep.grid import expand
from vaecli.sweep.remote import RemoteResult
from vaecli.sweep.tracker import TaskTracker


@pytest.fixture
def tracker(trained, tmp_path):
    """Where the results of two tasks come in, and what it tells; their settings are those of `trained`."""
    config = dataclasses.asdict(trained.tasks[0].config)
    sweep = expand(config, SweepPlan(2, False, [{"param": ["logvar", "logstd"]}]), tmp_path / "runs")
    emitted = []
    return TaskTracker(sweep, sweep.tasks, emitted.append), sweep, emitted


def directories(trained):
    (task,) = trained.tasks
    return {seed: pack(trained.path(task, seed)) for seed in task.seeds}


def test_events_of_a_task_that_has_ended_are_late(tracker):
    tracker, _, emitted = tracker
    tracker.handle_event(0, "placed", "one")
    tracker.handle_event(0, "begin", None)
    tracker.handle_event(0, "epoch", [1, -20.0])
    tracker.handle_result(0, RemoteResult("failed", "no luck", {}))
    assert [tuple(event) for event in emitted] == [
        (0, "begin", None),
        (0, "epoch", [1, -20.0]),
        (0, "failed", "no luck"),
    ]
    for kind, what in (("placed", "two"), ("begin", None), ("epoch", [2, -19.0]), ("note", "something")):
        tracker.handle_event(0, kind, what)
    assert len(emitted) == 3
    tracker.handle_event(1, "note", "something")
    assert tuple(emitted[-1]) == (1, "note", "something")


def test_a_task_that_is_placed_again_was_lost(tracker):
    tracker, _, emitted = tracker
    tracker.handle_event(1, "placed", "one")
    tracker.handle_event(0, "placed", "two")
    assert emitted == []
    tracker.handle_event(1, "placed", "three")
    (event,) = emitted
    assert event[:2] == (1, "note")
    assert event.payload.startswith("logstd: one was lost with it; three ")


def test_a_task_that_was_cancelled(tracker):
    """Only what has begun has an end."""
    tracker, _, emitted = tracker
    tracker.handle_event(1, "placed", "one")
    tracker.handle_event(1, "begin", None)
    tracker.handle_cancellation(0)
    tracker.handle_cancellation(1)
    assert [tuple(event) for event in emitted] == [(1, "begin", None), (1, "ended", [])]


def test_the_first_refusal_is_kept(tracker):
    tracker, _, emitted = tracker
    assert not tracker.refusal
    tracker.handle_event(0, "placed", "there")
    tracker.handle_result(0, RemoteResult("refused", "jax 1 instead of 2", {}))
    tracker.handle_result(1, RemoteResult("refused", "jax 3 instead of 2", {}), "elsewhere")
    assert tracker.refusal == "there is not like this one: jax 1 instead of 2"
    assert emitted == []


def test_runs_come_in(tracker, trained):
    tracker, sweep, emitted = tracker
    (task,) = trained.tasks
    summaries = [read_summary(trained.path(task, seed)) | {"path": "/elsewhere"} for seed in range(2)]
    tracker.handle_result(0, RemoteResult("ended", summaries, directories(trained)))
    (event,) = emitted
    assert event[:2] == (0, "ended")
    assert [summary["path"] for summary in event.payload] == [
        str(sweep.path(sweep.tasks[0], seed)) for seed in range(2)
    ]
    assert [summary["metrics"] for summary in event.payload] == [summary["metrics"] for summary in summaries]
    for seed in range(2):
        path = sweep.path(sweep.tasks[0], seed)
        assert finished(path, dataclasses.replace(task.config, seed=seed))


def test_a_run_that_cannot_be_placed(tracker, trained):
    """It fails its task, and the other runs of it are not lost."""
    tracker, sweep, emitted = tracker
    paths = [sweep.path(sweep.tasks[0], seed) for seed in range(2)]
    paths[0].mkdir(parents=True)
    (paths[0] / "notes.txt").write_text("mine")
    tracker.handle_result(0, RemoteResult("ended", [{"status": "complete"}] * 2, directories(trained)))
    (event,) = emitted
    assert event[:2] == (0, "failed")
    assert "is not a run directory" in event.payload
    assert [path.name for path in paths[0].iterdir() if path.name != ".lock"] == ["notes.txt"]
    assert finished(paths[1], dataclasses.replace(sweep.tasks[0].config, seed=1)), "the second seed is thrown away"
