"""A process that carries out the jobs it reads, one JSON object a line, and tells of them on stdout in the same way."""

import json
import os
import queue
import signal
import sys
import threading
from typing import Any, TextIO

from vaecli.config import UsageError
from vaecli.sweep.launcher import Job


class _Teller:
    """Tells of each event of a run."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def tell(self, kind: str, told: Any = None) -> None:
        print(json.dumps([kind, told]), file=self._stream, flush=True)

    def begin(self, title: str, epochs: int) -> None:
        self.tell("begin")

    def epoch(self, epoch: int, elbo: float | None, images_per_second: float) -> None:
        self.tell("epoch", [epoch, elbo])

    def note(self, text: str) -> None:
        self.tell("note", text)

    def end(self) -> None:
        pass


def main() -> None:
    """Works until stdin ends: whoever has started this process has then gone, however that came."""
    teller = _Teller(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # What a library prints is no event.
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    jobs: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    while True:
        job = Job(**json.loads(jobs.get()))
        try:
            teller.tell("ended", job.carry_out(teller, lambda: bool(stops)))
        except UsageError as error:
            teller.tell("failed", str(error))
        except Exception as error:
            if "VAE_TRACEBACK" in os.environ:
                raise
            teller.tell("failed", " ".join(f"unexpected {type(error).__name__}: {error}".split())[:500])


def _read(jobs: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        jobs.put(line)
    # The locks of its runs are free at once, so that another sweep can go on with them.
    os._exit(0)


if __name__ == "__main__":
    main()
