"""The display of a sweep while it runs: a live table on a terminal, plain lines elsewhere, both on stderr."""

import contextlib
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vaecli.config.texts import message, minus, printable
from vaecli.report.formatting import level, seed_list
from vaecli.runs.directory import Summary
from vaecli.sweep.grid import Sweep, Task
from vaecli.sweep.launcher import Event
from vaecli.training.fitting import MARGIN, told_apart
from vaecli.training.terminal import print_message, stderr_console


class TableRow(NamedTuple):
    """A variant under way.

    Attributes:
      label: its name.
      seeds: its seeds, in words.
      epoch, epochs: how many epochs are done, and how many there are.
      elbo: the newest test ELBO; empty before the first.
    """

    label: str
    seeds: str
    epoch: int
    epochs: int
    elbo: str

    def cells(self, *, seeds: bool, elbo: str) -> list[str]:
        """Returns the cells behind the bar: the epoch, and what else there is room for."""
        epoch = f"epoch {self.epoch}/{self.epochs}" if self.elbo else "compiling"
        return [epoch, *[elbo.format(self.elbo) if self.elbo else ""] * bool(elbo), *[self.seeds] * seeds]


_FORMS = [
    (20, True, "test ELBO {} nats"),
    (10, True, "test ELBO {} nats"),
    (10, True, "ELBO {}"),
    (10, False, "ELBO {}"),
    (10, False, ""),
]
"""The width of the bar, whether the seeds are named, and how the ELBO is: from the widest form of a row to that which
stays in the narrowest terminal."""


def fitted(rows: Sequence[TableRow], room: int) -> Iterator[tuple[TableRow, int, Sequence[str]]]:
    """Fits variants into lines of so many characters; yields each with the width of its bar and its other cells.

    Labels that are too long are shortened so that they can be told apart.
    """
    longest = max((len(row.label) for row in rows), default=0)
    bar, seeds, elbo, for_label = 0, False, "", 0
    for least in (longest, 24, 12, 0):
        for bar, seeds, elbo in _FORMS:
            columns = zip(*(row.cells(seeds=seeds, elbo=elbo) for row in rows), strict=True)
            for_label = room - bar - 2 - sum(max(map(len, column)) + 2 for column in columns)
            if for_label >= min(longest, least):
                break
        else:
            continue
        break
    for row, label in zip(rows, told_apart([row.label for row in rows], max(for_label, 1)), strict=True):
        yield row, bar, [label, *row.cells(seeds=seeds, elbo=elbo)]


class SweepProgress:
    """Keeps the outcomes of a sweep, and shows how far it has come."""

    def __init__(
        self,
        sweep: Sweep,
        outcomes: Mapping[Path, Summary | None],
        tasks: Sequence[Task],
        stopping: Callable[[], str] = str,
    ):
        """Begins with the runs that had their outcome before.

        Args:
          sweep: all its runs.
          outcomes: the summary of each run, by its directory; None for a run without an outcome.
          tasks: those that are to be trained.
          stopping: returns what to say of the user's wish to stop; nothing while there is none.
        """
        self.summaries: dict[Path, Summary] = {path: summary for path, summary in outcomes.items() if summary}
        self.failed: dict[str, str] = {}
        self._sweep = sweep
        self._runs = len(outcomes) + sweep.unchosen
        self._tasks = tasks
        self._begun = time.monotonic()
        # For each task under way, the first and the last epoch that it reported, and the newest ELBO.
        self._epochs: dict[int, tuple[int, int, float | None]] = {}
        # Epochs of single runs: for each task those that it has to train, and those that ended tasks have trained.
        self._epochs_due = {
            number: sum(sweep.path(task, seed) not in self.summaries for seed in task.seeds) * task.config.epochs
            for number, task in enumerate(tasks)
        }
        self._trained = 0.0
        self._stopping = stopping
        self._console = stderr_console()
        self._live: Live | None = None
        self._height = 1

    @contextlib.contextmanager
    def shown(self) -> Iterator["SweepProgress"]:
        """Shows the table while the sweep runs."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(get_renderable=self._table, console=self._console, transient=True, refresh_per_second=4) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def handle(self, event: Event) -> None:
        """Takes an event of a launcher."""
        task = self._tasks[event.task]
        if event.kind == "begin":
            self._epochs.setdefault(event.task, (task.config.epochs, 0, None))
        elif event.kind == "epoch":
            epoch, elbo = event.payload
            first, _, before = self._epochs.get(event.task, (task.config.epochs, 0, None))
            self._epochs[event.task] = (min(first, epoch), epoch, before if elbo is None else elbo)
        elif event.kind == "note":
            self._print(f"vae: {event.payload}")
        else:
            self._handle_end(event, self._sweep.label(task))

    def _handle_end(self, event: Event, name: str) -> None:
        self._trained += self._trained_epochs(event.task)
        self._epochs.pop(event.task, None)
        self._epochs_due[event.task] = 0
        if event.kind == "failed":
            self.failed[name] = event.payload
            self._print(f"vae: {name}: {event.payload}")
        else:
            ended = [summary for summary in event.payload if summary["status"] != "interrupted"]
            self.summaries |= {Path(summary["path"]): summary for summary in ended}
            if event.payload:  # Otherwise its turn did not come.
                self._print(f"{name} · {describe_outcome(event.payload)} · {self._state()}")

    def _trained_epochs(self, number: int) -> float:
        """Returns how many epochs of single runs a task under way has trained since it began."""
        first, last, _ = self._epochs.get(number, (0, 0, None))
        task = self._tasks[number]
        return self._epochs_due[number] * max(last - first, 0) / max(task.config.epochs - first, 1)

    def _state(self) -> str:
        parts, remaining = self._parts()
        return ", ".join([*parts, *remaining])

    def _parts(self) -> tuple[list[str], list[str]]:
        """Returns what is done, in words, and the time left or the wish to stop, where there is one."""
        statuses = [summary["status"] for summary in self.summaries.values()]
        parts = [f"{len(statuses)} of {self._runs} runs done"]
        if diverged := statuses.count("diverged"):
            parts.append(f"{diverged} of them diverged")
        if self.failed:
            parts.append(f"{len(self.failed)} variant{'s' * (len(self.failed) > 1)} failed")
        trained = self._trained + sum(map(self._trained_epochs, self._epochs))
        left = sum(self._epochs_due.values()) - sum(map(self._trained_epochs, self._epochs))
        if stopping := self._stopping():
            return parts, [stopping]
        if trained and left > 0:
            return parts, [f"{duration((time.monotonic() - self._begun) * left / trained)} left"]
        return parts, []

    def _table(self) -> Group:
        """Returns a line of what is done, and one for each variant under way that there is room for."""
        rows = []
        under_way = list(self._epochs.items())
        # The console itself would cut off a table that is too high, and not erase all of it.
        room = max(self._console.height - 3, 1)
        for number, (_, epoch, elbo) in under_way[: room if len(under_way) > room + 1 else None]:
            task = self._tasks[number]
            text = "" if elbo is None else minus(f"{elbo:.2f}")
            rows.append(
                TableRow(printable(self._sweep.label(task)), seed_list(task.seeds), epoch, task.config.epochs, text)
            )
        table = Table.grid(padding=(0, 2))
        for row, bar, cells in fitted(rows, self._console.width - MARGIN):
            label, *rest = (Text(cell, no_wrap=True) for cell in cells)
            table.add_row(label, ProgressBar(row.epochs, row.epoch, width=bar), *rest)
        more = [Text(f"and {len(under_way) - len(rows)} more variants")] * (len(under_way) > len(rows))
        parts, remaining = self._parts()
        self._height = 1 + len(rows) + len(more)
        return Group(Text(", ".join([*remaining, *parts]), no_wrap=True, overflow="ellipsis"), table, *more)

    def erasure(self) -> str:
        """Returns what a terminal is sent so that the table is gone, for a process that is about to end."""
        if not self._live:
            return ""
        return "\r\x1b[2K" + "\x1b[1A\x1b[2K" * (min(self._height, self._console.height) - 1)

    def _print(self, text: str) -> None:
        """Prints a line, above the table where there is one."""
        if self._live:
            self._live.console.print(message(text), markup=False, highlight=False, soft_wrap=True)
        else:
            print_message(text)


def _elbo(complete: Sequence[Summary]) -> str:
    """Returns the test ELBO of complete runs, as mean ± sd."""
    values = [summary["metrics"]["test/elbo"] for summary in complete]
    return level(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def describe_outcome(summaries: Collection[Summary]) -> str:
    """Puts the outcomes of runs that differ only in their seed into words."""
    complete = [summary for summary in summaries if summary["status"] == "complete"]
    parts = [f"{len(complete)} of {len(summaries)} complete"]
    for status in ("diverged", "interrupted", "unfinished"):
        if count := sum(summary["status"] == status for summary in summaries):
            parts.append(f"{count} {status}")
    if complete:
        parts.append(f"test ELBO {_elbo(complete)} nats")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Formats a time that something takes.

    >>> duration(42), duration(600), duration(7500)
    ('42 s', '10 min', '2 h 5 min')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
