"""Sweeps by Ray: one of this machine's own, and clusters whose nodes do not see the runs, or have other software."""

import contextlib
import functools
import ipaddress
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from helpers.commands import said
from helpers.data import write_data
from helpers.ray_nodes import NO_RAY, ON_DEMAND, cluster, descendants, environment, kill, title
from helpers.runs import same
from helpers.shared import STARTUP, shared_programs

from vaecli.cli.main import main
from vaecli.config.toml import SweepPlan
from vaecli.environment import threads
from vaecli.runs.directory import claim, read_summary
from vaecli.sweep import cluster as cluster_of_ray
from vaecli.sweep import remote
from vaecli.sweep.grid import expand
from vaecli.sweep.launcher import Job
from vaecli.sweep.ray import _work
from vaecli.sweep.remote import RemoteJob, identity, marked

pytestmark = pytest.mark.skipif(NO_RAY, reason="Ray is not installed")

STEPS = 5
"""Of an epoch: 230 images in batches of 50."""

EPOCHS = 30

OFTEN = ("--checkpoint-every", "1")
"""For a sweep that is interrupted; to write a checkpoint takes longer than to train for an epoch."""

HIGH = 900
"""A file descriptor that no process uses by itself."""

RATES = ("1e-3", "3e-3", "1e-2")
"""One more than there are CPUs."""

SETTINGS = ("logvar,lr=0.001", "logvar,lr=0.003", "logvar,lr=0.01")


def flags(data, runs):
    sizes = f"--hidden= --latent 3 --batch-size 50 --epochs {EPOCHS} --seeds 2"
    rarely = "--log-every 5 --grad-every 0 --checkpoint-every 10"
    return ["--name", "small", "--data-dir", str(data), "--runs", str(runs), *sizes.split(), *rarely.split()]


def command(data, runs, *words):
    return [sys.executable, "-m", "vaecli", "sweep", *flags(data, runs), "--lr", *RATES, *words]


def swept(argv, **options):
    return subprocess.run(argv, capture_output=True, text=True, timeout=200, **options)


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Each is compiled once, for this process and those of Ray."""
    with shared_programs():
        yield


def train(data, runs, first=0):
    """Trains the runs of the sweep in this process, one setting after the other."""
    for rate in RATES:
        assert main(["train", *flags(data, runs), "--lr", rate, "--vary", "lr", "--seed", str(first)]) == 0


@pytest.fixture(scope="module")
def whole(small_data, tmp_path_factory):
    """A function that returns the runs of the sweep as `vae train` makes them, or those with the seeds from another on.

    It is called after the first sweep, when a process of Ray's has compiled what it needs.
    """

    @functools.cache
    def trained(first=0):
        runs = tmp_path_factory.mktemp("whole")
        train(small_data, runs, first)
        return runs

    return trained


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def saved(runs):
    """The settings of which both runs have a checkpoint, and the epochs of the earlier one."""
    epochs = {}
    for setting in SETTINGS:
        last = [sorted(runs.glob(f"small/{setting}/seed{k}/checkpoint/*.sha256")) for k in range(2)]
        if all(last):
            epochs[setting] = min(int(re.search(r"\d+", sums[-1].name)[0]) // STEPS for sums in last)
    return epochs


def are_those_of(whole, runs):
    """Whether all runs are there, bit for bit, and nothing else."""
    paths = sorted(path.parent.relative_to(whole) for path in whole.glob("*/*/*/summary.json"))
    assert [str(path) for path in paths] == [f"small/{setting}/seed{k}" for setting in SETTINGS for k in range(2)]
    for path in paths:
        one, other = runs / path, whole / path
        same(read_summary(one) | {"path": str(one)}, read_summary(other) | {"path": str(other)})
        kept = [
            {re.sub(r"events\..*", "events", name) for name in files(folder)} - {".lock"} for folder in (one, other)
        ]
        assert kept[0] >= kept[1]
        assert all(name.startswith("pictures/") for name in kept[0] - kept[1]), "those where it was stopped"
    assert {path.name for path in runs.iterdir()} == {"small"}
    assert {path.name for path in (runs / "small").iterdir()} == set(SETTINGS)


def check_interrupted(process, out, err, runs, before):
    """Whether a sweep said how it goes on, and left what had begun with the checkpoints it had, or later ones."""
    assert process.returncode == 130, err
    assert "Traceback" not in err
    again = "vae " + " ".join(process.args[3:])
    assert err.splitlines()[-1] == f"vae: stopped by SIGINT; to go on: {again}"
    assert "unfinished" in out
    after = saved(runs)
    for setting, epochs in before.items():
        assert EPOCHS > after[setting] >= epochs
        for k in range(2):
            summary = read_summary(runs / "small" / setting / f"seed{k}")
            assert (summary["status"], summary["epochs"]) == ("interrupted", after[setting])
    assert not (runs / "small" / SETTINGS[-1]).exists(), "its turn had not come"
    assert not list(runs.rglob("*.vae-tmp"))
    return after


def check_gone_on(err, before):
    """Whether a sweep went on from the checkpoints that were there."""
    epochs = [int(text) for text in re.findall(r"seed0 and 1 other: going on after epoch (\d+)$", err, re.M)]
    assert sorted(epochs) == sorted(before.values()), err
    assert "Traceback" not in err


def listening():
    """The addresses of all sockets of this machine at which somebody listens, by the name that a descriptor has."""
    addresses = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A":
                words = bytes.fromhex(local.partition(":")[0])
                address = ipaddress.ip_address(b"".join(words[k : k + 4][::-1] for k in range(0, len(words), 4)))
                addresses[f"socket:[{inode}]"] = getattr(address, "ipv4_mapped", None) or address
    return addresses


def owners(pids):
    """The processes that have sockets."""
    found = {}
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                found[os.readlink(link)] = pid
    return found


class Watched:
    """A sweep as a terminal starts it, in a group of its own, of which all processes and all sockets are noted."""

    def __init__(self, argv, env):
        self.process = subprocess.Popen(
            argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.pids, self.sockets, self._seen = {self.process.pid}, set(), set()

    def look(self, enough=bool):
        """Whether it still is under way, a little later or once there is enough."""
        # The processes last: whoever listens by now is among them.
        addresses = listening()
        self.pids |= set(descendants(self.process.pid))
        if new := addresses.keys() - self._seen:
            of = owners(self.pids)
            self.sockets |= {(addresses[socket], title(of[socket])) for socket in new & of.keys()}
            self._seen |= new
        later = time.monotonic() + 0.4
        while self.process.poll() is None and time.monotonic() < later and not enough():
            time.sleep(0.05)
        return self.process.poll() is None

    def end(self):
        """Waits for it, and then for its processes."""
        try:
            while self.look():
                pass
            out, err = self.process.communicate()
            left = time.monotonic() + 20
            while any(map(title, self.pids)) and time.monotonic() < left:
                time.sleep(0.05)
            assert {title(pid) for pid in self.pids} == {""}
        finally:
            kill(pid for pid in self.pids if title(pid))
            self.process.wait()
        return out, err


def folders(watched):
    """Those in which the Ray of a sweep lives."""
    return {match[0] for _, name in watched.sockets if (match := re.search(r"/\S+/vae-ray-[^/]+", name))}


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """A cluster whose head has no CPU, so that all is trained on the other node, which has one.

    That one has another version of a library, by its own account, as soon as there is the file `changed`.
    """
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata, os; true = metadata.version\n"
        f"changed = lambda name: name == 'optax' and os.path.exists({str(folder / 'changed')!r})\n"
        "metadata.version = lambda name: '0.0.1' if changed(name) else true(name)\n"
        + (STARTUP / "sitecustomize.py").read_text()
    )
    with cluster(folder, {"num_cpus": 0}, {"env_vars": {"PYTHONPATH": str(folder)}}) as of:
        yield of | {"changed": folder / "changed"}


@pytest.fixture
def unseen(tmp_path):
    """A path that leads to a folder only in this process, and in those to which it passes the file descriptor."""
    opened = os.open(tmp_path, os.O_RDONLY)
    os.dup2(opened, HIGH)
    os.close(opened)
    yield f"/proc/self/fd/{HIGH}/runs"
    os.close(HIGH)


def test_nodes_that_do_not_see_the_runs(whole, apart, unseen, small_data, tmp_path):
    """Stopped, they send what they have, and get it back; what is done is not trained again.

    That is one run of each setting, and lies where the nodes do not see it. Their one CPU has one task at a time: a
    task that waited for Ray otherwise than by `cluster.wait` would lend it out, and another process would start.
    """
    runs, scratch, (_, node) = tmp_path / "runs", apart["scratch"], apart["nodes"]
    argv = command(small_data, unseen, "--launcher", "ray", "--ray-address", "auto")
    options = {"env": apart["env"] | {"RAY_ADDRESS": apart["address"]}, "pass_fds": [HIGH]}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*argv, *OFTEN], **pipes, **options) as process:
        try:
            before = {}
            while not before and process.poll() is None:
                for folder in scratch.glob("vae-scratch-*/r"):
                    before |= saved(folder)
                time.sleep(0.05)
            assert not saved(runs)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert before, err
    before = check_interrupted(process, out, err, runs, before)
    assert not list(scratch.iterdir())
    # So many are left of each setting as were begun, which is one program.
    for setting in SETTINGS:
        shutil.copytree(whole(first=2) / "small" / setting / "seed2", runs / "small" / setting / "seed2")
    done = [name for name in files(runs) if "/seed2/" in name and ".lock" not in name]
    times = {name: (runs / name).stat().st_mtime_ns for name in done}
    assert {name.split("/")[1] for name in done} == set(SETTINGS)
    trained, processes, looked = set(), set(), -math.inf
    with (
        open(tmp_path / "err", "w+") as err,
        subprocess.Popen([*argv, "--seeds", "3"], stdout=subprocess.DEVNULL, stderr=err, **options) as process,
    ):
        while process.poll() is None:
            seeds = scratch.glob("vae-scratch-*/r/small/*/seed?")
            trained |= {str(path.relative_to(path.parents[1])) for path in seeds}
            # To look at all processes takes longer, and they live for longer.
            if time.monotonic() > looked + 0.5:
                looked = time.monotonic()
                processes |= {
                    pid
                    for pid in descendants(*node["pids"])
                    if re.search("default_worker|ray::(?!.*Agent)", title(pid))
                }
            time.sleep(0.05)
    said_again = (tmp_path / "err").read_text()
    assert process.returncode == 0, said_again
    check_gone_on(said_again, before)
    assert {name: (runs / name).stat().st_mtime_ns for name in times} == times
    are_those_of(whole(), runs)
    assert trained == {f"{setting}/seed{k}" for setting in SETTINGS for k in range(2)}
    assert len(processes) == 1
    assert not list(scratch.iterdir())


REFUSED = """
import contextlib, io, json, sys
from vaecli.startup import prepare
prepare()
import functools, ray._private.services as services
# Ray looks for clusters among all processes of the machine, where there may be that of another test.
services.find_gcs_addresses = functools.cache(set)
from vaecli.cli.main import main
endings = []
for argv in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(argv)
    endings.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(endings))
"""


def test_a_cluster_that_cannot_train_a_sweep(apart, small_data, tmp_path):
    """It says why, and leaves nothing: no machine is large enough, or the one that is is not like this one.

    Nor does a sweep leave anything that finds no cluster.
    """
    _, node = apart["nodes"]
    apart["changed"].touch()
    other = rf"\({node['id'][:8]}\) .*optax 0\.0\.1 instead of {re.escape(version('optax'))}"
    here = apart["address"]
    messages = {
        ("auto",): "no Ray cluster was found on this machine; .*",
        (here, "--cpus-per-run", "4096"): r"no machine is large enough .*4096.*; the largest has CPUs: 1, GPUs: 0",
        (here, "--gpus-per-run", "0.5"): r"no machine is large enough .*0\.5.*; the largest has CPUs: 1, GPUs: 0",
        (here, "--cpus-per-run", "1"): other,
    }
    runs = tmp_path / "runs"
    # One process for all, since to import Ray takes longer than the rest.
    lines = [command(small_data, runs, "--launcher", "ray", "--ray-address", *words)[3:] for words in messages]
    env = apart["env"] | {"RAY_TMPDIR": str(tmp_path)}
    done = swept([sys.executable, "-c", REFUSED, json.dumps(lines)], env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for (code, out, err), message in zip(json.loads(done.stdout), messages.values(), strict=True):
        assert (code, out) == (2, ""), err
        assert re.fullmatch(rf"vae: .*{message}.*\n", said(err)), err
    assert files(tmp_path) == []
    assert not list(runs.glob("*"))


@pytest.mark.parametrize("on", ["elsewhere", pytest.param("by Ray", marks=pytest.mark.long)])
def test_a_ray_of_our_own(whole, small_data, tmp_path, capsys, on):
    """Stopped as by Ctrl-C, which reaches all its processes, it goes on; it listens only on this machine."""
    home, runs = tmp_path / "home", tmp_path / "runs"
    home.mkdir()
    argv, one = command(small_data, runs, "--launcher", "ray"), ("--cpus-per-run", "2")
    if on == "by Ray":
        # Two processes, of which one can go on with what both have begun.
        env, words = environment(HOME=str(home)), ()
    else:
        env, words = environment(HOME=str(home), **ON_DEMAND), one
    sweeps = [Watched([*argv, *OFTEN, *words], env)]
    try:
        while not saved(runs) and sweeps[0].look(lambda: saved(runs)):
            pass
        before = saved(runs)
        assert before
        (folder,) = folders(sweeps[0])
        assert os.stat(folder).st_mode & 0o777 == 0o700
        os.killpg(sweeps[0].process.pid, signal.SIGINT)
    finally:
        out, err = sweeps[0].end()
    before = check_interrupted(sweeps[0].process, out, err, runs, before)
    if on == "by Ray":
        # And trains the third.
        sweeps.append(Watched([*argv, *one], env))
        out, err = sweeps[1].end()
        assert sweeps[1].process.returncode == 0, err
    else:
        capsys.readouterr()
        train(small_data, runs)
        err = capsys.readouterr().err
    check_gone_on(err, before)
    are_those_of(whole(), runs)
    for watched in sweeps:
        assert any("raylet" in name for _, name in watched.sockets)
        assert {(str(address), name) for address, name in watched.sockets if not address.is_loopback} == set()
        assert not [name for _, name in watched.sockets if "dashboard.py" in name]
        (folder,) = folders(watched)
        assert not os.path.exists(folder)
    assert not (home / ".ray").exists()


@pytest.mark.long
def test_a_ray_for_the_pilots_and_another_one_for_what_they_chose(tmp_path):
    data = write_data(tmp_path / "data", train=10_230)
    sizes = "--hidden 12 --latent 3 --batch-size 50 --epochs 1 --grad-every 0 --validation --pilot-seeds 1"
    argv = [sys.executable, "-m", "vaecli", "sweep", "--data-dir", str(data), "--runs", str(tmp_path), *sizes.split()]
    done = swept([*argv, "--lr", "1e-3", "1e-2", "--launcher", "ray"])
    assert done.returncode == 0, done.stderr
    assert "3 of 3 runs done" in done.stderr


def test_a_task_whose_sweep_is_gone(small, tmp_path, monkeypatch):
    """It ends after its epoch, with a checkpoint, and lets the runs go."""
    # As the other runs here, so that this process has the programs.
    sweep = expand({**small, "hidden": (), "log_every": 5, "epochs": 1000}, SweepPlan(2), tmp_path)
    (task,) = sweep.tasks
    paths = [sweep.path(task, seed) for seed in range(2)]

    class Watch:
        def __init__(self, parts):
            assert parts == {"the head": "x:1"}

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        @property
        def lost(self):
            return "the head" if all(list(path.glob("checkpoint/*.sha256")) for path in paths) else ""

    class Nowhere:
        def put(self, events):
            pass

    def leave(code):
        assert code == 1
        for path in paths:
            claim(path).release()
        raise SystemExit

    monkeypatch.setattr(cluster_of_ray, "Watch", Watch)
    monkeypatch.setattr(cluster_of_ray, "machine", str)
    # This process is not one of Ray's, which has yet to import jax.
    monkeypatch.setattr(remote, "prepare", lambda: None)
    monkeypatch.setattr("os._exit", leave)
    with marked(tmp_path) as marker:
        job = RemoteJob(Job.of(sweep, [task]), os.getcwd(), marker, identity(task.config), threads(), 0)
        with pytest.raises(SystemExit):
            _work([0], job, Nowhere(), [{}], {"the head": "x:1"})
    for summary in map(read_summary, paths):
        assert summary["status"] == "interrupted"
        assert 0 < summary["epochs"] < 1000
