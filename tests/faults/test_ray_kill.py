"""Machines of a Ray cluster are lost while they train: the sweep ends with the runs of one that lost none."""

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from helpers.commands import said
from helpers.ray_nodes import NO_RAY, ancestry, cluster, descendants, kill, title
from helpers.runs import same
from helpers.shared import shared_programs

from vaecli.cli.main import main
from vaecli.runs.directory import read_summary

pytestmark = pytest.mark.skipif(NO_RAY, reason="Ray is not installed")

STEPS = 5
"""Of an epoch: 230 images in batches of 50."""

ENDLESS = ("--epochs", "100000")

HEAD, HERE = r"the head of the cluster \(.*\)", "Ray on .*"
"""What a sweep calls the parts that it cannot do without."""


RATES = ("1e-3", "3e-3")


def flags(data, runs):
    sizes = "--hidden= --latent 3 --batch-size 50 --epochs 30 --log-every 5 --grad-every 0 --seeds 2"
    # To write a checkpoint takes longer than to train for an epoch.
    sizes += " --picture-every 0 --checkpoint-every 2"
    return ["--name", "small", "--data-dir", str(data), "--runs", str(runs), *sizes.split()]


def command(data, runs, *words, start=("-m", "vaecli")):
    return [sys.executable, *start, "sweep", *flags(data, runs), "--lr", *RATES, *words]


def by_hand(data, runs):
    """The commands that train the same, one setting each, with few checkpoints, as nobody stops them."""
    return [["train", *flags(data, runs), "--checkpoint-every", "10", "--lr", rate, "--vary", "lr"] for rate in RATES]


def on(of):
    """The flags of a sweep on a cluster."""
    return ("--launcher", "ray", "--ray-address", of["address"])


@contextlib.contextmanager
def started(argv, env):
    """A sweep, which is not left behind."""
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Each is compiled once, for this process and those of Ray."""
    with shared_programs():
        yield


@pytest.fixture(scope="module")
def whole(small_data, tmp_path_factory):
    """A function that returns the runs of a sweep that lost nothing, as `vae train` makes them.

    It is called after the first sweep, when a process of Ray's has compiled what it needs.
    """

    @functools.cache
    def trained():
        runs = tmp_path_factory.mktemp("whole")
        for argv in by_hand(small_data, runs):
            assert main(argv) == 0
        return runs

    return trained


def all_are_there(runs, whole):
    """Whether each run is the one of a sweep that lost nothing."""
    paths = sorted(path.parent.relative_to(whole) for path in whole.glob("*/*/*/summary.json"))
    assert len(paths) == 4
    assert sorted(path.parent.relative_to(runs) for path in runs.glob("*/*/*/summary.json")) == paths
    for path in paths:
        one, other = runs / path, whole / path
        same(read_summary(one) | {"path": str(one)}, read_summary(other) | {"path": str(other)})
    # What a killed task was writing goes when its run goes on.
    assert not list(runs.glob("*.vae-tmp"))


def held(runs):
    """The runs that a process trains, by their locks: of each the process, and the epoch of its last checkpoint."""
    found = {}
    for lock in runs.glob("*/*/*/.lock"):
        holder = re.match(r"process (\d+) on ", lock.read_text())
        sums = sorted(lock.parent.glob("checkpoint/*.sha256"))
        if holder and sums:
            found[lock.parent] = int(holder[1]), int(re.search(r"\d+", sums[-1].name)[0]) // STEPS
    return found


def under_way(runs, node):
    """Those that a node trains."""
    return {path: of for path, of in held(runs).items() if {*node["pids"]} & {*ancestry(of[0])}}


def processes(node):
    return [*node["pids"], *descendants(*node["pids"])]


def wait_until(condition, process, seconds=60):
    """Waits for a condition, and returns what it returns."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it does not come")


def trained(runs, node):
    """The runs of a task that a node has trained for some epochs, and which they are, or nothing."""
    epochs = {path: epoch for path, (_, epoch) in under_way(runs, node).items()}
    return epochs if len(epochs) == 2 and min(epochs.values()) >= 3 else None


def check_lost(process, out, err, part, runs):
    """Whether one line says what was lost and how it goes on, and nothing is left over."""
    assert process.returncode == 2, err
    assert out == ""
    again = "vae " + " ".join(process.args[process.args.index("sweep") :])
    loss = rf"vae: --launcher ray: {part} no longer answers; (\d) of 4 runs are done, and what is under way .*"
    match = re.fullmatch(rf"{loss}; to go on: {re.escape(again)}\n", said(err))
    assert match, err
    assert int(match[1]) <= sum("complete" in path.read_text() for path in runs.glob("*/*/*/summary.json"))
    # What a killed task was writing goes when its run goes on.
    assert not list(runs.glob("*.vae-tmp"))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A cluster of one machine."""
    with cluster(tmp_path_factory.mktemp("nodes"), {}) as of:
        yield of


def test_a_machine_that_joins_late_and_is_lost(whole, nodes, small_data, tmp_path):
    runs, (head,) = tmp_path / "runs", nodes["nodes"]
    with started(command(small_data, runs, *on(nodes), "--json"), nodes["env"]) as process:
        (busy,) = {pid for pid, _ in wait_until(lambda: under_way(runs, head), process).values()}
        # However long the other machine takes, something is left for it to do.
        os.kill(busy, signal.SIGSTOP)
        node = nodes["add"]()
        cut = wait_until(lambda: trained(runs, node), process)
        kill(processes(node))
        os.kill(busy, signal.SIGCONT)
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    # Which machine was lost, with what, and which one goes on.
    (folder,) = {path.parent for path in cut}
    line = re.search(
        rf"^vae: {re.escape(folder.name)}: .* \((\w+)\) was lost with it; .* \((\w+)\) \w+ \w+$", err, re.M
    )
    assert line, err
    assert node["id"].startswith(line[1])
    assert head["id"].startswith(line[2])
    assert err.count(" was lost with it; ") == 1
    # It goes on from a checkpoint, at least from the last that was there when the machine was lost.
    rest = err[line.end() :]
    gone_on = re.findall(rf"^vae: {re.escape(str(folder))}/seed0 and 1 other: going on after epoch (\d+)$", rest, re.M)
    assert len(gone_on) == 1, err
    assert 30 > int(gone_on[0]) >= min(cut.values())
    report = json.loads(out)
    assert [row["status"] for row in report] == ["complete"] * 4
    assert sorted(row["path"] for row in report) == sorted(str(path.parent) for path in runs.glob("*/*/*/summary.json"))
    all_are_there(runs, whole())
    assert not list(nodes["scratch"].iterdir())


def test_the_head_is_lost(whole, nodes, small_data, tmp_path, capsys):
    """All its processes at once, as by `ray stop`: what it had begun goes on elsewhere."""
    runs, (head,) = tmp_path / "runs", nodes["nodes"]
    with started(command(small_data, runs, *on(nodes)), nodes["env"]) as process:
        cut = wait_until(lambda: trained(runs, head), process)
        kill(processes(head))
        # Ray itself ends the process after a minute.
        out, err = process.communicate(timeout=40)
    check_lost(process, out, err, HEAD, runs)
    capsys.readouterr()
    for argv in by_hand(small_data, runs):
        assert main(argv) == 0
    (folder,) = {path.parent for path in cut}
    going_on = rf"^vae: {re.escape(str(folder))}/seed0 and 1 other: going on after epoch (\d+)$"
    (epoch,) = re.findall(going_on, err := capsys.readouterr().err, re.M)
    assert 30 > int(epoch) >= min(cut.values()), err
    all_are_there(runs, whole())


@pytest.mark.long
@pytest.mark.parametrize(
    ("where", "names", "number", "part"),
    [
        (0, ["gcs_server"], signal.SIGKILL, HEAD),
        (0, ["gcs_server"], signal.SIGSTOP, HEAD),
        (1, ["gcs_server"], signal.SIGKILL, HEAD),
        (0, ["raylet"], signal.SIGKILL, HERE),
        (1, ["raylet"], signal.SIGKILL, HERE),
        (1, ["raylet"], signal.SIGSTOP, HERE),
        (1, ["raylet"], signal.SIGTERM, HERE),
        (0, ["gcs_server", "raylet"], signal.SIGKILL, HEAD),
        (0, ["gcs_server", "raylet"], signal.SIGTERM, HEAD),
        (0, [""], signal.SIGTERM, HEAD),
        (1, [""], signal.SIGKILL, HEAD),
    ],
)
def test_a_part_is_lost(small_data, tmp_path, where, names, number, part):
    """The sweep is on the first or the second node; what trains elsewhere ends by itself, and lets its runs go."""
    runs = tmp_path / "runs"
    with cluster(tmp_path, {}, {}) as of:
        nodes = of["nodes"]
        # Ray itself would take the head, as all nodes are on this machine.
        start = (
            "import sys, ray._private.services as services\n"
            f"services.find_node_ids = lambda: {{{nodes[where]['id']!r}}}\n"
            "from vaecli.cli.main import main; sys.exit(main(sys.argv[1:]))"
        )
        argv = command(small_data, runs, *on(of), *ENDLESS, start=("-c", start))
        with started(argv, of["env"]) as process:
            wait_until(lambda: all(trained(runs, node) for node in nodes), process)
            there = held(runs)
            holders = {pid for pid, _ in there.values()}
            lost = nodes[where] if part == HERE else nodes[0]
            victims = [pid for pid in lost["pids"] if any(f"/{name}" in title(pid) for name in names)]
            assert len(victims) >= len(names)
            for pid in victims:
                os.kill(pid, number)
            out, err = process.communicate(timeout=40)
            check_lost(process, out, err, part, runs)
            deadline = time.monotonic() + 30
            while any(map(title, holders)) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert {title(pid) for pid in holders} == {""}
        assert len(there) == 4
        assert not list(of["scratch"].iterdir())
