"""A task on a machine of which nothing is assumed: neither its software, nor its data, nor that it sees the runs."""

import contextlib
import dataclasses
import functools
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vaecli.config import Config, UsageError
from vaecli.data import load
from vaecli.runs.directory import TEMPORARY, run_path
from vaecli.runs.provenance import git_commit, source_sha256, versions
from vaecli.runs.transfer import Files, pack, unpack
from vaecli.startup import prepare
from vaecli.sweep.launcher import Job, Teller

_MEMORY = 0.9
"""The part of a GPU's memory that tasks share."""


class Errand(NamedTuple):
    """A task as another machine receives it.

    Attributes:
      job: its runs, and the folder for them as the sweep sees it.
      folder: in which the sweep works; heads of the user's own may lie there.
      token: a file in the folder of the runs, and what it says.
      identity: what the machine must have.
      threads: of XLA, on a CPU; sums are cut in as many parts, so that their last digits depend on it.
      gpus: that are set aside for the task; a fraction of one is shared with others.
    """

    job: Job
    folder: str
    token: tuple[str, str]
    identity: Mapping[str, str]
    threads: int
    gpus: float


class Result(NamedTuple):
    """How an errand ended.

    Attributes:
      kind: `ended` and `failed` as of an `Event`; `refused`, the machine is not like that of the sweep.
      told: the summaries; or why.
      directories: of runs that lie on no disk that the sweep sees, by seed.
    """

    kind: Literal["ended", "failed", "refused"]
    told: Any
    directories: Mapping[int, Files]


@contextlib.contextmanager
def token(runs: Path) -> Iterator[tuple[str, str]]:
    """Leaves a file in a folder by which another machine knows that it sees the same one."""
    text = secrets.token_hex(16)
    path = Path(os.path.abspath(runs), f".{text}{TEMPORARY}")
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"{runs}: cannot be written ({error.strerror})") from error
    try:
        yield str(path), text
    finally:
        path.unlink(missing_ok=True)


def threads() -> int:
    """Those with which XLA computes in this process, on a CPU."""
    given = os.environ.get("PJRT_NPROC", "")
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def identity(config: Config) -> Mapping[str, str]:
    """What must be the same wherever runs of a sweep are trained.

    Raises:
      UsageError: the data cannot be used.
    """
    # Whether files beside the source were changed, and when, is of no account here.
    commit = (git_commit() or "none").removesuffix("-dirty")
    software = {**versions(), "commit of vaecli": commit, "source of vaecli": source_sha256()[:12]}
    return software | {f"SHA-256 of {role}": sha256[:12] for role, sha256 in _data(config.data_dir).items()}


@functools.cache
def _data(folder: str) -> Mapping[str, str]:
    return load(Config(data_dir=folder)).sha256


@contextlib.contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Collects SIGINT; whether there was one."""
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, before)


def carry_out(
    errand: Errand,
    tell: Callable[[str, Any], None],
    unfinished: Callable[[], Mapping[int, Files]],
    stopped: Callable[[], bool],
) -> Result:
    """Trains the runs of a task, in the folder of the sweep where this machine sees it, and in scratch space elsewhere.

    jax is first imported here, so that it finds its settings.

    Args:
      errand: the task.
      tell: takes the kind of an `Event`, and what is told.
      unfinished: brings the directories of runs that were stopped, by seed, where this machine does not see them.
      stopped: asked after each epoch; true ends the runs there, checkpointed.
    """
    job = errand.job
    prepare()
    os.environ["PJRT_NPROC"] = str(errand.threads)
    if errand.gpus == 0:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")  # Those that are there are for others.
    elif errand.gpus < 1:
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(_MEMORY * errand.gpus))
    try:
        here = identity(Config(**job.settings))
    except UsageError as error:
        return Result("refused", str(error), {})
    if differences := [
        f"{name} {here.get(name, 'none')} instead of {wanted}"
        for name, wanted in errand.identity.items()
        if here.get(name) != wanted
    ]:
        return Result("refused", "; ".join(differences), {})
    if os.path.isdir(errand.folder):
        os.chdir(errand.folder)
    if _sees(errand.token):
        return Result(*job.carry_out(Teller(tell), stopped), {})
    try:
        with tempfile.TemporaryDirectory(prefix="vae-") as scratch:
            moved = dataclasses.replace(job, runs=scratch)

            def home(told: Any) -> Any:
                """With the path that a run has for the sweep."""
                return told.replace(scratch, job.runs) if isinstance(told, str) else told

            paths = _paths(moved)
            for seed, files in unfinished().items():
                unpack(files, paths[seed])
            kind, told = moved.carry_out(Teller(lambda kind, told: tell(kind, home(told))), stopped)
            return Result(kind, home(told), {seed: pack(path) for seed, path in paths.items() if path.exists()})
    except (OSError, UsageError) as error:
        return Result("failed", f"scratch space of the machine: {error}", {})


def _paths(job: Job) -> Mapping[int, Path]:
    config = Config(**job.settings)
    return {seed: run_path(Path(job.runs), dataclasses.replace(config, seed=seed), job.vary) for seed in job.seeds}


def _sees(token: tuple[str, str]) -> bool:
    """Whether this machine sees, and may write, the folder of the sweep."""
    path, text = Path(token[0]), token[1]
    try:
        return path.read_text() == text and os.access(path.parent, os.W_OK)
    except OSError:
        return False
