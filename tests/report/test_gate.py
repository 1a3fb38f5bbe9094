"""When an expectation is met, against the definition and SciPy."""

import numpy as np
import pytest
from helpers.family import holm_by_statsmodels
from helpers.outcomes import write
from scipy import stats

from vaecli import UsageError
from vaecli.cli.main import main
from vaecli.report.compare import compare
from vaecli.report.gate import with_expectation
from vaecli.report.model import Question

# Which verdicts the differences of six seeds have, at a margin of 0.5.
HEADS = {
    "logstd": ("equivalent", 0.0, 0.05),
    "std": ("better", 2.0, 0.1),
    "square_std": ("worse", -2.0, 0.1),
    "abs_std": ("undecided", 0.0, 1.5),
    "softplus_std": ("different", 0.45, 0.2),
    "natural": ("different", -0.45, 0.12),
}


def differences(head):
    """Six numbers of a given mean and standard deviation."""
    _, mean, sd = HEADS[head]
    noise = np.random.default_rng(sorted(HEADS).index(head)).normal(size=6)
    return mean + sd * (noise - noise.mean()) / noise.std(ddof=1)


def gate(folder, heads, expected, lost=(), **asked):
    """The comparison of some heads with logvar; `lost` are heads and seeds."""
    for seed in range(6):
        for head, d in {"logvar": np.zeros(6), **{head: differences(head) for head in heads}}.items():
            gone = (head, seed) in lost
            elbo = None if gone else float(-100 + np.sin(seed) + d[seed])
            write(folder, elbo, param=head, seed=seed, status="diverged" if gone else "complete")
    return with_expectation(compare([folder], Question(**asked)), expected)


def test_the_heads_have_these_verdicts(tmp_path):
    comparison = gate(tmp_path, HEADS, "equivalent")
    verdicts = {result.label: result.verdict for result in comparison.results if result.reference}
    assert verdicts == {head: verdict for head, (verdict, *_) in HEADS.items()}
    expectation = comparison.expectation
    assert (expectation.outcome, set(expectation.met)) == ("not met", {"logstd"})
    assert set(expectation.not_met) == {"std", "square_std"}
    assert set(expectation.undecided) == {"abs_std", "softplus_std", "natural"}


def test_not_worse_is_a_one_sided_test_in_one_family(tmp_path):
    comparison = gate(tmp_path, HEADS, "not-worse")
    p = holm_by_statsmodels([stats.ttest_1samp(differences(h), -0.5, alternative="greater").pvalue for h in HEADS])
    adjusted = dict(zip(HEADS, p, strict=True))
    given = {result.label: result.difference.p_not_worse_holm for result in comparison.results if result.reference}
    assert given == pytest.approx(adjusted, rel=1e-6)
    expectation = comparison.expectation
    assert (
        set(expectation.met) == {head for head in HEADS if adjusted[head] < 0.05} == {"logstd", "std", "softplus_std"}
    )
    assert (expectation.not_met, set(expectation.undecided)) == (["square_std"], {"abs_std", "natural"})


def test_where_less_is_better(tmp_path):
    """The same runs by a metric with the other sign have the same answer."""
    for seed in range(6):
        for head in ("logvar", "softplus_std", "square_std"):
            d = 0 if head == "logvar" else differences(head)[seed]
            write(tmp_path, -100.0, param=head, seed=seed, metrics={"test/nll": float(100 + np.sin(seed) - d)})
    expectation = with_expectation(compare([tmp_path], Question(metric="test/nll")), "not-worse").expectation
    assert (expectation.met, expectation.not_met) == (["softplus_std"], ["square_std"])


@pytest.mark.parametrize(
    ("lost", "outcome"),
    [
        ([], "met"),
        ([("logstd", 1)], "undecided"),
        ([("logvar", 1)], "met"),
        ([("logstd", 1), ("logvar", 1)], "met"),
        ([("logstd", 1), ("logvar", 2)], "undecided"),
        ([("logstd", seed) for seed in range(6)], "not met"),
    ],
)
def test_what_was_lost_is_not_not_worse(tmp_path, lost, outcome):
    assert gate(tmp_path, ["logstd"], "not-worse", lost).expectation.outcome == outcome


def test_lost_runs_are_not_equivalent(tmp_path):
    lost = [("logvar", seed) for seed in range(6)]
    assert gate(tmp_path, ["logstd"], "equivalent", lost).expectation.outcome == "not met"


def test_a_metric_without_a_direction(tmp_path):
    message = "--expect not-worse: which values of test/kl are better, --better has to say"
    with pytest.raises(UsageError, match=message):
        gate(tmp_path, ["logstd"], "not-worse", metric="test/kl")
    asked = Question(metric="test/kl", better="lower")
    assert with_expectation(compare([tmp_path], asked), "not-worse").expectation.outcome == "met"


@pytest.mark.parametrize(
    ("heads", "expected", "code", "line"),
    [
        (["logstd"], "equivalent", 0, "vae: expected equivalent: met by logstd"),
        (["logstd", "std"], "not-worse", 0, "vae: expected not-worse: met by logstd and std"),
        (["logstd", "std"], "equivalent", 4, "vae: expected equivalent: not met by std; met by logstd"),
        (["abs_std", "std"], "not-worse", 5, "vae: expected not-worse: undecided for abs_std; met by std"),
    ],
)
def test_the_exit_code(tmp_path, capsys, heads, expected, code, line):
    gate(tmp_path, heads, "equivalent")
    for form in ((), ("--json",)):
        assert main(["compare", str(tmp_path), "--expect", expected, *form]) == code
        printed = capsys.readouterr()
        assert printed.err.splitlines() == [line]
    assert f'"expected": "{expected}"' in printed.out
    page = tmp_path / "page.html"
    assert main(["compare", str(tmp_path), "--expect", expected, "--html", str(page)]) == code
    assert page.exists()
