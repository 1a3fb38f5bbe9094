"""`vae compare` on the logs of other programs, from the command line and from Python."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.logs import VARIANTS, as_csv, losses, rows, write_events
from helpers.outcomes import write
from scipy import stats

from vaecli import UsageError, compare
from vaecli.cli.main import main

ASKED = ("--metric", "loss", "--reference", "adam", "--margin", "0.1")


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(as_csv(rows()))
    return path


@pytest.fixture
def run(capsys):
    """Runs the command; returns its exit code, what it printed and what it said on stderr."""

    def run(*words):
        code = main(["compare", *map(str, words)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def report(run, *words):
    code, printed, _ = run(*words, "--json")
    assert code == 0
    return json.loads(printed)


def test_paired_by_seed(results, run):
    answer = report(run, results, *ASKED)
    reference, lion, sgd = answer["settings"]
    assert (reference["label"], reference["settings"], reference["verdict"]) == (
        "adam",
        {"method": "adam"},
        "reference",
    )
    values = [[losses(name, seed)[-1] for seed in range(6)] for name in ("sgd", "adam")]
    test = stats.ttest_rel(*values)
    assert (sgd["difference"]["pairs"], sgd["difference"]["paired"]) == (6, True)
    assert sgd["difference"]["p_difference"] == pytest.approx(test.pvalue)
    assert (sgd["difference"]["low"], sgd["difference"]["high"]) == pytest.approx(tuple(test.confidence_interval()))
    # Nothing is known of another program's metric: neither its unit nor which values are better.
    assert (sgd["verdict"], lion["verdict"]) == ("beyond the margin", "equivalent")
    assert (answer["unit"], answer["better"], answer["epochs"], answer["varies"]) == ("", None, None, ["method"])
    assert answer["answer"] == (
        "Yes, for 1 of 2 variants compared with adam in loss: sgd is higher by 0.89; "
        "lion makes no difference that matters (less than 0.1)."
    )
    worse = report(run, results, *ASKED, "--better", "lower")
    assert (worse["settings"][2]["verdict"], worse["better"]) == ("worse", "lower")


def test_not_paired_without_seeds(tmp_path, run):
    path = tmp_path / "results.csv"
    path.write_text(as_csv([{name: row[name] for name in ("method", "loss")} for row in rows(9)]))
    answer = report(run, path, "--metric", "loss", "--reference", "adam", "--margin", "5")
    sgd = answer["settings"][2]
    values = [[losses(name, seed)[-1] for seed in range(9)] for name in ("sgd", "adam")]
    assert sgd["difference"]["p_difference"] == pytest.approx(stats.ttest_ind(*values, equal_var=False).pvalue)
    assert "over 9 and 9 runs that are not paired" in sgd["sentence"]
    assert answer["warnings"] == []


def own_runs(folder):
    """Runs of our own, of which some are lost and some have no partner."""
    rng = np.random.default_rng(0)
    for param, shift, seeds in (("logvar", 0, range(8)), ("logstd", 0.01, range(1, 9)), ("std", -3, range(8))):
        for seed in seeds:
            lost = (param, seed) in {("std", 2), ("std", 5), ("logvar", 7)}
            elbo = None if lost else -100 + np.sin(seed) + shift + 0.1 * float(rng.normal())
            write(folder, elbo, param=param, seed=seed, status="diverged" if lost else "complete")
    write(folder, -90.0, param="square_std", seed=11)
    write(folder, -91.0, param="square_std", seed=12)


def test_our_runs_exported_and_read_back_have_the_same_verdicts_to_the_last_digit(tmp_path, run):
    own_runs(tmp_path / "runs")
    exported = tmp_path / "runs.csv"
    ours = report(run, tmp_path / "runs", "--csv-runs", exported)
    back = report(run, exported, "--metric", "value", "--better", "higher", "--margin", "0.5", "--failed", "status")
    same = ["label", "reference", "seeds", "runs", "survived", "mean", "sd", "difference", "unpaired", "verdict"]
    same += ["chaos_floor", "seeds_needed", "more_seeds", "is_reference"]
    by_label = {one["label"]: one for one in back["settings"]}
    for one in ours["settings"]:
        assert {name: one[name] for name in same} == {name: by_label[one["label"]][name] for name in same}
        assert one["lost"].keys() == by_label[one["label"]]["lost"].keys()
    assert {one["verdict"] for one in ours["settings"]} >= {"reference", "worse", "undecided"}
    again = tmp_path / "again.csv"
    report(
        run,
        exported,
        "--metric",
        "value",
        "--better",
        "higher",
        "--margin",
        "0.5",
        "--failed",
        "status",
        "--csv-runs",
        again,
    )
    first, second = ([*csv.DictReader(path.read_text().splitlines())] for path in (exported, again))
    key = ("label", "seed", "status", "value", "difference")
    assert sorted([row[name] for name in key] for row in first) == sorted([row[name] for name in key] for row in second)


def test_everything_works_from_there(results, tmp_path, run):
    page, bands, table, plot = (tmp_path / name for name in ("page.html", "bands", "table.csv", "plot.svg"))
    code, printed, said = run(results, *ASKED, "--html", page, "--csv", table, "--plot", plot, "--tensorboard", bands)
    assert code == 0
    assert "lion is equivalent to adam" in printed
    assert said.startswith("vae: no log has loss over the epochs")
    assert [row["verdict"] for row in csv.DictReader(table.read_text().splitlines())] == [
        "reference",
        "equivalent",
        "beyond the margin",
    ]
    assert plot.read_text().count("<svg") == 1
    html = page.read_text()
    assert balanced(html)
    for words in (
        "Does method matter?",
        "Say which values of loss are better",
        "The logs have no steps.",
        "results.csv",
    ):
        assert words in html, words
    for words in ("ELBO", "Gradient noise", "Commit", "noise ε", "vae sweep", "vae probe RUN", "data"):
        assert words not in html.split("</style>")[1].replace("data:", ""), words


class Balance(HTMLParser):
    """Whether every element of a page that is opened is closed."""

    def __init__(self):
        super().__init__()
        self.opened = []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "wbr", "img", "br"):
            self.opened.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag, tag


def balanced(html):
    parser = Balance()
    parser.feed(html)
    return not parser.opened


@pytest.mark.parametrize("kind", ["table", "events"])
def test_curves_of_a_log_with_steps(tmp_path, run, kind):
    source = tmp_path / "logs"
    if kind == "table":
        long = [
            {"algo": name, "seed": seed, "step": 10 * step, "loss": value}
            for name in VARIANTS
            for seed in range(3)
            for step, value in enumerate(losses(name, seed, 6))
        ]
        source.write_text(as_csv(long))
    else:
        for name in VARIANTS:
            for seed in range(3):
                write_events(source / name / f"seed{seed}", ((10 * s, v) for s, v in enumerate(losses(name, seed, 6))))
    page, bands = tmp_path / "page.html", tmp_path / "bands"
    code, _, said = run(source, *ASKED, "--html", page, "--tensorboard", bands)
    assert (code, "vae:" in said) == (0, False)
    html = page.read_text()
    assert "Differences over steps" in html
    assert balanced(html)
    assert "loss over steps" in html
    assert {path.name for path in bands.iterdir()} == {*VARIANTS, "margin=0.1"}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(bands / "sgd")).Reload()
    assert [point.step for point in events.Scalars("loss")] == [0, 10, 20, 30, 40, 50]
    last = np.mean([losses("sgd", seed, 6)[-1] - losses("adam", seed, 6)[-1] for seed in range(3)])
    assert events.Scalars("difference")[-1].value == pytest.approx(last, rel=1e-5)


def test_several_columns_and_the_reference_at_the_same_settings(tmp_path, run):
    grid = [
        {"algo": algo, "lr": lr, "seed": seed, "loss": seed + lr + (algo == "sac") * 0.3 + 0.01 * (seed % 3)}
        for algo in ("ppo", "sac")
        for lr in (0.1, 1.0)
        for seed in range(5)
    ]
    path = tmp_path / "grid.csv"
    path.write_text(as_csv(grid))
    words = (path, "--metric", "loss", "--margin", "0.1", "--variant", "algo,lr")
    answer = report(run, *words, "--reference", "ppo")
    assert {one["label"]: one["reference"] for one in answer["settings"]} == {
        "algo=ppo,lr=0.1": None,
        "algo=ppo,lr=1.0": None,
        "algo=sac,lr=0.1": "algo=ppo,lr=0.1",
        "algo=sac,lr=1.0": "algo=ppo,lr=1.0",
    }
    one = report(run, *words, "--reference", "algo=ppo,lr=0.1")
    assert [result["reference"] for result in one["settings"]] == [None, *["algo=ppo,lr=0.1"] * 3]
    by_lr = report(run, *words, "--reference", "lr=0.1")
    assert {result["reference"] for result in by_lr["settings"]} == {None, "algo=ppo,lr=0.1", "algo=sac,lr=0.1"}


def test_failures_count_as_lost_runs_do(tmp_path, run):
    table = [row | {"State": "crashed" if row["method"] == "sgd" else "finished"} for row in rows()]
    path = tmp_path / "table.csv"
    path.write_text(as_csv(table))
    code, _, said = run(path, *ASKED, "--failed", "State")
    assert (code, said) == (0, "")
    sgd = report(run, path, *ASKED, "--failed", "State")["settings"][2]
    assert (sgd["verdict"], sgd["survived"], sgd["lost"]["3"]) == ("worse", 0, "State is crashed")
    assert sgd["difference"]["p_survival"] < 0.01


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--metric", "loss", "--margin", "1"), "--reference: is needed (there are: adam, lion, sgd)"),
        (("--metric", "loss", "--margin", "1", "--reference", "adm"), "no run is 'adm', did you mean 'adam'?"),
        (("--metric", "loss", "--reference", "adam"), "--margin: is needed for loss, whose unit is not known"),
        (("--margin", "1", "--reference", "adam"), "--metric: is needed: which column of"),
        ((*ASKED, "--effects", "lr"), "--effects: is for runs of vae"),
        ((*ASKED, "--at", "best-lr"), "--at best-lr: is for runs of vae"),
        ((*ASKED, "--failed", "state"), "--failed: "),
    ],
)
def test_what_is_wrong_is_one_line(results, run, words, message):
    code, printed, said = run(results, *words)
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert message in said


def test_better_says_what_is_not_known(tmp_path, run):
    own_runs(tmp_path)
    kl = ("--metric", "test/reconstruction", "--margin", "0.5", tmp_path)
    assert {one["verdict"] for one in report(run, *kl)["settings"]} & {"beyond the margin"}
    assert not {one["verdict"] for one in report(run, *kl, "--better", "higher")["settings"]} & {"beyond the margin"}
    code, _, said = run(tmp_path, "--better", "lower")
    assert (code, said) == (2, "vae: --better: lower test/elbo is worse\n")


def test_from_python(results, run):
    pandas = pytest.importorskip("pandas")
    printed = report(run, results, *ASKED)
    asked = {"metric": "loss", "reference": "adam", "margin": 0.1}
    for source in (results, str(results), pandas.DataFrame(rows()), rows()):
        given = json.loads(json.dumps(compare(source, **asked).to_json()))
        assert given["answer"] == printed["answer"]
        assert [one["difference"] for one in given["settings"]] == [one["difference"] for one in printed["settings"]]
    renamed = [{"arm": row["method"], "fold": row["seed"], "y": row["loss"]} for row in rows()]
    comparison = compare(renamed, metric="y", reference="adam", margin=0.1, variant="arm", seed="fold", better="lower")
    assert [result.verdict for result in comparison.results] == ["reference", "equivalent", "worse"]
    with pytest.raises(UsageError, match="is no log of another program, and the table is"):
        compare(rows(), results.parent, **asked)
    with pytest.raises(UsageError, match="got 3, which is no table either"):
        compare(3)


def test_the_map_of_heads_at_several_rates(tmp_path, run):
    for lr in (0.001, 0.01):
        for param, shift in (("logvar", 0.0), ("logstd", 0.0), ("std", -9.0 if lr == 0.01 else 0.0)):
            for seed in range(6):
                elbo = -100 + np.sin(seed) + shift + (0.001 * np.cos(7 * seed) if param != "logvar" else 0)
                write(tmp_path / "runs", elbo, ["lr"], param=param, lr=lr, seed=seed)
    picture = tmp_path / "map.svg"
    code, printed, _ = run(tmp_path / "runs", "--map", picture)
    assert code == 0
    assert ">−9.0<" in picture.read_text()
    (row,) = [line for line in printed.splitlines() if line.startswith(" lr=0.01 ")]
    assert row.split() == ["lr=0.01", "±0.5", "●", "0.00", "▼", "−9.0"]
    # Without a second condition there is none, which is said before anything is printed.
    (tmp_path / "one").mkdir()
    for folder in ("logvar", "logstd", "std"):
        (tmp_path / "runs" / "mnist" / f"{folder},lr=0.001").rename(tmp_path / "one" / folder)
    code, printed, said = run(tmp_path / "one", "--map", tmp_path / "none.svg")
    assert (code, printed) == (2, "")
    assert said.startswith("vae: --map: a map has conditions down and heads across")
    assert said.count("\n") == 1
    assert not (tmp_path / "none.svg").exists()
