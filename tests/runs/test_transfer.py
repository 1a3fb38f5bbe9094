"""Run directories on their way from one machine to another."""

import os
import shutil
from pathlib import Path

import pytest

from vaecli import Config, UsageError, train
from vaecli.runs import transfer
from vaecli.runs.directory import claim, finished
from vaecli.runs.transfer import pack, place


@pytest.fixture(scope="module")
def complete(small, tmp_path_factory):
    """A run's directory, and its config."""
    config = Config(**small)
    return Path(train(config, runs=tmp_path_factory.mktemp("complete"))["path"]), config


@pytest.fixture
def run(complete, tmp_path):
    """A copy of the run, a place for it, and its config."""
    path, config = complete
    shutil.copytree(path, tmp_path / "source")
    return tmp_path / "source", tmp_path / "runs/small/logvar/seed0", config


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unfinished(source, path):
    """An earlier part of the run, with something in it that the later one has not."""
    shutil.copytree(source, path)
    (path / "summary.json").unlink()
    (path / "pictures/earlier.png").write_bytes(b"earlier")
    return contents(path)


def test_there_and_back(run):
    source, path, config = run
    wanted = contents(source)
    assert {name.partition("/")[0] for name in wanted} >= {".lock", "checkpoint", "config.toml", "summary.json"}
    wanted.pop(".lock")
    for name in (".summary.json.x.vae-tmp", "pictures/.a.png.x.vae-tmp", ".checkpoint.vae-tmp/step0000005/arrays.npz"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"half")
    place(pack(source), path, config)
    assert contents(path) == wanted
    assert os.listdir(path.parent) == ["seed0"]
    assert finished(path, config)


def test_it_takes_the_place_of_an_earlier_part_as_a_whole(run):
    source, path, config = run
    unfinished(source, path)
    place(pack(source), path, config)
    assert contents(path) == {name: data for name, data in contents(source).items() if name != ".lock"}
    assert os.listdir(path.parent) == ["seed0"]


def test_what_is_finished_stays(run):
    source, path, config = run
    shutil.copytree(source, path)
    (path / "metrics.jsonl").write_bytes(b"mine")
    before = {name: data for name, data in contents(path).items() if name != ".lock"}
    (source / "summary.json").unlink()
    place(pack(source), path, config)
    assert {name: data for name, data in contents(path).items() if name != ".lock"} == before
    assert os.listdir(path.parent) == ["seed0"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", "mine", "is not a run directory"),
        ("config.toml", "[run]\nname = 'small'\n[train]\nlr = 0.5\n", "holds another config"),
    ],
)
def test_what_is_no_part_of_the_run_stays(run, name, content, message):
    source, path, config = run
    path.mkdir(parents=True)
    (path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        place(pack(source), path, config)
    assert {key: data for key, data in contents(path).items() if key != ".lock"} == {name: content.encode()}
    assert os.listdir(path.parent) == ["seed0"]


def test_a_file_lies_there(run):
    source, path, config = run
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(UsageError, match="seed0: cannot be written"):
        place(pack(source), path, config)
    assert path.read_text() == "mine"
    assert os.listdir(path.parent) == ["seed0"]


def test_another_process_works_on_the_run(run):
    source, path, config = run
    unfinished(source, path)
    held = claim(path)
    before = contents(path)
    with pytest.raises(UsageError, match=rf"another process .*\(process {os.getpid()} on "):
        place(pack(source), path, config)
    assert contents(path) == before
    held.release()
    assert os.listdir(path.parent) == ["seed0"]


@pytest.mark.parametrize("failing", [2, 3])
def test_a_disk_that_fails_in_between(run, monkeypatch, failing):
    """The first renaming finds that something lies there; then the old run gives way, and the new one comes."""
    source, path, config = run
    before = unfinished(source, path)
    calls, rename = [], os.rename

    def sometimes(*names):
        calls.append(names)
        if len(calls) == failing:
            raise OSError(5, "Input/output error")
        rename(*names)

    monkeypatch.setattr(transfer.os, "rename", sometimes)
    with pytest.raises(UsageError, match="Input/output error"):
        place(pack(source), path, config)
    before.pop(".lock", None)
    left = [contents(folder) for folder in path.parent.iterdir()]
    assert before in [{name: data for name, data in found.items() if name != ".lock"} for found in left]


def test_nothing_can_be_written(run):
    source, path, config = run
    path.parents[1].parent.mkdir()
    path.parents[1].write_text("a file where a folder belongs")
    with pytest.raises(UsageError, match="cannot be written"):
        place(pack(source), path, config)
