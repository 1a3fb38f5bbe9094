"""Private folders are removed at the end, and those of dead processes, which nobody else's are, by the next one."""

import os
import shutil
import stat

import pytest
from helpers.processes import record, record_of_a_dead_process

from vaecli.runs import ownership
from vaecli.runs.lock import record_of_process
from vaecli.runs.ownership import private_folder, remove_left_behind


@pytest.fixture(scope="module")
def dead():
    return record_of_a_dead_process()


def left(parent, owner, name="vae-x-12345678"):
    """A folder as a process leaves it that is killed."""
    folder = parent / name
    (folder / "r" / "deep").mkdir(parents=True)
    (folder / "r" / "deep" / "file").write_text("")
    if owner is not None:
        (folder / "owner").write_text(owner)
    return folder


def test_a_private_folder(tmp_path):
    with private_folder(tmp_path, "vae-x-", ".end") as folder:
        (outer,) = tmp_path.iterdir()
        assert folder.parent == outer
        assert stat.S_IMODE(outer.stat().st_mode) == 0o700
        assert len(str(folder)) == len(f"{tmp_path}/vae-x-{ownership.PRIVATE_NAME}") + len(".end")
        assert outer.name.endswith(".end")
        assert not list(folder.iterdir())
        folder.chmod(0o777)
        (folder / "x").mkdir()
        assert (outer / "owner").read_text() == record_of_process()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError), private_folder(tmp_path, "vae-x-"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_those_of_dead_processes_are_removed(tmp_path, dead):
    left(tmp_path, dead)
    (tmp_path / "vae-x-file").write_text(dead)
    others = {left(tmp_path, dead, "vae-y-12345678"), left(tmp_path, dead, "x")}
    with private_folder(tmp_path, "vae-x-") as folder:
        assert set(tmp_path.iterdir()) == {folder.parent, *others}


def test_those_of_others_stay(tmp_path, dead):
    """Only what is certainly dead goes: not what lives, what another machine made, or what is not ours."""
    owners = [record_of_process(), record(host="elsewhere"), None, "", "x\n[1]\n", "x\n{}\n", dead[:-20]]
    folders = [left(tmp_path, owner, f"vae-x-{number}") for number, owner in enumerate(owners)]
    aside = left(tmp_path, dead, "aside")
    (tmp_path / "vae-x-link").symlink_to(aside)
    os.mkfifo(tmp_path / "vae-x-pipe")
    os.mkfifo(left(tmp_path, None, "vae-x-with-pipe") / "owner")
    (left(tmp_path, None, "vae-x-with-link") / "owner").symlink_to(aside / "owner")
    if os.geteuid() == 0:
        for folder in (left(tmp_path, dead, "vae-x-theirs"), tmp_path / "vae-x-theirs" / "owner"):
            os.chown(folder, 12345, 12345)
    before = sorted(tmp_path.rglob("*"))
    remove_left_behind(tmp_path, "vae-x-*")
    assert sorted(tmp_path.rglob("*")) == before
    assert all((folder / "r" / "deep" / "file").exists() for folder in folders)


def test_a_folder_that_is_gone_before(tmp_path):
    with private_folder(tmp_path, "vae-x-") as folder:
        shutil.rmtree(folder.parent)
    remove_left_behind(tmp_path / "nowhere", "*")
