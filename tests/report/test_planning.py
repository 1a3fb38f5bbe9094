"""The numbers of seeds that a verdict takes: against other integrals, statsmodels, and verdicts that are counted."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from vaecli.report.planning import decision_probability, seeds_needed
from vaecli.report.statistics import adjust, paired_t_test, verdict

ALPHA = 0.05
COUNT = 10_000


def by_mean(pairs, mean, sd, *, margin, alpha_difference=ALPHA, beyond=0.0, floor=0.0):
    """The same probability integrated the other way: over the mean, with the χ² of S within."""
    df = pairs - 1
    one, two = stats.t.isf([ALPHA, alpha_difference / 2], df) * sd / math.sqrt(pairs)

    def density(m):
        spread = max((margin - abs(m)) / one, (abs(m) - beyond) / two if abs(m) > floor else 0.0, 0.0)
        return stats.norm.pdf(m, mean, sd / math.sqrt(pairs)) * stats.chi2.cdf(df * spread**2, df)

    e = sd / math.sqrt(pairs)
    points = [s * p for s in (-1, 1) for p in (floor, margin, beyond, beyond + (margin - beyond) * two / (one + two))]
    points.append(0.0)
    edges = sorted({mean - 9 * e, mean + 9 * e, *(p for p in points if abs(p - mean) < 9 * e)})
    return sum(integrate.quad(density, a, b, epsabs=1e-10)[0] for a, b in itertools.pairwise(edges))


@pytest.mark.parametrize(
    ("pairs", "mean", "sd", "margin", "options"),
    [
        (2, 0.1, 0.25, 0.5, {}),
        (2, 3.0, 0.1, 0.2, {"alpha_difference": ALPHA / 15}),
        (2, 20.0, 0.5, 0.2, {}),
        (5, 0.1, 0.25, 0.3, {"floor": 0.06}),
        (5, -0.4, 0.25, 0.2, {"alpha_difference": ALPHA / 7}),
        (10, 0.15, 0.1, 0.2, {"floor": 0.18}),
        (200, 0.02, 0.5, 0.05, {"floor": 0.05}),
        (5, 0.9, 0.25, 0.5, {"beyond": 0.5}),
        (12, -0.4, 0.25, 0.5, {"beyond": 0.5, "alpha_difference": ALPHA / 9}),
        (9, 0.7, 0.2, 0.5, {"beyond": 0.5, "floor": 0.8}),
        (9, 0.3, 0.2, 0.5, {"beyond": 0.2, "floor": 0.1}),
    ],
)
def test_decision_probability(pairs, mean, sd, margin, options):
    result = decision_probability(pairs, mean, sd, margin=margin, alpha=ALPHA, **options)
    assert result == pytest.approx(by_mean(pairs, mean, sd, margin=margin, **options), abs=1e-7)


@pytest.mark.parametrize("floor", [None, 0.2])
@pytest.mark.parametrize(("pairs", "mean", "sd", "margin"), [(5, 0.1, 0.25, 0.4), (10, 0.2, 0.25, 0.3)])
def test_decision_probability_is_the_rate_of_verdicts(pairs, mean, sd, margin, floor):
    d = np.random.default_rng(pairs).normal(mean, sd, (COUNT, pairs))
    tests = [paired_t_test(row, np.zeros(pairs), margin=margin) for row in d]
    verdicts = [verdict(test, adjust([test], ALPHA)[0], alpha=ALPHA, floor=floor) for test in tests]
    for undecided, beyond in [({"undecided"}, 0.0), ({"undecided", "different"}, margin)]:
        rate = np.mean([one not in undecided for one in verdicts])
        expected = decision_probability(pairs, mean, sd, margin=margin, alpha=ALPHA, beyond=beyond, floor=floor)
        assert rate == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / COUNT))


@pytest.mark.parametrize("pairs", [2, 3, 10, 300])
@pytest.mark.parametrize("mean", [0.0, 0.1, -0.7])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 15])
def test_power_of_the_difference(pairs, mean, alpha):
    result = decision_probability(pairs, mean, 0.5, margin=0, alpha=ALPHA, alpha_difference=alpha)
    assert result == pytest.approx(TTestPower().power(mean / 0.5, pairs, alpha), abs=1e-7)


@pytest.mark.parametrize("runs", [2, 5, 30])
@pytest.mark.parametrize("mean", [0.0, 0.4, -0.7])
def test_power_of_two_samples_that_are_not_paired(runs, mean):
    """Of one variance, whose two samples have 2 (n − 1) degrees of freedom, and a difference of two runs sd √2."""
    result = decision_probability(runs, mean, 0.5 * math.sqrt(2), margin=0, alpha=ALPHA, df_per_pair=2)
    assert result == pytest.approx(TTestIndPower().power(mean / 0.5, runs, ALPHA), abs=1e-7)


def test_decision_probability_without_noise():
    for mean, floor, expected in [(0, None, 1), (0.3, None, 1), (0.3, 0.3, 0), (-0.3, 0.1, 1), (0.1, 0.3, 1)]:
        assert decision_probability(5, mean, 0, margin=0.2, alpha=ALPHA, floor=floor) == expected
    assert decision_probability(5, 0, 0, margin=0, alpha=ALPHA) == 0
    assert decision_probability(1, 0, 0, margin=0.2, alpha=ALPHA) == 0
    for mean, floor, expected in [(0.3, None, 1), (0.2, None, 0), (0.3, 0.4, 0), (0.1, 0.4, 1)]:
        assert decision_probability(5, mean, 0, margin=0.2, alpha=ALPHA, beyond=0.2, floor=floor) == expected


def test_seeds_needed():
    """Against the definition: every n is tried in turn."""
    rng = np.random.default_rng(3)
    for _ in range(30):
        options = {
            "margin": 10 ** rng.uniform(-1, 0.5),
            "alpha": ALPHA,
            "alpha_difference": ALPHA / 4,
            "floor": rng.choice([0, 1]) * 10 ** rng.uniform(-2, 0.5),
        }
        options["beyond"] = rng.choice([0, 1]) * options["margin"]
        mean, pairs = rng.choice([0, 1]) * 10 ** rng.uniform(-1.5, 0.5), int(rng.choice([0, 3, 10]))
        enough = (n for n in range(pairs + 1, 61) if decision_probability(n, mean, 1.0, **options) >= 0.8)
        assert seeds_needed(mean, 1.0, pairs=pairs, limit=60, **options) == next(enough, None)


def test_seeds_needed_for_known_cases():
    # Only equivalence, true difference 0.
    for margin, expected in [(0.2, 15), (0.3, 8)]:
        assert seeds_needed(0, 0.25, pairs=5, margin=margin, alpha=ALPHA, floor=math.inf) == expected
    # Only a difference.
    expected = math.ceil(TTestPower().solve_power(0.4, alpha=ALPHA, power=0.9))
    assert seeds_needed(0.1, 0.25, pairs=5, margin=0, alpha=ALPHA, power=0.9) == expected
    # At the margin and below the floor there is none; what is there already does not count again.
    assert seeds_needed(0.2, 0.25, pairs=5, margin=0.2, alpha=ALPHA, floor=0.3) is None
    assert seeds_needed(0, 0.25, pairs=30, margin=0.2, alpha=ALPHA) == 31
    assert seeds_needed(0, 0.25, pairs=30, margin=0.2, alpha=ALPHA, limit=30) is None
