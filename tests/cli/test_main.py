"""The command as a user meets it: processes, exit codes, and what lands on stdout and stderr."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.cheaply import COMMAND
from helpers.commands import complaint
from helpers.data import write_data, write_idx
from helpers.shared import shared_programs

from vaecli.cli import hints
from vaecli.cli.main import main

SIZES = "--seeds 2 --latent 3 --epochs 2 --batch-size 50 --grad-every 0 --picture-every 0"
UNNAMED = [*SIZES.split(), "--hidden", ""]
SMALL = [*UNNAMED, "--name", "small"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test runs in an empty folder of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--param", "logvr"], ["--param", "'logvr'", "'logvar'"]),
        (["--param", ""], ["--param", "logvar"]),
        (["--estimator", "stl", "--kl", "analytic"], ["--kl", "stl", "mc"]),
        (["--likelihood", "gaussian", "--decoder-param", "logvr"], ["--decoder-param", "'logvr'", "'logvar'"]),
        (["--likelihood", "gaussian", "--decoder-param", "natural"], ["--decoder-param", "natural", "mean"]),
        (["--likelihood", "gaussian", "--decoder-param", "sigmoid_std", "--decoder-std", "3"], ["--decoder-std", "3"]),
        (["--channels", "8,8,8,8"], ["--channels", "28x28", "too small", "4"]),
        (["--epoch", "3"], ["--epoch", "--epochs"]),
        (["--epochs", "many"], ["--epochs", "whole number", "'many'"]),
        (["--epochs", "1.5"], ["--epochs", "whole number"]),
        (["--epochs"], ["--epochs"]),
        (["--epochs", "0"], ["--epochs", "0"]),
        (["--batch-size", "-3"], ["--batch-size", "-3"]),
        (["--batch-size", "60001"], ["--batch-size", "60000"]),
        (["--latent", "0"], ["--latent", "0"]),
        (["--hidden", "400,0"], ["--hidden", "400,0"]),
        (["--hidden", "400;200"], ["--hidden", "400;200"]),
        (["--lr", "0"], ["--lr", "0"]),
        (["--lr", "nan"], ["--lr", "nan"]),
        (["--lr", "fast"], ["--lr", "number", "'fast'"]),
        (["--seeds", "0"], ["--seeds", "0"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--grad-draws", "1"], ["--grad-draws", "two draws"]),
        (["--binarisation", "gray"], ["--binarisation", "grey"]),
        (["--name", "../../etc"], ["--name"]),
        (["--name", "a b"], ["--name"]),
        (["--config", "mnst"], ["mnst", "'mnist'"]),
        (["--config", "no/such.toml"], ["no/such.toml"]),
        (["--config"], ["--config"]),
        (["--data-dir", "nowhere"], ["nowhere"]),
        (["--data-dir", "~nobody-here/x"], ["--data-dir"]),
        (["--data-dir", "d\udcff"], ["--data-dir", "UTF-8"]),
        (["--runs", "r\udcff"], ["--runs", "UTF-8"]),
        (["--config", "~nobody-here/x.toml"], ["--config"]),
        (["--config", "x" * 300], ["--config"]),
        (["--config", "a\nb.toml"], ["--config", "a\\nb"]),
        (["--seeds", "9" * 25], ["--seeds", "10000"]),
        (["--seed", "4294967295", "--seeds", "2"], ["--seed", "2**32"]),
        (["--lr", "1e-50"], ["--lr", "1e-50"]),
        (["--tyro-nonsense"], ["--tyro-nonsense"]),
        (["stray"], ["stray"]),
    ],
)
def test_bad_flags(capsys, argv, words):
    line = complaint(capsys, "train", *argv)
    for word in words:
        assert word in line


def test_unknown_command(capsys):
    assert "'train'" in complaint(capsys, "trian")
    assert "vae train --json" in complaint(capsys, "--json", "train")
    assert "vae completion" in complaint(capsys, "--tyro-print-completion", "bash")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[train]\nepoch = 3", ["epoch", "epochs"]),
        (b"[train]\nepochs = 'x'", ["[train] epochs", "'x'"]),
        (b"[train]\nlr = -1", ["[train] lr", "-1"]),
        (b"[model]\nparam = 'logvr'", ["[model] param", "'logvar'"]),
        (b"[train]\nbatch_size = 100000", ["[train] batch_size", "60000"]),
        (b"[train", ["TOML"]),
        (b"[train]\nepochs = " + b"9" * 5001, ["TOML"]),
        (b"[train]\nepochs = " + b"9" * 400, ["epochs"]),
        (b"[train]\nepochs = 0x" + b"f" * 5000, ["20000 bits"]),
        (b"[[grid]]\nepochs = [0x" + b"f" * 5000 + b"]", ["20000 bits"]),
        (b"[model]\nhidden." + b".".join([b"a"] * 20_000) + b" = 1", ["1000 dots"]),
        (b"[model]\nhidden." + b".".join([b"a"] * 900) + b" = 1", ["nested"]),
        (b"# " + b"x" * 2**18, ["262144 characters"]),
        (b"[model]\nparam = '" + b"x" * 5000 + b"'", ["[model] param", "4096"]),
        (b"[model]\nhidden = " + b"[" * 3000, ["TOML"]),
        (b'[data]\ndata_dir = "a\\u0000b"', ["data_dir"]),
        (b"\xff\xfe", ["text"]),
    ],
)
def test_bad_config_file(capsys, tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_bytes(text)
    line = complaint(capsys, "train", "--config", str(path))
    for word in [str(path), *words]:
        assert word in line


def test_broken_data(capsys, tmp_path):
    folder = write_data(tmp_path / "data")
    argv = ["train", "--data-dir", str(folder), "--batch-size", "50"]
    path = folder / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "truncated" in complaint(capsys, *argv)
    path.write_bytes(b"\x89PNG" + whole)
    assert "not an IDX" in complaint(capsys, *argv)
    write_idx(path, np.zeros((230, 9, 9)))
    assert "9x9" in complaint(capsys, *argv)


def test_unwritable_runs_folder(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in complaint(capsys, "train", "--runs", str(tmp_path / "file"))
    assert "/proc" in complaint(capsys, "train", "--runs", "/proc/runs")


def test_train_twice_then_otherwise(capsys, small_data):
    argv = ["train", "--data-dir", str(small_data), *SMALL]
    assert main(argv) == 0
    streams = capsys.readouterr()
    assert "runs/small/logvar/seed0: complete" in streams.out
    assert "2 of 2 seeds complete" in streams.out
    assert streams.out.splitlines()[-1] == "tensorboard --logdir runs/small"
    assert streams.err.splitlines()[-1] == hints.address(by_head=True)
    assert "epoch 2/2" in streams.err
    assert "images/s" in streams.err
    assert "\x1b" not in streams.err
    assert main([*argv, "--json"]) == 0
    streams = capsys.readouterr()
    assert [summary["status"] for summary in json.loads(streams.out)] == ["complete"] * 2
    assert "lr" in complaint(capsys, *argv, "--lr", "0.1")
    assert main(["train", "--config", "runs/small/logvar/seed1/config.toml", "--json"]) == 0
    assert [summary["path"] for summary in json.loads(capsys.readouterr().out)] == ["runs/small/logvar/seed1"]


DAMAGED = ['{"status":"complete"}', '{"status":5}', '{"status":"diverged"}', "[" * 100_000, "{}", "[]"]


def test_damaged_runs(capsys, small_data):
    argv = ["train", "--data-dir", str(small_data), *SMALL]
    assert main(argv) == 0
    capsys.readouterr()
    path = Path("runs/small/logvar/seed0")
    whole = (path / "summary.json").read_text()
    for text in (*DAMAGED, whole.replace('"test/elbo": ', '"test/elbo": null, "was": ')):
        (path / "summary.json").write_text(text)
        assert "damaged" in complaint(capsys, *argv)
    (path / "summary.json").unlink()
    (path / "summary.json").mkdir()
    assert "summary.json" in complaint(capsys, *argv, "--overwrite")
    assert (path / "metrics.jsonl").exists()


def test_a_config_named_with_a_space(capsys, small_data):
    Path("my run.toml").write_text(f"[data]\ndata_dir = '{small_data}'\n")
    assert main(["train", "--config", "my run.toml", *UNNAMED, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["path"] == "runs/my-run/logvar/seed0"


# What is closed is opened at once, to nowhere, whatever the command does then; to train in one more process takes long.
@pytest.mark.parametrize("again", [[], pytest.param(["--overwrite"], marks=pytest.mark.long)], ids=["there", "again"])
def test_streams_that_are_closed_or_ascii(small_data, again):
    arguments = ["train", "--data-dir", str(small_data), *SMALL]
    out, err = (io.TextIOWrapper(io.BytesIO(), "ascii") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(arguments) == 0
    for stream, words in ((out, b"complete after 2 epochs"), (err, b"epoch 2/2")):
        stream.flush()
        assert words in stream.buffer.getvalue()
    without_stderr = ["sh", "-c", 'exec "$0" "$@" 2>&-', *COMMAND, *arguments, "--json", *again]
    closed = subprocess.run(without_stderr, stdout=subprocess.PIPE, text=True)
    assert closed.returncode == 0
    assert len(json.loads(closed.stdout)) == 2
    argv = [sys.executable, "-m", "vaecli", *arguments]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    assert subprocess.run([*argv, "--help"], env=ascii_only, stdout=subprocess.DEVNULL).returncode == 0
    assert subprocess.run(["sh", "-c", 'exec "$0" "$@" >&-', *argv[:3], "--help"]).returncode == 0


def test_divergence_exits_3(capsys, small_data):
    assert main(["train", "--data-dir", str(small_data), *SMALL, "--lr", "1e30"]) == 3
    streams = capsys.readouterr()
    assert "diverged, train/" in streams.out
    assert "step 1\n" in streams.out


def test_flags_go_over_the_config(capsys, small_data, tmp_path):
    (tmp_path / "mine.toml").write_text(
        f"[data]\ndata_dir = '{small_data}'\n[model]\nhidden = []\nlatent = 3\n"
        "[train]\nepochs = 9\nbatch_size = 50\n[log]\ngrad_every = 0\npicture_every = 0\n[run]\nseed = 4\n"
    )
    assert main(["train", f"--config={tmp_path / 'mine.toml'}", "--epochs", "1", "--seeds", "2", "--json"]) == 0
    summaries = json.loads(capsys.readouterr().out)
    assert [summary["path"] for summary in summaries] == [f"runs/mine/logvar/seed{seed}" for seed in (4, 5)]
    assert [summary["epochs"] for summary in summaries] == [1, 1]
    for name, value in (("hidden", []), ("latent", 3), ("batch_size", 50), ("grad_every", 0)):
        assert summaries[0]["config"][name] == value


ANSWERED = {
    "--help": 0,
    "": 0,
    "--version": 0,
    "train --help": 0,
    "list": 0,
    "docs runs": 0,
    "completion fish": 0,
    "train --param logvr": 2,
    "train --epochs x": 2,
    "train --config nope": 2,
    "train --runs /proc/runs": 2,
    "train --batch-size 70000": 2,
    "compare nowhere --margin 1 --expect equivalent": 2,
    "bogus": 2,
}
"""Commands that need neither jax nor the package with which tyro checks types, and their exit codes."""

ANSWER = """
import sys
from vaecli.cli.main import main
for line in sys.argv[1:]:
    try:
        code = main(line.split())
    except SystemExit as stop:
        code = stop.code or 0
    slow = {"jax", "jaxlib", "flax", "optax", "orbax", "typeguard"}
    print(f"\\n{line}:", code, sorted(slow & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What one process says after each of these commands."""
    argv = [sys.executable, "-c", ANSWER, *ANSWERED]
    folder = tmp_path_factory.mktemp("answers")
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd=folder).stderr.splitlines()


@pytest.mark.parametrize("line", ANSWERED)
def test_answers_without_importing_what_it_does_not_need(answers, line):
    assert f"{line}: {ANSWERED[line]} []" in answers


def test_an_interrupt_while_a_class_is_made_is_one():
    program = """
import sys
from vaecli import __main__
from vaecli.cli import main
class Interrupted:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt
main._run = lambda argv: type("Owner", (), {"field": Interrupted()})
sys.exit(__main__.run())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "vae: stopped\n")


def test_an_interrupt_that_python_drops_comes_again():
    program = """
import signal, sys, time, weakref
from vaecli import __main__
from vaecli.cli import main
class Module:
    pass
def run(argv):
    module = Module()
    lock = weakref.ref(module, lambda lock: signal.raise_signal(signal.SIGINT))
    del module
    time.sleep(30)
main._run = run
sys.exit(__main__.run())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (130, "vae: stopped\n")


def computed(pid, began):
    """The seconds for which a process has computed, or has run where nothing says so; on busy cores they are fewer."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return time.monotonic() - began
    user, system = stat.read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.5])
def test_interrupts_before_training_show_no_traceback(small_data, seconds):
    """As soon as the program runs: one word about the signal, and the exit code of a program that it ended."""
    argv = [sys.executable, "-m", "vaecli", "train", "--data-dir", str(small_data), *SMALL]
    with shared_programs("cheap"):  # From half a second on it trains for an epoch before it ends.
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    began = time.monotonic()
    while process.poll() is None and computed(process.pid, began) < seconds:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), err
    assert "vaecli" not in err or "Traceback" not in err
