"""The lock of a run's directory, with `flock` and on file systems that have none."""

import concurrent.futures
import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import subprocess
import sys
import threading

import pytest

from vaecli.config import UsageError
from vaecli.runs import lock
from vaecli.runs.directory import claim
from vaecli.runs.lock import LOCK, Process


@pytest.fixture(params=["flock", "ENOTSUP", "ENOLCK", "ENOSYS"])
def anywhere(request, monkeypatch):
    """Every test runs with `flock`, and with what file systems answer that have none."""
    if request.param != "flock":
        refuse(monkeypatch, getattr(errno, request.param))


@pytest.fixture
def without_flock(monkeypatch):
    refuse(monkeypatch, errno.ENOTSUP)


def refuse(monkeypatch, number):
    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def entries(path):
    return sorted(entry.name for entry in path.iterdir())


def test_one_at_a_time(anywhere, tmp_path):
    path = tmp_path / "seed0"
    for _ in range(2):
        held = claim(path)
        with pytest.raises(UsageError, match=rf"another process .*\(process {os.getpid()} on .*\); wait for it$"):
            claim(path)
        held.check()
        held.release()
        assert not path.exists()


def test_what_a_run_leaves_of_the_lock_is_an_empty_file(anywhere, tmp_path):
    (tmp_path / "config.toml").write_text("")
    claim(tmp_path).release()
    assert entries(tmp_path) == [LOCK, "config.toml"]
    assert (tmp_path / LOCK).read_text() == ""


def leave_lock(path, process):
    """Leaves what a process leaves that is killed, with `flock` or without."""
    path.mkdir(exist_ok=True)
    (path / "config.toml").write_text("")
    text = f"{process}\n{json.dumps(dataclasses.asdict(process))}\n"
    for name in (LOCK, f"{LOCK}-0123456789abcdef"):
        (path / name).write_text(text)


@pytest.fixture(scope="module")
def ended():
    """A process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return dataclasses.replace(Process.current(), pid=child.pid)


def dead(ended):
    here = Process.current()
    yield ended
    yield dataclasses.replace(here, started="1")  # Its number is that of another process now.
    if here.machine:
        yield dataclasses.replace(here, boot="before the machine was started again")


def test_a_process_that_was_killed_holds_nothing(anywhere, ended, tmp_path):
    for process in dead(ended):
        leave_lock(tmp_path, process)
        claim(tmp_path).release()
        assert entries(tmp_path) == [LOCK, "config.toml"]


def unknown():
    here = Process.current()
    yield dataclasses.replace(here, host="node7", pid=416)
    yield dataclasses.replace(here, namespace="that of a container", pid=416)
    yield dataclasses.replace(here, boot="another one", machine="", pid=416)


def test_a_process_that_may_live_elsewhere_is_named_with_the_file_to_remove(without_flock, tmp_path):
    for process in unknown():
        leave_lock(tmp_path, process)
        for name in (f"{LOCK}-0123456789abcdef", LOCK):
            remove = f"{tmp_path}: another process is working on this run ({process}); wait for it, or if that process"
            with pytest.raises(UsageError) as error:
                claim(tmp_path)
            assert str(error.value) == f"{remove} is gone, remove {tmp_path / name}"
            (tmp_path / name).unlink()
        claim(tmp_path).release()


def test_flock_does_not_override_a_machine_that_has_none(tmp_path):
    leave_lock(tmp_path, dataclasses.replace(Process.current(), host="node7"))
    with pytest.raises(UsageError, match="another process"):
        claim(tmp_path)
    (tmp_path / f"{LOCK}-0123456789abcdef").unlink()
    claim(tmp_path).release()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "1", "host": "a"}', '{"pid": 1, "host": 2}'])
def test_a_record_that_cannot_be_read_may_be_of_a_process_that_lives(without_flock, tmp_path, content):
    (tmp_path / f"{LOCK}-1").write_text(f"process\n{content}\n")
    with pytest.raises(UsageError, match=rf"working on this run; wait for it, or .* remove .*{LOCK}-1$"):
        claim(tmp_path)


def test_a_child_that_was_not_waited_for_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    process = dataclasses.replace(Process.current(), pid=child.pid, started=lock._start_time(child.pid))
    assert process.is_dead() is False
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_dead()
    child.communicate()
    assert process.is_dead()


def test_of_several_that_meet_no_two_hold_the_lock(without_flock, tmp_path):
    """Ten times three threads, which are to the lock what processes are, at the same moment."""
    (tmp_path / "config.toml").write_text("")
    together = threading.Barrier(3, timeout=60)

    def contend():
        held = []
        together.wait()
        with contextlib.suppress(UsageError):
            held.append(claim(tmp_path))
        together.wait()
        for directory in held:
            directory.release()
        return len(held)

    taken = []
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        for _ in range(10):
            taken.append(sum(result.result() for result in [threads.submit(contend) for _ in range(3)]))
    assert set(taken) <= {0, 1}
    assert 1 in taken
    assert entries(tmp_path) == [LOCK, "config.toml"]


LINKS = [lambda path: path.symlink_to(path), lambda path: path.symlink_to("nowhere")]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, *LINKS])
def test_something_else_in_its_place(tmp_path, make):
    make(tmp_path / LOCK)
    with pytest.raises(UsageError, match="cannot be written"):
        claim(tmp_path)
