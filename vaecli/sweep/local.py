"""The launcher for this machine: processes that take one task after the other, so that each compiles a program once."""

import collections
import contextlib
import dataclasses
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import vaecli
from vaecli.config import UsageError
from vaecli.sweep.grid import Sweep, Task
from vaecli.sweep.launcher import Event, Job

# The package of this process, were it not where the other one would look for it; the working folder hides nothing.
_START = (
    "import sys; root = sys.argv[1]; root in sys.path or sys.path.insert(0, root); "
    "from vaecli.sweep.worker import main; main()"
)
_POLL = 0.2
"""Seconds between two looks at whether the user wants to stop."""


class Local:
    """Trains tasks in `jobs` processes of this machine."""

    def __init__(self, jobs: int):
        self._jobs = jobs

    def __call__(
        self, sweep: Sweep, tasks: Sequence[Task], tell: Callable[[Event], None], stopped: Callable[[], bool]
    ) -> None:
        """As `Launcher` says; a task whose process dies is given to another one, once.

        Raises:
          UsageError: no process can be started.
        """
        waiting = collections.deque(range(len(tasks)))
        deaths = collections.Counter[int]()
        heard: queue.Queue[tuple[_Worker, list[Any] | None]] = queue.Queue()
        workers: set[_Worker] = set()
        stopping = False
        with contextlib.ExitStack() as stack:
            while waiting or workers:
                if stopped() and not stopping:
                    stopping = True
                    waiting.clear()
                    for worker in workers:
                        worker.process.send_signal(signal.SIGTERM)
                while waiting and len(workers) < self._jobs:
                    try:
                        worker = _Worker(heard)
                    except OSError as error:
                        if not workers:
                            raise UsageError(f"no process can be started to train in ({error.strerror})") from error
                        self._jobs = len(workers)  # As many as there can be.
                        break
                    stack.callback(worker.kill)
                    workers.add(worker)
                    worker.give(waiting.popleft(), sweep, tasks)
                try:
                    worker, event = heard.get(timeout=_POLL)
                except queue.Empty:
                    continue
                task = worker.task
                if event is None:
                    workers.discard(worker)
                    if task is None:
                        continue
                    deaths[task] += 1
                    if stopping:
                        tell(Event(task, "ended", []))  # One that had not come as far as to hear the signal.
                    elif deaths[task] > 1:
                        tell(Event(task, "failed", worker.died()))
                    else:
                        tell(Event(task, "note", f"{sweep.label(tasks[task])}: {worker.died()}; another one goes on"))
                        waiting.appendleft(task)
                elif task is not None:
                    tell(Event(task, *event))
                    if event[0] in ("ended", "failed"):
                        if waiting:
                            worker.give(waiting.popleft(), sweep, tasks)
                        else:
                            worker.dismiss()


class _Worker:
    """One process, the task it has, and two threads that listen to it."""

    def __init__(self, heard: "queue.Queue[tuple[_Worker, list[Any] | None]]"):
        # A session of its own: Ctrl-C in the terminal reaches the sweep alone, which passes it on once.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(Path(vaecli.__file__).parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.task: int | None = None
        self._heard = heard
        self._last_words: collections.deque[str] = collections.deque(maxlen=20)
        self._threads = [threading.Thread(target=listen, daemon=True) for listen in (self._listen, self._keep)]
        for thread in self._threads:
            thread.start()

    def give(self, task: int, sweep: Sweep, tasks: Sequence[Task]) -> None:
        """Hands a task over."""
        self.task = task
        self._write(json.dumps(dataclasses.asdict(Job.of(sweep, tasks[task]))) + "\n")

    def dismiss(self) -> None:
        """Lets the process end, which has nothing to do any more."""
        self.task = None
        with contextlib.suppress(OSError):
            self._stdin.close()

    def died(self) -> str:
        """How the process ended that should not have."""
        self.kill()
        code = self.process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        words = [line for line in self._last_words if line.strip()]
        return f"its process ended ({how}{': ' + words[-1].strip()[:300] if words else ''})"

    def kill(self) -> None:
        """Ends the process, if it still is there."""
        self.dismiss()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(timeout=5)

    @property
    def _stdin(self) -> IO[str]:
        assert self.process.stdin is not None
        return self.process.stdin

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):  # It has died; the thread that listens says so.
            self._stdin.write(line)
            self._stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            with self.process.stdout as stream, contextlib.suppress(ValueError):
                for line in stream:
                    self._heard.put((self, json.loads(line)))
        finally:
            # A line that was cut off ends it like the end of all lines.
            self._heard.put((self, None))

    def _keep(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._last_words.append(line)
