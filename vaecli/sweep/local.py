"""The launcher for this machine: processes that take one pack of tasks after the other."""

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
from vaecli.config.toml import PackLimit
from vaecli.environment import check_in_another_process
from vaecli.runs.limits import allow_open_files
from vaecli.sweep.grid import Sweep, Task
from vaecli.sweep.launcher import Event, Job
from vaecli.sweep.packing import accelerated_here, halves, packs

# The path of this process's package, in case the other one would not find it; the working folder hides nothing.
_START = (
    "import sys; root = sys.argv[1]; root in sys.path or sys.path.insert(0, root); "
    "from vaecli.sweep.worker import main; main()"
)
_POLL = 0.2
"""Seconds between two looks at whether the user wants to stop."""


class LocalLauncher:
    """Trains tasks in `jobs` processes of this machine, those of one program together."""

    def __init__(self, jobs: int, limit: PackLimit = "auto"):
        """Starts nothing yet.

        Args:
          jobs: the most processes at a time.
          limit: the most runs that train together in one of them.
        """
        self._jobs = jobs
        self._limit: PackLimit = limit

    def packs(self, tasks: Sequence[Task], *, surely: bool = False) -> list[tuple[int, ...]]:
        """Returns the numbers of the tasks that train together.

        Args:
          tasks: the tasks.
          surely: whether it has to be known what this machine computes on; otherwise its processes find out.
        """
        accelerated = accelerated_here(self._limit, surely=surely or self._jobs > 1)
        return packs(tasks, self._limit, slots=self._jobs, accelerated=accelerated)

    def __call__(
        self, sweep: Sweep, tasks: Sequence[Task], emit: Callable[[Event], None], stopped: Callable[[], bool]
    ) -> None:
        """Does what `Launcher` says; a task whose process dies is given to another one, once.

        Raises:
          UsageError: no process can be started, it could not open the files of a task's runs, or jax could not compute.
        """
        check_in_another_process()
        formed = self.packs(tasks)
        # The processes inherit the limit.
        allow_open_files(max((sum(len(tasks[number].seeds) for number in pack) for pack in formed), default=0))
        with contextlib.ExitStack() as cleanup:
            _Pool(self._jobs, sweep, tasks, formed, self._limit, emit, cleanup).run(stopped)


class _Pool:
    """The processes that train the tasks of a sweep, and the tasks that wait for one."""

    def __init__(
        self,
        size: int,
        sweep: Sweep,
        tasks: Sequence[Task],
        formed: Sequence[Sequence[int]],
        limit: PackLimit,
        emit: Callable[[Event], None],
        cleanup: contextlib.ExitStack,
    ):
        """Starts nothing yet.

        Args:
          size: the most processes at a time.
          sweep: the sweep of the tasks.
          tasks: those that are to be trained.
          formed: the numbers of those that train together.
          limit: the most runs that do.
          emit: takes each event.
          cleanup: ends, when it is closed, every process that was started.
        """
        self._size, self._sweep, self._tasks, self._emit, self._cleanup = size, sweep, tasks, emit, cleanup
        self._limit: PackLimit = limit
        self._waiting = collections.deque(formed)
        self._deaths = collections.Counter[int]()
        self._messages: _Messages = queue.Queue()
        self._workers: set[_Worker] = set()
        self._stopping = False

    def run(self, stopped: Callable[[], bool]) -> None:
        """Trains the tasks, until none waits and no process is left."""
        while self._waiting or self._workers:
            if stopped() and not self._stopping:
                self._stop()
            self._start_workers()
            try:
                worker, message = self._messages.get(timeout=_POLL)
            except queue.Empty:
                continue
            if message is None:
                self._handle_end(worker)
            else:
                self._handle_message(worker, message)

    def _stop(self) -> None:
        """Lets no further task begin, and asks the processes to end after their epoch."""
        self._stopping = True
        self._waiting.clear()
        for worker in self._workers:
            worker.process.send_signal(signal.SIGTERM)

    def _start_workers(self) -> None:
        """Starts as many processes as there may be, while tasks wait."""
        while self._waiting and len(self._workers) < self._size:
            try:
                worker = _Worker(self._messages)
            except OSError as error:
                if not self._workers:
                    raise UsageError(f"no process can be started to train in ({error.strerror})") from error
                self._size = len(self._workers)  # As many as there can be.
                return
            self._cleanup.callback(worker.kill)
            self._workers.add(worker)
            self._assign(worker)

    def _assign(self, worker: "_Worker") -> None:
        pack = self._waiting.popleft()
        worker.assign(pack, Job.of(self._sweep, [self._tasks[number] for number in pack], self._limit))

    def _handle_message(self, worker: "_Worker", message: Sequence[Any]) -> None:
        """Emits what a process says about a task; one whose tasks have all ended gets the next ones, or may end."""
        place, kind, payload = message
        self._emit(Event(worker.pack[place], kind, payload))
        if kind in ("ended", "failed"):
            worker.under_way.discard(worker.pack[place])
            if worker.under_way:
                return
            if self._waiting:
                self._assign(worker)
            else:
                worker.let_end()

    def _handle_end(self, worker: "_Worker") -> None:
        """Takes a process off the list; what it died with is tried by others: a task once, and several by halves."""
        self._workers.discard(worker)
        left = sorted(worker.under_way)
        if not left:
            return
        if self._stopping:
            for task in left:
                self._emit(Event(task, "ended", []))  # It had not come far enough to handle the signal.
            return
        if len(left) == 1:
            self._deaths[left[0]] += 1
        death = worker.describe_death()
        if len(left) == 1 and self._deaths[left[0]] > 1:
            self._emit(Event(left[0], "failed", death))
            return
        label = self._sweep.label(self._tasks[left[0]])
        others = f" and {len(left) - 1} more" if len(left) > 1 else ""
        self._emit(Event(left[0], "note", f"{label}{others}: {death}; another one goes on"))
        self._waiting.extendleft(reversed(halves(left)))


class _Worker:
    """A process, the tasks it has, and two threads that read what it writes.

    Attributes:
      pack: the tasks that it was given last.
      under_way: those of them that have not ended.
    """

    def __init__(self, messages: "_Messages"):
        """Starts the process; its messages, and None at their end, go into the queue."""
        # A session of its own: Ctrl-C in the terminal reaches only the sweep, which passes it on once.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(Path(vaecli.__file__).parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.pack: Sequence[int] = ()
        self.under_way: set[int] = set()
        self._messages = messages
        self._stderr_tail: collections.deque[str] = collections.deque(maxlen=20)
        self._threads = [
            threading.Thread(target=read, daemon=True) for read in (self._read_messages, self._read_stderr)
        ]
        for thread in self._threads:
            thread.start()

    def assign(self, pack: Sequence[int], job: Job) -> None:
        """Hands the process tasks that train together."""
        self.pack, self.under_way = pack, set(pack)
        with contextlib.suppress(OSError):  # It has died; the thread that reads its messages reports that.
            self._stdin.write(json.dumps(dataclasses.asdict(job)) + "\n")
            self._stdin.flush()

    def let_end(self) -> None:
        """Lets the process end, as it has nothing more to do."""
        self.under_way = set()
        with contextlib.suppress(OSError):
            self._stdin.close()

    def describe_death(self) -> str:
        """Says how the process ended that should not have."""
        self.kill()
        code = self.process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        lines = [line for line in self._stderr_tail if line.strip()]
        return f"its process ended ({how}{': ' + lines[-1].strip()[:300] if lines else ''})"

    def kill(self) -> None:
        """Ends the process, if it is still there."""
        self.let_end()
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

    def _read_messages(self) -> None:
        assert self.process.stdout is not None
        try:
            with self.process.stdout as stream, contextlib.suppress(ValueError):
                for line in stream:
                    self._messages.put((self, json.loads(line)))
        finally:
            # A line that was cut off ends the messages, as the end of the stream does.
            self._messages.put((self, None))

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._stderr_tail.append(line)


_Messages = queue.Queue[tuple[_Worker, list[Any] | None]]
"""Messages of processes, each the place of a task in its pack, and a kind and a payload of an `Event`; None where a
process writes no more."""
