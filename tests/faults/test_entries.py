"""Links, pipes, sockets and devices inside a run: used where they are of the right kind, and otherwise refused."""

import contextlib
import os
import shutil
import socket
from pathlib import Path

import pytest
from helpers.runs import Listener, cut, same

from vaecli import Config, UsageError, train
from vaecli.analysis.evaluate import evaluate
from vaecli.cli.main import main
from vaecli.runs import checkpoint
from vaecli.runs.collection import collect, find_runs, log_points
from vaecli.runs.directory import finished
from vaecli.runs.reading import open_run

RUN = Path("small/logvar/seed0")
FILES = ("config.toml", "summary.json", "metrics.jsonl", "events.out.tfevents.1.x")


@pytest.fixture(scope="module")
def config(small):
    return Config(**small | {"picture_every": 1})


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    return train(config, runs=tmp_path_factory.mktemp("whole"))


@pytest.fixture
def path(whole, tmp_path):
    """A copy of the finished run."""
    shutil.copytree(Path(whole["path"]).parents[2], tmp_path, dirs_exist_ok=True)
    return tmp_path / RUN


def pipe(path):
    os.mkfifo(path)


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)


def device(path):
    path.symlink_to("/dev/zero")


def nowhere(path):
    path.symlink_to("nowhere")


def loop(path):
    path.symlink_to(path.name)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("make", [pipe, bound_socket, device, nowhere, loop, os.mkdir])
@pytest.mark.parametrize("name", FILES)
def test_something_else_in_place_of_a_file(config, path, name, make):
    """It is named on one line, and nothing hangs, neither with --overwrite nor in the commands that only read."""
    remove(path / name)
    make(path / name)
    for overwrite in (False, True):
        with pytest.raises(UsageError) as error:
            finished(path, config, overwrite=overwrite)
        assert str(error.value).startswith(str(path))
    if name in ("config.toml", "summary.json"):
        with pytest.raises(UsageError):
            open_run(path)
        assert collect(find_runs([path.parents[2]]), []).outcomes == []
    if name == "metrics.jsonl":
        with pytest.raises(UsageError, match="cannot be read"):
            log_points(path)


@pytest.mark.parametrize("make", [pipe, bound_socket, device, nowhere, loop, Path.touch])
@pytest.mark.parametrize("name", ["checkpoint", "pictures"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_something_else_in_place_of_a_folder(config, path, name, make, overwrite):
    remove(path / name)
    make(path / name)
    with pytest.raises(UsageError, match=rf"seed0/{name}: .*(where a run has a folder|leads nowhere|cannot be read)"):
        finished(path, config, overwrite=overwrite)


@pytest.mark.parametrize("make", [pipe, bound_socket, device, nowhere, loop, os.mkdir])
def test_something_else_inside_a_checkpoint(config, path, make):
    """Whatever is not the file that was written is damage."""
    (saved,), _ = checkpoint.snapshots(path)
    for file in (saved.folder / "arrays.npz", saved.folder / "record.json", Path(f"{saved.folder}.sha256")):
        kept = file.read_bytes()
        file.unlink()
        make(file)
        with pytest.raises(UsageError, match=r"is damaged|cannot be read|has no checkpoint"):
            checkpoint.snapshot(path, saved.step, saved.sha256)
        assert checkpoint.snapshots(path)[0] == []
        remove(file)
        file.write_bytes(kept)
    assert checkpoint.snapshot(path, saved.step, saved.sha256) == saved


def linked(path, folder):
    """Moves the folders of a run to another disk, and leaves links to them."""
    for name in ("checkpoint", "pictures"):
        (path / name).rename(folder / name)
        (path / name).symlink_to(folder / name)
        (folder / name / "note.txt").write_text("mine")


def test_folders_that_are_links(config, whole, tmp_path, path):
    """A run is evaluated through them, trained anew, and cut off and continued; other files there stay."""
    disk = tmp_path / "disk"
    disk.mkdir()
    linked(path, disk)
    assert evaluate(path, samples=2)["stored"]
    for _ in range(2):
        again = train(config, runs=tmp_path, overwrite=True)
        same(again, whole)
        assert train(config, runs=tmp_path) == again
    cut(config, tmp_path / "cut", after=1)
    (tmp_path / "disk2").mkdir()
    linked(tmp_path / "cut" / RUN, tmp_path / "disk2")
    listener = Listener()
    same(train(config, runs=tmp_path / "cut", observer=listener), whole)
    assert "after epoch 1" in listener.notes[0]
    for folder in (disk, tmp_path / "disk2"):
        for name in ("checkpoint", "pictures"):
            assert (folder / name / "note.txt").read_text() == "mine"


def test_a_picture_that_is_a_pipe_is_replaced(config, whole, path):
    (path / "summary.json").unlink()
    shutil.rmtree(path / "checkpoint")
    for name in os.listdir(path / "pictures"):
        remove(path / "pictures" / name)
        os.mkfifo(path / "pictures" / name)
    same(train(config, runs=path.parents[2]), whole)


@pytest.mark.parametrize("again", ["train", "evaluate"])
def test_what_a_kill_leaves_is_removed(path, small, again, capsys):
    """Temporary files of pictures, of a summary, and a folder; other hidden files stay."""
    for name in (".summary.json.1a2b.vae-tmp", "pictures/.samples_epoch0002.png.1a2b.vae-tmp"):
        (path / name).write_text("half")
    (path / ".checkpoint.vae-tmp").mkdir()
    (path / ".hidden").write_text("mine")
    if again == "evaluate":
        assert main(["evaluate", str(path), "--samples", "2"]) == 0
    else:
        train(Config(**small | {"picture_every": 1}), runs=path.parents[2])
    capsys.readouterr()
    assert not list(path.rglob("*.vae-tmp"))
    assert (path / ".hidden").exists()
