"""A run killed again and again, each time at a random moment, ends as the run that nobody killed."""

import functools
import itertools
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
from vaecli.runs import checkpoint
from vaecli.runs.directory import read_summary

VAE = [sys.executable, "-m", "vaecli"]

EPOCHS = {"quick": 24, "long": 640}
KILLS = {"quick": 2, "long": 200}
GRADIENTS = {"quick": "--grad-every 0", "long": "--grad-every 6 --grad-batches 1"}
"""In the quick variant each process would trace their program for nothing that `test_resume.py` does not see."""

RARELY = ("--checkpoint-every", "10")
"""For what is not stopped; to write a checkpoint takes longer than to train for an epoch."""


@pytest.fixture(autouse=True)
def programs(request):
    """Each is compiled once, for this process and those that it kills; in the long variants as a user's are."""
    with shared_programs("shipped" if request.node.get_closest_marker("long") else "batched"):
        yield


def command(data, runs, variant):
    settings = f"--hidden= --latent 3 --batch-size 50 --log-every 5 --picture-every 40 {GRADIENTS[variant]}"
    argv = ["train", "--name", "small", "--data-dir", str(data), "--runs", str(runs)]
    return [*argv, "--epochs", str(EPOCHS[variant]), "--seeds", "2", *settings.split()]


def outcome(runs):
    paths = [runs / "small/logvar" / f"seed{seed}" for seed in range(2)]
    return [read_summary(path) | {"path": str(path)} for path in paths]


def written(runs):
    """Returns the name of the newest checkpoint of any run."""
    return max((path.name for path in runs.glob("*/*/*/checkpoint/*.sha256")), default="")


def attempt(argv, runs, rng, starting):
    """Starts the run, and kills it: while it starts, or while it trains."""
    process = subprocess.Popen([*VAE, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if starting:
        time.sleep(rng.uniform(0, 1.8))
    else:
        before, deadline = written(runs), time.monotonic() + 60
        while written(runs) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.03)
        time.sleep(rng.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, f"ended before it was killed: {process.returncode}, {err}"
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def unbroken(small_data, tmp_path_factory):
    """Trains the runs of a variant, which nobody stops; the same only once.

    It is called after a process of its own has begun to train them, and has compiled what it needs.
    """

    @functools.cache
    def trained(variant):
        runs = tmp_path_factory.mktemp("whole")
        assert main([*command(small_data, runs, variant), *RARELY]) == 0
        return outcome(runs)

    return trained


@pytest.mark.parametrize("variant", ["quick", pytest.param("long", marks=pytest.mark.long)])
def test_kills(small_data, unbroken, tmp_path, capsys, variant):
    killed = command(small_data, tmp_path, variant)
    rng = random.Random(variant)
    # Half of them while it starts, which it does from where the one before it has come to.
    for starting in itertools.islice(itertools.cycle([False, True]), KILLS[variant]):
        attempt(killed, tmp_path, rng, starting)
    capsys.readouterr()
    assert main([*killed, *RARELY]) == 0
    assert "going on after epoch" in capsys.readouterr().err
    for one, other in zip(outcome(tmp_path), unbroken(variant), strict=True):
        assert one["status"] == "complete"
        same(one, other)


@pytest.fixture
def signalled(monkeypatch):
    """Runs a command here, and sends a signal while its next checkpoint is written."""
    save = checkpoint.save

    def run(argv, number):
        def save_and_signal(*args):
            monkeypatch.setattr(checkpoint, "save", save)
            os.kill(os.getpid(), number)
            return save(*args)

        monkeypatch.setattr(checkpoint, "save", save_and_signal)
        return main(argv)

    return run


def test_signals(small_data, unbroken, signalled, tmp_path, capsys):
    """Tries one of each kind, and two at once: the second stops the process, and leaves what can go on."""
    stopped = command(small_data, tmp_path, "quick")
    for number in (signal.SIGTERM, signal.SIGINT):
        capsys.readouterr()
        assert signalled(stopped, number) == 128 + number
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert [summary["status"] for summary in outcome(tmp_path)] == ["interrupted"] * 2
        assert "interrupted after" in out
        command_to_resume = f"vae: stopped by {signal.Signals(number).name}; to go on: vae train --name small"
        assert err.splitlines()[-1].startswith(command_to_resume)
    process = subprocess.Popen([*VAE, *stopped], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    before = written(tmp_path)
    while written(tmp_path) == before and process.poll() is None:
        time.sleep(0.03)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    # Both may arrive before Python hears the first.
    assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert main([*stopped, *RARELY]) == 0
    for one, other in zip(outcome(tmp_path), unbroken("quick"), strict=True):
        same(one, other)
