"""How often verdicts are wrong, in simulated comparisons judged by the functions of the program.

`python -m pytest tests/report/test_rates.py -n 0 -s -m 'long or not long'` prints the rates that `docs/statistics.md`
states; without `-m` a short version of each runs.
"""

import collections
import itertools
import math

import numpy as np
import pytest
from scipy import special

from vaecli.report.planning import seeds_needed
from vaecli.report.statistics import adjust, holm, paired_t_test, significant, verdict, welch_t_test
from vaecli.report.survival import Losses, boschloo, conclude

ALPHA = 0.05
SETTLED = {"equivalent", "better", "worse"}
# A short version of each simulation in every run of the tests, and the one whose figures are stated.
COUNTS = [200, pytest.param(10_000, marks=pytest.mark.long)]
LAWS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "Laplace": lambda rng, shape: rng.laplace(size=shape) / math.sqrt(2),
    "Student's t, 3 df": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "one in ten with sd 10": lambda rng, shape: (
        rng.normal(size=shape) * np.where(rng.random(shape) < 0.1, 10, 1) / math.sqrt(10.9)
    ),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "log-normal": lambda rng, shape: (rng.lognormal(size=shape) - math.exp(0.5)) / math.sqrt(math.e * (math.e - 1)),
}
SKEWED = {"exponential", "log-normal"}
# Those of every run of the tests: each number of pairs, and each law for which a rate is asserted.
USUAL = {("normal", 5), ("Laplace", 10), ("Student's t, 3 df", 20), ("one in ten with sd 10", 5)}


def error(count, rate=ALPHA):
    """Four standard errors of a simulated rate; once in 16,000 a right one is further off; the seeds are fixed."""
    return 4 * math.sqrt(rate * (1 - rate) / count)


def judged(d, margin=0.5):
    """The tests of a family and their verdicts, of differences (heads, n) for which more is better."""
    zeros = np.zeros(d.shape[1])
    tests = [paired_t_test(row, zeros, margin=margin) for row in d]
    families = adjust(tests, ALPHA)
    pairs = list(zip(tests, families, strict=True))
    return pairs, [verdict(*both, alpha=ALPHA, floor=None, direction=1) for both in pairs]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    ("law", "n"),
    [
        pytest.param(law, n, marks=() if (law, n) in USUAL else pytest.mark.long)
        for law, n in itertools.product(LAWS, (5, 10, 20))
    ],
)
def test_rates_of_wrong_claims(law, n, count):
    """Of 1, 5 and 9 heads: all like the reference, all at the margin, and one at it among others like the reference."""
    rng = np.random.default_rng(n)
    for heads in (1, 5, 9):
        wrong = collections.Counter()
        for noise in LAWS[law](rng, (count, heads, n)):
            pairs, _ = judged(noise)
            wrong["different"] += any(significant(*both, alpha=ALPHA, floor=None) for both in pairs)
            # Little noise beside the margin, so that few seeds do not hide how often the test is wrong.
            edge = 0.5 * (-1) ** np.arange(heads)[:, None] + 0.05 * noise
            _, verdicts = judged(edge)
            wrong["equivalent"] += "equivalent" in verdicts
            wrong["beyond"] += bool({"better", "worse"} & set(verdicts))
            edge[1:] = 0.05 * noise[1:]
            wrong["one equivalent"] += judged(edge)[1][0] == "equivalent"
        rates = {kind: wrong[kind] / count for kind in ("different", "equivalent", "beyond", "one equivalent")}
        print(f"{law}, n = {n}, {heads} heads, wrongly:", ", ".join(f"{kind} {r:.4f}" for kind, r in rates.items()))
        if law not in SKEWED:
            assert max(rates.values()) <= ALPHA + error(count)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("spread", [1, 3])
@pytest.mark.parametrize(("n", "of_reference"), [(5, 5), (10, 10), (5, 20), (20, 5)])
def test_rates_of_runs_that_are_not_paired(n, of_reference, spread, count):
    """By Welch's t, of a head whose runs vary as much as those of the reference, or three times as much."""
    rng = np.random.default_rng([n, of_reference])
    wrong = collections.Counter()
    for _ in range(count):
        reference, values = rng.normal(size=of_reference), spread * rng.normal(size=n)
        wrong["different"] += (welch_t_test(values, reference, margin=1).p_difference or 1) < ALPHA
        for side in (1, -1):
            edge = welch_t_test(side + 0.05 * values, 0.05 * reference, margin=1)
            wrong[f"equivalent {side}"] += (edge.p_equivalence or 1) < ALPHA
            wrong[f"beyond {side}"] += (edge.p_beyond or 1) < ALPHA
            wrong[f"not worse {side}"] += ((edge.p_above if side < 0 else edge.p_below) or 1) < ALPHA
    rates = {kind: number / count for kind, number in wrong.items()}
    print(f"not paired, {n} and {of_reference} runs, sd {spread} to 1, wrongly:", rates)
    assert max(rates.values()) <= ALPHA + 0.004 + error(count)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("n", [5, pytest.param(10, marks=pytest.mark.long), 20])
def test_rates_of_heads_that_share_a_reference(n, count):
    """Differences that correlate by one half, and what the same tests would do without Holm's method."""
    rng = np.random.default_rng(n)
    wrong = collections.Counter()
    for of_head in rng.normal(size=(count, 9, n)):
        d = (of_head - rng.normal(size=n)) / math.sqrt(2)
        pairs, _ = judged(d)
        wrong["different"] += any(significant(*both, alpha=ALPHA, floor=None) for both in pairs)
        wrong["different, unadjusted"] += any(test.p_difference < ALPHA for test, _ in pairs)
        pairs, verdicts = judged(0.5 + 0.05 * d)
        wrong["equivalent"] += "equivalent" in verdicts
        wrong["equivalent, unadjusted"] += any(test.p_equivalence < ALPHA for test, _ in pairs)
    print(f"n = {n}, nine heads, one reference, wrongly:", {kind: k / count for kind, k in wrong.items()})
    for kind in ("different", "equivalent"):
        assert wrong[kind] / count <= ALPHA + error(count)
        assert wrong[f"{kind}, unadjusted"] / count > 2 * ALPHA


def judged_with_losses(values, lost, shift):
    """The claims about heads (heads + 1, n), the first of which is the reference, given which runs were lost."""
    tests, losses, same = [], [], []
    for of_head, lost_of_head in zip(values[1:] + shift, lost[1:], strict=True):
        kept = ~(lost_of_head | lost[0])
        tests.append(paired_t_test(of_head[kept], values[0][kept], margin=0.5))
        losses.append(Losses(int(lost_of_head.sum()), kept.size, int(lost[0].sum()), kept.size))
        same.append(bool((lost_of_head == lost[0]).all()))
    families = adjust(tests, ALPHA)
    p_survival = holm([boschloo(one) for one in losses])
    verdicts = [
        conclude(
            verdict(test, family, alpha=ALPHA, floor=None, direction=1),
            *(one, p if one.any else None),
            same_seeds=agree,
            p_sign=None,
            alpha=ALPHA,
        )
        for test, family, one, p, agree in zip(tests, families, losses, p_survival, same, strict=True)
    ]
    different = any(significant(*both, alpha=ALPHA, floor=None) for both in zip(tests, families, strict=True))
    return min(p_survival) < ALPHA, different, verdicts


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("n", [5, *(pytest.param(n, marks=pytest.mark.long) for n in (10, 20))])
def test_rates_with_runs_lost_for_being_bad(n, count):
    """A quarter of all runs is lost, the more likely the worse it is; heads are like the reference or at the margin."""
    rng = np.random.default_rng(n)
    for heads in (1, 5, 9):
        wrong = collections.Counter()
        for _ in range(count):
            runs = rng.normal(size=(heads + 1, n))
            lost = rng.random(runs.shape) < special.expit(-1.5 - 1.5 * runs)
            survival, different, _ = judged_with_losses(runs, lost, 0.0)
            wrong["survival"] += survival
            wrong["different"] += different
            _, _, verdicts = judged_with_losses(0.035 * runs, lost, -0.5)
            wrong["equivalent"] += "equivalent" in verdicts
        rates = {kind: wrong[kind] / count for kind in ("survival", "different", "equivalent")}
        print(f"n = {n}, {heads} heads, a quarter of the runs lost, wrongly:", rates)
        assert max(rates.values()) <= ALPHA + error(count)


@pytest.mark.parametrize("count", COUNTS)
def test_rates_of_studies_that_grow(count):
    """A look after each seed from 5 to 30, at true differences from 0 to twice the margin, with sd 0.25."""
    rng = np.random.default_rng(0)
    turned, ends = 0, collections.Counter()
    for true in rng.uniform(-1, 1, count):
        d = true + 0.25 * rng.normal(size=2000)
        looks = [judged(d[None, :n])[1][0] for n in range(5, 31)]
        seen = SETTLED & set(looks)
        turned += len(seen) > 1
        if "different" in looks:
            ends["ever"] += 1
            ends["settled at 30"] += looks[-1] in SETTLED
            later = (judged(d[None, :n])[1][0] for n in (30, 100, 300, 1000, 2000))
            ends["settled by 2000"] += any(one in SETTLED for one in later)
    print(f"studies of 5 to 30 seeds: {turned / count:.4f} turn from one settled verdict to another; different: {ends}")
    assert turned / count <= ALPHA
    assert ends["settled at 30"] > 0.5 * ends["ever"]
    assert ends["settled by 2000"] > 0.97 * ends["ever"]


@pytest.mark.parametrize("count", COUNTS)
def test_rates_of_looking_again(count):
    """A look at 5 seeds and after each further one up to 20, for one head."""
    rng, wrong = np.random.default_rng(2), collections.Counter()
    for noise in rng.normal(size=(count, 20)):
        pairs = [judged(noise[None, :n])[0][0] for n in range(5, 21)]
        claims = [significant(*both, alpha=ALPHA, floor=None) for both in pairs]
        wrong["different at 20"] += claims[-1]
        wrong["different at some look"] += any(claims)
        verdicts = [judged(0.5 + 0.05 * noise[None, :n])[1][0] for n in range(5, 21)]
        wrong["equivalent at 20"] += verdicts[-1] == "equivalent"
        wrong["equivalent at some look"] += "equivalent" in verdicts
        first = next((one for one in verdicts if one != "undecided"), None)
        wrong["equivalent at the first verdict"] += first == "equivalent"
        first = next((one for one in verdicts if one in SETTLED), None)
        wrong["equivalent at the first settled one"] += first == "equivalent"
        wrong["beyond at the first settled one"] += first in ("better", "worse")
    print("looking after each seed from 5 to 20, wrongly:", {kind: k / count for kind, k in wrong.items()})
    for kind in ("different at 20", "equivalent at 20"):
        assert wrong[kind] / count == pytest.approx(ALPHA, abs=error(count))
    for kind in ("different at some look", "equivalent at some look"):
        assert wrong[kind] / count > 2 * ALPHA


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("sd", [0.25, pytest.param(0.5, marks=pytest.mark.long)])
def test_rates_of_one_follow_up(sd, count):
    """Five seeds and, where the verdict leaves a number of seeds open, one look at that many, up to 200."""
    rng = np.random.default_rng(3)
    wrong = collections.Counter()
    for true, kind in ((0.0, "different"), (0.5, "equivalent"), (0.5, "beyond")):
        for _ in range(count):
            d = true + sd * rng.normal(size=200)
            ((test, family),), (first,) = judged(d[None, :5])
            claims = [(test, family, first)]
            if first in ("undecided", "different"):
                beyond = 0.5 if first == "different" else 0.0
                more = seeds_needed(test.mean, test.sd, pairs=5, margin=0.5, alpha=ALPHA, beyond=beyond)
                ((test, family),), (again,) = judged(d[None, : min(more or 200, 200)])
                claims.append((test, family, again))
            test, family, last = claims[-1]
            if kind == "different":
                wrong[kind] += significant(test, family, alpha=ALPHA, floor=None)
            else:
                wrong[kind] += last in {"equivalent": ("equivalent",), "beyond": ("better", "worse")}[kind]
    print(f"sd {sd}, five seeds and one follow-up, wrongly:", {kind: k / count for kind, k in wrong.items()})
    assert max(wrong.values()) / count < 2.5 * ALPHA + error(count)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("rho", [0, 0.9])
def test_rates_of_correlated_pairs(n, rho, count):
    """True difference 0, and the interval's coverage; head and reference correlate by rho."""
    rng = np.random.default_rng(n)
    reference = rng.normal(size=(count, n)) - 100
    head = rho * (reference + 100) + math.sqrt(1 - rho**2) * rng.normal(size=(count, n)) - 100
    tests = [paired_t_test(*pair, margin=1e-6) for pair in zip(head, reference, strict=True)]
    assert np.mean([test.p_difference < ALPHA for test in tests]) == pytest.approx(ALPHA, abs=error(count))
    assert np.mean([test.low < 0 < test.high for test in tests]) == pytest.approx(0.95, abs=error(count))
    assert np.mean([test.rho for test in tests]) == pytest.approx(rho, abs=0.05)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("sd", [0.25, 0.5])
def test_rates_at_the_margin_with_few_noisy_seeds(n, sd, count):
    """Equivalence is claimed less often than α."""
    d = np.random.default_rng(n).normal(0.2, sd, (count, n))
    rate = np.mean([judged(row[None], margin=0.2)[1] == ["equivalent"] for row in d])
    print(f"n = {n}, sd {sd}, difference at the margin 0.2: equivalent {rate:.4f}")
    assert rate <= ALPHA + error(count)


@pytest.mark.parametrize(("n", "expected"), [(5, 0.84), (10, 0.90), (20, 0.93)])
def test_rates_of_the_bootstrap(n, expected):
    """Why the interval is Student's: the percentile bootstrap's is too short for a few seeds."""
    rng = np.random.default_rng(n)
    resamples = rng.multinomial(n, np.full(n, 1 / n), 2000) / n
    d = rng.normal(size=(4000, n))
    low, high = np.percentile(d @ resamples.T, [2.5, 97.5], axis=1)
    coverage = np.mean((low < 0) & (high > 0))
    print(f"n = {n}: the percentile bootstrap covers {coverage:.4f}")
    assert coverage == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.long)])
def test_rates_of_plans(count):
    """Pilots of 5 seeds with the true difference 0 and sd 0.25: the seeds they ask for, where 14 are right."""
    d = np.random.default_rng(4).normal(0, 0.25, (count, 5))
    tests = [paired_t_test(row, np.zeros(5), margin=0.2) for row in d]
    asked = [seeds_needed(t.mean, t.sd, pairs=5, margin=0.2, alpha=ALPHA) or math.inf for t in tests]
    low, middle, high = np.percentile(asked, [5, 50, 95], method="nearest")
    print(f"seeds that pilots ask for: {low}, {middle}, {high} at 5, 50 and 95 %")
    assert seeds_needed(0, 0.25, pairs=5, margin=0.2, alpha=ALPHA) == 14
    assert low < 8 < middle < 20 < high < 50


def test_pairing_divides_the_seeds_that_equivalence_takes():
    """The figures of `docs/statistics.md`: sd 0.4 on both sides, a margin of 0.3, no true difference."""
    for rho, expected in ((0, 32), (0.5, 17), (0.9, 5)):
        sd = 0.4 * math.sqrt(2 * (1 - rho))
        assert seeds_needed(0, sd, pairs=2, margin=0.3, alpha=ALPHA, floor=math.inf) == expected


def test_what_a_looser_rule_would_do():
    """Leaving heads unadjusted, as many tools do: nine at the margin, judged one by one."""
    rng = np.random.default_rng(7)
    hits = sum(
        any(paired_t_test(row, np.zeros(5), margin=0.5).p_equivalence < ALPHA for row in 0.5 + 0.05 * d)
        for d in rng.normal(size=(300, 9, 5))
    )
    assert hits / 300 > 0.25
