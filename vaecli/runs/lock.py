"""The lock of a run's directory: no two living processes hold it, and one that has died holds nothing.

It is `flock` on the file `.lock`, which the system releases however a process ends. Where a file system has no `flock`,
each process first puts a file of its own beside it, `.lock-` and a number that is used only once, and then looks for
those of others: of two that do so at the same time, the later look sees both files. The file of a process that has died
may be removed by anybody, since its name never comes again.
"""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import random
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from vaecli.runs.files import TEMPORARY, open_regular, read_regular, write_atomically

LOCK = ".lock"

# What a file system answers that has no `flock`, or whose lock service does not run.
_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
_TRIES = 5
"""How often a process looks again, since two that meet at the start both give way."""


def is_lock(name: str) -> bool:
    """Returns whether a file of this name in a run's directory belongs to its lock."""
    return name == LOCK or (name.startswith(f"{LOCK}-") and not name.endswith(TEMPORARY))


@dataclasses.dataclass(frozen=True)
class Process:
    """What distinguishes a process from all others, of this machine and of others.

    Attributes:
      pid: its number.
      host: the name of its machine.
      machine: the identity of the installation, which outlasts a restart; empty where there is none.
      boot: the identity of the system since its start; empty where it is not known.
      namespace: that of its number; empty where it is not known.
      started: when it started, in ticks since the system did; empty where it is not known.
    """

    pid: int
    host: str
    machine: str = ""
    boot: str = ""
    namespace: str = ""
    started: str = ""

    @classmethod
    def current(cls) -> "Process":
        """Returns this process."""
        pid = os.getpid()
        return cls(
            pid,
            socket.gethostname(),
            machine=_text("/etc/machine-id"),
            boot=_text("/proc/sys/kernel/random/boot_id"),
            namespace=_namespace(),
            started=_start_time(pid),
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def is_dead(self) -> bool | None:
        """Returns whether it has ended, or None where this process cannot know."""
        here = Process.current()
        if self.host != here.host:
            return None
        if self.boot != here.boot:
            # The same machine, started again since.
            return True if self.boot and here.boot and self.machine and self.machine == here.machine else None
        if self.namespace != here.namespace:
            return None
        with contextlib.suppress(PermissionError):  # It is there, and another user's.
            try:
                os.kill(self.pid, 0)
            except (ProcessLookupError, OverflowError):
                return True
        started = _start_time(self.pid)
        return bool(started and self.started and started != self.started)


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError):
        return ""


def _namespace() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """When a process started; something else for one that has ended and was not waited for."""
    # The name of the process comes second, in brackets, and may hold anything.
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return ""
    return "ended" if fields[0] in ("Z", "X") else fields[19]


class Held(Exception):
    """Another process holds the lock.

    Attributes:
      holder: who, as far as is known.
      file: the file to remove if that process is gone, which cannot be known here; None where it is known to live.
    """

    def __init__(self, holder: str, file: str | None = None):
        super().__init__(holder)
        self.holder, self.file = holder, file


class RunLock:
    """The lock of a folder, which this process holds from the beginning to `release`."""

    def __init__(self, folder: Path):
        """Takes the lock.

        Raises:
          Held: another process holds it.
          OSError: the folder cannot be written.
        """
        self._folder = folder
        self._flocked, self._own = False, ""
        self._descriptor = open_regular(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        try:
            self._flocked = _flock(self._descriptor)
            if self._flocked:
                self._take()
            else:
                self._announce()
        except BaseException:
            self.release()
            raise

    def is_valid(self) -> bool:
        """Returns whether the lock is still in the folder: without it, another process may take a new one."""
        try:
            if self._own:
                return (self._folder / self._own).is_file()
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(self._folder / LOCK))
        except FileNotFoundError:
            return False

    def remove(self) -> None:
        """Removes the lock's file, where the folder is to be removed; the lock itself is held on."""
        (self._folder / LOCK).unlink(missing_ok=True)

    def release(self) -> None:
        """Lets other processes take the lock."""
        with contextlib.suppress(OSError):  # What it says is for the eyes of others, and for who has no `flock`.
            if self._own:
                (self._folder / self._own).unlink(missing_ok=True)
            elif self._flocked:
                os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def _take(self) -> None:
        """Makes sure, with `flock`, that nobody holds the folder from a machine that has none."""
        if not self.is_valid():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # Removed between opening and locking.
        # It says who holds the folder before it looks, as the others do: so one of two at the same time sees the other.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, record_of_process().encode(), 0)
        for name, process in self._others():
            raise _held(self._folder / name, process)

    def _announce(self) -> None:
        """Puts a file of its own beside those of others, and keeps it where none of them can be alive."""
        for tries_left in reversed(range(_TRIES)):
            name = f"{LOCK}-{secrets.token_hex(8)}"
            write_atomically(self._folder / name, record_of_process())
            self._own = name
            others = [*self._others(), *self._with_flock()]
            if not others:
                return
            (self._folder / name).unlink()
            self._own = ""
            if not tries_left:
                raise _held(self._folder / others[0][0], others[0][1])
            time.sleep(random.uniform(0.02, 0.2))

    def _others(self) -> Iterator[tuple[str, Process | None]]:
        """The files of other processes that may be alive, without `flock`; those of the dead are removed."""
        for name in sorted(os.listdir(self._folder)):
            if name in (LOCK, self._own) or not is_lock(name):
                continue
            with contextlib.suppress(FileNotFoundError):
                process = read_process(self._folder / name)
                if process and process.is_dead():
                    (self._folder / name).unlink()
                else:
                    yield name, process

    def _with_flock(self) -> Iterator[tuple[str, Process | None]]:
        """Who holds the folder with `flock`, on a machine that has it, and may be alive."""
        process = read_process(self._folder / LOCK)
        if process and not process.is_dead():
            yield LOCK, process


def _flock(descriptor: int) -> bool:
    """Takes the system's lock; returns whether there is such a thing.

    Raises:
      Held: another process has it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            line = os.pread(descriptor, 300, 0).decode(errors="replace").partition("\n")[0]
            raise Held(line) from error
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _held(file: Path, process: Process | None) -> Held:
    return Held(str(process or ""), None if process and process.is_dead() is False else file.name)


def record_of_process() -> str:
    """What a lock's file says of this process: a line to read, and one for programs."""
    process = Process.current()
    return f"{process}\n{json.dumps(dataclasses.asdict(process))}\n"


def read_process(file: Path) -> Process | None:
    """The process that a lock's file names, if it does."""
    try:
        process = Process(**json.loads(read_regular(file).decode().partition("\n")[2]))
    except (ValueError, TypeError, RecursionError):
        return None
    values = dataclasses.asdict(process).values()
    return process if [type(value) for value in values] == [int, *[str] * (len(values) - 1)] else None
