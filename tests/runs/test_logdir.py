"""A folder of event files: what is replaced there, and what is left alone."""

import errno
import os

import pytest

from vaecli import UsageError
from vaecli.runs import logdir
from vaecli.runs.logdir import check_logdir, write_logdir


def contents(folder):
    return {path.parent.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_call_replaces_the_first(tmp_path, monkeypatch):
    folder = tmp_path / "deep" / "bands"
    check_logdir("--tensorboard", folder)
    assert not folder.exists()
    write_logdir("--tensorboard", folder, {"logvar": b"1", "gone": b"2"})
    (folder / "logvar" / ".events.cut-off.vae-tmp").write_bytes(b"half")
    for name in ("within the same second", "later"):
        monkeypatch.setattr(logdir.tensorboard, "file_name", lambda name=name: f"events.out.tfevents.{name}")
        for again in (b"3", b"4"):
            check_logdir("--tensorboard", folder)
            write_logdir("--tensorboard", folder, {"logvar": again, "new": b"5"})
            assert contents(folder) == {"logvar": again, "new": b"5"}
            assert sorted(path.name for path in folder.iterdir()) == ["logvar", "new"]


@pytest.mark.parametrize(
    "other", ["notes.txt", "logvar/notes.txt", "logvar/seed0/events.out.tfevents.1.host", "mnist/.hidden"]
)
def test_what_others_put_there_stays(tmp_path, other):
    folder = tmp_path / "bands"
    write_logdir("--tensorboard", folder, {"logvar": b"1"})
    (folder / other).parent.mkdir(parents=True, exist_ok=True)
    (folder / other).write_text("dear")
    before = contents(folder)
    for call in (
        lambda: check_logdir("--tensorboard", folder),
        lambda: write_logdir("--tensorboard", folder, {"a": b""}),
    ):
        with pytest.raises(
            UsageError, match=r"--tensorboard: .*bands holds something else \(.*\); name one that does not"
        ):
            call()
    assert contents(folder) == before


def test_places_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "real" / "logvar").mkdir(parents=True)
    (tmp_path / "holds-a-link").mkdir()
    (tmp_path / "holds-a-link" / "logvar").symlink_to(tmp_path / "real" / "logvar")
    reasons = {
        "file": "is a file and not a folder",
        "file/below": "is not a folder",
        "link": "is a link that leads nowhere",
        "holds-a-link": "holds something else",
    }
    for name, reason in reasons.items():
        with pytest.raises(UsageError, match=rf"--tensorboard: .*{name}.*{reason}"):
            check_logdir("--tensorboard", tmp_path / name)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "bands"
    write_logdir("--tensorboard", folder, {"logvar": b"old", "abs_std": b"old"})
    before = contents(folder)
    write = logdir.write_atomically

    def full(path, content):
        if path.parent.name == "abs_std":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, content)

    monkeypatch.setattr(logdir, "write_atomically", full)
    monkeypatch.setattr(logdir.tensorboard, "file_name", lambda: "events.out.tfevents.other")
    with pytest.raises(UsageError, match=r"bands cannot be written \(No space left on device\)"):
        write_logdir("--tensorboard", folder, {"logvar": b"new", "abs_std": b"new", "third": b"new"})
    assert contents(folder) == before
