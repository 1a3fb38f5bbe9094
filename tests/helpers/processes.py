"""The records of processes, as files have them that name their owner."""

import dataclasses
import json
import subprocess

from vaecli.runs.lock import Process


def record(**changes):
    """That of this process, with changes."""
    return f"a process\n{json.dumps(dataclasses.asdict(dataclasses.replace(Process.current(), **changes)))}\n"


def record_of_a_dead_process():
    """That of a process which has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return record(pid=process.pid, started="1")
