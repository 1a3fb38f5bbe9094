"""Tasks on a machine of which nothing is assumed: neither its software, nor its data, nor that it sees the runs."""

import contextlib
import dataclasses
import functools
import os
import secrets
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vaecli.config import Config, UsageError
from vaecli.data import read
from vaecli.runs.directory import run_path
from vaecli.runs.files import TEMPORARY
from vaecli.runs.lock import record_of_process
from vaecli.runs.ownership import private_folder, remove_left_behind
from vaecli.runs.provenance import git_commit, source_sha256, versions
from vaecli.runs.transfer import Files, pack, unpack
from vaecli.startup import prepare
from vaecli.sweep.launcher import EventKind, Job, JobTask

_MARKER = ".sweep-"
"""At the beginning of the name of a file that a sweep leaves in the folder of its runs while it trains."""

_SCRATCH = "vae-scratch-"
"""The same, of a folder in which a machine trains that does not see the runs."""

_MEMORY = 0.9
"""The part of a GPU's memory that tasks share."""


class Marker(NamedTuple):
    """A file in the folder of the runs, by which another machine recognises that folder."""

    path: str
    content: str

    def is_visible(self) -> bool:
        """Returns whether this machine sees the file, and may write the folder in which it lies."""
        path = Path(self.path)
        try:
            return path.read_text() == self.content and os.access(path.parent, os.W_OK)
        except OSError:
            return False


class RemoteJob(NamedTuple):
    """Tasks that train together, as another machine receives them.

    Attributes:
      job: their runs, and the folder for them as the sweep sees it.
      working_folder: the folder in which the sweep works; heads of the user's own may lie there.
      marker: a file in the folder of the runs.
      identity: what the machine must have.
      threads: of XLA, on a CPU; sums are cut in as many parts, so that their last digits depend on it.
      gpus: how many are set aside for them; a fraction of one is shared with others.
    """

    job: Job
    working_folder: str
    marker: Marker
    identity: Mapping[str, str]
    threads: int
    gpus: float


class RemoteResult(NamedTuple):
    """The result of a task of a remote job.

    Attributes:
      kind: `ended` and `failed` as in an `Event`; `refused`, the machine is not like that of the sweep.
      payload: the summaries; or the reason.
      directories: the run directories that lie on no disk that the sweep sees, by seed.
    """

    kind: Literal["ended", "failed", "refused"]
    payload: Any
    directories: Mapping[int, Files] = {}


@contextlib.contextmanager
def marked(runs: Path) -> Iterator[Marker]:
    """Leaves a file in a folder by which another machine knows that it sees the same one.

    Raises:
      UsageError: the folder cannot be written.
    """
    path = Path(os.path.abspath(runs), f"{_MARKER}{secrets.token_hex(16)}{TEMPORARY}")
    content = record_of_process()
    try:
        try:
            path.write_text(content)
        except OSError as error:
            raise UsageError(f"{runs}: cannot be written ({error.strerror})") from error
        yield Marker(str(path), content)
    finally:
        with contextlib.suppress(OSError):  # Then `remove_dead_markers` does, later.
            path.unlink(missing_ok=True)


def remove_dead_markers(runs: Path) -> None:
    """Removes from a folder the files that `marked` left there in processes of this machine that were killed."""
    remove_left_behind(runs, f"{_MARKER}*{TEMPORARY}")


def identity(config: Config) -> Mapping[str, str]:
    """Returns what must be the same wherever runs of a sweep are trained.

    Raises:
      UsageError: the data cannot be used.
    """
    # Whether files beside the source were changed, and when, does not matter here.
    commit = (git_commit() or "none").removesuffix("-dirty")
    software = {**versions(), "commit of vaecli": commit, "source of vaecli": source_sha256()[:12]}
    images = {role: sha256 for role, sha256 in _data_sha256(config.data_dir).items() if role.endswith("-images")}
    return software | {f"SHA-256 of {role}": sha256[:12] for role, sha256 in images.items()}


@functools.cache
def _data_sha256(folder: str) -> Mapping[str, str]:
    return read(folder).sha256


@contextlib.contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Collects SIGINT; what it yields says whether there was one."""
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, before)


def carry_out(
    remote_job: RemoteJob,
    emit: Callable[[int, str, Any], None],
    unfinished: Callable[[], Sequence[Mapping[int, Files]]],
    stopped: Callable[[], bool],
) -> list[RemoteResult]:
    """Trains the runs of tasks, in the folder of the sweep where this machine sees it, and otherwise in scratch space.

    jax is first imported here, so that it reads the settings that are made for it.

    Args:
      remote_job: the tasks.
      emit: takes the place of a task among them, and the kind and the payload of each `Event` but the last.
      unfinished: fetches, for each task, the directories of runs that were stopped, by seed, where this machine does
        not see them.
      stopped: asked after each epoch; true ends the runs there, checkpointed.

    Returns:
      The result of each task.
    """
    if os.path.isdir(remote_job.working_folder):
        os.chdir(remote_job.working_folder)
    prepare()
    _configure_jax(remote_job)
    places = range(len(remote_job.job.tasks))
    if mismatch := _mismatch(remote_job):
        return [RemoteResult("refused", mismatch) for _ in places]
    if remote_job.marker.is_visible():
        return _results(remote_job.job, emit, stopped)
    try:
        with private_folder(Path(tempfile.gettempdir()), _SCRATCH) as scratch:
            return _carry_out_in(str(scratch), remote_job.job, emit, unfinished, stopped)
    except (OSError, UsageError) as error:
        return [RemoteResult("failed", f"scratch space of the machine: {error}") for _ in places]


def _results(job: Job, emit: Callable[[int, str, Any], None], stopped: Callable[[], bool]) -> list[RemoteResult]:
    """Carries out a job, and returns how each of its tasks ended."""
    ends: dict[int, RemoteResult] = {}

    def pass_on(place: int, kind: EventKind, payload: Any) -> None:
        if kind == "ended" or kind == "failed":
            ends[place] = RemoteResult(kind, payload)
        else:
            emit(place, kind, payload)

    job.carry_out(pass_on, stopped)
    return [ends[place] for place in range(len(job.tasks))]


def _configure_jax(remote_job: RemoteJob) -> None:
    """Gives the tasks their threads and their part of a GPU."""
    os.environ["PJRT_NPROC"] = str(remote_job.threads)
    if remote_job.gpus == 0:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")  # The GPUs that are there are for others.
    elif remote_job.gpus < 1:
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(_MEMORY * remote_job.gpus))


def _mismatch(remote_job: RemoteJob) -> str:
    """Says what this machine has that is not as the sweep has it; nothing, where all is."""
    try:
        here = identity(Config(**remote_job.job.tasks[0].settings))
    except UsageError as error:
        return str(error)
    return "; ".join(
        f"{name} {here.get(name, 'none')} instead of {wanted}"
        for name, wanted in remote_job.identity.items()
        if here.get(name) != wanted
    )


def _carry_out_in(
    scratch: str,
    job: Job,
    emit: Callable[[int, str, Any], None],
    unfinished: Callable[[], Sequence[Mapping[int, Files]]],
    stopped: Callable[[], bool],
) -> list[RemoteResult]:
    """Trains the runs of tasks in scratch space; the results have their directories."""
    moved = dataclasses.replace(job, runs=scratch)

    def as_in_sweep(payload: Any) -> Any:
        """Gives a text the path that a run has for the sweep."""
        return payload.replace(scratch, job.runs) if isinstance(payload, str) else payload

    paths = [_paths(moved, task) for task in job.tasks]
    for of_task, there in zip(unfinished(), paths, strict=True):
        for seed, files in of_task.items():
            unpack(files, there[seed])
    results = _results(moved, lambda place, kind, payload: emit(place, kind, as_in_sweep(payload)), stopped)
    return [
        RemoteResult(kind, as_in_sweep(payload), {seed: pack(path) for seed, path in there.items() if path.exists()})
        for (kind, payload, _), there in zip(results, paths, strict=True)
    ]


def _paths(job: Job, task: JobTask) -> Mapping[int, Path]:
    """Returns the directory of each run of a task, by seed."""
    config = Config(**task.settings)
    return {seed: run_path(Path(job.runs), dataclasses.replace(config, seed=seed), job.vary) for seed in task.seeds}
