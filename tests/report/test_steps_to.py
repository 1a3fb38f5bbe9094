"""Steps to a target, against logs whose crossings are known."""

import pytest
from helpers.outcomes import write

from vaecli import UsageError, compare
from vaecli.report.derived import Derived
from vaecli.report.formatting import direction, title, unit
from vaecli.report.steps_to import target


def log(*values, tag="test/elbo"):
    """Log points every 100 steps, from 100 on."""
    return [{"step": 100 * k, "epoch": k, tag: value} for k, value in enumerate(values, 1)]


def run(runs, param, seed, *values, **settings):
    return write(runs, values[-1], param=param, seed=seed, log=log(*values), **settings)


def test_which_target():
    assert target("test/elbo") is None
    assert target("steps-to:-106") == Derived("test/elbo", -106.0)
    assert target("steps-to:validation/elbo:-1e2") == Derived("validation/elbo", -100.0)
    assert target("steps-to:nll:90.5") == Derived("nll", 90.5)
    for metric in ("steps-to:", "steps-to:x", "steps-to:nan", "steps-to:inf", "steps-to:test/elbo"):
        with pytest.raises(UsageError, match="names no target; write steps-to:-106"):
            target(metric)
    with pytest.raises(UsageError, match="test/kl has no better and worse"):
        target("steps-to:test/kl:20")


def test_how_it_reads():
    assert (unit("steps-to:-106"), direction("steps-to:-106")) == ("steps", -1)
    assert title("steps-to:validation/elbo:-106") == "steps to validation ELBO −106"


def test_steps_are_interpolated(tmp_path):
    for seed in range(3):
        # −106 lies halfway between 200 and 300 steps, and at 150 of 100 to 200.
        run(tmp_path, "logvar", seed, -120.0, -107.0, -105.0, -104.0)
        run(tmp_path, "logstd", seed, -108.0, -104.0, -107.0, -103.0)
    comparison = compare(tmp_path, metric="steps-to:-106", margin=20)
    assert {result.label: result.mean for result in comparison.results} == {"logvar": 250.0, "logstd": 150.0}
    (logstd,) = (result for result in comparison.results if result.label == "logstd")
    assert (logstd.difference.mean, logstd.verdict, comparison.unit) == (-100.0, "better", "steps")
    assert "logstd is better by 100 steps" in comparison.answer


def test_a_target_that_the_first_point_has_reached(tmp_path):
    for param in ("logvar", "logstd"):
        run(tmp_path, param, 0, -100.0, -99.0)
    comparison = compare(tmp_path, metric="steps-to:-106", margin=1)
    assert [result.mean for result in comparison.results] == [100.0, 100.0]


def test_a_run_that_never_reaches_it_is_lost(tmp_path):
    for seed in range(6):
        run(tmp_path, "logvar", seed, -120.0, -104.0 - seed / 10)
        run(tmp_path, "natural", seed, -120.0, -109.0)
    write(tmp_path, None, param="logvar", seed=6, status="diverged", log=log(-104.0))
    comparison = compare(tmp_path, metric="steps-to:-106", margin=20)
    natural = next(result for result in comparison.results if result.label == "natural")
    assert (natural.survived, natural.runs, natural.verdict) == (0, 6, "worse")
    assert natural.lost[0] == "test/elbo did not reach -106 in 10 steps"
    assert any("does not reach the target counts as lost" in note for note in comparison.notes)
    logvar = next(result for result in comparison.results if result.label == "logvar")
    # What diverged is lost, wherever it had been before.
    assert (logvar.survived, logvar.runs) == (6, 7)


def test_what_it_needs(tmp_path):
    for param in ("logvar", "logstd"):
        run(tmp_path, param, 0, -120.0, -104.0)
    with pytest.raises(UsageError, match="--margin: is needed for steps-to:-106"):
        compare(tmp_path, metric="steps-to:-106")
    with pytest.raises(UsageError, match="no run logged 'validation/elbo'"):
        compare(tmp_path, metric="steps-to:validation/elbo:-106", margin=1)
    (tmp_path / "mnist/logstd/seed0/metrics.jsonl").write_text("{")
    with pytest.raises(UsageError, match=r"metrics\.jsonl: is damaged"):
        compare(tmp_path, metric="steps-to:-106", margin=1)
