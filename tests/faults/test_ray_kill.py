"""A machine of a Ray cluster is lost while it trains: the sweep ends with the runs of one that lost none."""

import json
import re
import subprocess
import sys
import time

import pytest
from helpers.ray_nodes import NO_RAY, cluster, descendants, environment, kill
from helpers.runs import same

from vaecli.runs.directory import read_summary

pytestmark = pytest.mark.skipif(NO_RAY, reason="Ray is not installed")

STEPS = 5
"""Of an epoch: 230 images in batches of 50."""


def command(data, runs, *words):
    argv = [sys.executable, "-m", "vaecli", "sweep", "--name", "small", "--data-dir", str(data), "--runs", str(runs)]
    settings = "--hidden 12 --latent 3 --batch-size 50 --epochs 30 --log-every 3 --grad-every 0"
    grid = ["--lr", "1e-3", "3e-3", "1e-2", "--seeds", "2"]
    return [*argv, *settings.split(), *grid, *words]


def under_way(runs, pids):
    """The runs that one of these processes trains, by their locks, and the epoch of the last checkpoint of each."""
    found = {}
    for lock in runs.glob("*/*/*/.lock"):
        holder = re.match(r"process (\d+) on ", lock.read_text())
        sums = sorted(lock.parent.glob("checkpoint/*.sha256"))
        if holder and int(holder[1]) in pids and sums:
            found[lock.parent] = int(re.search(r"\d+", sums[-1].name)[0]) // STEPS
    return found


def lose(runs, nodes):
    """Switches a node off, as soon as one of them has trained both runs of a task for some epochs; which, and them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for node in nodes:
            pids = [*node["pids"], *descendants(*node["pids"])]
            found = under_way(runs, pids)
            if len(found) == 2 and min(found.values()) >= 3:
                kill(pids)
                return node, found
        time.sleep(0.005)
    raise AssertionError(f"no task came as far; {list(runs.rglob('*'))}")


def test_a_machine_that_is_lost(small_data, tmp_path):
    whole, lost = tmp_path / "whole", tmp_path / "lost"
    done = subprocess.run(command(small_data, whole), env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with cluster(3, tmp_path) as of:
        argv = command(small_data, lost, "--launcher", "ray", "--ray-address", of["address"], "--json")
        with subprocess.Popen(
            argv, env=of["env"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                node, cut = lose(lost, of["nodes"][1:])
                out, err = process.communicate(timeout=200)
            finally:
                process.kill()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    # Which machine was lost, with what, and which one goes on.
    (folder,) = {path.parent for path in cut}
    line = re.search(
        rf"^vae: {re.escape(folder.name)}: .* \((\w+)\) was lost with it; .* \((\w+)\) \w+ \w+$", err, re.M
    )
    assert line, err
    assert node["id"].startswith(line[1])
    assert any(other["id"].startswith(line[2]) for other in of["nodes"] if other is not node)
    # It goes on from a checkpoint, at least from the last that was there when the machine was lost.
    gone_on = re.findall(rf"^vae: {re.escape(str(folder))}/seed0 and 1 other: going on after epoch (\d+)$", err, re.M)
    assert len(gone_on) == 1, err
    assert 30 > int(gone_on[0]) >= min(cut.values())
    assert err.count(" was lost with it; ") == 1
    # Each run has its outcome, and is the one of a sweep that lost nothing.
    report = json.loads(out)
    assert [row["status"] for row in report] == ["complete"] * 6
    paths = sorted(path.parent.relative_to(whole) for path in whole.glob("*/*/*/summary.json"))
    assert sorted(row["path"] for row in report) == [str(lost / path) for path in paths]
    for path in paths:
        one, other = (runs / path for runs in (lost, whole))
        same(read_summary(one) | {"path": str(one)}, read_summary(other) | {"path": str(other)})
    assert not list(lost.rglob("*.vae-tmp"))
    assert not list(of["scratch"].iterdir())
