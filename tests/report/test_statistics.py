"""The statistics of a verdict against SciPy and statsmodels."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from helpers.family import holm_by_statsmodels
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from vaecli.report.statistics import (
    FamilyTest,
    TTest,
    adjust,
    chaos_floor,
    difference_test,
    holm,
    paired_t_test,
    ratio_of_means,
    smallest_margins,
    verdict,
    welch_t_test,
)

ALPHA = 0.05


# The paired t


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (-1e5, 1e-3), (-98.7, 0.25), (1e-3, 1e-6), (0, 1e6)])
def test_paired_t_test(n, offset, scale):
    rng = np.random.default_rng(n)
    for shift in (0, 0.3, -2):
        y = offset + scale * rng.normal(size=n)
        x = y + scale * (shift + rng.normal(size=n))
        margin = 0.8 * scale
        result = paired_t_test(x, y, margin=margin)
        test = stats.ttest_rel(x, y)
        assert result.pairs == n
        assert result.mean == pytest.approx(np.mean(x - y), rel=1e-9, abs=1e-12 * scale)
        assert result.sd == pytest.approx(np.std(x - y, ddof=1), rel=1e-9)
        assert result.p_difference == pytest.approx(test.pvalue, rel=1e-8)
        assert (result.low, result.high) == pytest.approx(tuple(test.confidence_interval(0.95)), abs=1e-8 * scale)
        assert (result.tost_low, result.tost_high) == pytest.approx(
            tuple(test.confidence_interval(0.9)), abs=1e-8 * scale
        )
        assert result.p_equivalence == pytest.approx(ttost_paired(x, y, -margin, margin)[0], rel=1e-8)
        above = stats.ttest_1samp(x - y, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(x - y, margin, alternative="less").pvalue
        assert (result.p_above, result.p_below) == pytest.approx((above, below), rel=1e-8)
        one_sided = stats.ttest_1samp(np.sign(result.mean) * (x - y), margin, alternative="greater").pvalue
        assert result.p_beyond == pytest.approx(min(1, 2 * one_sided), rel=1e-8)
        assert result.rho == (None if n == 2 else pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-6))
        other = paired_t_test(x, y, margin=margin, alpha=0.01)
        assert (other.low, other.high) == pytest.approx(tuple(test.confidence_interval(0.99)), abs=1e-8 * scale)
        assert (other.tost_low, other.tost_high) == pytest.approx(
            tuple(test.confidence_interval(0.98)), abs=1e-8 * scale
        )


@settings(deadline=None)
@given(
    st.lists(st.floats(-1000, 1000, width=32), min_size=2, max_size=12),
    st.floats(0.0625, 100, width=32),
    st.sampled_from([0.01, 0.05, 0.1]),
)
def test_intervals_and_p_values_agree(d, margin, alpha):
    result = paired_t_test(d, [0.0] * len(d), margin=margin, alpha=alpha)
    if abs(result.p_difference - alpha) > 1e-9:
        assert (result.p_difference < alpha) == (result.low > 0 or result.high < 0)
    if abs(result.p_equivalence - alpha) > 1e-9:
        assert (result.p_equivalence < alpha) == (-margin < result.tost_low and result.tost_high < margin)
    if abs(result.p_beyond - alpha) > 1e-9:
        assert (result.p_beyond < alpha) == (result.low > margin or result.high < -margin)
    assert result.p_beyond >= result.p_difference
    # Head and reference the other way round.
    turned = paired_t_test([0.0] * len(d), d, margin=margin, alpha=alpha)
    assert turned.p_equivalence == pytest.approx(result.p_equivalence)
    assert (turned.low, turned.high) == pytest.approx((-result.high, -result.low))


def test_too_few_pairs():
    assert paired_t_test([], [], margin=0.2) == TTest(0, *[None] * 10)
    assert paired_t_test([-98.5], [-99.0], margin=0.2) == TTest(1, 0.5, *[None] * 9)
    two = paired_t_test([1.0, 2.0], [0.5, 1.0], margin=0.2)
    assert two.rho is None
    assert None not in two._replace(rho=0)


@pytest.mark.parametrize("n", [2, 3, 5, 49])
@pytest.mark.parametrize("value", [0.1, 1 / 49, -1e5 / 3])
def test_constant_differences(n, value):
    """Also where n·v/n is not v, so that a mean taken in the plain way leaves deviations of its own rounding."""
    reference = np.full(n, 7.0)
    same = paired_t_test(reference, reference, margin=0.2)
    assert same[1:7] == (0, 0, 0, 0, 0, 0)
    assert same[7:11] == (None, 1, 0, 1)
    d = [value] * n
    result = paired_t_test(d, [0.0] * n, margin=abs(value) * 1.01)
    assert result[1:7] == (value, 0, value, value, value, value)
    assert result[7:11] == (None, 0, 0, 1)
    assert paired_t_test(d, [0.0] * n, margin=abs(value))[8:11] == (0, 1, 1)
    assert paired_t_test(d, [0.0] * n, margin=abs(value) / 2)[8:11] == (0, 1, 0)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 40), (5, 6), (12, 3)])
@pytest.mark.parametrize("spread", [1.0, 0.01, 30.0])
def test_welch_t_test(n, m, spread):
    rng = np.random.default_rng(n + m)
    for shift in (0, 0.3, -2):
        x, y = -98.7 + shift + rng.normal(size=n), -98.7 + spread * rng.normal(size=m)
        result = welch_t_test(x, y, margin=0.8)
        test = stats.ttest_ind(x, y, equal_var=False)
        assert (result.pairs, result.paired, result.rho) == (0, False, None)
        assert result.mean == pytest.approx(x.mean() - y.mean(), rel=1e-9)
        assert result.sd == pytest.approx(math.sqrt(x.var(ddof=1) + y.var(ddof=1)), rel=1e-9)
        assert result.standard_error == pytest.approx(math.sqrt(x.var(ddof=1) / n + y.var(ddof=1) / m), rel=1e-9)
        assert result.df == pytest.approx(test.df, rel=1e-9)
        assert result.p_difference == pytest.approx(test.pvalue, rel=1e-8)
        assert (result.low, result.high) == pytest.approx(tuple(test.confidence_interval(0.95)), rel=1e-8)
        assert (result.tost_low, result.tost_high) == pytest.approx(tuple(test.confidence_interval(0.9)), rel=1e-8)
        assert result.p_equivalence == pytest.approx(ttost_ind(x, y, -0.8, 0.8, usevar="unequal")[0], rel=1e-8)
        above = stats.ttest_ind(x + 0.8, y, equal_var=False, alternative="greater").pvalue
        below = stats.ttest_ind(x - 0.8, y, equal_var=False, alternative="less").pvalue
        assert (result.p_above, result.p_below) == pytest.approx((above, below), rel=1e-8)
        side = math.copysign(1, result.mean)
        beyond = stats.ttest_ind(side * x, side * y + 0.8, equal_var=False, alternative="greater").pvalue
        assert result.p_beyond == pytest.approx(min(1, 2 * beyond), rel=1e-8)


def test_welch_of_few_or_constant_runs():
    assert welch_t_test([], [1.0, 2.0], margin=1) == TTest(0, paired=False)
    assert welch_t_test([3.0], [1.0, 2.0], margin=1) == TTest(0, 1.5, paired=False)
    same = welch_t_test([0.1] * 3, [0.1] * 49, margin=0.2)
    assert (same.mean, same.sd, same.low, same.high, same.standard_error) == (0, 0, 0, 0, 0)
    assert (same.p_difference, same.p_equivalence, same.p_beyond) == (1, 0, 1)
    apart = welch_t_test([2.0] * 3, [1.0] * 2, margin=0.2)
    assert (apart.p_difference, apart.p_equivalence, apart.p_beyond) == (0, 1, 0)


def test_difference_test_pairs_what_shares_a_seed_or_nothing():
    mine, theirs = {0: 1.0, 1: 3.0, 5: 2.5}, {1: 2.0, 0: 0.5, 7: 1.0}
    assert difference_test(mine, theirs, paired=True, margin=1) == paired_t_test([1.0, 3.0], [0.5, 2.0], margin=1)
    unpaired = difference_test(mine, theirs, paired=False, margin=1, alpha=0.1)
    assert unpaired == welch_t_test([1.0, 3.0, 2.5], [2.0, 0.5, 1.0], margin=1, alpha=0.1)


def test_constant_differences_of_float32_runs():
    """Runs of 1e5 nats, printed exactly: one float32 step between head and reference, in every seed."""
    reference = np.float32(-1e5) + np.arange(5, dtype=np.float32)
    values = np.nextafter(reference, np.float32(0))
    result = paired_t_test([float(v) for v in values], [float(v) for v in reference], margin=0.2)
    assert result.sd == 0
    assert result.mean == 2**-7
    assert (result.p_difference, result.p_equivalence, result.rho) == (0, 0, pytest.approx(1))


def test_correlation_stays_within_one():
    for x in np.random.default_rng(0).normal(size=(200, 7)):
        assert 1 - 1e-12 < paired_t_test(x, 3 * x + 1, margin=1).rho <= 1
        assert -1 <= paired_t_test(x, -x, margin=1).rho < -1 + 1e-12


def test_one_constant_side():
    assert paired_t_test([0.1, 0.3, 0.2], [0.1] * 3, margin=1).rho is None
    assert paired_t_test([0.1] * 3, [0.1, 0.3, 0.2], margin=1).rho is None


@pytest.mark.parametrize(
    ("values", "reference"),
    [([1, 2], [1]), ([1, math.nan], [1, 2]), ([1, math.inf], [1, math.inf]), ([[1, 2]], [[1, 2]]), (1.0, 2.0)],
)
def test_refused(values, reference):
    for function in (lambda: paired_t_test(values, reference, margin=1), lambda: chaos_floor(values, reference)):
        with pytest.raises(ValueError, match=r"finite|length"):
            function()


# Floor and families


def test_chaos_floor():
    assert chaos_floor([1.0, -2.0, 5.0], [0.0, 0.0, 3.0]) == pytest.approx(math.sqrt(3))
    # About 0 and not about their mean, and of one twin as well.
    assert chaos_floor([1.5, 2.5], [1.0, 2.0]) == 0.5
    assert chaos_floor([1.5], [2.0]) == 0.5
    with pytest.raises(ValueError, match="twin"):
        chaos_floor([], [])


@pytest.mark.parametrize("size", [1, 2, 3, 8, 15])
def test_holm(size):
    rng = np.random.default_rng(size)
    known = np.round(rng.random(size) ** 4, 2).tolist()
    p = [*known]
    for place in rng.integers(0, size + 1, 3):
        p.insert(place, None)
    expected = iter(holm_by_statsmodels(known))
    assert holm(p) == [None if value is None else pytest.approx(next(expected), rel=1e-12) for value in p]
    assert holm([None] * size) == [None] * size


def test_holm_of_nothing():
    assert holm([]) == []


def random_tests(rng, size, sizes=(1, 2, 5, 9)):
    """Tests of several variants, with different numbers of pairs; one may have too few."""
    return [
        paired_t_test(
            rng.normal(rng.uniform(-1, 1), rng.uniform(0.05, 0.6), pairs), np.zeros(pairs), margin=0.5, alpha=ALPHA
        )
        for pairs in rng.choice(sizes, size)
    ]


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_each_kind_of_claim_is_a_family(size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        tests = random_tests(rng, size)
        adjusted = adjust(tests, ALPHA)
        for column, name in enumerate(("p_difference", "p_equivalence", "p_beyond")):
            known = [getattr(test, name) for test in tests if test.sd is not None]
            expected = iter(holm_by_statsmodels(known))
            for test, of_one in zip(tests, adjusted, strict=True):
                assert of_one[column] == (None if test.sd is None else pytest.approx(next(expected), rel=1e-12))
            unsettled = sum(p[column] is not None and p[column] >= ALPHA for p in adjusted)
            assert {of_one[3 + column] for of_one in adjusted} == {unsettled}
        # A mean beyond the margin is not 0, in a family, too.
        assert all(one.p_beyond is None or one.p_beyond >= one.p_difference for one in adjusted)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_the_smallest_margin_is_where_holm_begins_to_call_a_variant_equivalent(size):
    """Against the definition: the tests are repeated at margins just above and below."""
    rng = np.random.default_rng(size)
    for _ in range(20):
        d = [rng.normal(rng.uniform(-1, 1), rng.uniform(0.05, 0.6), n) for n in rng.choice([2, 4, 9], size)]

        def equivalent(margin, d=d):
            p = [ttost_paired(x, np.zeros(len(x)), -margin, margin)[0] for x in d]
            return holm_by_statsmodels(p) < ALPHA

        margins = smallest_margins([paired_t_test(x, np.zeros(len(x)), margin=1) for x in d], ALPHA)
        for place, margin in enumerate(margins):
            assert equivalent(margin * (1 + 1e-6))[place]
            assert not equivalent(margin * (1 - 1e-6))[place]


def test_the_smallest_margin_of_few_pairs_and_of_equal_runs():
    tests = [paired_t_test(x, np.zeros(len(x)), margin=1) for x in ([], [1.0], [0.0, 0.0, 0.0], [0.25, 0.25])]
    assert smallest_margins(tests, ALPHA) == [None, None, 0.0, 0.25]
    assert smallest_margins([], ALPHA) == []


# The ratio of two means


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
@pytest.mark.parametrize(("offset", "scale"), [(-1.5, 0.1), (1.5, 0.4), (1e3, 1.0), (2e-4, 1e-5)])
def test_a_share_is_every_ratio_that_is_not_rejected(n, offset, scale):
    """Fieller's interval by its definition: at its ends, t of the differences is the critical one."""
    rng = np.random.default_rng(n)
    totals = offset + scale * rng.normal(size=n)
    for part in (0.0, 0.4, -2.0):
        values = part * totals + scale * rng.normal(size=n)
        ratio = ratio_of_means(values, totals)
        if stats.ttest_1samp(totals, 0).pvalue >= ALPHA:
            assert ratio == (None, None, None)
            continue
        assert ratio.value == pytest.approx(values.mean() / totals.mean(), rel=1e-9, abs=1e-12)
        for end in (ratio.low, ratio.high):
            assert stats.ttest_1samp(values - end * totals, 0).pvalue == pytest.approx(ALPHA, rel=1e-6)
        middle = np.linspace(ratio.low, ratio.high, 9)[1:-1]
        assert all(stats.ttest_1samp(values - share * totals, 0).pvalue > ALPHA for share in middle)
        assert ratio.low < ratio.value < ratio.high
        # In other units it is the same share.
        assert ratio_of_means(-7 * values, -7 * totals) == pytest.approx(ratio, rel=1e-9)


def test_shares_by_hand():
    """With n = 2, totals 1 ± 0 and t = 12.706: the interval is that of the mean itself."""
    t = stats.t.ppf(0.975, 1)
    assert ratio_of_means([0.4, 0.6], [1.0, 1.0]) == pytest.approx((0.5, 0.5 - 0.1 * t, 0.5 + 0.1 * t))
    assert ratio_of_means([0.4, 0.6], [1.0, 1.0], alpha=0.5)[1:] == pytest.approx((0.4, 0.6))
    # All of it, a fixed share of it and nothing of it have no error.
    totals = [-1.0, -1.25, -1.5, -1.125]
    assert ratio_of_means(totals, totals) == (1, 1, 1)
    assert ratio_of_means([0.25 * total for total in totals], totals) == pytest.approx((0.25, 0.25, 0.25), abs=1e-8)
    assert ratio_of_means([0.0] * 4, totals) == (0, 0, 0)


def test_no_share_of_what_may_be_0():
    assert ratio_of_means([1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]) == (None, None, None)
    assert ratio_of_means([1.0, 2.0], [0.0, 0.0]) == (None, None, None)
    assert ratio_of_means([1.0], [2.0]) == ratio_of_means([], []) == (None, None, None)
    with pytest.raises(ValueError, match="of one length"):
        ratio_of_means([1.0], [1.0, 2.0])


# The verdict


def concluded(mean, p, *, floor=None, direction=1):
    """The verdict on a variant with these adjusted p of not 0, within and beyond the margin."""
    test, family = TTest(5, mean), FamilyTest(*p, 0, 0, 0)
    return verdict(test, family, alpha=ALPHA, floor=floor, direction=direction)


@pytest.mark.parametrize(
    ("mean", "p", "floor", "expected"),
    [
        (0.9, (0.001, 1, 0.01), None, "better"),
        (-0.9, (0.001, 1, 0.01), None, "worse"),
        (0.9, (0.001, 1, 0.01), 0.8, "better"),
        (0.9, (0.001, 1, 0.01), 0.9, "undecided"),
        (-0.9, (0.001, 1, 0.01), 1.0, "undecided"),
        (0.6, (0.01, 0.9, 0.3), None, "different"),
        (0.4, (0.01, 0.2, 1), None, "different"),
        (0.4, (0.01, 0.2, 1), 0.4, "undecided"),
        (0.4, (0.05, 0.05, 1), None, "undecided"),
        (0.1, (0.3, 0.01, 1), None, "equivalent"),
        # A difference can be real and below the margin: it does not matter.
        (0.1, (0.001, 0.01, 1), None, "equivalent"),
        (0.1, (0.001, 0.01, 1), 0.2, "equivalent"),
        (0.7, (0.3, 1, 0.4), None, "undecided"),
        (None, (None, None, None), None, "undecided"),
    ],
)
def test_verdict(mean, p, floor, expected):
    assert concluded(mean, p, floor=floor) == expected
    mirrored = {"better": "worse", "worse": "better"}.get(expected, expected)
    assert concluded(None if mean is None else -mean, p, floor=floor) == mirrored
    assert concluded(mean, p, floor=floor, direction=-1) == mirrored
    without = "beyond the margin" if expected in ("better", "worse") else expected
    assert concluded(mean, p, floor=floor, direction=0) == without


@pytest.mark.parametrize(
    ("pilot", "more"),
    [((0.6, 0.05), "worse"), ((0.37, 0.22), "equivalent"), ((-0.9, 0.2), "better")],
)
def test_more_seeds_move_a_verdict_forward(pilot, more):
    """A difference that is real with few seeds, whose size the others settle; never its contrary."""
    size, sd = pilot
    spread = np.array([-1, 1] * 32) * sd
    seen = []
    for n in range(2, 64, 2):
        test = paired_t_test(-size + spread[:n], np.zeros(n), margin=0.5)
        seen.append(verdict(test, adjust([test], ALPHA)[0], alpha=ALPHA, floor=None, direction=1))
    assert [key for key, _ in itertools.groupby(seen)][-1] == more
    assert set(seen) <= {"undecided", "different", more}


def test_light_to_import():
    code = (
        "import sys, vaecli.report.statistics; print([m for m in ('jax', 'pandas', 'scipy.stats') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
