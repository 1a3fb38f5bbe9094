"""The runs below some folders as a list: what each of them is, and how far."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.config import Config
from vaecli.runs import records
from vaecli.runs.collection import Entry, find_runs, read_all
from vaecli.runs.directory import CONFIG, METRICS, SUMMARY
from vaecli.runs.files import open_regular
from vaecli.runs.lock import Process, is_lock, read_process

_ELBO = "test/elbo"
_TAIL = 2**16
"""Bytes at the end of a log in which its last line is looked for."""


class ListedRun(NamedTuple):
    """A run in a list.

    Attributes:
      path: its directory.
      config: its config with the seed 0; None where it cannot be read.
      seed: its seed.
      status: `done`, `diverged`, `running`, `stopped`, or `unreadable`.
      why: what is wrong with one that is unreadable or diverged; otherwise empty.
      epochs: how many it has logged.
      elbo: its last test ELBO; None where there is none, or it is not finite.
      changed: when it was last written to, in seconds since 1970; None where that is not known.
      process: the process that is working on it; empty where there is none.
    """

    path: Path
    config: Config | None
    seed: int
    status: str
    why: str
    epochs: int
    elbo: float | None
    changed: float | None
    process: str = ""


def list_runs(folders: Sequence[Path]) -> Sequence[ListedRun]:
    """Lists every run below some folders.

    Raises:
      UsageError: a folder does not exist.
    """
    return [_listed(entry) for entry in read_all(find_runs(folders), [_ELBO])]


def _listed(entry: Entry) -> ListedRun:
    path, config, seed = entry.path, entry.config, entry.seed
    if entry.broken:
        return ListedRun(path, config, seed, "unreadable", entry.broken, 0, None, _changed(path, CONFIG, "."))
    if outcome := entry.outcome:
        status = "done" if outcome.status == "complete" else outcome.status
        elbo = outcome.surviving(_ELBO)
        return ListedRun(path, config, seed, status, outcome.why, outcome.epochs, elbo, _changed(path, SUMMARY))
    process = _process(path)
    epochs, elbo = _last_point(path)
    changed = _changed(path, METRICS, CONFIG)
    status = "running" if process else "stopped"
    return ListedRun(path, config, seed, status, "", epochs, elbo, changed, str(process or ""))


def _changed(path: Path, *names: str) -> float | None:
    """Returns when the first of these files that is there was written."""
    for name in names:
        with contextlib.suppress(OSError):
            return os.stat(path / name).st_mtime
    return None


def _process(path: Path) -> Process | None:
    """Returns the process that holds a run's lock; one of another machine counts until its lock is gone.

    The lock itself is not tried, since a process that begins just then would find it taken.
    """
    with contextlib.suppress(OSError):
        for name in sorted(filter(is_lock, os.listdir(path))):
            with contextlib.suppress(OSError):
                process = read_process(path / name)
                if process and not process.is_dead():
                    return process
    return None


def _last_point(path: Path) -> tuple[int, float | None]:
    """Returns the epoch and the ELBO of the last whole line of a run's log; 0 and None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        with os.fdopen(open_regular(path / METRICS), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            whole = file.read().rpartition(b"\n")[0]
        point = records.log_point(whole.rpartition(b"\n")[2].decode())
        return point["epoch"], point.get(_ELBO)
    return 0, None
