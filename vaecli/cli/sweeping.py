"""The training of a sweep's tasks, shown on stderr, until all have ended or a signal comes."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vaecli.cli.signals import STOPPING, stopping_signals
from vaecli.config import UsageError
from vaecli.training.terminal import print_message

if TYPE_CHECKING:
    from vaecli.runs.directory import Summary
    from vaecli.sweep.grid import Sweep, Task
    from vaecli.sweep.launcher import Launcher
    from vaecli.sweep.progress import SweepProgress


def train_tasks(
    sweep: "Sweep",
    summaries: "Mapping[Path, Summary | None]",
    tasks: "Sequence[Task]",
    data: Sequence[str],
    launcher: "Launcher",
) -> "tuple[SweepProgress, Sequence[int]]":
    """Trains tasks of a sweep, and shows it; returns the outcomes, and the signals that stopped it.

    Args:
      sweep: all its runs.
      summaries: the summary of each run, by its directory; None for a run without an outcome.
      tasks: those that are to be trained.
      data: what a person reads of their data.
      launcher: what trains them.

    Raises:
      UsageError: the folder of results cannot be written.
    """
    from vaecli.runs.checkpoint import tidy
    from vaecli.sweep.progress import SweepProgress
    from vaecli.sweep.remote import remove_dead_markers

    folder = sweep.runs / sweep.tasks[0].config.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--runs: {sweep.runs} cannot be written ({error.strerror})") from error
    remove_dead_markers(sweep.runs)
    for path, summary in summaries.items():
        if summary:
            tidy(path, summary["steps"])
    for line in data:
        print_message(line)
    displays: list[SweepProgress] = []

    def erasure() -> str:
        return "".join(display.erasure() for display in displays)

    # On a terminal the table says that it stops.
    with stopping_signals(announce=not sys.stderr.isatty(), erasure=erasure) as received:
        progress = SweepProgress(sweep, summaries, tasks, lambda: STOPPING if received else "")
        displays.append(progress)
        if tasks:
            try:
                with progress.shown():
                    launcher(sweep, tasks, progress.handle, lambda: bool(received))
            finally:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # Where no run has begun, nothing is left.
    return progress, received
