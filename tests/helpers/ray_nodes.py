"""A Ray cluster of several nodes on this machine, in processes of its own; and what tests of it look for in /proc.

`python ray_nodes.py '[{}, {}, {}]'` starts three, prints what it made, and lives until its stdin ends; each object has
arguments for Ray, and for each one on a line of stdin it starts one more. It adopts the orphans of its processes, so
that it can kill whatever is left of them then. Ray is imported only there.
"""

import contextlib
import ctypes
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NO_RAY = importlib.util.find_spec("ray") is None

_ADOPT = 36
"""PR_SET_CHILD_SUBREAPER, of prctl."""

_STORE = 100 * 2**20

_WITHOUT = {"include_log_monitor": False, "no_monitor": True}
"""Without the processes that copy what tasks print, and that add machines: no sweep looks at them."""

ON_DEMAND = {"RAY_prestart_worker_first_driver": "0"}
"""Without a process for each CPU as soon as there is a sweep: each imports Ray, and most are for nothing."""


def descendants(*pids):
    """The processes that these started, and those that they started in turn, without those that have ended."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    started, waiting = [], list(pids)
    while waiting:
        new = children.get(waiting.pop(), [])
        started += new
        waiting += new
    return started


def ancestry(pid):
    """A process, the one that started it, and so on; much sooner found than the descendants of all these."""
    found = []
    with contextlib.suppress(OSError):
        while pid:
            found.append(pid)
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def kill(pids):
    """Ends processes at once."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def title(pid):
    """What a process calls itself, and nothing where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
    except OSError:
        return ""


def environment(**changes):
    """An environment for processes of a sweep, without settings of Ray's but for those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"RAY_USAGE_STATS_ENABLED": "0"} | changes


@contextlib.contextmanager
def cluster(folder, *nodes):
    """Starts nodes, and kills what is left of them.

    Args:
      folder: in which they work, and below which they have their scratch space.
      nodes: arguments for Ray of each, the head first.

    Yields:
      A dict: `address`; `nodes`, with the `id` and the `pids` of each, the head first; `add`, which starts one more and
      returns it; `env`, for the processes of a sweep; `scratch`, a folder.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    scratch = folder / "scratch"
    scratch.mkdir()
    env = environment(**token, **ON_DEMAND, TMPDIR=str(scratch))
    argv = [sys.executable, "-P", __file__, json.dumps(nodes)]
    with (
        open(folder / "nodes.log", "w+") as log,
        subprocess.Popen(
            argv,
            env=env,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:

            def answer():
                line = process.stdout.readline()
                assert line, (folder / "nodes.log").read_text()
                return json.loads(line)

            def add(**arguments):
                print(json.dumps(arguments), file=process.stdin, flush=True)
                return answer()

            yield {**answer(), "add": add, "env": environment(**token), "scratch": scratch}
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=30)
            finally:
                kill([*descendants(process.pid), process.pid])


def main(first):
    """Starts nodes, the first ones with these arguments, prints what they are, and ends with stdin."""
    ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)
    folder = tempfile.mkdtemp(prefix="vr-", dir="/tmp")  # Sockets lie in it, and their names are short.
    os.environ["RAY_TMPDIR"] = folder
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        from ray.cluster_utils import Cluster

        nodes = Cluster(shutdown_at_exit=False)

        def add(**arguments):
            node = nodes.add_node(
                **{"num_cpus": 1, "object_store_memory": _STORE, "include_dashboard": False, **_WITHOUT, **arguments}
            )
            pids = [info.process.pid for of_kind in node.all_processes.values() for info in of_kind]
            return {"id": node.node_id, "pids": pids}

        # One after the other, since each numbers its files in the folder of the session.
        described = [add(**arguments) for arguments in first]
        print(json.dumps({"address": nodes.address, "nodes": described}), file=stdout, flush=True)
        for line in sys.stdin:
            print(json.dumps(add(**json.loads(line))), file=stdout, flush=True)
    finally:
        # As machines that are switched off; what is asked to end in order may start something new.
        while left := descendants(os.getpid()):
            kill(left)
            time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
