"""The interface of all launchers of a sweep, and the one way in which a task is carried out."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from vaecli.config import Config, UsageError
from vaecli.config.errors import one_line
from vaecli.sweep.grid import Sweep, Task
from vaecli.training.progress import Observer
from vaecli.training.train import train_seeds

EventKind = Literal["begin", "epoch", "note", "ended", "failed"]


class Event(NamedTuple):
    """An event in the life of a task.

    Attributes:
      task: its place among those that the launcher was given.
      kind: `begin`, a batch of its runs starts; `epoch`, one is done; `note`, something that a person should know;
        `ended`, each run has a summary, though it may be `interrupted`; `failed`, the task was given up.
      payload: of `epoch`, its number and the test ELBO; of `note` and `failed`, the text; of `ended`, the summaries.
    """

    task: int
    kind: EventKind
    payload: Any = None


class ClusterLost(UsageError):
    """The machines that trained were lost; on others, the same command goes on."""


class Launcher(Protocol):
    """Trains tasks, on whatever machines it has."""

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


@dataclasses.dataclass(frozen=True)
class Job:
    """A task as it goes to another process: plain values only."""

    settings: dict[str, Any]
    seeds: Sequence[int]
    runs: str
    vary: Sequence[str]

    @classmethod
    def of(cls, sweep: Sweep, task: Task) -> "Job":
        """Returns the job of a task."""
        return cls(dataclasses.asdict(task.config), task.seeds, str(sweep.runs), sweep.vary)

    def carry_out(self, observer: Observer, stopped: Callable[[], bool]) -> tuple[Literal["ended", "failed"], Any]:
        """Trains its runs in this process, as `vae train` does; returns the kind and payload of the last `Event`."""
        try:
            config = Config(**self.settings)
            summaries = train_seeds(
                config, self.seeds, runs=self.runs, vary=self.vary, observer=observer, stopped=stopped
            )
        except UsageError as error:
            return "failed", str(error)
        except Exception as error:
            if "VAE_TRACEBACK" in os.environ:
                raise
            return "failed", f"unexpected {one_line(error)}"
        return "ended", summaries


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
