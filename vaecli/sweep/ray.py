"""The launcher for Ray, which schedules the tasks, places them, and starts those again that were lost."""

import contextlib
import dataclasses
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vaecli.config import UsageError
from vaecli.config.toml import PackLimit
from vaecli.environment import check_in_another_process, threads
from vaecli.runs.directory import CHECKPOINT, claim
from vaecli.runs.transfer import Files, pack
from vaecli.sweep import cluster
from vaecli.sweep.grid import Sweep, Task
from vaecli.sweep.launcher import Event, Job
from vaecli.sweep.packing import packs
from vaecli.sweep.remote import Marker, RemoteJob, RemoteResult, carry_out, identity, interrupts, marked
from vaecli.sweep.tracker import TaskTracker

_POLL = 0.2
"""Seconds between two looks at what has come in, and at whether the user wants to stop."""

_SHORTAGE_POLL = 15
"""Seconds between two looks at whether there still is a machine for the tasks."""

_RETRIES = 3
"""Of a task whose process or machine was lost."""


class RayLauncher:
    """Trains tasks on a Ray cluster, or by a Ray on this machine that ends with the sweep."""

    def __init__(self, address: str | None = None, cpus: float = 1, gpus: float = 0, limit: PackLimit = "auto"):
        """Connects to nothing yet.

        Args:
          address: `HOST:PORT` of a cluster to which this machine belongs, `auto` for the one that runs here, or none.
          cpus: how many Ray sets aside for a pack of tasks.
          gpus: the same; with a fraction, several packs share one.
          limit: the most runs that train together.

        Raises:
          UsageError: Ray is not installed, or no cluster can have that address.
        """
        cluster.check(address)
        self._address, self._cpus, self._gpus = address, cpus, gpus
        self._limit: PackLimit = limit

    def packs(self, tasks: Sequence[Task], *, surely: bool = False, slots: int = 1) -> list[tuple[int, ...]]:
        """Returns the numbers of the tasks that train together, by default as if there were one machine for them.

        Args:
          tasks: the tasks.
          surely: means nothing here; with GPUs set aside, it is known that there are some.
          slots: how many packs can be trained at the same time.
        """
        return packs(tasks, self._limit, slots=slots, accelerated=self._gpus > 0)

    def __call__(
        self, sweep: Sweep, tasks: Sequence[Task], emit: Callable[[Event], None], stopped: Callable[[], bool]
    ) -> None:
        """Does what `Launcher` says; a task whose process or machine is lost starts again, three times at most.

        Raises:
          UsageError: no cluster answers, none of its machines is large enough, or one is not like this one; what had
            begun has then ended after its epoch. Or jax could not compute in processes of this machine.
          ClusterLost: the head of the cluster, or Ray on this machine, was lost; what had begun ends after its epoch.
        """
        if self._address is None:
            check_in_another_process()
        with marked(sweep.runs) as marker, cluster.connected(self._address) as watch:
            if stopped():
                return
            tracker, stopping = TaskTracker(sweep, tasks, emit), threading.Event()
            for handle in watch.follow(self._train(sweep, tasks, tracker, marker, watch, stopping)):
                if stopped() or tracker.refusal:
                    stopping.set()
                if handle:
                    handle()
            if tracker.refusal:
                raise UsageError(f"--launcher ray: {tracker.refusal}")

    def _train(
        self,
        sweep: Sweep,
        tasks: Sequence[Task],
        tracker: TaskTracker,
        marker: Marker,
        watch: cluster.Watch,
        stopping: threading.Event,
    ) -> Iterator[Callable[[], None]]:
        """Hands the tasks to Ray, and yields calls of the tracker, which are for the thread of the launcher.

        Everything is in here that Ray is asked.
        """
        if shortage := cluster.shortage(self._cpus, self._gpus):
            raise UsageError(f"--launcher ray: {shortage}")
        events = cluster.EventQueue()
        submit = cluster.submitter(_work, cpus=self._cpus, gpus=self._gpus, retries=_RETRIES)
        pending: dict[Any, Sequence[int]] = {}
        for numbers in self.packs(tasks, slots=cluster.slots(self._cpus, self._gpus)):
            together = [tasks[number] for number in numbers]
            # A machine that does not see the runs would not know which are done.
            seeds = [tracker.unfinished_seeds(number) for number in numbers]
            # A Ray of our own sees the runs.
            to_fetch = seeds if self._address else [()] * len(seeds)
            unfinished = [
                {seed: cluster.store(files) for seed, files in _unfinished(sweep, task, of_task)}
                for task, of_task in zip(together, to_fetch, strict=True)
            ]
            remote_job = self._remote_job(sweep, together, seeds, marker)
            pending[submit(numbers, remote_job, events, unfinished, watch.parts)] = numbers
        last_look, cancelled = time.monotonic(), False
        while pending:
            if stopping.is_set() and not cancelled:
                cancelled = True
                for reference in pending:
                    cluster.cancel(reference)
            ended = cluster.ended(list(pending), timeout=_POLL)
            yield functools.partial(_handle_events, tracker, events.take())
            for reference in ended:
                yield functools.partial(_handle_end, tracker, pending.pop(reference), cluster.ending(reference))
            if pending and time.monotonic() > last_look + _SHORTAGE_POLL:
                last_look = time.monotonic()
                shortage = cluster.shortage(self._cpus, self._gpus)
                left = [number for numbers in pending.values() for number in numbers]
                yield functools.partial(tracker.note_waiting, left, shortage)

    def _remote_job(
        self, sweep: Sweep, tasks: Sequence[Task], seeds: Sequence[Sequence[int]], marker: Marker
    ) -> RemoteJob:
        job = Job.of(sweep, tasks, self._limit)
        job = dataclasses.replace(
            job,
            runs=os.path.abspath(sweep.runs),
            tasks=[task._replace(seeds=of_task) for task, of_task in zip(job.tasks, seeds, strict=True)],
        )
        return RemoteJob(job, os.getcwd(), marker, identity(tasks[0].config), threads(), self._gpus)


def _handle_events(tracker: TaskTracker, events: Sequence[Any]) -> None:
    for event in events:
        tracker.handle_event(*event)


def _handle_end(tracker: TaskTracker, numbers: Sequence[int], ending: cluster.Ending) -> None:
    for place, number in enumerate(numbers):
        if ending.how == "returned":
            tracker.handle_result(number, ending.value[place])
        elif ending.how == "cancelled":
            tracker.handle_cancellation(number)
        elif ending.how == "raised":
            # What goes wrong with a run is an outcome; this comes before, for example where the package is missing.
            tracker.handle_result(number, RemoteResult("refused", ending.reason), ending.machine)
        else:
            tracker.handle_result(number, RemoteResult("failed", f"Ray has given it up ({ending.reason})"))


def _work(
    numbers: Sequence[int],
    remote_job: RemoteJob,
    events: cluster.EventQueue,
    unfinished: Sequence[Mapping[int, Any]],
    parts: Mapping[str, str],
) -> list[RemoteResult]:
    """Carries out tasks, in a process of Ray's; they end after their epoch where the sweep cannot be there any more."""
    sender = _EventSender(numbers, events)
    for place in range(len(numbers)):
        sender.emit(place, "placed", cluster.machine())

    def fetch() -> list[Mapping[int, Files]]:
        return [dict(zip(of_task, cluster.wait(of_task.values()), strict=True)) for of_task in unfinished]

    with interrupts() as stopped, cluster.Watch(parts) as watch:
        results = carry_out(remote_job, sender.emit, fetch, lambda: stopped() or bool(watch.lost))
        if watch.lost:
            # Nobody waits for the results; if only this machine was cut off, the sweep gives the tasks to another one.
            os._exit(1)
        sender.flush()
        return results


class _EventSender:
    """Sends the events of tasks to the machine of the sweep."""

    def __init__(self, numbers: Sequence[int], events: cluster.EventQueue):
        self._numbers, self._events = numbers, events
        self._unsent: list[tuple[int, str, Any]] = []
        self._last: Any = None
        self._last_time = -math.inf

    def emit(self, place: int, kind: str, payload: Any = None) -> None:
        """Sends an event of a task; epochs go together where they are faster than the queue is emptied."""
        self._unsent.append((self._numbers[place], kind, payload))
        if kind != "epoch" or time.monotonic() > self._last_time + _POLL:
            self._send()

    def flush(self) -> None:
        """Sends what is left, and waits until it has arrived."""
        if self._unsent:
            self._send()
        cluster.wait([self._last])

    def _send(self) -> None:
        self._last_time = time.monotonic()
        # Nobody waits for it before the end; what one process sends arrives in its order.
        self._last = self._events.put(self._unsent)
        self._unsent = []


def _unfinished(sweep: Sweep, task: Task, seeds: Sequence[int]) -> Iterator[tuple[int, Files]]:
    """The directories of those runs of a task that were stopped."""
    for seed in seeds:
        path = sweep.path(task, seed)
        if not (path / CHECKPOINT).is_dir():
            continue
        # One on which another process works cannot be sent along; the task will say so, where it sees the lock.
        with contextlib.suppress(UsageError):
            directory = claim(path)
            try:
                yield seed, pack(path)
            finally:
                directory.release()
