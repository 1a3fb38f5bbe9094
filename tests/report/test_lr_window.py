"""The range of learning rates that cost little, against grids whose windows are known."""

import math

import pytest
from helpers.outcomes import write

from vaecli import UsageError, compare
from vaecli.report.derived import Derived
from vaecli.report.formatting import direction, title, unit
from vaecli.report.lr_window import window

RATES = [1e-4, 1e-3, 1e-2, 1e-1]


def grid(runs, param, seed, *elbos, rates=RATES):
    """A run at each rate; None is a run that diverged."""
    for lr, elbo in zip(rates, elbos, strict=True):
        write(runs, elbo, ["lr"], param=param, seed=seed, lr=lr, status="diverged" if elbo is None else "complete")


def results(runs, metric="lr-window:1", margin=0.1):
    comparison = compare(runs, metric=metric, margin=margin)
    return comparison, {result.label: result for result in comparison.results}


def test_which_window():
    assert window("test/elbo") is None
    assert window("lr-window:0.5") == Derived("test/elbo", 0.5)
    assert window("lr-window:validation/elbo:2") == Derived("validation/elbo", 2.0)
    for words in ("", "inf", "nan", "test/elbo"):
        with pytest.raises(UsageError, match=r"names no drop; write lr-window:0\.5"):
            window(f"lr-window:{words}")
    for words in ("0", "-1"):
        with pytest.raises(UsageError, match=r"a drop is a positive number, as in lr-window:0\.5"):
            window(f"lr-window:{words}")
    with pytest.raises(UsageError, match="test/kl has no better and worse"):
        window("lr-window:test/kl:1")
    assert (unit("lr-window:1"), direction("lr-window:1")) == ("decades", 1)
    assert title("lr-window:1") == "learning rates within 1 of the best test ELBO"


def test_widths_are_interpolated(tmp_path):
    for seed in range(4):
        # Within 1 of −100: from half a decade below 1e-3 to a quarter above 1e-2.
        grid(tmp_path, "logvar", seed, -102.5, -100.5, -100.0, -104.0)
        # Only its best rate, and half a decade on either side.
        grid(tmp_path, "logstd", seed, -120.0, -102.0, -100.0, -102.0)
    comparison, by_label = results(tmp_path)
    assert by_label["logvar"].mean == pytest.approx(0.25 + 1 + 0.25)
    assert by_label["logstd"].mean == pytest.approx(1.0)
    assert by_label["logstd"].difference.mean == pytest.approx(-0.5)
    assert (by_label["logstd"].verdict, comparison.unit) == ("worse", "decades")
    assert [row.mean for row in comparison.rate_grid if row.label == "logstd"] == [[-120.0, -102.0, -100.0, -102.0]]


def test_a_window_ends_where_runs_are_lost_and_at_the_edges(tmp_path):
    for seed in range(3):
        grid(tmp_path, "logvar", seed, -100.2, -100.1, -100.0, None)
        grid(tmp_path, "logstd", seed, None, -100.0, None, -100.1)
    comparison, by_label = results(tmp_path)
    assert by_label["logvar"].mean == pytest.approx(2.0)
    assert by_label["logstd"].mean == 0.0
    assert "logvar: the window of 3 seeds reaches an edge of the rates" in " ".join(comparison.warnings)
    assert not any("logstd: the window" in warning for warning in comparison.warnings)


def test_a_seed_that_lost_all_its_runs_is_lost(tmp_path):
    for seed in range(5):
        grid(tmp_path, "logvar", seed, -103.0, -100.0, -100.0, -103.0)
        grid(tmp_path, "natural", seed, None, None, None, None)
    _, by_label = results(tmp_path)
    assert (by_label["natural"].survived, by_label["natural"].verdict) == (0, "worse")
    assert by_label["logvar"].mean == pytest.approx(1 + 2 / 3)


def test_only_what_all_have_takes_part(tmp_path):
    for seed in range(3):
        grid(tmp_path, "logvar", seed, -104.0, -100.0, -104.0, -109.0, -120.0, rates=[*RATES, 1.0])
        grid(tmp_path, "logstd", seed, -104.0, -100.0, -104.0, -109.0)
    grid(tmp_path, "logstd", 9, -104.0, rates=RATES[:1])
    comparison, by_label = results(tmp_path)
    assert by_label["logvar"].mean == by_label["logstd"].mean == pytest.approx(0.5)
    said = " ".join(comparison.warnings)
    assert "only rates that all variants have take part: 0.0001, 0.001, 0.01, 0.1" in said
    assert "logstd: seed 9 left out, not trained at every rate" in said


def test_what_it_needs(tmp_path):
    for param in ("logvar", "logstd"):
        grid(tmp_path, param, 0, -100.0, -101.0, rates=RATES[:2])
    with pytest.raises(UsageError, match="needs 3 learning rates at least, the same for all variants"):
        compare(tmp_path, metric="lr-window:1", margin=0.1)
    with pytest.raises(UsageError, match="--margin: is needed for lr-window:1"):
        compare(tmp_path, metric="lr-window:1")
    with pytest.raises(UsageError, match="is over all rates"):
        compare(tmp_path, metric="lr-window:1", margin=0.1, at="best-lr")


def test_a_metric_of_which_less_is_better(tmp_path):
    for seed in range(2):
        for param in ("logvar", "logstd"):
            for lr, bits in zip(RATES, (1.3, 1.0, 1.1, 1.4), strict=True):
                metrics = {"test/bits_per_dim": bits}
                write(tmp_path, -100.0, ["lr"], param=param, seed=seed, lr=lr, metrics=metrics)
    _, by_label = results(tmp_path, metric="lr-window:test/bits_per_dim:0.2")
    # Two thirds of a decade below 1e-3, one above, and a third of the next.
    assert by_label["logvar"].mean == pytest.approx(2 / 3 + 1 + 1 / 3)
    assert math.isclose(by_label["logstd"].difference.mean, 0.0)
