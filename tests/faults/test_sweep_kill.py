"""A sweep that is killed again and again ends with the runs of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from helpers.runs import same
from helpers.shared import shared_programs

from vaecli.cli.main import main
from vaecli.runs.directory import read_summary

RATES = ("1e-3", "3e-3")
"""Of tasks that share their programs."""

EPOCHS = {"quick": 20, "long": 90}
KILLS = {"quick": 1, "long": 10}
"""A worker that is killed before its sweep repeats what `test_local.py` and the first of these kills say."""
GRADIENTS = {"quick": "--grad-every 0", "long": "--grad-every 6 --grad-batches 1"}
"""In the quick variant each process would trace their program for nothing that `test_resume.py` does not see."""

RARELY = ("--checkpoint-every", "10")
"""For what is not stopped; to write a checkpoint takes longer than to train for an epoch."""


@pytest.fixture(autouse=True)
def programs(request):
    """Each is compiled once, for this process and those that it kills; in the long variants as a user's are."""
    with shared_programs("shipped" if request.node.get_closest_marker("long") else "batched"):
        yield


def settings(data, runs, variant):
    sizes = f"--epochs {EPOCHS[variant]} --latent 3 --batch-size 50 --log-every 5 {GRADIENTS[variant]}"
    sizes += " --hidden= --picture-every 0"
    return ["--name", "small", "--data-dir", str(data), "--runs", str(runs), "--seeds", "2", *sizes.split()]


def checkpoints(runs):
    """Those there are."""
    return {str(path) for path in runs.glob("*/*/*/checkpoint/*.sha256")}


def children(process):
    """The processes that train for a sweep."""
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def attempt(argv, runs, rng, starting, worker):
    """Starts the sweep, and kills it while it starts or while it trains; before it, the process that trains for it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vaecli", *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    before, deadline = checkpoints(runs), time.monotonic() + 60
    if starting:
        time.sleep(rng.uniform(0, 2))
    else:
        while checkpoints(runs) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.03)
        time.sleep(rng.uniform(0, 0.5))
    # The worker first, which fails its task and not the others: then the sweep, too, a little later.
    workers = children(process)
    if workers and worker:
        os.kill(workers[0], signal.SIGKILL)
        time.sleep(rng.uniform(0, 1))
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, f"ended before it was killed: {process.returncode}, {err}"
    assert "Traceback" not in err


@pytest.mark.parametrize("variant", ["quick", pytest.param("long", marks=pytest.mark.long)])
def test_kills(small_data, tmp_path, variant):
    killed = ["sweep", *settings(small_data, tmp_path / "killed", variant), "--lr", *RATES]
    rng = random.Random(variant)
    for number in range(KILLS[variant]):
        attempt(killed, tmp_path / "killed", rng, starting=number % 3 == 2, worker=number % 3 == 1)
    assert main([*killed, *RARELY]) == 0
    # Last, when a process of the sweep has compiled what it needs.
    for rate in RATES:
        whole = settings(small_data, tmp_path / "whole", variant)
        assert main(["train", *whole, *RARELY, "--lr", rate, "--vary", "lr"]) == 0
    paths = sorted(path.parent.relative_to(tmp_path / "whole") for path in tmp_path.glob("whole/*/*/*/summary.json"))
    assert len(paths) == 4
    for path in paths:
        one, other = (tmp_path / name / path for name in ("killed", "whole"))
        same(read_summary(one) | {"path": str(one)}, read_summary(other) | {"path": str(other)})
