"""A process that carries out the jobs it reads, one JSON object a line, and writes their events to stdout likewise."""

import json
import os
import queue
import signal
import sys
import threading
from typing import Any

from vaecli.startup import prepare
from vaecli.sweep.launcher import Job, JobTask


def main() -> None:
    """Works until stdin ends: whoever started this process has then gone, in whatever way."""
    prepare()
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What a library prints is not an event.

    def emit(place: int, kind: str, payload: Any) -> None:
        print(json.dumps([place, kind, payload]), file=stream, flush=True)

    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    jobs: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    while True:
        job = json.loads(jobs.get())
        tasks = [JobTask(*task) for task in job.pop("tasks")]
        Job(tasks, **job).carry_out(emit, lambda: bool(stops))


def _read_jobs(jobs: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        jobs.put(line)
    # The locks of its runs are free at once, so that another sweep can go on with them.
    os._exit(0)


if __name__ == "__main__":
    main()
