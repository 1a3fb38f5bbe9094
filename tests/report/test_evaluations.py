"""`vae compare --metric nll`, over runs with evaluations that are made here."""

import json

import pytest

from vaecli import Config, UsageError
from vaecli.cli.main import main
from vaecli.config.toml import to_toml
from vaecli.report import formatting
from vaecli.report.compare import compare
from vaecli.report.model import Question
from vaecli.runs.directory import run_path

DATA = {"train-images": "a" * 64, "t10k-images": "b" * 64}


def write(runs, nlls=(), *, status="complete", **settings):
    """Writes a run that was evaluated, as far as a comparison reads it: an NLL, or more fields, by samples."""
    config = Config(**settings)
    path = run_path(runs, config, ())
    path.mkdir(parents=True)
    (path / "config.toml").write_text(to_toml(config))
    evaluations = [
        {"split": "test", "checkpoint": "last", "nll_unreliable": False, "samples": samples}
        | (nll if isinstance(nll, dict) else {"nll": nll})
        for samples, nll in dict(nlls).items()
    ]
    summary = {
        "status": status,
        "first_non_finite": {"quantity": "gradient", "block": "scale_head", "step": 17},
        "metrics": {"test/elbo": -100.0, "test/reconstruction": -75.0, "test/kl": 25.0},
        "epochs": config.epochs,
        "steps": 10,
        "data_sha256": DATA,
        "versions": {"jax": "0.10.2"},
        "git_commit": "c" * 40,
        "device": "cpu",
        "evaluations": evaluations,
    }
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "metrics.jsonl").write_text("")
    return path


@pytest.fixture
def runs(tmp_path):
    """Five seeds of two heads at 500 samples, one of them at 5000, too; `natural` is lower by 2 nats."""
    for seed in range(5):
        write(tmp_path / "runs", {500: 95 + 0.3 * seed, 5000: 94.0 + seed}, param="logvar", seed=seed)
        write(tmp_path / "runs", {500: 93 + 0.31 * seed}, param="natural", seed=seed)
    return tmp_path / "runs"


def test_pairs_by_seed_at_the_samples_that_all_have(runs):
    comparison = compare([runs], Question(metric="nll"))
    natural = next(result for result in comparison.results if result.label == "natural")
    assert natural.mean == pytest.approx(93 + 0.31 * 2)
    assert natural.difference.mean == pytest.approx(-2 + 0.01 * 2)
    assert natural.verdict == "better"
    assert (comparison.unit, comparison.margin) == ("nats per image", 0.5)
    assert formatting.title("nll") == "NLL"
    assert comparison.warnings[0] == "nll is compared at 500 samples an image; lower is better"


def test_runs_that_were_not_evaluated(runs):
    """They are left out, and the warning has the command; a diverged run counts as lost."""
    path = write(runs, param="logstd", seed=0)
    write(runs, {500: {"split": "validation", "nll": 1.0}}, param="logstd", seed=1)
    write(runs, {500: {"checkpoint": "best", "nll": 1.0}}, param="logstd", seed=2)
    write(runs, {500: 95.0, 7: 96.0}, param="logstd", seed=3)
    write(runs, status="diverged", param="logstd", seed=4)
    comparison = compare([runs], Question(metric="nll"))
    assert f"3 runs left out that were not evaluated; run: vae evaluate {path} --samples 500" in comparison.warnings
    logstd = next(result for result in comparison.results if result.label == "logstd")
    assert (logstd.seeds, logstd.survived) == ([3, 4], 1)


def test_what_cannot_be_compared(runs, tmp_path):
    """No evaluation at all, and no number of samples that all have: one line each, with the command."""
    path = write(tmp_path / "others", param="logvar")
    with pytest.raises(UsageError, match=f"no run was evaluated; run for each of them: vae evaluate {path}"):
        compare([tmp_path / "others"], Question(metric="nll"))
    path = write(runs, {50: 93.0, 5000: 92.0}, param="natural", seed=5)
    with pytest.raises(UsageError) as refused:
        compare([runs], Question(metric="nll"))
    text = str(refused.value)
    assert "evaluated with different numbers of samples" in text
    assert "--samples 5000" in text
    assert "\n" not in text
    assert str(path) in text or "natural/seed" in text


def test_an_unreliable_nll_is_named(runs):
    """So is one of an earlier version, which had no such field; a value that is not finite is a lost run."""
    path = write(runs, {500: {"nll": 93.0, "nll_unreliable": True}}, param="logstd", seed=0)
    earlier = write(runs, {500: {"nll": 93.0, "nll_unreliable": None}}, param="logstd", seed=1)
    write(runs, {500: {"nll": None, "nll_unreliable": True}}, param="logstd", seed=2)
    comparison = compare([runs], Question(metric="nll"))
    assert (
        f"2 runs with an unreliable NLL, and the exact one may be lower (raise --samples), such as {path}"
        in comparison.warnings
    )
    assert (
        "1 run with an NLL of an earlier version, which did not check its weights (evaluate again), such as "
        f"{earlier}" in comparison.warnings
    )
    logstd = next(result for result in comparison.results if result.label == "logstd")
    assert logstd.lost == {2: "nll is not finite"}


def test_the_command_and_its_page(runs, tmp_path, capsys):
    """A metric without curves has all the rest of a page."""
    assert main(["compare", str(runs), "--metric", "nll", "--html", str(tmp_path / "page.html")]) == 0
    out, error = capsys.readouterr()
    assert "natural is better than logvar: −1.980 nats" in out
    assert error == "vae: nll is compared at 500 samples an image; lower is better\n"
    assert "nll" in (tmp_path / "page.html").read_text()
