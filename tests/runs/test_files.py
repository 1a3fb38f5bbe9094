"""Files are written whole, with the permissions that the umask leaves, and only regular ones are opened."""

import errno
import os
import socket
import stat

import pytest

from vaecli.config import UsageError
from vaecli.runs import files
from vaecli.runs.files import open_regular, read_regular, write_atomically, write_output


@pytest.fixture(params=[0o077, 0o027, 0o022, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("write", [write_atomically, write_output])
def test_permissions(umask, tmp_path, write):
    """Those of a new file follow from the umask; those of one that is replaced stay."""
    path = tmp_path / "file"
    write(path, "one")
    assert mode(path) == 0o666 & ~umask
    path.chmod(0o640)
    write(path, "two")
    assert mode(path) == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_long_names(tmp_path):
    path = tmp_path / ("σ" * 127)
    write_atomically(path, "long")
    assert path.read_text() == "long"


def test_a_link_of_the_user_is_followed_and_one_in_a_run_is_replaced(tmp_path):
    (tmp_path / "target").write_text("before")
    for write, kept in ((write_output, True), (write_atomically, False)):
        link = tmp_path / write.__name__
        link.symlink_to("target")
        write(link, write.__name__)
        assert link.is_symlink() == kept
        assert (tmp_path / "target").read_text() == "write_output"


def pipe(path):
    os.mkfifo(path)


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [pipe, bound_socket, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT])
def test_only_regular_files_are_opened(tmp_path, monkeypatch, make, flags):
    monkeypatch.chdir(tmp_path)  # The name of a socket has to be short.
    make(tmp_path.__class__("entry"))
    with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        open_regular(tmp_path / "entry", flags)
    with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        read_regular(tmp_path / "entry")


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, failing):
    """Even where the disk takes no deletion any more either, the first error is the one that is raised."""
    path = tmp_path / "file"
    path.write_text("before")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing == "write":
        monkeypatch.setattr(files.os, "fdopen", full)
    else:
        monkeypatch.setattr(files.os, failing, full)
    with pytest.raises(UsageError, match=r"cannot be written .No space left on device"):
        write_output(path, "after")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(("number", "raised"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_folders_that_cannot_be_flushed(tmp_path, monkeypatch, number, raised):
    """Some file systems flush no folder, which is no error of a disk."""
    fsync = os.fsync

    def of_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", of_files)
    if raised:
        with pytest.raises(OSError, match="Input/output"):
            write_atomically(tmp_path / "file", "text")
    else:
        write_atomically(tmp_path / "file", "text")
