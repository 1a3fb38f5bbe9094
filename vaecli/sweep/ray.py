"""The launcher for Ray, which schedules the tasks, places them, and starts those again that were lost."""

import contextlib
import dataclasses
import math
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from vaecli.config import UsageError
from vaecli.runs.directory import CHECKPOINT, Summary, claim, finished
from vaecli.runs.transfer import Files, pack, place
from vaecli.sweep import cluster
from vaecli.sweep.grid import Sweep, Task
from vaecli.sweep.launcher import Event, Job
from vaecli.sweep.remote import Errand, Result, carry_out, identity, interrupts, threads, token

_POLL = 0.2
"""Seconds between two looks at what has come in, and at whether the user wants to stop."""

_LOOK = 15
"""Seconds between two looks at whether there still is a machine for the tasks."""

_RETRIES = 3
"""Of a task whose process or machine was lost."""


class Ray:
    """Trains tasks on a Ray cluster, or by a Ray on this machine that ends with the sweep."""

    def __init__(self, address: str | None = None, cpus: float = 1, gpus: float = 0):
        """Connects to nothing yet.

        Args:
          address: `HOST:PORT` of a cluster to which this machine belongs, `auto` for the one that runs here, or none.
          cpus: that Ray sets aside for a task.
          gpus: the same; with a fraction, several tasks share one.

        Raises:
          UsageError: Ray is not installed, or no cluster can have that address.
        """
        cluster.check(address)
        self._address, self._cpus, self._gpus = address, cpus, gpus

    def __call__(
        self, sweep: Sweep, tasks: Sequence[Task], tell: Callable[[Event], None], stopped: Callable[[], bool]
    ) -> None:
        """As `Launcher` says; a task whose process or machine is lost starts again, three times at most.

        Raises:
          UsageError: no cluster answers, none of its machines is large enough, or one is not like this one; what had
            begun has then ended after its epoch.
        """
        with token(sweep.runs) as shared, cluster.connected(self._address):
            if stopped():
                return
            if lack := cluster.lack(self._cpus, self._gpus):
                raise UsageError(f"--launcher ray: {lack}")
            import ray

            # Given here and not as options of a call, GPUs make Ray take a new process for each task.
            work = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=_RETRIES)(_work)
            mailbox = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Mailbox)
            letters = mailbox.options(scheduling_strategy=cluster.here()).remote()
            left, desk = {}, _Desk(sweep, tasks, tell)
            for number, task in enumerate(tasks):
                # A machine that does not see the runs would not know which are done.
                todo = desk.look(number)
                errand = Errand(
                    dataclasses.replace(Job.of(sweep, task), runs=os.path.abspath(sweep.runs), seeds=todo),
                    os.getcwd(),
                    shared,
                    identity(task.config),
                    threads(),
                    self._gpus,
                )
                # A Ray of our own sees the runs.
                unfinished = {
                    seed: ray.put(files) for seed, files in _unfinished(sweep, task, todo if self._address else ())
                }
                left[work.remote(number, errand, letters, unfinished)] = number
            self._follow(desk, left, letters, stopped)

    def _follow(self, desk: "_Desk", left: dict[Any, int], letters: Any, stopped: Callable[[], bool]) -> None:
        """Tells of tasks until all have ended."""
        import ray
        from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError

        looked, stopping = time.monotonic(), False
        while left:
            if (stopped() or desk.refusal) and not stopping:
                stopping = True
                for ref in left:
                    ray.cancel(ref, recursive=False)  # As SIGINT where it trains.
            done, _ = ray.wait(list(left), num_returns=len(left), timeout=_POLL)
            try:
                arrived = ray.get(letters.take.remote())
            except RayActorError as error:
                raise UsageError(
                    f"--launcher ray: Ray's Python on this machine cannot take part ({_why(error)})"
                ) from error
            for letter in arrived:
                desk.receive(*letter)
            for ref in done:
                number = left.pop(ref)
                try:
                    desk.end(number, ray.get(ref))
                except TaskCancelledError:
                    desk.end(number, None)
                except RayTaskError as error:
                    # What goes wrong with a run is an outcome; this is before, where the package is not.
                    where = re.search(r"\bip=([^,)\s]+)", str(error))
                    desk.end(number, Result("refused", _why(error), {}), where[1] if where else "a machine")
                except RayError as error:
                    desk.end(number, Result("failed", f"Ray has given it up ({_why(error)})", {}))
            if left and time.monotonic() > looked + _LOOK:
                looked = time.monotonic()
                desk.waits(left.values(), cluster.lack(self._cpus, self._gpus))
        if desk.refusal:
            raise UsageError(f"--launcher ray: {desk.refusal}")


class _Desk:
    """Where what comes in of the tasks becomes events."""

    def __init__(self, sweep: Sweep, tasks: Sequence[Task], tell: Callable[[Event], None]):
        self.refusal = ""
        self._sweep, self._tasks, self._tell = sweep, tasks, tell
        self._done: dict[int, dict[int, Summary]] = {}
        self._machines: dict[int, str] = {}
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._lack = ""

    def look(self, number: int) -> Sequence[int]:
        """Looks which runs of a task have their outcome; the seeds of the others."""
        task = self._tasks[number]
        found = {seed: finished(self._sweep.path(task, seed), task.run(seed)) for seed in task.seeds}
        self._done[number] = {seed: summary for seed, summary in found.items() if summary}
        return [seed for seed in task.seeds if not found[seed]]

    def receive(self, number: int, kind: Any, told: Any) -> None:
        """What a task tells of while it is under way."""
        if number in self._ended:
            return  # A machine that was taken for lost was not, and speaks late.
        if kind == "placed":
            if number in self._machines:
                before = self._machines[number]
                what = f"its process on {told} was lost" if before == told else f"{before} was lost with it"
                label = self._sweep.label(self._tasks[number])
                self._tell(Event(number, "note", f"{label}: {what}; {told} takes over"))
            self._machines[number] = told
            return
        if kind == "begin":
            self._begun.add(number)
        self._tell(Event(number, kind, told))

    def end(self, number: int, result: Result | None, where: str = "") -> None:
        """What came of a task, on a machine if it is not known yet; None, where it was cancelled."""
        self._ended.add(number)
        if result is None:
            if number in self._begun:
                self._tell(Event(number, "ended", []))
            return
        if result.kind == "refused":
            self.refusal = self.refusal or f"{self._machines.get(number, where)} is not like this one: {result.told}"
            return
        task = self._tasks[number]
        event = Event(number, result.kind, result.told)
        for seed, files in result.directories.items():
            try:
                place(files, self._sweep.path(task, seed), task.run(seed))
            except UsageError as error:
                event = Event(number, "failed", str(error))
        if event.kind == "ended":
            trained: Iterator[Summary] = iter(event.told)
            summaries = [self._done.get(number, {}).get(seed) or next(trained) for seed in task.seeds]
            paths = [str(self._sweep.path(task, seed)) for seed in task.seeds]
            event = event._replace(told=[{**s, "path": path} for s, path in zip(summaries, paths, strict=True)])
        self._tell(event)

    def waits(self, left: Collection[int], lack: str) -> None:
        """Says once what tasks wait for, if it is not for each other: a machine that is gone, or others' work."""
        if not lack and not self._machines.keys() & left:
            lack = "nothing has started yet; the machines may have other work, or no memory left"
        if lack and lack != self._lack:
            self._tell(Event(min(left), "note", f"{lack}; what is left waits"))
        self._lack = lack


class _Mailbox:
    """Keeps what tasks tell, on the machine of the sweep, until it is taken out."""

    def __init__(self):
        self._letters: list[tuple[int, str, Any]] = []

    def put(self, letters: Sequence[tuple[int, str, Any]]) -> None:
        self._letters += letters

    def take(self) -> Sequence[tuple[int, str, Any]]:
        letters, self._letters = self._letters, []
        return letters


def _work(number: int, errand: Errand, letters: Any, unfinished: Mapping[int, Any]) -> Result:
    """A task, in a process of Ray's."""
    written, sent, last = [], [], -math.inf

    def send() -> None:
        nonlocal last
        last = time.monotonic()
        # Nobody waits for it before the end; what a caller sends arrives in its order.
        sent[:] = [letters.put.remote(written)]
        written.clear()

    def tell(kind: str, told: Any = None) -> None:
        written.append((number, kind, told))
        # Epochs go together where they are faster than the mailbox is emptied.
        if kind != "epoch" or time.monotonic() > last + _POLL:
            send()

    tell("placed", cluster.machine())

    def bring() -> Mapping[int, Files]:
        return dict(zip(unfinished, _wait(unfinished.values()), strict=True))

    with interrupts() as stopped:
        result = carry_out(errand, tell, bring, stopped)
        if written:
            send()
        _wait(sent)
        return result


def _wait(references: Iterable[Any]) -> list[Any]:
    """What they refer to, for a task that keeps its CPU meanwhile; `ray.get` would give it to another task."""
    return [reference.future().result() for reference in references]


def _why(error: Exception) -> str:
    """The last line of an error of Ray's, which tells the cause."""
    return re.sub(r"\x1b\[\d+m", "", str(error) or repr(error)).strip().splitlines()[-1][:300]


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
