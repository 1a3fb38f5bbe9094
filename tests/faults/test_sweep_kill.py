"""A sweep that is killed again and again ends with the runs of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time

from helpers.runs import same

from vaecli.runs.directory import read_summary

KILLS = 10


def command(data, runs):
    argv = [sys.executable, "-m", "vaecli", "sweep", "--name", "small", "--data-dir", str(data), "--runs", str(runs)]
    settings = "--hidden 12 --latent 3 --batch-size 50 --epochs 90 --log-every 3 --grad-every 6 --grad-batches 1"
    return [*argv, *settings.split(), "--param", "logvar", "logstd", "--lr", "1e-3", "3e-3", "--seeds", "2"]


def checkpoints(runs):
    """Those there are."""
    return {str(path) for path in runs.glob("*/*/*/checkpoint/*.sha256")}


def children(process):
    """The processes that train for a sweep."""
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def attempt(argv, env, runs, rng):
    """Starts the sweep, and kills it or the process that trains for it, while either starts or while it trains."""
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    before, deadline = checkpoints(runs), time.monotonic() + 60
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0, 2))
    else:
        while checkpoints(runs) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.5))
    # A worker alone, which fails its task and not the others: then the sweep, too, a little later.
    workers = children(process)
    if workers and rng.random() < 0.3:
        os.kill(workers[0], signal.SIGKILL)
        time.sleep(rng.uniform(0, 1))
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, f"ended before it was killed: {process.returncode}, {err}"
    assert "Traceback" not in err


def test_kills(small_data, tmp_path):
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    whole, killed = (command(small_data, tmp_path / name) for name in ("whole", "killed"))
    subprocess.run(whole, env=env, check=True, capture_output=True, timeout=600)
    rng = random.Random(7)
    for _ in range(KILLS):
        attempt(killed, env, tmp_path / "killed", rng)
    done = subprocess.run(killed, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    paths = sorted(path.parent.relative_to(tmp_path / "whole") for path in tmp_path.glob("whole/*/*/*/summary.json"))
    assert len(paths) == 8
    for path in paths:
        one, other = (tmp_path / name / path for name in ("killed", "whole"))
        same(read_summary(one) | {"path": str(one)}, read_summary(other) | {"path": str(other)})
