"""What a difference is made of, against NumPy, SciPy and hand-worked numbers, and its intervals in simulations.

`python -m pytest tests/report/test_parts.py -n 0 -s -k rates -m "long or not long"` prints the rates that
`docs/explain.md` states.
"""

import math

import numpy as np
import pytest
from helpers.family import holm_by_statsmodels
from helpers.parts import CONTROL, MATCHED, OWN, RATE, START, drawn, study, taken, variant
from scipy import stats

from vaecli import UsageError
from vaecli.report.model import Question
from vaecli.report.parts import PARTS, take_apart
from vaecli.report.statistics import ratio_of_means


def by_hand(values):
    """The parts at each seed, where all counterfactuals of a are a itself."""
    a, b, start, rate, matched, control = (
        np.array(values[cell]) for cell in (OWN["a"], OWN["b"], START, RATE, MATCHED, CONTROL)
    )
    parts = {
        "shape": control - a,
        "coupling": matched - control,
        "start": start - matched,
        "rate": rate - matched,
        "interaction": b - start - rate + matched,
    }
    return parts, b - a


def test_against_scipy():
    values = drawn()
    explained, (parts, whole) = taken(values), by_hand(values)
    assert tuple(part.name for part in explained.parts) == PARTS == tuple(parts)
    # At every seed they add up to the difference.
    assert sum(parts.values()) == pytest.approx(whole, abs=1e-12)
    tests = {name: stats.ttest_1samp(d, 0) for name, d in parts.items()}
    holm = holm_by_statsmodels([test.pvalue for test in tests.values()])
    for part, adjusted in zip(explained.parts, holm, strict=True):
        difference, interval = part.difference, tests[part.name].confidence_interval(0.95)
        assert difference.mean == pytest.approx(parts[part.name].mean(), rel=1e-9)
        assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
        assert difference.p_holm == pytest.approx(adjusted, rel=1e-9)
        assert part.share.value == pytest.approx(parts[part.name].mean() / whole.mean(), rel=1e-9)
        assert part.share == ratio_of_means(parts[part.name], whole)
    assert explained.whole.difference.p_holm == pytest.approx(stats.ttest_1samp(whole, 0).pvalue, rel=1e-9)
    assert explained.whole.share == pytest.approx((1, 1, 1))
    assert math.fsum(part.share.value for part in explained.parts) == pytest.approx(1)
    assert math.fsum(part.difference.mean for part in explained.parts) == pytest.approx(whole.mean())


def test_averaged_over_both_orders():
    """Shapley's value of two players: the mean of what each adds to nothing, and to the other one."""
    values = drawn()
    b, start, rate, matched = (np.array(values[cell]) for cell in (OWN["b"], START, RATE, MATCHED))
    of_start, of_rate = taken(values).averaged
    for part, d in ((of_start, (start - matched + b - rate) / 2), (of_rate, (rate - matched + b - start) / 2)):
        interval = stats.ttest_1samp(d, 0).confidence_interval(0.95)
        assert part.difference.mean == pytest.approx(d.mean(), rel=1e-9)
        assert (part.difference.low, part.difference.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    total = sum(part.difference.mean for part in taken(values).averaged)
    assert total == pytest.approx((b - matched).mean())


def test_a_variant_that_is_no_reference_has_parts_of_its_own():
    """A part of a difference is that of the one less that of the other."""
    values = drawn()
    rng = np.random.default_rng(5)
    of_a = {cell._replace(side="a"): np.float32(rng.normal(-105, 1, 6)) for cell in (START, RATE, MATCHED)}
    explained = taken({**values, **{cell: of.tolist() for cell, of in of_a.items()}})
    start, rate, matched = of_a.values()
    own, (parts, whole) = np.array(values[OWN["a"]]), by_hand(values)
    expected = {
        "shape": values[CONTROL] - matched,
        "coupling": parts["coupling"],
        "start": parts["start"] - (start - matched),
        "rate": parts["rate"] - (rate - matched),
        "interaction": parts["interaction"] - (own - start - rate + matched),
    }
    for part in explained.parts:
        assert part.difference.mean == pytest.approx(expected[part.name].mean(), rel=1e-5)
        assert part.difference.sd == pytest.approx(expected[part.name].std(ddof=1), rel=1e-5)
    assert sum(expected.values()).mean() == pytest.approx(whole.mean(), rel=1e-6)


def test_without_a_control_there_is_no_coupling():
    values = drawn()
    del values[CONTROL]
    explained = taken(values, controls=())
    assert [part.name for part in explained.parts] == ["shape", "start", "rate", "interaction"]
    shape = np.array(values[MATCHED]) - values[OWN["a"]]
    assert explained.parts[0].difference.mean == pytest.approx(shape.mean())


def test_runs_that_are_the_same_make_a_part_exactly_0():
    """The shape of logstd against logvar, and all of the start where both start alike."""
    values = drawn()
    del values[CONTROL], values[MATCHED], values[START]
    runs = study(values, ())
    runs[MATCHED] = runs[OWN["a"]]
    runs[START] = runs[OWN["a"]]
    explained = take_apart("logvar", "logstd", runs, {}, Question(), 0.5)
    by_name = {part.name: part for part in explained.parts}
    assert [name for name, part in by_name.items() if part.exact] == ["shape", "start"]
    assert (by_name["shape"].difference, by_name["shape"].share) == (None, (0, 0, 0))
    # B − start − rate + matched is B − rate.
    assert by_name["interaction"].plus == [str(OWN["b"])]
    assert by_name["interaction"].minus == [str(RATE)]
    # The two that are left are the whole family.
    p = [by_name[name].difference.p_difference for name in ("rate", "interaction")]
    holm = [by_name[name].difference.p_holm for name in ("rate", "interaction")]
    assert holm == pytest.approx(list(holm_by_statsmodels(p)))


def test_a_lost_run_costs_only_what_it_is_part_of():
    values = drawn(7)
    values[START][2] = None
    explained = taken(values)
    pairs = {part.name: part.difference.pairs for part in (*explained.parts, explained.whole)}
    assert pairs == {"shape": 7, "coupling": 7, "start": 6, "rate": 7, "interaction": 6, "whole": 7}
    assert explained.parts[2].lost == {2: f"{START}: loss is not finite"}
    # A share is over the seeds at which both are there.
    start, whole = (np.delete(d, 2) for d in (np.float64(values[START]) - values[MATCHED], by_hand_whole(values)))
    assert explained.parts[2].share == pytest.approx(ratio_of_means(start, whole))


def by_hand_whole(values):
    return np.float64(values[OWN["b"]]) - values[OWN["a"]]


def test_no_shares_of_what_may_be_0():
    values = drawn()
    values[OWN["b"]] = [value + d for value, d in zip(values[OWN["a"]], (0.3, -0.2, 0.1, -0.3, 0.2, 0.0), strict=True)]
    explained = taken(values)
    assert explained.whole.difference.p_difference > 0.05
    assert {part.share for part in (*explained.parts, explained.whole)} == {(None, None, None)}


def test_the_same_runs_have_no_difference():
    runs = study(drawn())
    with pytest.raises(UsageError, match="logvar and logstd are the same runs bit for bit"):
        take_apart("logvar", "logstd", dict.fromkeys(runs, runs[OWN["a"]]), {}, Question(), 0.5)


def test_seeds_that_not_all_have():
    values = drawn()
    runs = study(values)
    runs[START] = variant("other", [], param="natural")
    with pytest.raises(UsageError, match="no seed that they and all their counterfactuals were trained with"):
        take_apart("logvar", "natural", runs, {"b": "softplus_prec"}, Question(), 0.5)


def test_json_has_everything():
    values = drawn()
    explained = taken(values).to_json()
    assert [part["name"] for part in explained["parts"]] == list(PARTS)
    assert set(explained["parts"][0]) >= {"difference", "share", "verdict", "seeds", "lost", "plus", "minus", "exact"}
    (own,) = [one for one in explained["counterfactuals"] if one["of"] == "natural" and one["start"] == "own"][:1]
    assert own["mean"] == pytest.approx(np.mean(values[OWN["b"]]))
    assert explained["controls"] == {"natural": "softplus_prec"}


# Coverage in simulated studies

CELLS = (OWN["a"], OWN["b"], START, RATE, MATCHED, CONTROL)
SIZES = {"shape": -0.2, "coupling": -1.0, "start": 0.0, "rate": -0.6, "interaction": 0.3}


def simulated(law, n, repeats, sd, rng):
    """Values (repeats, n, cells) whose parts have the true sizes `SIZES`; each seed shares something."""
    draw = {
        "normal": lambda shape: rng.normal(size=shape),
        "Laplace": lambda shape: rng.laplace(size=shape) / math.sqrt(2),
        "t3": lambda shape: rng.standard_t(3, shape) / math.sqrt(3),
    }[law]
    control = SIZES["shape"]
    matched = control + SIZES["coupling"]
    start, rate = matched + SIZES["start"], matched + SIZES["rate"]
    own = start + rate - matched + SIZES["interaction"]
    noise = draw((repeats, n, len(CELLS))) * sd * np.array([1, 1.5, 1, 1, 1, 1])
    return draw((repeats, n, 1)) + noise + [0.0, own, start, rate, matched, control]


CASES = [
    pytest.param(law, n, sd, marks=[] if (law, n, sd) == ("normal", 5, 0.2) else pytest.mark.long)
    for law in ("normal", "Laplace", "t3")
    for n in (5, 10, 20)
    for sd in (0.2, 0.6)
]


@pytest.mark.parametrize(("law", "n", "sd"), CASES)
def test_rates_of_parts_and_shares(law, n, sd, request):
    """The intervals of parts and of shares cover what is true in 95 %, where they are given, too."""
    repeats = 300 if not request.node.get_closest_marker("long") else 2_000
    table = simulated(law, n, repeats, sd, np.random.default_rng(n))
    truth = SIZES | {"whole": sum(SIZES.values())}
    covered, given, of_given = dict.fromkeys(truth, 0), 0, dict.fromkeys(SIZES, 0)
    for values in table:
        # The design is that of the program; the arithmetic of a study is tested above.
        parts, whole = by_hand({cell: values[:, place] for place, cell in enumerate(CELLS)})
        for name, d in {**parts, "whole": whole}.items():
            half = stats.t.ppf(0.975, n - 1) * d.std(ddof=1) / math.sqrt(n)
            covered[name] += abs(d.mean() - truth[name]) <= half
        shares = {name: ratio_of_means(d, whole) for name, d in parts.items()}
        given += shares["rate"].low is not None
        for name, share in shares.items():
            of_given[name] += share.low is None or share.low <= SIZES[name] / truth["whole"] <= share.high
    rates = {name: count / repeats for name, count in covered.items()}
    unconditional = {name: count / repeats for name, count in of_given.items()}
    conditional = {name: 1 - (repeats - count) / max(given, 1) for name, count in of_given.items()}
    print(f"\n{law}, n = {n}, sd {sd}: parts {spread(rates)}; shares given in {given / repeats:.1%},", end=" ")
    print(f"covering {spread(unconditional)} of all and {spread(conditional)} of those given")
    error = 4 * math.sqrt(0.05 * 0.95 / repeats)
    assert min(rates.values()) > 0.95 - error
    assert min(unconditional.values()) > 0.95 - error


def spread(rates):
    return f"{min(rates.values()):.1%} to {max(rates.values()):.1%}"
