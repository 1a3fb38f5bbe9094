"""Measures what Ray costs a sweep: many short runs over several nodes, and the placement of tasks that do nothing.

    python bench/ray_scale.py [--runs 200] [--nodes 1 2 4] [--rounds 2] [--tasks 1000]

Sweeps runs of one epoch on a small subset of MNIST, each a variant of its own, once with the local launcher and as many
processes, and once over a cluster of that many logical nodes of one CPU on this machine, in turns; the cluster runs
already, and the compilation cache is warm. A round's overhead is a ratio within it; the median over rounds is printed.
Then a sweep whose tasks only sleep goes through the same launcher, over four nodes; from the first hundred on, when all
processes have started, the time beyond that sleep is what placing a task costs, events and all. Needs vaecli[ray].
"""

import argparse
import functools
import gzip
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}

from ray.cluster_utils import Cluster

from vaecli.config import Config
from vaecli.config.toml import SweepPlan
from vaecli.data import load
from vaecli.sweep import ray as launcher
from vaecli.sweep.grid import expand
from vaecli.sweep.launcher import Event, EventKind, Job

IMAGES, SLEEP, AT_ONCE, STARTED = 2_000, 0.02, 4, 100
STORE = 100 * 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subset(folder / "data")
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        sweep = functools.partial(swept, folder)
        print(f"warm-up: {sweep(2, '--jobs', '1'):.1f} s")
        for count in options.nodes:
            nodes = cluster(count)
            address = ("--launcher", "ray", "--ray-address", nodes.address)
            pairs = [
                (sweep(options.runs, "--jobs", str(count)), sweep(options.runs, *address))
                for _ in range(options.rounds)
            ]
            overhead = statistics.median(ray / local - 1 for local, ray in pairs)
            times = ", ".join(f"{local:.1f} and {ray:.1f}" for local, ray in pairs)
            print(
                f"{options.runs} runs, {count} nodes: {times} s (local and Ray), overhead {overhead:+.1%}", flush=True
            )
            nodes.shutdown()
        nodes = cluster(AT_ONCE)
        print(f"{options.tasks} sleeping tasks: {placed(folder, nodes.address, options.tasks) * 1e3:.2f} ms for each")
        nodes.shutdown()


def cluster(nodes: int) -> Any:
    """Starts a cluster of logical nodes of one CPU each."""
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE})
    for _ in range(nodes - 1):
        started.add_node(num_cpus=1, object_store_memory=STORE)
    return started


def swept(folder: Path, runs: int, *words: str) -> float:
    """Returns the seconds of a sweep of runs that have not been trained yet."""
    with tempfile.TemporaryDirectory(dir=folder) as results:
        rates = [f"{1e-3 * (1 + k / 1e3):.6f}" for k in range(runs)]
        settings = ["--data-dir", str(folder / "data"), "--epochs", "1", "--param", "logvar", "--lr", *rates]
        begun = time.perf_counter()
        argv = [sys.executable, "-m", "vaecli", "sweep", "--name", "scale", "--runs", results, *settings, *words]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - begun
        assert len(list(Path(results).glob("*/*/*/summary.json"))) == runs
        return seconds


class Sleeping(Job):
    """Tasks that do nothing for a while."""

    def carry_out(self, emit: Callable[[int, EventKind, Any], None], stopped: Callable[[], bool]) -> None:
        for place, task in enumerate(self.tasks):
            emit(place, "begin", None)
            time.sleep(SLEEP)
            emit(place, "epoch", [1, 0.0])
            emit(place, "ended", [{"status": "complete", "metrics": {}} for _ in task.seeds])


def placed(folder: Path, address: str, tasks: int) -> float:
    """Returns the seconds that placing one of many tasks costs."""
    grid = {"lr": [1e-3 * (1 + k / 1e5) for k in range(tasks)]}
    sweep = expand({"name": "sleep", "data_dir": str(folder / "data")}, SweepPlan(1, False, [grid]), folder)
    ended = []

    def emit(event: Event) -> None:
        if event.kind == "ended":
            ended.append(time.perf_counter())

    with mock.patch.object(launcher, "Job", Sleeping):
        launcher.RayLauncher(address)(sweep, sweep.tasks, emit, bool)
    assert len(ended) == tasks
    return (ended[-1] - ended[STARTED]) / (tasks - 1 - STARTED) - SLEEP / AT_ONCE


def subset(folder: Path) -> None:
    """Writes the first images of MNIST as IDX files."""
    folder.mkdir()
    whole = load(Config())
    for split, rows in (("train", whole.train[:IMAGES]), ("t10k", whole.test[: IMAGES // 4])):
        write(folder / f"{split}-images-idx3-ubyte.gz", rows.tobytes(), (len(rows), whole.height, whole.width))
        write(folder / f"{split}-labels-idx1-ubyte.gz", bytes(len(rows)), (len(rows),))


def write(path: Path, content: bytes, shape: Sequence[int]) -> None:
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    path.write_bytes(gzip.compress(header + content, 1))


if __name__ == "__main__":
    main()
