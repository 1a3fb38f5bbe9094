"""The interface of all launchers of a sweep, and the one way in which tasks are carried out."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from vaecli.config import Config, UsageError
from vaecli.config.errors import one_line
from vaecli.config.toml import PackLimit
from vaecli.sweep.grid import Sweep, Task
from vaecli.training.pack import Member, Place, train_pack
from vaecli.training.train import checked

EventKind = Literal["begin", "epoch", "note", "ended", "failed"]


class Event(NamedTuple):
    """An event in the life of a task.

    Attributes:
      task: its place among those that the launcher was given.
      kind: `begin`, a batch of its runs starts; `epoch`, one is done; `note`, something that a person should know;
        `ended`, each run has a summary, though it may be `interrupted`, or none has where the turn of the task did not
        come; `failed`, the task was given up.
      payload: of `epoch`, its number and the test ELBO; of `note` and `failed`, the text; of `ended`, the summaries.
    """

    task: int
    kind: EventKind
    payload: Any = None


class ClusterLost(UsageError):
    """The machines that trained were lost; on others, the same command goes on."""


class Launcher(Protocol):
    """Trains tasks, on whatever machines it has."""

    def packs(self, tasks: Sequence[Task], *, surely: bool = False) -> Sequence[Sequence[int]]:
        """Returns the numbers of the tasks that train together.

        Args:
          tasks: the tasks.
          surely: whether it has to be known what the machines compute on, which may take seconds.
        """
        ...

    def __call__(
        self,
        sweep: Sweep,
        tasks: Sequence[Task],
        emit: Callable[[Event], None],
        stopped: Callable[[], bool],
    ) -> None:
        """Trains them.

        Args:
          sweep: the sweep to which they belong.
          tasks: those that are to be trained.
          emit: called in this thread for each event, and last with `ended` or `failed` for each task that began.
          stopped: asked now and then; when it is true, no further task begins, and those under way end after their
            epoch, checkpointed.
        """
        ...


class JobTask(NamedTuple):
    """A task of a job: the settings of its config, and its seeds."""

    settings: dict[str, Any]
    seeds: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Job:
    """Tasks that train together, as they go to another process: plain values only.

    Attributes:
      tasks: the settings and the seeds of each.
      runs: the folder of all results.
      vary: the fields that the directories name.
      limit: the most runs that train together, or `auto`.
    """

    tasks: Sequence[JobTask]
    runs: str
    vary: Sequence[str]
    limit: PackLimit = "auto"

    @classmethod
    def of(cls, sweep: Sweep, tasks: Sequence[Task], limit: PackLimit = "auto") -> "Job":
        """Returns the job of some tasks."""
        plain = [JobTask(dataclasses.asdict(task.config), task.seeds) for task in tasks]
        return cls(plain, str(sweep.runs), sweep.vary, limit)

    def carry_out(self, emit: Callable[[int, EventKind, Any], None], stopped: Callable[[], bool]) -> None:
        """Trains the runs in this process, as `vae train` does.

        Args:
          emit: takes the place of a task in the job, and the kind and payload of an `Event`; of each task the last one
            is `ended` or `failed`.
          stopped: asked after each epoch; true ends the runs there, checkpointed.
        """
        waiting = set(range(len(self.tasks)))

        def end(place: int, kind: EventKind, payload: Any) -> None:
            waiting.discard(place)
            emit(place, kind, payload)

        try:
            members = {place: self._member(place, emit) for place in sorted(waiting)}
            for together in self._together():
                if len(waiting) < len(members) and stopped():
                    break
                pack = train_pack(
                    [members[place] for place in together],
                    Place(Path(self.runs), self.vary),
                    stopped=stopped,
                    within_memory=self.limit == "auto",
                    halve=self.limit != 1,
                )
                for number, ending in pack:
                    failed = isinstance(ending, UsageError)
                    end(together[number], "failed" if failed else "ended", str(ending) if failed else ending)
            for place in sorted(waiting):
                end(place, "ended", [])
        except UsageError as error:
            for place in sorted(waiting):
                end(place, "failed", str(error))
        except Exception as error:
            if "VAE_TRACEBACK" in os.environ:
                raise
            for place in sorted(waiting):
                end(place, "failed", f"unexpected {one_line(error)}")

    def _member(self, place: int, emit: Callable[[int, EventKind, Any], None]) -> Member:
        config, seeds = Config(**self.tasks[place].settings), self.tasks[place].seeds
        runs = [checked(dataclasses.replace(config, seed=seed)) for seed in seeds]
        return Member(runs, EventObserver(functools.partial(emit, place)))

    def _together(self) -> Sequence[Sequence[int]]:
        """Returns the places of the tasks that train together; without a limit, those on a CPU train one by one."""
        places = range(len(self.tasks))
        if self.limit != "auto" or len(places) == 1:
            return [places]
        from vaecli.training.capacity import has_accelerator

        return [places] if has_accelerator() else [[place] for place in places]


class EventObserver:
    """Follows runs, and emits what happens to them as kinds and payloads of an `Event`."""

    def __init__(self, emit: Callable[[EventKind, Any], None]):
        self._emit = emit

    def data(self, lines: Sequence[str]) -> None:
        pass  # The sweep has said it once for all.

    def begin(self, title: str, epochs: int) -> None:
        self._emit("begin", None)

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        self._emit("epoch", [epoch, elbo])

    def note(self, text: str) -> None:
        self._emit("note", text)

    def end(self) -> None:
        pass
