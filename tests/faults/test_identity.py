"""A name is not the folder that was locked: a run whose folder is moved or removed stops, and writes nowhere else."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from helpers.runs import same

from vaecli import Config, UsageError, train
from vaecli.analysis.evaluate import evaluate
from vaecli.runs import checkpoint
from vaecli.runs.collection import collect, find_runs
from vaecli.runs.directory import claim, finished
from vaecli.training.progress import Silent

RUN = Path("small/logvar/seed0")


@pytest.fixture(scope="module")
def config(small):
    return Config(**small | {"epochs": 4, "picture_every": 1})


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    return train(config, runs=tmp_path_factory.mktemp("whole"))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class At(Silent):
    """Does something after an epoch."""

    def __init__(self, epoch, action):
        self._epoch, self._action = epoch, action

    def epoch(self, epoch, elbo, images_per_second):
        if epoch == self._epoch:
            self._action()


def move(path):
    path.parents[2].rename(path.parents[3] / "elsewhere")


def remove(path):
    shutil.rmtree(path)


def remove_lock(path):
    (path / ".lock").unlink()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (move, r"was moved to .*/elsewhere/small/logvar/seed0 while .*; move it back, and the same command goes on"),
        (remove, r"was removed while .* begins the run anew"),
        (remove_lock, r"its lock was removed while .* goes on from the last checkpoint"),
    ],
)
@pytest.mark.parametrize("taken", [False, True])
def test_a_folder_that_is_moved_or_removed(config, whole, tmp_path, action, message, taken):
    """Also where another run has begun in its place."""
    path = tmp_path / "runs" / RUN
    others = []

    def act():
        action(path)
        if taken and action is not remove_lock:
            other = claim(path)
            other.start(dataclasses.replace(config, lr=0.5))
            others.append((other, contents(path)))

    with pytest.raises(UsageError, match=message):
        train(config, runs=tmp_path / "runs", observer=At(2, act))
    for other, before in others:
        assert contents(path) == before
        other.release()
    if not taken:
        assert path.exists() == (action is remove_lock)
    left = tmp_path / ("runs" if action is remove_lock else "elsewhere") / RUN
    if left.exists():
        assert not (left / "summary.json").exists()
        (newest, _), complaints = checkpoint.snapshots(left)
        assert (newest.step, complaints) == (10, [])
        if action is move:
            shutil.rmtree(tmp_path / "runs", ignore_errors=True)
            left.parents[2].rename(tmp_path / "runs")
        same(train(config, runs=tmp_path / "runs"), whole)


def test_a_folder_that_is_moved_while_it_is_written(config, tmp_path, monkeypatch):
    """What is under way when that happens arrives in the folder that it was meant for."""
    path = tmp_path / "runs" / RUN
    save = checkpoint.save

    def moved_before(*args):
        move(path)
        path.mkdir(parents=True)
        monkeypatch.setattr(checkpoint, "save", save)
        return save(*args)

    monkeypatch.setattr(checkpoint, "save", moved_before)
    with pytest.raises(UsageError, match="was moved to"):
        train(config, runs=tmp_path / "runs")
    assert list(path.iterdir()) == []
    found, complaints = checkpoint.snapshots(tmp_path / "elsewhere" / RUN)
    assert [snapshot.step for snapshot in found] == [5]
    assert complaints == []


def test_a_folder_that_is_moved_while_it_is_evaluated(whole, tmp_path):
    """The result is returned, and not stored."""
    path = tmp_path / "run"
    shutil.copytree(whole["path"], path)
    notes = []

    def follow(numbers):
        path.rename(tmp_path / "elsewhere")
        path.mkdir()
        return iter(numbers)

    result = evaluate(path, samples=2, follow=follow, note=notes.append)
    assert result["nll"] > 0
    assert not result["stored"]
    assert [note.partition(" while ")[0] for note in notes] == [f"{path}: was moved to {tmp_path / 'elsewhere'}"]
    assert notes[0].endswith("; the result is shown, and not stored")
    assert list(path.iterdir()) == []
    assert "evaluations" not in json.loads((tmp_path / "elsewhere/summary.json").read_text())


@pytest.mark.parametrize(
    ("changes", "old"), [({"epochs": 400}, False), ({"epochs": 400}, True), ({"seed": 1}, False), ({"lr": 0.5}, False)]
)
def test_a_summary_of_another_run_is_no_outcome(config, whole, tmp_path, changes, old):
    """One that is older than this check says at least how many epochs there were."""
    other = dataclasses.replace(config, **changes)
    path = tmp_path / RUN.parent / f"seed{other.seed}"
    directory = claim(path)
    directory.start(other)
    directory.release()
    summary = json.loads((Path(whole["path"]) / "summary.json").read_text())
    if old:
        del summary["config"]
    (path / "summary.json").write_text(json.dumps(summary))
    name = list(changes)[-1]
    differs = rf"config.toml: was changed after the run \({name} is .* there and .* here\), or its summary.json is"
    with pytest.raises(UsageError, match=rf"{differs} that of another run; training it with --overwrite"):
        finished(path, other)
    assert finished(path, other, overwrite=True) is None
    collected = collect(find_runs([tmp_path]), [])
    assert collected.outcomes == []
    assert f"({name} is" in collected.broken[0]


def test_where_a_setting_stands_does_not_matter(config, whole, tmp_path):
    """The name and the place of the data are no part of the outcome, and an older summary lacks newer settings."""
    path = tmp_path / "run"
    shutil.copytree(whole["path"], path)
    text = (path / "config.toml").read_text().replace('name = "small"', 'name = "moved"')
    (path / "config.toml").write_text(text)
    summary = json.loads((path / "summary.json").read_text())
    del summary["config"]["grad_draws"]
    (path / "summary.json").write_text(json.dumps(summary))
    assert finished(path, dataclasses.replace(config, name="moved"))["status"] == "complete"


def test_descriptors_are_closed(config, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    train(config, runs=tmp_path)
    train(config, runs=tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
