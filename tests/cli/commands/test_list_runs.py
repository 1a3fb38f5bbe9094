"""`vae list`, over runs that were never trained."""

import json
import os
import re
import time

import pytest
from helpers.run_files import write_run

from vaecli.cli.commands import list_runs as command
from vaecli.cli.main import main
from vaecli.config import Config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def printed(capsys):
    """Returns what `vae list` prints."""

    def printed(*argv):
        assert main(["list", *argv]) == 0
        streams = capsys.readouterr()
        assert not streams.err
        return streams.out

    return printed


def test_without_runs_one_line_says_so(printed, tmp_path):
    assert printed() == "no runs in runs; 'vae train' makes one\n"
    assert json.loads(printed("--json")) == []
    (tmp_path / "runs/mnist/empty").mkdir(parents=True)
    assert printed() == "no runs in runs; 'vae train' makes one\n"
    assert printed("runs/mnist") == "no runs in runs/mnist; 'vae train' makes one\n"


def test_runs_are_in_order_with_what_differs(printed, tmp_path):
    for head in ("logvar", "logstd"):
        for lr in (0.01, 0.002):
            for seed in (0, 2, 10):
                folder = tmp_path / f"runs/rates/{head},lr={lr}/seed{seed}"
                write_run(folder, Config(name="rates", param=head, lr=lr, seed=seed, latent=5), elbo=-100 - seed)
    write_run(tmp_path / "runs/alone/logvar/seed0", Config(name="alone"), status="diverged", epochs=3)
    os.utime(tmp_path / "runs/alone/logvar/seed0/summary.json", (time.time() - 7300,) * 2)
    lines = printed().splitlines()
    assert lines[:4] == [
        "runs/alone:",
        "  head    seed  status    epochs  test ELBO  age",
        "  logvar     0  diverged    3/10          –  2 h",
        "",
    ]
    assert lines[4] == "runs/rates:"
    rows = [re.split(r"  +", line.strip()) for line in lines[6:18]]
    assert [(row[0], row[6], row[1]) for row in rows] == [
        (head, f"lr={lr}", seed)
        for head in ("logstd", "logvar")
        for lr in ("0.002", "0.01")
        for seed in ("0", "2", "10")
    ]
    assert rows[1][2:5] == ["done", "10/10", "−102.00"]
    assert lines[-1] == "13 runs: 12 done, 1 diverged"
    assert all(len(line) <= 80 for line in lines)


def test_what_cannot_be_read_is_named_and_does_not_matter_to_the_rest(printed, tmp_path):
    write_run(tmp_path / "runs/mnist/logvar/seed0", elbo=-100.0)
    write_run(tmp_path / "runs/mnist/logvar/seed1")
    (tmp_path / "runs/mnist/logvar/seed1/summary.json").write_text("[]")
    lines = printed().splitlines()
    assert "unreadable: runs/mnist/logvar/seed1/summary.json: is damaged" in lines
    assert lines[-1] == "2 runs: 1 done, 1 unreadable"
    rows = json.loads(printed("--json"))
    assert [(row["path"], row["status"]) for row in rows] == [
        ("runs/mnist/logvar/seed0", "done"),
        ("runs/mnist/logvar/seed1", "unreadable"),
    ]
    assert rows[0] == rows[0] | {"name": "mnist", "head": "logvar", "setting": {}, "seed": 0, "test/elbo": -100.0}
    assert rows[1] == rows[1] | {"head": None, "seed": None, "test/elbo": None}


def test_only_twins_and_pilots_say_so(printed, tmp_path):
    write_run(tmp_path / "runs/a/logvar/seed0", Config(name="a"))
    write_run(tmp_path / "runs/a/logvar,perturb=1e-06/seed0", Config(name="a", perturb=1e-6))
    settings = [line.split()[6:] for line in printed().splitlines()[2:4]]
    assert settings == [["s"], ["s", "perturb=1e-06"]]


def test_folders_may_be_named(printed, tmp_path):
    for name in ("a", "b", "c"):
        write_run(tmp_path / f"runs/{name}/logvar/seed0", Config(name=name))
    assert printed("runs/a", "runs/b").splitlines()[-1] == "2 runs: 2 done"
    assert printed("runs/a/logvar/seed0").splitlines()[0] == "runs/a:"


@pytest.mark.parametrize(
    ("seconds", "age"), [(None, "–"), (-5, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86400 * 400, "400 d")]
)
def test_ages_have_one_unit(seconds, age):
    assert command._age(None if seconds is None else 1000.0 - seconds, 1000.0) == age
