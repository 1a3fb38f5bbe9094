"""The survival of runs: Boschloo's test and Newcombe's interval against SciPy, statsmodels and full enumeration."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from vaecli.report.survival import Losses, boschloo, conclude, interval, seeds_needed, sign_test

ALPHA = 0.05


@pytest.mark.parametrize(
    "losses", [(5, 5, 0, 5), (4, 5, 0, 5), (8, 10, 0, 10), (1, 10, 0, 10), (2, 7, 3, 9), (3, 5, 3, 5), (6, 20, 1, 12)]
)
def test_boschloo(losses):
    lost, runs, reference_lost, reference_runs = losses
    table = [[lost, reference_lost], [runs - lost, reference_runs - reference_lost]]
    expected = stats.boschloo_exact(table, n=64).pvalue
    assert boschloo(Losses(*losses)) == pytest.approx(expected, rel=1e-3)
    assert boschloo(Losses(reference_lost, reference_runs, lost, runs)) == boschloo(Losses(*losses))
    assert boschloo(Losses(runs - lost, runs, reference_runs - reference_lost, reference_runs)) == pytest.approx(
        boschloo(Losses(*losses)), rel=1e-9
    )


def test_boschloo_by_hand():
    """All of one and none of the other: max π^n (1 − π)^n = 4^−n for each of two sides."""
    for n in range(1, 12):
        assert boschloo(Losses(n, n, 0, n)) == pytest.approx(min(1, 2 * 4.0**-n), rel=1e-6)
    assert boschloo(Losses(0, 5, 0, 5)) == 1
    assert boschloo(Losses(0, 5, 0, 3)) == 1


@pytest.mark.parametrize(("lost", "runs", "reference_lost", "reference_runs"), [(9, 800, 2, 700), (0, 600, 8, 600)])
def test_of_many_runs_it_is_fishers_test(lost, runs, reference_lost, reference_runs):
    table = [[lost, reference_lost], [runs - lost, reference_runs - reference_lost]]
    sides = [stats.fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
    assert boschloo(Losses(lost, runs, reference_lost, reference_runs)) == pytest.approx(
        min(1, 2 * min(sides)), rel=1e-8
    )
    assert boschloo(Losses(0, 5, 0, 7)) == boschloo(Losses(0, 5000, 0, 7000)) == 1


def test_boschloo_rejects_wherever_fisher_does():
    for n in (3, 5, 8):
        for lost, other in itertools.product(range(n + 1), repeat=2):
            table = [[lost, other], [n - lost, n - other]]
            fisher = 2 * min(stats.fisher_exact(table, side).pvalue for side in ("less", "greater"))
            assert boschloo(Losses(lost, n, other, n)) <= min(1, fisher) * (1 + 1e-9)


def rejection_rate(rejected, share, correlation):
    """The exact probability that a test of pairs rejects, where both lose the same share of runs.

    Args:
      rejected: (n + 1, n + 1), whether it does where n pairs have lost so many of each.
      share: the probability that a run is lost.
      correlation: that of the two losses of a pair.
    """
    n = len(rejected) - 1
    both = share * share + correlation * share * (1 - share)
    # The joint law of the two counts: (lost, lost by the reference), pair by pair.
    law = np.zeros((n + 1, n + 1))
    law[0, 0] = 1
    for _ in range(n):
        grown = (1 - 2 * share + both) * law
        grown[1:] += (share - both) * law[:-1]
        grown[:, 1:] += (share - both) * law[:, :-1]
        grown[1:, 1:] += both * law[:-1, :-1]
        law = grown
    return float(law[rejected].sum())


@pytest.mark.parametrize("n", [5, 10, 20])
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 9])
def test_the_level_of_boschloo_holds_also_where_the_losses_of_a_pair_go_together(n, alpha):
    # The p of two swapped counts are the same, to the last bit.
    rejected = np.array([[i >= j and boschloo(Losses(i, n, j, n)) < alpha for j in range(n + 1)] for i in range(n + 1)])
    rejected |= rejected.T
    rates = [
        rejection_rate(rejected, share, correlation)
        for share in np.linspace(0.02, 0.98, 25)
        for correlation in (0, 0.1, 0.3, 0.6, 1)
    ]
    print(f"n = {n}, level {alpha:.4f}: at most {max(rates):.4f} of all comparisons of equal survival are rejected")
    assert max(rates) <= alpha * (1 + 1e-6)


@pytest.mark.parametrize("losses", [(5, 5, 0, 5), (1, 10, 0, 10), (8, 10, 0, 10), (3, 12, 5, 9), (0, 4, 0, 4)])
def test_interval(losses):
    lost, runs, reference_lost, reference_runs = losses
    expected = confint_proportions_2indep(
        runs - lost, runs, reference_runs - reference_lost, reference_runs, method="newcomb", compare="diff"
    )
    assert interval(Losses(*losses), ALPHA) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_interval_covers(n):
    """By enumeration, over pairs of true shares."""
    counts = np.arange(n + 1)
    bounds = np.array([[interval(Losses(i, n, j, n), ALPHA) for j in counts] for i in counts])
    shares = np.linspace(0.05, 0.95, 10)
    laws = stats.binom.pmf(counts, n, 1 - shares[:, None])
    covered = []
    for (kept, law), (other, other_law) in itertools.product(zip(shares, laws, strict=True), repeat=2):
        inside = (bounds[..., 0] <= kept - other) & (kept - other <= bounds[..., 1])
        covered.append(np.outer(law, other_law)[inside].sum())
    print(f"n = {n}: the interval covers {np.mean(covered):.3f} on average and {min(covered):.3f} at least")
    assert np.mean(covered) >= 0.95
    assert min(covered) > 0.85


@pytest.mark.parametrize(
    ("losses", "alpha"), [((1, 10, 0, 10), ALPHA), ((3, 10, 0, 10), ALPHA / 9), ((8, 10, 3, 10), ALPHA)]
)
def test_seeds_needed_have_the_power(losses, alpha):
    n = seeds_needed(Losses(*losses), alpha)
    shares = losses[0] / losses[1], losses[2] / losses[3]
    counts = np.arange(n + 1)
    law = np.outer(*(stats.binom.pmf(counts, n, share) for share in shares))
    # The law is nearly all within a few counts.
    likely = law > 1e-6
    power = sum(law[i, j] for i, j in np.argwhere(likely) if boschloo(Losses(int(i), n, int(j), n)) < alpha)
    assert 0.72 < power < 0.92


def test_seeds_needed_of_clear_and_of_no_differences():
    # Clear already, but not within the family.
    assert boschloo(Losses(3, 3, 0, 3)) == pytest.approx(1 / 32)
    assert seeds_needed(Losses(3, 3, 0, 3), ALPHA / 9) == 5
    assert seeds_needed(Losses(2, 5, 4, 10), ALPHA) is None
    assert seeds_needed(Losses(1, 1000, 0, 1000), ALPHA) == 7844
    assert seeds_needed(Losses(1, 1000, 0, 1000), ALPHA, limit=5000) is None


def test_sign_test():
    for seeds, worse in itertools.product((1, 5, 12), range(13)):
        if worse <= seeds:
            one_sided = stats.binomtest(worse, seeds, alternative="greater").pvalue
            assert sign_test(worse, seeds) == pytest.approx(min(1, 2 * one_sided), rel=1e-12)


LOST_ALL, LOST_MORE, LOST_FEWER, EVEN = Losses(5, 5, 0, 5), Losses(1, 9, 0, 9), Losses(0, 9, 2, 9), Losses(2, 9, 2, 9)


@pytest.mark.parametrize(
    ("of_mean", "losses", "p_survival", "given", "expected"),
    [
        ("equivalent", Losses(0, 5, 0, 5), None, {}, "equivalent"),
        ("better", Losses(0, 5, 0, 5), None, {}, "better"),
        ("undecided", LOST_ALL, 0.01, {"same_seeds": False}, "worse"),
        # By survivors no variant that lost more is better.
        ("better", LOST_ALL, 0.01, {"same_seeds": False}, "worse"),
        ("better", LOST_MORE, 0.9, {"same_seeds": False}, "different"),
        ("worse", LOST_MORE, 0.9, {"same_seeds": False}, "worse"),
        # The same of the reference, unless seed by seed it is so with all losses counted.
        ("worse", LOST_FEWER, 0.9, {"same_seeds": False}, "different"),
        ("worse", LOST_FEWER, 0.9, {"same_seeds": False, "p_sign": 0.04}, "worse"),
        ("worse", LOST_FEWER, 0.9, {"same_seeds": False, "p_sign": 0.2}, "different"),
        ("better", LOST_FEWER, 0.9, {"same_seeds": False}, "better"),
        ("better", LOST_FEWER, 0.01, {"same_seeds": False}, "better"),
        ("equivalent", LOST_FEWER, 0.01, {"same_seeds": False}, "better"),
        ("worse", LOST_FEWER, 0.01, {"same_seeds": False}, "different"),
        ("equivalent", LOST_MORE, 0.9, {"same_seeds": False}, "undecided"),
        ("equivalent", EVEN, 1.0, {"same_seeds": False}, "undecided"),
        ("equivalent", EVEN, 1.0, {"same_seeds": True}, "equivalent"),
        ("beyond the margin", LOST_MORE, 0.9, {"same_seeds": False}, "beyond the margin"),
        ("different", LOST_MORE, 0.9, {"same_seeds": False}, "different"),
    ],
)
def test_conclude(of_mean, losses, p_survival, given, expected):
    given = {"same_seeds": True, "p_sign": None, "alpha": ALPHA, **given}
    assert conclude(of_mean, losses, p_survival, **given) == expected
