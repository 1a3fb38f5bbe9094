"""`vae explain A B DIR…` from the command line: what is missing, what is trained, and what is printed."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import said
from helpers.outcomes import write
from scipy import stats

from vaecli import Config, train_seeds
from vaecli.cli.main import main
from vaecli.sweep import local
from vaecli.sweep.launcher import Event, Job

START, RATE, MATCHED = (
    {"init": "centred", "head_lr": "matched"},
    {"init": "matched", "head_lr": "native"},
    {"init": "matched", "head_lr": "matched"},
)
VARY = ("init", "head_lr")


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """All runs that natural's difference from logvar is made of, with the ELBO of each, by variant."""
    folder, rng = tmp_path_factory.mktemp("complete"), np.random.default_rng(1)
    shared = rng.normal(-105, 1, 8)
    variants = {
        "logvar": ({"param": "logvar"}, (), 0.0),
        "natural": ({"param": "natural"}, (), -1.9),
        "start": ({"param": "natural", **START}, VARY, -1.0),
        "rate": ({"param": "natural", **RATE}, VARY, -1.9),
        "matched": ({"param": "natural", **MATCHED}, VARY, -1.0),
        "control": ({"param": "softplus_prec", **MATCHED}, VARY, 0.1),
    }
    values = {}
    for name, (settings, vary, shift) in variants.items():
        values[name] = np.float32(shared + shift + rng.normal(0, 0.05, 8)).astype(float)
        for seed, value in enumerate(values[name]):
            write(folder, value, vary, seed=seed, name="s-explained" if vary else "s", **settings)
    return folder, values


def test_parts_of_a_difference(complete, capsys):
    folder, values = complete
    assert main(["explain", "logvar", "natural", str(folder / "s"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    natural, start, rate, matched = (values[name] for name in ("natural", "start", "rate", "matched"))
    expected = {
        "shape": values["control"] - values["logvar"],
        "coupling": matched - values["control"],
        "start": start - matched,
        "rate": rate - matched,
        "interaction": natural - start - rate + matched,
    }
    whole = natural - values["logvar"]
    assert (report["a"], report["b"], report["margin"], report["unit"]) == ("logvar", "natural", 0.5, "nats per image")
    for part in report["parts"]:
        d, interval = expected[part["name"]], stats.ttest_1samp(expected[part["name"]], 0).confidence_interval()
        assert part["difference"]["mean"] == pytest.approx(d.mean(), rel=1e-6)
        assert (part["difference"]["low"], part["difference"]["high"]) == pytest.approx(tuple(interval), rel=1e-6)
        assert part["share"]["value"] == pytest.approx(d.mean() / whole.mean(), rel=1e-6)
        assert part["share"]["low"] < part["share"]["value"] < part["share"]["high"]
    assert {part["name"]: part["verdict"] for part in report["parts"]} == {
        "shape": "equivalent",
        "coupling": "worse",
        "start": "equivalent",
        "rate": "worse",
        "interaction": "equivalent",
    }
    assert report["whole"]["verdict"] == "worse"
    first, second = report["answer"]
    assert first.startswith("natural is worse than logvar: −1.898 nats (95 % interval")
    assert second.startswith("Of the −1.898 nats by which natural differs from logvar, coupling is −1.")
    assert second.endswith("shape, start and interaction make no difference that matters (less than 0.5 nats).")
    assert "coupling is what natural does beyond softplus_prec" in report["notes"][0]
    assert any("Averaged over both orders (Shapley) start is" in note for note in report["notes"])


def test_as_tables(complete, capsys):
    folder, _ = complete
    assert main(["explain", "logvar", "natural", str(folder)]) == 0
    printed = capsys.readouterr().out
    names = "shape", "coupling", "start", "rate", "interaction", "whole"
    rows = [line.split() for line in printed.splitlines()]
    assert tuple(row[0] for row in rows if row and row[0] in names and row[1] == "8/8") == names
    variants = [row[:4] for row in rows if row[1:3] == ["own", "own"]]
    assert variants == [["logvar", "own", "own", "8/8"], ["natural", "own", "own", "8/8"]]
    (row,) = [row for row in rows if row[:1] == ["coupling"]]
    assert row[1] == "8/8"
    assert "Note: coupling is what natural does beyond softplus_prec" in printed


def test_nobody_can_be_asked(tmp_path, capsys):
    """The commands that train what is missing are the answer, and nothing is trained."""
    for head in ("logvar", "softplus_std"):
        for seed in range(2):
            write(tmp_path, -100.0 - seed, param=head, seed=seed, epochs=3)
    words = ["explain", "logvar", "softplus_std", str(tmp_path), "--allow-mixed"]
    assert main(words) == 2
    printed = capsys.readouterr()
    (last,) = printed.err.splitlines()[-1:]
    assert last == (
        "vae: 6 runs of 3 counterfactuals would be trained; --yes agrees to it, or train them with the commands above"
    )
    commands = printed.out.splitlines()
    assert len(commands) == 3
    assert shlex.split(commands[0]) == [
        *("vae", "train", "--name", "mnist-explained", "--param", "softplus_std", "--init", "matched"),
        *("--epochs", "3", "--head-lr", "matched", "--runs", str(tmp_path)),
        *("--vary", "init", "epochs", "head_lr", "--seed", "0", "--seeds", "2"),
    ]
    assert main([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == commands
    assert not (tmp_path / "mnist-explained").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "1"], "--seeds: must be at least 2, for an interval, got 1"),
        (["--jobs", "0"], "--jobs: must lie between 1 and 1000, got 0"),
        (["--alpha", "0.7"], "--alpha: must lie between"),
        (["--margin", "-1"], "--margin: must be"),
        (["--metric", "safety/saturated"], "--margin: is needed for safety/saturated"),
        (["--steps", "3"], "--steps belongs to vae explain RUN"),
    ],
)
def test_what_is_refused(words, message, complete, capsys):
    folder, _ = complete
    assert main(["explain", "logvar", "natural", str(folder), *words]) == 2
    assert capsys.readouterr().err.startswith(f"vae: {message}")


class InThisProcess:
    """A launcher that trains one task after the other in this process, and stops where it is told to."""

    stops = False

    def __init__(self, jobs):
        self.jobs = jobs

    def __call__(self, sweep, tasks, emit, stopped):
        for number, task in enumerate(tasks):
            job = Job.of(sweep, [task])
            job.carry_out(lambda place, kind, payload, number=number: emit(Event(number, kind, payload)), stopped)
            if self.stops:
                return


def test_what_is_missing_is_trained(small, tmp_path, monkeypatch, capsys):
    """Once; and where it was cut off, the same command goes on."""
    monkeypatch.setattr(local, "LocalLauncher", InThisProcess)
    settings = {**small, "epochs": 1, "hidden": ()}
    for head in ("logvar", "logstd"):
        train_seeds(Config(**settings, param=head), 2, runs=tmp_path)
    words = ["explain", "logvar", "logstd", str(tmp_path / "small"), "--yes"]
    monkeypatch.setattr(InThisProcess, "stops", True)
    assert main(words) == 1
    monkeypatch.setattr(InThisProcess, "stops", False)
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert "4 runs" not in said(printed.err)
    by_name = {part["name"]: part for part in report["parts"]}
    # Matched in both, logstd is logvar to the last bit, and needs no run.
    assert (by_name["shape"]["exact"], by_name["shape"]["difference"]) == (True, None)
    folders = {Path(path).parent.name for one in report["counterfactuals"] for path in one["paths"]}
    assert len(folders) == 4
    total = sum(part["difference"]["mean"] for part in report["parts"] if part["difference"])
    assert total == pytest.approx(report["whole"]["difference"]["mean"], abs=1e-5)
    monkeypatch.setattr(local, "LocalLauncher", None)
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report
