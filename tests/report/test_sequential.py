"""Group-sequential boundaries against published ones, exact integrals and simulation; p and intervals against them."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from vaecli.report.sequential import (
    Looks,
    critical_values,
    p_value,
    sequential_t_test,
    smallest_margins,
    spent,
    union_p_value,
)
from vaecli.report.statistics import holm, paired_t_test
from vaecli.report.statistics import smallest_margins as fixed_margins

PLAN = (5, 8, 12, 18, 26)
SPENDINGS = "pocock", "obrien-fleming"


def looks(pairs, spending):
    return Looks(tuple(pairs), tuple(n / pairs[-1] for n in pairs), spending)


def test_spending_functions():
    # Lan & DeMets (1983): nothing at first, all at the end.
    for spending in SPENDINGS:
        assert spent(spending, 0.05, [1e-9, 1.0]) == pytest.approx([0, 0.05], abs=1e-9)
    assert spent("pocock", 0.05, 0.5) == pytest.approx(0.05 * math.log(1 + (math.e - 1) / 2))
    assert spent("obrien-fleming", 0.05, 0.5) == pytest.approx(
        2 * stats.norm.sf(stats.norm.isf(0.025) / math.sqrt(0.5))
    )


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        ("pocock", [2.2793, 2.2949, 2.2960]),
        ("obrien-fleming", [3.7103, 2.5114, 1.9930]),
        pytest.param("pocock", [2.4380, 2.4268, 2.4101, 2.3966, 2.3859], marks=pytest.mark.long),
        pytest.param("obrien-fleming", [4.8769, 3.3569, 2.6803, 2.2898, 2.0310], marks=pytest.mark.long),
    ],
)
def test_with_many_pairs_the_boundaries_are_those_of_brownian_motion(spending, published):
    """The values that ldbounds and gsDesign give for three and for five equal looks at 2.5 % one-sided."""
    many = looks([400 * k for k in range(1, len(published) + 1)], spending)
    # As normal scores, to which t comes close.
    scores = [
        stats.norm.isf(stats.t.sf(t, n - 1)) for t, n in zip(critical_values(many, 0.025), many.pairs, strict=True)
    ]
    assert scores == pytest.approx(published, abs=1e-3)


@pytest.mark.parametrize(
    ("spending", "level", "simulated"),
    [
        # Two-sided at 5 %, and one-sided; 400,000 draws, ± 0.02.
        ("pocock", 0.025, [4.15, 3.51, 3.04, 2.71, 2.52]),
        ("pocock", 0.05, [3.36, 2.95, 2.60, 2.33, 2.16]),
        ("obrien-fleming", 0.05, [None, None, 3.27, 2.32, 1.79]),
    ],
)
def test_boundaries_for_few_pairs(spending, level, simulated):
    critical = critical_values(looks(PLAN, spending), level)
    for value, drawn in zip(critical, simulated, strict=True):
        assert drawn is None or value == pytest.approx(drawn, abs=0.02)


def test_first_boundary_is_a_quantile():
    for spending, level in itertools.product(SPENDINGS, (0.01, 0.05, 0.3)):
        expected = stats.t.isf(spent(spending, level, PLAN[0] / PLAN[-1]), PLAN[0] - 1)
        assert critical_values(looks(PLAN, spending), level)[0] == pytest.approx(expected, rel=1e-6)


def test_second_boundary_by_integration():
    """Two looks, at 2 and 3 pairs: with directions on a sphere the joint law is an area, here by a fine grid."""
    both = looks((2, 3), "pocock")
    first, second = critical_values(both, 0.1)
    # Points of the sphere, evenly by area: x₃ uniform, the angle of (x₁, x₂) uniform.
    third, angle = np.meshgrid(np.linspace(-1, 1, 1001)[:-1] + 1e-3, (np.arange(2000) + 0.5) * math.tau / 2000)
    x = np.stack([np.sqrt(1 - third**2) * np.cos(angle), np.sqrt(1 - third**2) * np.sin(angle), third])
    t = [x[:n].mean(0) / x[:n].std(0, ddof=1) * math.sqrt(n) for n in (2, 3)]
    rejected = ((t[0] <= first) & (t[1] > second)).mean()
    assert rejected == pytest.approx(0.1 - float(spent("pocock", 0.1, 2 / 3)), abs=3e-4)


@pytest.mark.parametrize("pairs", [(5, 6, 7, 8), (2, 4, 12), pytest.param((2, 4, 30), marks=pytest.mark.long), PLAN])
def test_each_look_spends_its_part(pairs):
    """By simulation: the probability to reject first at each look is what the spending function gives it."""
    d = np.random.default_rng(0).standard_normal((pairs[-1], 200_000))
    t = np.stack([d[:n].mean(0) / d[:n].std(0, ddof=1) * math.sqrt(n) for n in pairs], axis=1)
    for spending in SPENDINGS:
        of = looks(pairs, spending)
        rejects = t > critical_values(of, 0.1)
        first = np.bincount(rejects.argmax(1)[rejects.any(1)], minlength=len(pairs)) / len(t)
        expected = np.diff(spent(spending, 0.1, of.fractions), prepend=0)
        assert first == pytest.approx(expected, abs=4 * math.sqrt(0.1 / len(t)))


@pytest.mark.parametrize("spending", SPENDINGS)
def test_p_is_the_level_at_which_a_look_rejects(spending):
    of = looks(PLAN, spending)
    for level in (0.001, 0.0056, 0.05, 0.25):
        critical = critical_values(of, level)
        for look in range(len(PLAN)):
            t = np.full(len(PLAN), -3.0)
            t[look] = critical[look]
            assert p_value(of, t) == pytest.approx(level, rel=2e-3)
        assert p_value(of, critical) == pytest.approx(level, rel=2e-3)
    assert p_value(of, [0.0] * 5) == 1
    assert p_value(of, [-math.inf, math.inf, 0, 0, 0]) == 0
    more = p_value(of, np.linspace(-2, 9, 60)[:, None] * [1, 0, 0, 0, 1])
    assert (np.diff(more) <= 0).all()


def test_one_look_is_the_fixed_test():
    for spending, t in itertools.product(SPENDINGS, (0.9, 2.0, 30.0)):
        assert p_value(looks((7,), spending), [t]) == pytest.approx(stats.t.sf(t, 6), rel=1e-9)
        assert union_p_value(looks((7,), spending), [0.04]) == pytest.approx(0.04, rel=1e-9)
    x, y = np.random.default_rng(1).normal(0, 1, (2, 9)).tolist()
    one = sequential_t_test(x, y, looks((9,), "pocock"), margin=0.7, alpha=0.05)
    fixed = paired_t_test(x, y, margin=0.7)
    # A sequential p above 0.3 on one side is given as 1.
    for name, value in fixed._asdict().items():
        assert getattr(one.test, name) == pytest.approx(
            value if value is None or value <= 0.3 else getattr(one.test, name)
        )
    assert smallest_margins([one, None], 0.05) == pytest.approx([*fixed_margins([fixed], 0.05), None])


def test_union_spends_what_each_look_adds():
    of = looks(PLAN, "pocock")
    added = np.diff(spent("pocock", 0.05, of.fractions), prepend=0)
    for look, part in enumerate(added):
        p = np.ones(5)
        p[look] = part
        assert union_p_value(of, p) == pytest.approx(0.05, rel=1e-6)
    assert union_p_value(of, np.ones(5)) == 1


@pytest.mark.parametrize("spending", SPENDINGS)
def test_intervals_and_p_agree(spending):
    """At a single look, p is below a level exactly where the interval of that level says so."""
    rng = np.random.default_rng(2)
    of = Looks((6, 9), (0.6, 0.9), spending)
    for _ in range(40):
        d = rng.normal(rng.choice([0, 0.6, 1.5]), 0.5, 9)
        # A first look that shows nothing.
        d[:6] = [5, -5, 5, -5, 5, -5]
        result = sequential_t_test(d.tolist(), [0.0] * 9, of, margin=4.0, alpha=0.1)
        test = result.test
        assert (test.p_difference < 0.1) == (test.low > 0 or test.high < 0)
        assert (test.p_equivalence < 0.1) == (test.tost_low > -4 and test.tost_high < 4)
        assert (test.p_beyond < 0.1) == (test.low > 4 or test.high < -4)
        margin = result.smallest_margin(0.1)
        for other, decided in ((margin * 1.001, True), (margin * 0.999, False)):
            p = sequential_t_test(d.tolist(), [0.0] * 9, of, margin=other, alpha=0.1).test.p_equivalence
            assert (p < 0.1) == decided


def test_differences_without_spread():
    of = looks(PLAN, "obrien-fleming")
    same = sequential_t_test([-98.25] * 26, [-98.25] * 26, of, margin=0.5, alpha=0.05)
    assert (same.test.p_difference, same.test.p_equivalence, same.test.p_beyond) == (1, 0, 1)
    assert (same.test.low, same.test.high, same.smallest_margin(0.05)) == (0, 0, 0)
    apart = sequential_t_test([1.0] * 26, [0.0] * 26, of, margin=0.5, alpha=0.05)
    assert (apart.test.p_difference, apart.test.p_equivalence, apart.test.p_beyond) == (0, 1, 0)


def _draws(law, rng, size):
    if law == "normal":
        return rng.standard_normal(size)
    return rng.laplace(size=size) if law == "laplace" else rng.standard_t(3, size=size)


@pytest.mark.parametrize(("law", "spending"), [("normal", "pocock"), ("laplace", "obrien-fleming"), ("t3", "pocock")])
def test_false_verdicts_of_a_family(law, spending):
    """Five heads at 0, or all at the margin: the share of studies with a false claim of each kind, over all looks.

    bench/sequential.py does the same with 20,000 studies each, for more looks and families.
    """
    studies, heads, rng = 2_000, 5, np.random.default_rng(3)
    of = looks((5, 8, 12), spending)
    # The heads share the noise of their reference.
    noise = _draws(law, rng, (studies, heads, 12)) - _draws(law, rng, (studies, 1, 12))

    def p(shift):
        shifted = noise + shift
        ratio = [shifted[..., :n].mean(-1) / shifted[..., :n].std(-1, ddof=1) * math.sqrt(n) for n in of.pairs]
        return p_value(of, np.stack(ratio, axis=-1))

    def p_below(shift):
        shifted = -noise - shift
        ratio = [shifted[..., :n].mean(-1) / shifted[..., :n].std(-1, ddof=1) * math.sqrt(n) for n in of.pairs]
        return p_value(of, np.stack(ratio, axis=-1))

    different = 2 * np.minimum(p(0), p_below(0))
    # At the margin of 1 the side that is true there is the one that errs.
    for false in (different, p_below(0), 2 * p(0)):
        wrong = np.mean([min(holm(row)) < 0.05 for row in false.tolist()])
        assert wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_what_was_rejected_on_the_other_side_is_no_verdict():
    of = Looks((5, 12), (5 / 12, 1.0), "pocock")
    values = [5.0, 5.01, 4.99, 5.02, 4.98, *[-4.0] * 7]
    test = sequential_t_test(values, [0.0] * 12, of, margin=1.0, alpha=0.05).test
    assert test.mean < 0
    assert test.p_difference < 1e-6
    assert test.p_beyond == 1


def test_smallest_margins_of_a_family_with_untested_variants():
    of = looks((5, 8), "pocock")
    tests = [
        sequential_t_test(row, [0.0] * 8, of, margin=0.5, alpha=0.05)
        for row in np.random.default_rng(4).normal(0, 1, (2, 8)).tolist()
    ]
    margins = smallest_margins([*tests, None], 0.05, 4)
    by_itself = [min(test.smallest_margin(0.05 / 4) for test in tests), None]
    by_itself[1] = max(
        by_itself[0], max(tests, key=lambda test: test.smallest_margin(0.05 / 4)).smallest_margin(0.05 / 3)
    )
    assert sorted(margins[:2]) == pytest.approx(sorted(by_itself))
    assert margins[2] is None
