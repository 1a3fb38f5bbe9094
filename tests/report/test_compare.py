"""`vae compare`, over run directories that are made here."""

import csv
import html
import itertools
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.outcomes import DATA, write
from scipy import stats

from vaecli import UsageError
from vaecli.cli.main import main
from vaecli.report.compare import compare
from vaecli.report.curves import logged_curves
from vaecli.report.formatting import signed
from vaecli.report.model import Question
from vaecli.runs.collection import collect, find_runs


@pytest.fixture(scope="module")
def values():
    """ELBOs of seven seeds: the reference, one close to it, one far off, one that nobody can tell."""
    rng = np.random.default_rng(0)
    seeds = -105 + rng.normal(0, 0.4, 7)
    return {
        "logvar": seeds,
        "logstd": seeds + rng.normal(0.02, 0.1, 7),
        "natural": seeds + rng.normal(-3, 0.3, 7),
        "softplus_std": seeds + rng.normal(0.4, 1.5, 7),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory, values):
    """The runs, which no test changes."""
    folder = tmp_path_factory.mktemp("written") / "runs"
    for param, elbos in values.items():
        for seed, elbo in enumerate(elbos):
            write(folder, elbo, param=param, seed=seed)
    return folder


@pytest.fixture
def runs(tmp_path, written):
    """The runs of one test, which it may damage."""
    return shutil.copytree(written, tmp_path / "runs")


def rows(runs, **asked):
    report = compare([runs], Question(**asked)).to_json()
    return {row["label"]: row for row in report["settings"]}


def test_against_scipy(runs, values):
    by_label = rows(runs)
    p = []
    for param, elbos in values.items():
        row = by_label[param]
        assert row["mean"] == pytest.approx(elbos.mean(), rel=1e-12)
        assert row["sd"] == pytest.approx(elbos.std(ddof=1), rel=1e-9)
        assert (row["runs"], row["survived"], row["seeds"]) == (7, 7, list(range(7)))
        if param == "logvar":
            continue
        difference, test = row["difference"], stats.ttest_rel(elbos, values["logvar"])
        interval = test.confidence_interval(0.95)
        assert difference["p_difference"] == pytest.approx(test.pvalue, rel=1e-9)
        assert (difference["low"], difference["high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)
        assert difference["rho"] == pytest.approx(stats.pearsonr(elbos, values["logvar"]).statistic, rel=1e-9)
        one_sided = [
            stats.ttest_rel(elbos + 0.5, values["logvar"], alternative="greater").pvalue,
            stats.ttest_rel(elbos - 0.5, values["logvar"], alternative="less").pvalue,
        ]
        assert difference["p_equivalence"] == pytest.approx(max(one_sided), rel=1e-9)
        p.append((test.pvalue, param))
    for rank, (value, param) in enumerate(sorted(p)):
        assert by_label[param]["difference"]["p_holm"] >= min(1, (3 - rank) * value) * (1 - 1e-12)
    assert by_label[min(p)[1]]["difference"]["p_holm"] == pytest.approx(3 * min(p)[0], rel=1e-9)


def test_verdicts_and_sentences(runs):
    by_label = rows(runs)
    verdicts = {label: row["verdict"] for label, row in by_label.items()}
    assert verdicts == {
        "logvar": "reference",
        "logstd": "equivalent",
        "natural": "worse",
        "softplus_std": "undecided",
    }
    assert by_label["logstd"]["sentence"].startswith("logstd is equivalent to logvar: ")
    assert by_label["natural"]["sentence"].startswith("natural is worse than logvar: −")
    assert "over 7 seeds, beyond the margin with Holm's p" in by_label["natural"]["sentence"]
    assert by_label["softplus_std"]["sentence"].endswith(
        f"about {by_label['softplus_std']['seeds_needed']} seeds would decide it."
    )
    assert by_label["softplus_std"]["seeds_needed"] > 7


def test_equivalent_and_yet_not_the_same(tmp_path):
    rng = np.random.default_rng(1)
    for seed, base in enumerate(-100 + rng.normal(0, 1, 8)):
        write(tmp_path, base, param="logvar", seed=seed)
        write(tmp_path, base + 0.2 + 0.01 * rng.normal(), param="logstd", seed=seed)
        write(tmp_path, base, param="logprec", seed=seed)
    by_label = rows(tmp_path)
    assert by_label["logstd"]["verdict"] == "equivalent"
    assert "equivalent to logvar: differs by +0.2" in by_label["logstd"]["sentence"]
    assert "below the margin" in by_label["logstd"]["sentence"]
    assert "the same to the last digit in each of 8 seeds" in by_label["logprec"]["sentence"]
    assert by_label["logstd"]["difference"]["smallest_margin"] == pytest.approx(0.21, abs=0.01)
    # A difference that is beyond a smaller margin; and one whose size is open at another.
    assert rows(tmp_path, margin=0.1)["logstd"]["verdict"] == "better"
    open_at = rows(tmp_path, margin=0.2)["logstd"]
    assert open_at["verdict"] == "different"
    assert open_at["sentence"].endswith(
        f"whether by more than the margin of 0.2 nats is open; about {open_at['seeds_needed']} seeds would settle it."
    )


def test_runs_are_paired_by_seed_and_those_without_a_partner_are_named(tmp_path):
    for seed in (0, 1, 2, 3, 10):
        write(tmp_path, -100.0 - seed, param="logvar", seed=seed)
    for seed in (1, 2, 3, 5, 10):
        write(tmp_path, -100.0 - seed + 0.01 * (-1) ** seed, param="logstd", seed=seed)
    row = rows(tmp_path)["logstd"]
    assert row["difference"]["pairs"] == 4
    assert row["difference"]["mean"] == pytest.approx((-0.01 + 0.01 - 0.01 + 0.01) / 4, abs=1e-12)
    assert row["unpaired"] == [0, 5]
    assert row["seeds"] == [1, 2, 3, 5, 10]


def test_what_diverged_is_an_outcome(tmp_path):
    for seed in range(6):
        write(tmp_path, -100.0 + 0.1 * seed, param="logvar", seed=seed)
        write(tmp_path, -100.0 + 0.11 * seed, param="abs_std", seed=seed, status="diverged" if seed < 2 else "complete")
        write(tmp_path, None, param="square_std", seed=seed, status="diverged")
        write(tmp_path, -100.0, param="natural", seed=seed, metrics={"test/elbo": -100.0, "extra": math.nan})
    by_label = rows(tmp_path)
    row = by_label["abs_std"]
    assert (row["survived"], row["runs"], row["difference"]["pairs"]) == (4, 6, 4)
    assert row["lost"]["0"] == "gradient of scale_head is not finite at step 17"
    survival = stats.boschloo_exact([[2, 0], [4, 6]], n=64).pvalue
    assert row["difference"]["p_survival"] == pytest.approx(survival, rel=1e-3)
    assert row["difference"]["p_survival_holm"] == pytest.approx(2 * survival, rel=1e-3)
    assert row["difference"]["survival"] == pytest.approx(-1 / 3)
    assert row["difference"]["survival_low"] < -1 / 3 < row["difference"]["survival_high"]
    # What is left differs by next to nothing; equivalent it is not.
    assert row["difference"]["p_equivalence"] < 0.001
    assert row["verdict"] == "undecided"
    assert "4 of 6 runs survived (logvar: 6 of 6)" in row["sentence"]
    assert "over the 4 seeds that survived in both" in row["sentence"]
    lost = by_label["square_std"]
    assert lost["difference"]["p_survival"] == pytest.approx(2 * 4**-6)
    assert lost["verdict"] == "worse"
    assert lost["sentence"].startswith("square_std loses more runs than logvar: 0 of 6 runs survived (logvar: 6 of 6)")
    assert (lost["mean"], lost["difference"]["pairs"]) == (None, 0)
    assert "no seed survived in both" in lost["sentence"]
    with pytest.raises(UsageError, match="no run logged 'extr', did you mean 'extra'"):
        rows(tmp_path, metric="extr")
    # Nothing is said of complete runs that did not log it; those that did had no number.
    assert (
        rows(tmp_path, metric="extra", margin=1.0, reference="abs_std")["natural"]["lost"]["0"] == "extra is not finite"
    )


def test_one_seed_has_no_interval(tmp_path, capsys):
    write(tmp_path, -100.0, param="logvar")
    write(tmp_path, -101.0, param="logstd")
    row = rows(tmp_path)["logstd"]
    assert row["verdict"] == "undecided"
    assert row["difference"]["mean"] == -1
    assert row["difference"]["low"] is None
    assert "one pair gives no interval" in row["sentence"]
    assert main(["compare", str(tmp_path)]) == 0
    assert "one pair gives no interval" in capsys.readouterr().out


def test_the_chaos_floor(tmp_path):
    rng = np.random.default_rng(2)
    moved = rng.normal(0, 0.6, 9)
    for seed, base in enumerate(-100 + rng.normal(0, 1, 9)):
        write(tmp_path, base, param="logvar", seed=seed)
        write(tmp_path, base + 0.5 + 0.05 * rng.normal(), param="logstd", seed=seed)
        if seed < 7:
            write(tmp_path, base + moved[seed], param="logvar", seed=seed, perturb=1e-6)
    write(tmp_path, -100.0, param="logvar", seed=20, perturb=1e-6)
    write(tmp_path, -100.0, param="natural", seed=20, perturb=1e-6)
    report = compare([tmp_path], Question(margin=0.1)).to_json()
    row = {row["label"]: row for row in report["settings"]}["logstd"]
    assert row["chaos_floor"] == pytest.approx(math.sqrt(np.mean(moved[:7] ** 2)), rel=1e-9)
    assert row["difference"]["p_holm"] < 1e-6
    assert row["verdict"] == "undecided"
    assert "no more than the chaos floor of 0." in row["sentence"]
    assert report["warnings"] == ["2 perturbed twins left out, whose originals are not here"]


def test_the_greater_chaos_floor_counts(tmp_path):
    """Of head and reference, whichever it is."""
    moved = {"logvar": 0.25, "logstd": 0.75, "natural": 0.125}
    for seed in range(3):
        for param, by in moved.items():
            write(tmp_path, -100.0 - seed, param=param, seed=seed)
            write(tmp_path, -100.0 - seed + by * (-1) ** seed, param=param, seed=seed, perturb=1e-6)
    floors = {label: row["chaos_floor"] for label, row in rows(tmp_path).items()}
    assert floors == pytest.approx({"logvar": 0.25, "logstd": 0.75, "natural": 0.25}, rel=1e-12)


def grid(runs, scores, **settings):
    """Writes settings over (head, rate), with a test ELBO and a validation ELBO of each."""
    rng = np.random.default_rng(3)
    for (param, lr), (test, validation) in scores.items():
        for seed in range(4):
            metrics = {"validation/elbo": validation + rng.normal(0, 0.01)}
            value = test + rng.normal(0, 0.01)
            write(runs, value, ["lr"], param=param, lr=lr, seed=seed, metrics=metrics, **settings)


SCORES = {
    ("logvar", 1e-4): (-120, -121),
    ("logvar", 1e-3): (-105, -106),
    ("logvar", 1e-2): (-104, -107),  # Better on the test split, which nobody may choose by.
    ("logstd", 1e-4): (-125, -126),
    ("logstd", 1e-3): (-111, -112),
    ("logstd", 1e-2): (-106, -107),
}


def test_each_rate_with_the_reference_at_the_same(tmp_path):
    grid(tmp_path, SCORES, validation=True)
    report = compare([tmp_path], Question()).to_json()
    assert report["varies"] == ["param", "lr"]
    pairs = {row["label"]: (row["reference"], round(row["difference"]["mean"])) for row in report["settings"][3:]}
    assert pairs == {
        "logstd,lr=0.0001": ("logvar,lr=0.0001", -5),
        "logstd,lr=0.001": ("logvar,lr=0.001", -6),
        "logstd,lr=0.01": ("logvar,lr=0.01", -2),
    }
    rates = {row["label"]: row for row in report["lr_grid"]}
    assert (rates["logvar"]["lr"], rates["logvar"]["survived"]) == ([1e-4, 1e-3, 1e-2], [4, 4, 4])
    np.testing.assert_allclose(rates["logstd"]["mean"], [-125, -111, -106], atol=0.1)


def tuned(runs, scores):
    """A sweep with pilots: the grid with other luck, and each seed of a head at the rate that is best on average."""
    grid(runs, scores, validation=True, pilot=1)
    best = {head: max((v, lr) for (other, lr), (_, v) in scores.items() if other == head)[1] for head, _ in scores}
    grid(runs, {key: value for key, value in scores.items() if best[key[0]] == key[1]}, validation=True)


def test_each_head_at_its_best_rate(tmp_path):
    tuned(tmp_path, SCORES)
    report = compare([tmp_path], Question(at="best-lr")).to_json()
    assert {label: (best["lr"], best["edge"]) for label, best in report["best_lr"].items()} == {
        "logvar": (1e-3, False),
        "logstd": (1e-2, True),
    }
    assert report["best_lr"]["logvar"]["chosen"] == {str(seed): 1e-3 for seed in range(4)}
    (row,) = (row for row in report["settings"] if not row["is_reference"])
    assert (row["label"], row["reference"]) == ("logstd,lr=0.01", "logvar,lr=0.001")
    assert row["difference"]["mean"] == pytest.approx(-1, abs=0.1)
    assert not any("pilot" in run["path"] for run in report["runs"])
    assert report["warnings"] == ["logstd: its best learning rate 0.01 lies at an edge of the grid"]
    # The grid is that of the pilots, which are at every rate.
    assert (report["lr_grid"][0]["lr"], report["lr_grid"][0]["runs"]) == ([1e-4, 1e-3, 1e-2], [4, 4, 4])


def test_each_seed_at_the_rate_of_its_own_pilot(tmp_path):
    """The rates of a head may differ between its seeds; a reference is named by its head, or by its rates."""
    tuned(tmp_path, SCORES)
    (path,) = tmp_path.glob("mnist/logvar,pilot=1,lr=0.01/seed2/summary.json")
    summary = json.loads(path.read_text())
    summary["metrics"]["validation/elbo"] = -97.0
    path.write_text(json.dumps(summary))
    grid(tmp_path, {("logvar", 1e-2): SCORES["logvar", 1e-2]}, validation=True)
    for reference in ("logvar", "logvar,lr=0.001/0.01"):
        report = compare([tmp_path], Question(at="best-lr", reference=reference)).to_json()
        of_reference, row = report["settings"]
        assert (of_reference["label"], row["reference"]) == ("logvar,lr=0.001/0.01", "logvar,lr=0.001/0.01")
        assert of_reference["settings"]["lr"] == "0.001/0.01"
        assert [Path(path).parts[-2:] for path in of_reference["paths"]] == [
            (f"logvar,lr={'0.01' if seed == 2 else '0.001'}", f"seed{seed}") for seed in range(4)
        ]
        assert row["difference"]["pairs"] == 4
    with pytest.raises(UsageError, match=r"no run is 'logvar,lr=0.01'"):
        rows(tmp_path, at="best-lr", reference="logvar,lr=0.01")


def test_a_rate_that_loses_runs_is_not_the_best(tmp_path):
    grid(tmp_path / "holes", {("logstd", 1e-2): (-106, -107), ("logvar", 1e-3): (-105, -106)}, validation=True, pilot=1)
    with pytest.raises(UsageError, match="no learning rate at which all"):
        rows(tmp_path / "holes", at="best-lr")
    tuned(tmp_path / "runs", SCORES)
    for path in (tmp_path / "runs").glob("mnist/logstd,pilot=1,lr=0.01/*/summary.json"):
        path.write_text(path.read_text().replace('"complete"', '"diverged"'))
    grid(tmp_path / "runs", {("logstd", 1e-3): SCORES["logstd", 1e-3]}, validation=True)
    report = compare([tmp_path / "runs"], Question(at="best-lr")).to_json()
    assert report["best_lr"]["logstd"]["lr"] == 1e-3
    assert {row["label"]: row["survived"] for row in report["lr_grid"]} == {"logvar": [4, 4, 4], "logstd": [4, 4, 0]}


def test_best_rates_need_pilots_and_a_grid(tmp_path):
    """Runs that choose a rate cannot test it, too."""
    grid(tmp_path / "a", SCORES)
    with pytest.raises(UsageError, match=r"has no pilots.* vae sweep --validation --pilot-seeds 1"):
        rows(tmp_path / "a", at="best-lr")
    grid(tmp_path / "c", SCORES, validation=True, pilot=1)
    with pytest.raises(UsageError, match="24 pilots, and no run that they have chosen a rate for"):
        rows(tmp_path / "c")
    with pytest.raises(UsageError, match=r"no run is at a rate that its pilots chose"):
        rows(tmp_path / "c", at="best-lr")
    write(tmp_path / "b", -100.0)
    write(tmp_path / "b", -100.0, param="logstd")
    with pytest.raises(UsageError, match="does not vary"):
        rows(tmp_path / "b", at="best-lr")


def test_pilots_need_not_have_the_metric(tmp_path):
    """Such as that of an evaluation."""
    tuned(tmp_path, SCORES)
    for path in tmp_path.glob("mnist/*,pilot=1,*/*/summary.json"):
        summary = json.loads(path.read_text())
        del summary["metrics"]["safety/saturated"]
        path.write_text(json.dumps(summary))
    report = compare([tmp_path], Question(metric="safety/saturated", margin=1.0, at="best-lr")).to_json()
    assert [row["label"] for row in report["settings"]] == ["logvar,lr=0.001", "logstd,lr=0.01"]
    assert {row["label"]: row["lr"] for row in report["lr_grid"]} == {"logvar": [1e-3], "logstd": [1e-2]}
    assert not any("left out" in warning for warning in report["warnings"])


def test_pilots_are_not_compared(tmp_path):
    tuned(tmp_path, SCORES)
    report = compare([tmp_path], Question(reference="logvar,lr=0.001")).to_json()
    assert [row["label"] for row in report["settings"]] == ["logvar,lr=0.001", "logstd,lr=0.01"]
    assert report["settings"][0]["seeds"] == [0, 1, 2, 3]
    assert report["warnings"] == ["24 pilots left out, which choose learning rates; --at best-lr uses them"]


def test_the_commands_train_pilots_and_runs_again(tmp_path, capsys):
    tuned(tmp_path, SCORES)
    assert main(["compare", str(tmp_path), "--at", "best-lr", "--json"]) == 0
    commands = json.loads(capsys.readouterr().out)["provenance"]["commands"]
    pilots = [
        f"vae train --pilot 1 --validation{head}{lr} --vary lr --seed 0 --seeds 4"
        for head in ("", " --param logstd")
        for lr in (" --lr 0.0001", "", " --lr 0.01")
    ]
    runs = [
        f"vae train --validation{flags} --vary lr --seed 0 --seeds 4" for flags in ("", " --param logstd --lr 0.01")
    ]
    assert commands[1:] == [*pilots[:3], runs[0], *pilots[3:], runs[1]]


def test_a_single_reference_is_that_of_all(tmp_path):
    for seed in range(3):
        write(tmp_path, -100.0 - seed, ["init"], param="logvar", init="centred", seed=seed)
        for init in ("native", "matched"):
            write(tmp_path, -100.1 - seed, ["init"], param="logstd", init=init, seed=seed)
    by_label = rows(tmp_path)
    assert {row["reference"] for label, row in by_label.items() if label != "logvar,init=centred"} == {
        "logvar,init=centred"
    }
    by_label = rows(tmp_path, reference="logstd,init=native")
    assert by_label["logstd,init=matched"]["reference"] == "logstd,init=native"
    assert by_label["logvar,init=centred"]["reference"] == "logstd,init=native"


def test_without_a_partner_there_is_no_reference(tmp_path):
    for param, lr in (("logvar", 1e-3), ("logvar", 2e-3), ("logstd", 1e-3), ("logstd", 5e-3)):
        write(tmp_path, -100.0, ["lr"], param=param, lr=lr)
    row = rows(tmp_path)["logstd,lr=0.005"]
    assert (row["verdict"], row["reference"], row["difference"]) == ("no reference", None, None)
    assert "no reference at the same settings" in row["sentence"]


def test_runs_of_several_names_and_copies(tmp_path):
    for seed in range(2):
        for param in ("logvar", "logstd"):
            write(tmp_path / "a", -100.0 - seed, param=param, seed=seed, name="first")
            write(tmp_path / "b", -100.0 - seed, param=param, seed=seed, name="first")
    report = compare([tmp_path], Question()).to_json()
    assert "4 runs left out that others repeat" in report["warnings"][0]
    assert report["settings"][0]["runs"] == 2
    write(tmp_path / "c", -99.0, param="logvar", name="second")
    assert compare([tmp_path], Question(reference="logvar,name=first")).to_json()["varies"] == ["param", "name"]
    write(tmp_path / "d", -98.0, param="logvar", name="second")
    with pytest.raises(UsageError, match="have the same settings and seed, but different results"):
        rows(tmp_path)


def test_what_cannot_be_read_is_counted(runs, capsys):
    (runs / "mnist/logstd/seed0/summary.json").write_text("{")
    (runs / "mnist/logstd/seed1/config.toml").write_text("[train]\nlr = 'x'\n")
    (runs / "mnist/logstd/seed2/summary.json").unlink()
    summary = runs / "mnist/logstd/seed3/summary.json"
    summary.write_text(summary.read_text().replace('"complete"', '"interrupted"'))
    assert main(["compare", str(runs)]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        f"vae: 2 folders skipped that cannot be read: {runs}/mnist/logstd/seed0/summary.json: is damaged",
        f"vae: 2 runs skipped without an outcome yet, such as {runs}/mnist/logstd/seed2",
        "vae: 1 variant compared over a part of the seeds: logstd and logvar do not share seeds 0, 1, 2, 3",
    ]
    assert "logstd" in captured.out
    assert rows(runs)["logstd"]["runs"] == 3


def test_mixed_runs_are_refused_unless_allowed(runs, capsys):
    write(runs, -100.0, param="elu_std", commit="d" * 40)
    write(runs, -100.0, param="elu_std", seed=1, data=DATA | {"test": "e" * 64}, data_dir="/other")
    assert main(["compare", str(runs)]) == 2
    err = capsys.readouterr().err
    assert "different data: test bbbbbbbbbbbb and eeeeeeeeeeee" in err
    assert "different code: commit cccccccccccc and dddddddddddd" in err
    assert "--allow-mixed" in err
    assert err.count("\n") == 1
    assert main(["compare", str(runs), "--allow-mixed", "--reference", "logvar,data_dir="]) == 0
    assert "different code" in capsys.readouterr().err


def test_other_environments_are_named(tmp_path, capsys):
    """A run of an earlier version has no record of its own."""
    here = {"device": "cpu", "threads": 2, "cpu": "one"}
    for seed, other in enumerate([here, None, here | {"device": "gpu"}]):
        for param in ("logvar", "logstd"):
            write(tmp_path, -100.0 - seed, param=param, seed=seed, environment=other)
    assert main(["compare", str(tmp_path)]) == 0
    assert "environment" not in capsys.readouterr().err
    flags = "--xla_cpu_enable_fast_math=true " * 9
    write(tmp_path, -100.0, param="logvar", seed=3, environment=here | {"threads": 4, "XLA_FLAGS": flags})
    assert main(["compare", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "environment" in line]
    assert line == (
        "vae: the runs are of different environments, so last digits may differ: "
        f"XLA_FLAGS {flags[:80]} … and none; threads 2 and 4"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a folder with runs is needed"),
        (["RUNS/nowhere"], "does not exist"),
        (["RUNS/mnist/logvar/seed0/config.toml"], "is a file and not a folder"),
        (["EMPTY"], "no run that has ended"),
        (["RUNS", "--reference", "elu_std"], "no run is 'elu_std'"),
        (["RUNS", "--reference", "logstdd"], "did you mean 'logstd'"),
        (["RUNS", "--reference", "lrr=3"], "unknown setting 'lrr', did you mean 'lr'"),
        (["RUNS/mnist/logvar"], "nothing to compare: there is only one variant, logvar"),
        (["RUNS", "--reference", "lr=0.001"], "choose among"),
        (["RUNS", "--metric", "test/elb"], "did you mean 'test/elbo'"),
        (["RUNS", "--reference", "logvar,logstd"], "no run is 'logvar,logstd'"),
        (["RUNS", "--metric", "safety/saturated"], "--margin: is needed for safety/saturated"),
        (["RUNS", "--csv", "x.csv", "--csv-runs", "./x.csv"], "--csv and --csv-runs name the same file"),
        (["RUNS", "--margin", "0"], "--margin: must be a positive number"),
        (["RUNS", "--margin", "nan"], "--margin: must be a positive number"),
        (["RUNS", "--alpha", "0.5"], "--alpha: must lie between"),
        (["RUNS", "--plot", "x.pdf"], "--plot: must name a .png or .svg file"),
        (["RUNS", "--map", "x.pdf"], "--map: must name a .png or .svg file"),
        (["RUNS", "--map", "x.svg", "--plot", "x.svg"], "--plot and --map name the same file"),
        (["RUNS", "--html", "nowhere/x.html"], "--html: nowhere/x.html cannot be written"),
    ],
)
def test_errors_are_one_line(written, words, message, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    words = [word.replace("RUNS", str(written)).replace("EMPTY", str(tmp_path / "empty")) for word in words]
    assert main(["compare", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_outputs(runs, values, tmp_path, capsys):
    outputs = {name: str(tmp_path / f"out.{name}") for name in ("csv", "csv-runs", "html", "svg")}
    words = [word for name, path in outputs.items() for word in (f"--{name.replace('svg', 'plot')}", path)]
    assert main(["compare", str(runs), *words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["provenance"]["commands"][0].startswith("vae compare")
    assert "vae train --param natural --seed 0 --seeds 7" in report["provenance"]["commands"]
    with open(outputs["csv"], newline="") as file:
        table = {row["label"]: row for row in csv.DictReader(file)}
    assert float(table["natural"]["difference_mean"]) == pytest.approx((values["natural"] - values["logvar"]).mean())
    assert table["natural"]["verdict"] == "worse"
    with open(outputs["csv-runs"], newline="") as file:
        each = list(csv.DictReader(file))
    assert len(each) == 28
    assert {float(row["value"]) for row in each if row["label"] == "logstd"} == set(values["logstd"])
    assert "natural is worse than logvar" in Path(outputs["html"]).read_text()
    assert Path(outputs["svg"]).read_text().startswith("<?xml")


def test_curves_come_from_the_logs(tmp_path):
    for param in ("logvar", "logstd"):
        for seed in range(2):
            log = [
                {"step": epoch, "epoch": epoch, "test/elbo": -100.0 - seed - epoch, "grad/snr/decoder": None}
                for epoch in range(3 - seed)
            ]
            write(tmp_path, -100.0, param=param, seed=seed, log=log)
    curves, warnings = logged_curves(compare([tmp_path], Question()))
    elbo = curves["logstd"]["test/elbo"]
    assert elbo.seeds == (0, 1)
    np.testing.assert_array_equal(elbo.epochs, [0, 1, 2])
    np.testing.assert_array_equal(elbo.values, [[-100.0, -101.0, -102.0], [-101.0, -102.0, math.nan]])
    assert elbo.at(2) == {0: -102.0}
    assert elbo.at(3) == {}
    assert "grad/snr/decoder" not in curves["logvar"]
    assert warnings == []


def test_a_setting_is_read_once_and_a_seed_by_itself(runs):
    outcomes = collect(find_runs([runs]), ["test/elbo"]).outcomes
    assert sorted(outcome.seed for outcome in outcomes if outcome.config.param == "logvar") == list(range(7))
    assert len({id(outcome.config) for outcome in outcomes}) == 4
    assert all(outcome.config.seed == 0 for outcome in outcomes)
    path = runs / "mnist/logvar/seed3/config.toml"
    path.write_text(path.read_text().replace("seed = 3", "seed = 0x9 # nine"))
    (changed,) = (outcome for outcome in collect(find_runs([runs]), []).outcomes if outcome.path == path.parent)
    assert (changed.seed, changed.config.param) == (9, "logvar")


def test_json_has_its_keys_in_order(tmp_path):
    for seed in range(3):
        for param in ("logvar", "logstd"):
            status = "diverged" if (param, seed) == ("logstd", 1) else "complete"
            metrics = {"validation/elbo": -101.0}
            settings = {"param": param, "seed": seed, "validation": True}
            for lr in (1e-3, 1e-2):
                write(tmp_path, -100.0 - seed - lr, ["lr"], metrics=metrics, lr=lr, pilot=1, **settings)
            write(tmp_path, -100.0 - seed, ["lr"], status=status, metrics=metrics, lr=1e-3, **settings)
    report = compare([tmp_path], Question(at="best-lr"), lambda variants, varies: [f"vae {varies}"]).to_json()
    assert list(report) == [
        *("answer", "metric", "margin", "alpha", "reference", "at", "allow_mixed", "unit", "varies", "epochs"),
        *("settings", "runs", "best_lr", "lr_grid", "effects", "provenance", "warnings", "next_commands"),
        *("notes", "plan", "better", "expect", "controls"),
    ]
    reference, compared = report["settings"]
    assert list(reference) == list(compared)
    assert list(compared) == [
        *("label", "settings", "reference", "is_reference", "seeds", "runs", "survived", "lost", "mean", "sd"),
        *("difference", "unpaired", "chaos_floor", "seeds_needed", "verdict", "paths", "sentence"),
        *("skipped_updates", "confounders", "more_seeds", "look"),
    ]
    assert reference["difference"] is None
    assert list(compared["difference"]) == [
        *("pairs", "mean", "sd", "low", "high", "tost_low", "tost_high", "rho", "p_difference", "p_equivalence"),
        *("p_holm", "p_survival", "p_beyond", "p_equivalence_holm", "p_beyond_holm", "smallest_margin"),
        *(
            "p_survival_holm",
            "survival",
            "survival_low",
            "survival_high",
            "paired",
            "df",
            "standard_error",
            "p_above",
            "p_below",
            "p_not_worse_holm",
        ),
    ]
    assert list(compared["lost"]) == ["1"]
    assert report["effects"] is None
    assert list(report["runs"][0]) == ["path", "label", "seed", "status", "value", "difference", "skipped_updates"]
    assert list(report["best_lr"]["logstd"]) == ["lr", "validation", "edge", "pilots", "chosen"]
    assert list(report["lr_grid"][0]) == ["label", "lr", "mean", "sd", "survived", "runs"]
    assert list(report["provenance"]) == [
        *("versions", "git_commit", "devices", "data_sha256", "folders", "commands"),
    ]
    assert report["provenance"]["commands"] == ["vae ['param', 'lr']"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_neither_jax_nor_what_is_slow_is_imported(runs):
    code = (
        "import sys; from vaecli.cli.main import main; "
        f"assert main(['compare', {str(runs)!r}]) == 0; "
        "slow = {'jax', 'flax', 'optax', 'matplotlib', 'jinja2', 'pandas', 'statsmodels', 'scipy.stats'}; "
        "assert not slow & set(sys.modules), slow & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_difference_in_survival_is_called_one(tmp_path):
    for seed in range(10):
        write(tmp_path, -100.0 - seed, param="logvar", seed=seed, status="complete" if seed < 3 else "diverged")
        write(tmp_path, -100.05 - seed + 0.1 * (-1) ** seed, param="logstd", seed=seed)
    row = rows(tmp_path)["logstd"]
    survival = stats.boschloo_exact([[0, 7], [10, 3]], n=64).pvalue
    assert row["difference"]["p_survival"] == pytest.approx(survival, rel=1e-3)
    assert row["difference"]["p_holm"] == row["difference"]["p_difference"]
    assert row["verdict"] == "better"
    start = "logstd loses fewer runs than logvar: 10 of 10 runs survived (logvar: 3 of 10); Holm's p <0.001; "
    assert row["sentence"].startswith(start)
    assert row["sentence"].endswith(
        "over the 3 seeds that survived in both, which says nothing of those that were lost."
    )


def lose(runs, head, lost, seeds, **settings):
    """Writes as many runs of a head, the first of which are lost; the others have what is given plus some noise."""
    rng = np.random.default_rng(len(head))
    for seed in range(seeds):
        elbo = None if seed < lost else -100 + settings.get("shift", 0) + 0.02 * rng.normal()
        write(runs, elbo, param=head, seed=seed, status="diverged" if seed < lost else "complete")


def test_lost_runs_are_a_verdict(tmp_path):
    lose(tmp_path / "a", "logvar", 0, 5)
    lose(tmp_path / "a", "abs_std", 5, 5)
    assert rows(tmp_path / "a")["abs_std"]["verdict"] == "worse"
    # In a family of nine, too.
    heads = ["logstd", "logprec", "softplus_std", "softplus_var", "elu_std", "squareplus_std", "natural", "square_std"]
    for folder, seeds, lost in (("b", 10, 8), ("c", 5, 5)):
        lose(tmp_path / folder, "logvar", 0, seeds)
        lose(tmp_path / folder, "abs_std", lost, seeds)
        for head in heads:
            lose(tmp_path / folder, head, 0, seeds)
        by_label = rows(tmp_path / folder)
        assert by_label["abs_std"]["verdict"] == "worse"
        assert by_label["abs_std"]["difference"]["p_survival_holm"] == pytest.approx(
            9 * by_label["abs_std"]["difference"]["p_survival"]
        )
        assert {by_label[head]["verdict"] for head in heads} == {"equivalent"}


def test_no_variant_that_lost_more_is_better_by_its_survivors(tmp_path):
    lose(tmp_path, "logvar", 0, 20)
    lose(tmp_path, "logstd", 2, 20, shift=5)
    lose(tmp_path, "natural", 1, 20, shift=0)
    by_label = rows(tmp_path)
    row = by_label["logstd"]
    assert row["difference"]["p_beyond_holm"] < 1e-6
    assert row["verdict"] == "different"
    assert "more is not said, since logstd lost more runs" in row["sentence"]
    assert by_label["natural"]["verdict"] == "undecided"
    needed = by_label["natural"]["seeds_needed"]
    within = "within the margin, but the two did not lose the same runs"
    assert by_label["natural"]["sentence"].endswith(f"{within}; about {needed} seeds would decide it.")
    # The other way round the losses count as victories of what was not lost.
    turned = rows(tmp_path, reference="logstd")["logvar"]
    assert turned["verdict"] == "worse"
    assert "over the 18 seeds that survived in both" in turned["sentence"]


def test_a_metric_without_a_direction(tmp_path):
    for seed in range(6):
        write(tmp_path, -100.0, param="logvar", seed=seed, metrics={"test/kl": 25 + 0.01 * seed})
        write(tmp_path, -100.0, param="logstd", seed=seed, metrics={"test/kl": 28 + 0.02 * seed})
    row = rows(tmp_path, metric="test/kl")["logstd"]
    assert row["verdict"] == "beyond the margin"
    assert row["sentence"].startswith("logstd differs from logvar by more than the margin: +3.0")


def test_seeds_that_no_two_share(tmp_path):
    """Nothing is paired then, and the tests are Welch's."""
    values = {"logvar": [-100.0, -100.5, -99.5], "logstd": [-97.5, -96.5, -97.25, -96.75]}
    for param, bounds in values.items():
        for seed, bound in enumerate(bounds, 5 * (param == "logstd")):
            write(tmp_path, bound, param=param, seed=seed)
    report = compare([tmp_path], Question()).to_json()
    row = report["settings"][1]
    test = stats.ttest_ind(values["logstd"], values["logvar"], equal_var=False)
    difference = row["difference"]
    assert (difference["pairs"], difference["paired"], row["verdict"]) == (0, False, "better")
    assert difference["p_difference"] == pytest.approx(test.pvalue)
    assert (difference["low"], difference["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert row["sentence"] == (
        "logstd is better than logvar: +3.00 nats (95 % interval +2.00 to +4.00) over 4 and 3 runs that are not paired"
        ", beyond the margin with Holm's p = 0.002."
    )
    assert report["warnings"] == ["1 variant compared without pairs, by Welch's t: logstd and logvar share no seed"]


@pytest.mark.parametrize(("others", "said"), [([-99.0], "a single run"), ([None, None], "no run of one of the two")])
def test_too_few_runs_without_a_shared_seed(tmp_path, others, said):
    for seed, bound in enumerate(others, 5):
        write(tmp_path, bound, param="logstd", seed=seed, status="complete" if bound else "diverged")
        write(tmp_path, -100.0, param="logvar", seed=seed - 5)
    report = compare([tmp_path], Question()).to_json()
    assert said in report["settings"][1]["sentence"]
    assert report["settings"][1]["verdict"] == "undecided"


def test_unpaired_runs_that_were_lost_are_never_equivalent(tmp_path):
    for seed in range(12):
        bound = None if seed % 6 == 0 else -100 + 0.001 * seed
        status = "complete" if bound else "diverged"
        write(tmp_path, bound, param="logvar" if seed < 6 else "logstd", seed=seed, status=status)
    (_, row) = compare([tmp_path], Question()).to_json()["settings"]
    assert row["difference"]["p_equivalence_holm"] < 0.05
    assert (row["verdict"], row["difference"]["survival"]) == ("undecided", 0)


def test_the_least_perturbation_is_the_floor(tmp_path):
    for seed in range(3):
        write(tmp_path, -100.0 - seed, param="logvar", seed=seed)
        write(tmp_path, -100.1 - seed, param="logstd", seed=seed)
        write(tmp_path, -100.01 - seed, param="logvar", seed=seed, perturb=1e-6)
        write(tmp_path, -103.0 - seed, param="logvar", seed=seed, perturb=1e-2)
    write(tmp_path, None, param="logstd", perturb=1e-6, status="diverged")
    report = compare([tmp_path], Question()).to_json()
    assert report["settings"][1]["chaos_floor"] == pytest.approx(0.01)
    assert report["warnings"] == [
        "of twins perturbed by 1e-06, 0.01 only the first count",
        f"1 perturbed twin diverged, and is in no chaos floor: {tmp_path}/mnist/logstd,perturb=1e-06/seed0",
    ]


def test_two_data_sets_are_two_settings(tmp_path):
    """Also where both lay in one folder, one after the other."""
    for seed in range(3):
        for param in ("logvar", "logstd"):
            write(tmp_path / "a", -100.0 - seed, param=param, seed=seed, data_dir="/data")
            write(tmp_path / "b", -50.0 - seed, param=param, seed=seed + 3, data_dir="/data", data={"train": "f" * 64})
    report = compare([tmp_path], Question(allow_mixed=True)).to_json()
    assert [row["runs"] for row in report["settings"]] == [3] * 4
    for row in report["settings"][2:]:
        assert row["difference"]["pairs"] == 3
        assert row["reference"].rpartition("#")[2] == row["label"].rpartition("#")[2]


def test_data_are_known_by_their_images(tmp_path):
    """Not by their place, nor by labels, which nothing uses."""
    labels = {"train-labels": "1" * 64}
    for seed in range(3):
        write(tmp_path / "a", -100.0 - seed, param="logvar", seed=seed, data_dir="/a", data=DATA | labels)
        write(tmp_path / "b", -101.0 - seed, param="logstd", seed=seed, data_dir="/b")
        write(tmp_path / "c", -70.0 - seed, param="logvar", seed=seed, data_dir="/c", data={"train": "f" * 64})
    _, row = compare([tmp_path / "a", tmp_path / "b"], Question()).to_json()["settings"]
    assert row["difference"]["pairs"] == 3
    # Beside other data, too, they are one set.
    report = compare([tmp_path], Question(allow_mixed=True, reference="logvar,data_dir=/a")).to_json()
    labels_of = {row["label"] for row in report["settings"]}
    assert labels_of == {"logvar,data_dir=/a", "logstd,data_dir=/a", "logvar,data_dir=/c"}


def test_one_folder_by_two_paths_is_counted_once(runs, tmp_path):
    (tmp_path / "link").symlink_to(runs)
    (tmp_path / "inner").symlink_to(runs / "mnist" / "logvar")
    report = compare([runs, tmp_path / "link", tmp_path / "inner"], Question()).to_json()
    assert [row["runs"] for row in report["settings"]] == [7] * 4
    assert not any("repeat" in warning for warning in report["warnings"])


def test_transposed_images_are_another_setting(tmp_path):
    for seed in range(3):
        for turned in (False, True):
            write(tmp_path, -100.0 - seed - turned, ["data_transpose"], seed=seed, data_transpose=turned)
    assert set(rows(tmp_path, reference="logvar,data_transpose=false", allow_mixed=True)) == {
        "logvar,data_transpose=false",
        "logvar,data_transpose=true",
    }


@pytest.mark.parametrize(
    "wanted", ["logvar,bound=clip:-5,3", "logvar,lr=1e-3,bound=clip:-5,3", "bound=clip:-5,3,param=logvar"]
)
def test_a_reference_by_its_name_or_fields(tmp_path, wanted):
    for param in ("logvar", "logstd"):
        for bound in ("none", "clip:-5,3"):
            write(tmp_path, -100.0, ["bound"], param=param, bound=bound)
    by_label = rows(tmp_path, reference=wanted)
    assert [label for label, row in by_label.items() if row["is_reference"]] == ["logvar,bound=clip:-5,3"]


@pytest.mark.parametrize(
    "damage",
    [
        {"versions": None},
        {"versions": ["a"]},
        {"metrics": 3},
        {"first_non_finite": None, "status": "diverged"},
        {"first_non_finite": "x", "status": "diverged"},
        {"metrics": {"test/elbo": 10**400, "test/reconstruction": 1, "test/kl": 1}},
        {"epochs": "x"},
    ],
)
def test_a_damaged_summary_is_skipped(runs, damage, capsys):
    path = runs / "mnist/natural/seed0/summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    assert main(["compare", str(runs)]) == 0
    assert f"1 folder skipped that cannot be read: {path}: is damaged" in capsys.readouterr().err


def test_a_damaged_log_costs_only_its_curves(runs, tmp_path, capsys):
    damaged = ["{", "[]", '{"epoch": 1e400, "test/elbo": 1}', "3", '{"test/elbo": 1}']
    for seed, line in enumerate(damaged):
        (runs / f"mnist/natural/seed{seed}/metrics.jsonl").write_text(line + "\n")
    assert main(["compare", str(runs), "--html", str(tmp_path / "r.html")]) == 0
    captured = capsys.readouterr()
    for seed in range(len(damaged)):
        assert f"seed{seed}/metrics.jsonl: is damaged; its curves are left out" in captured.err
    assert "natural is worse" in captured.out
    assert (tmp_path / "r.html").exists()


def test_what_strangers_wrote_acts_on_no_terminal_and_no_page(runs, tmp_path, capsys):
    name = "\x1b]0;pwn\x07\x1b[31m\u202e<b>\nvae: all is well\udcff"
    shutil.copytree(runs / "mnist/logvar/seed1", runs / "mnist" / name)
    (runs / "mnist" / name / "summary.json").write_text("x")
    shutil.move(runs / "mnist/natural/seed1", runs / "mnist" / f"={name}")
    summary = runs / "mnist/logvar/seed0/summary.json"
    summary.write_text(summary.read_text().replace('"0.10.2"', json.dumps("\x1b[32mevil" + "l" * 10**6)))
    files = {flag: tmp_path / flag for flag in ("--html", "--csv-runs")}
    argv = ["compare", str(runs), "--allow-mixed"]
    assert main([*argv, *(str(word) for pair in files.items() for word in pair)]) == 0
    streams = capsys.readouterr()
    for text in (streams.out, streams.err, *(file.read_text() for file in files.values())):
        assert all(line.isprintable() for line in text.splitlines())
        assert "\nvae: all is well" not in text
    assert r"mnist/\x1b]0;pwn\x07\x1b[31m\u202e<b>\nvae: all is well\udcff/summary.json: is damaged" in streams.err
    assert r"jax \x1b[32mevil" in streams.err
    assert max(map(len, streams.err.splitlines())) <= 500
    assert main([*argv, "--json"]) == 0
    paths = [run["path"] for run in json.loads(capsys.readouterr().out)["runs"]]
    assert str(runs / "mnist" / f"={name}") in paths


def test_links_are_followed_and_nothing_is_counted_twice(runs, tmp_path):
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "runs").symlink_to(runs)
    (runs / "mnist" / "above").symlink_to(runs)
    for where in ([folder], [runs, folder, runs / "mnist" / ".." / "mnist"]):
        report = compare(where, Question()).to_json()
        assert [row["runs"] for row in report["settings"]] == [7] * 4
        assert report["warnings"] == []


def test_small_numbers_are_not_shown_as_nothing(tmp_path, capsys):
    for seed in range(4):
        write(tmp_path, -100.0, param="logvar", seed=seed, metrics={"grad/v": 1e-8 * (1 + 0.01 * seed)})
        write(tmp_path, -100.0, param="logstd", seed=seed, metrics={"grad/v": 2e-8 * (1 + 0.02 * seed)})
    assert main(["compare", str(tmp_path), "--metric", "grad/v", "--margin", "1e-9"]) == 0
    out = capsys.readouterr().out
    assert "1.0·10⁻⁸ ± 1.3·10⁻¹⁰" in out
    assert "+1.0·10⁻⁸" in out
    assert "0.000000" not in out


def test_effects_are_in_every_output(tmp_path, capsys):
    vary = ["init", "head_lr"]
    rng = np.random.default_rng(4)
    for seed in range(5):
        write(tmp_path / "runs", -105.0 + 0.1 * seed, vary, param="logvar", seed=seed)
        for init, head_lr in itertools.product(("native", "matched"), ("native", "matched")):
            lost = (init, head_lr, seed) == ("native", "native", 2)
            value = -105 + 0.1 * seed + 2 * (init == "matched") + 0.05 * rng.normal()
            settings = {"param": "logstd", "seed": seed, "init": init, "head_lr": head_lr}
            status = "diverged" if lost else "complete"
            write(tmp_path / "runs", None if lost else value, vary, status=status, **settings)
    page = tmp_path / "page.html"
    words = ["compare", str(tmp_path / "runs"), "--effects", "init=native,head_lr"]
    assert main([*words, "--html", str(page), "--json"]) == 0
    out, err = capsys.readouterr()
    (grid,) = json.loads(out)["effects"]
    assert list(grid) == ["label", "settings", "levels", "variants", "effects"]
    assert (grid["label"], grid["settings"]) == ("logstd", {"param": "logstd"})
    assert grid["levels"] == {"init": ["native", "matched"], "head_lr": ["native", "matched"]}
    assert sorted(grid["variants"])[0] == "logstd,init=matched,head_lr=matched"
    assert [effect["label"] for effect in grid["effects"]] == [
        *("init=matched", "head_lr=matched", "init=matched × head_lr=matched"),
    ]
    effect = grid["effects"][0]
    assert list(effect) == [
        *("label", "levels", "baseline", "seeds", "lost", "difference", "unpaired", "chaos_floor", "seeds_needed"),
        *("verdict", "sentence"),
    ]
    assert (effect["levels"], effect["baseline"]) == ({"init": "matched"}, {"init": "native"})
    assert (effect["verdict"], effect["difference"]["pairs"], effect["seeds"]) == ("better", 4, list(range(5)))
    assert effect["lost"] == {"2": "logstd,init=native,head_lr=native: gradient of scale_head is not finite at step 17"}
    # What is asked about is no confounder.
    assert err == "vae: no effects within logvar: there is only init=centred,head_lr=native\n"
    shown = html.unescape(page.read_text())
    assert "Effects within logstd, from init=native and head_lr=native" in shown
    assert effect["sentence"] in shown
    assert 'id="figure-effects-1"' in shown
    assert main(words) == 0
    table = capsys.readouterr().out
    assert "Effects within logstd, from init=native and head_lr=native." in table
    row = next(line for line in table.splitlines() if line.startswith(" init=matched "))
    assert row.split()[:3] == ["init=matched", "4/5", signed(effect["difference"]["mean"], 3)]
    assert row.rstrip().endswith("better")
    assert effect["sentence"] in " ".join(table.split())


def test_one_variant_against_its_control(tmp_path, capsys):
    """With a control as the reference, only the folders of the two are the family."""
    for seed in range(6):
        write(tmp_path, -105.0 + 0.1 * seed, param="logvar", seed=seed)
        write(tmp_path, -105.2 + 0.1 * seed + 0.01 * (seed % 2), param="softplus_prec", seed=seed)
        write(tmp_path, -106.5 + 0.1 * seed, param="natural", seed=seed)
    (folder,) = {path.parent.parent for path in tmp_path.rglob("seed0")}
    folders = [folder / "natural", folder / "softplus_prec"]
    report = compare(folders, Question(reference="softplus_prec")).to_json()
    (natural,) = [row for row in report["settings"] if row["reference"]]
    assert (natural["label"], natural["reference"], natural["verdict"]) == ("natural", "softplus_prec", "worse")
    assert natural["difference"]["p_holm"] == natural["difference"]["p_difference"]
    together = rows(tmp_path, reference="softplus_prec")
    assert {row["reference"] for row in together.values()} == {None, "softplus_prec"}
    assert together["natural"]["difference"]["mean"] == natural["difference"]["mean"]
