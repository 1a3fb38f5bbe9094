"""The tracking of tasks on other machines: their events become those of the sweep, their runs get their places."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from vaecli.config import UsageError
from vaecli.runs.directory import Summary, finished
from vaecli.runs.transfer import place
from vaecli.sweep.grid import Sweep, Task
from vaecli.sweep.launcher import Event
from vaecli.sweep.remote import RemoteResult


class TaskTracker:
    """Knows on which machine each task is and whether it has begun or ended, and emits its events."""

    def __init__(self, sweep: Sweep, tasks: Sequence[Task], emit: Callable[[Event], None]):
        self.refusal = ""
        """Why the sweep cannot be trained on a machine; nothing, while none has refused."""
        self._sweep, self._tasks, self._emit = sweep, tasks, emit
        self._finished: dict[int, dict[int, Summary]] = {}
        self._machines: dict[int, str] = {}
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._shortage = ""

    def unfinished_seeds(self, number: int) -> Sequence[int]:
        """Returns the seeds of those runs of a task that have no outcome yet, and keeps the summaries of the others."""
        task = self._tasks[number]
        summaries = {seed: finished(self._sweep.path(task, seed), task.config_of(seed)) for seed in task.seeds}
        self._finished[number] = {seed: summary for seed, summary in summaries.items() if summary}
        return [seed for seed in task.seeds if not summaries[seed]]

    def handle_event(self, number: int, kind: Any, payload: Any) -> None:
        """Emits what a task says while it is under way; `placed`, with the name of a machine, is not passed on."""
        if number in self._ended:
            return  # A machine that was taken for lost was not, and its events come late.
        if kind == "placed":
            self._handle_placement(number, payload)
            return
        if kind == "begin":
            self._begun.add(number)
        self._emit(Event(number, kind, payload))

    def _handle_placement(self, number: int, machine: str) -> None:
        if before := self._machines.get(number):
            what = f"its process on {machine} was lost" if before == machine else f"{before} was lost with it"
            label = self._sweep.label(self._tasks[number])
            self._emit(Event(number, "note", f"{label}: {what}; {machine} takes over"))
        self._machines[number] = machine

    def handle_cancellation(self, number: int) -> None:
        """Emits the end of a task that was cancelled, if it had begun."""
        self._ended.add(number)
        if number in self._begun:
            self._emit(Event(number, "ended", []))

    def handle_result(self, number: int, result: RemoteResult, machine: str = "") -> None:
        """Places the directories of a task's runs and emits its end, or keeps the refusal of a machine.

        Args:
          number: of the task.
          result: what came of it.
          machine: where, if the task itself has not said so.
        """
        self._ended.add(number)
        if result.kind == "refused":
            machine = self._machines.get(number, machine)
            self.refusal = self.refusal or f"{machine} is not like this one: {result.payload}"
            return
        task = self._tasks[number]
        event = Event(number, result.kind, result.payload)
        for seed, files in result.directories.items():
            try:
                place(files, self._sweep.path(task, seed), task.config_of(seed))
            except UsageError as error:
                event = Event(number, "failed", str(error))
        if event.kind == "ended":
            event = event._replace(payload=self._all_summaries(number, event.payload))
        self._emit(event)

    def _all_summaries(self, number: int, trained: Sequence[Summary]) -> list[Summary]:
        """Returns the summaries of all runs of a task, including those finished before, with their paths here."""
        task = self._tasks[number]
        rest: Iterator[Summary] = iter(trained)
        summaries = [self._finished.get(number, {}).get(seed) or next(rest) for seed in task.seeds]
        paths = [str(self._sweep.path(task, seed)) for seed in task.seeds]
        return [{**summary, "path": path} for summary, path in zip(summaries, paths, strict=True)]

    def note_waiting(self, pending: Collection[int], shortage: str) -> None:
        """Says once what tasks wait for, if it is not each other: a machine that is gone, or the work of others.

        Args:
          pending: the tasks that have not ended.
          shortage: what the machines lack for one; nothing, where one of them is large enough.
        """
        if not shortage and not self._machines.keys() & pending:
            shortage = "nothing has started yet; the machines may have other work, or no memory left"
        if shortage and shortage != self._shortage:
            self._emit(Event(min(pending), "note", f"{shortage}; what is left waits"))
        self._shortage = shortage
