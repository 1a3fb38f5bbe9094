"""Effects of settings against analyses of variance, SciPy and hand-worked numbers, and their rates in simulations.

`python -m pytest tests/report/test_effects.py -n 0 -s -k rates -m "long or not long"` prints the rates that
`docs/statistics.md` states.
"""

import math
from itertools import product

import numpy as np
import pandas
import pytest
from helpers.family import holm_by_statsmodels
from scipy import special, stats
from statsmodels.stats.anova import AnovaRM

from vaecli import Config, UsageError
from vaecli.config.naming import label
from vaecli.report.effects import effects
from vaecli.report.factorial import baselines, contrasts, full_grids
from vaecli.report.model import Question, TrainedVariant
from vaecli.report.statistics import adjust, paired_t_test
from vaecli.runs.collection import Outcome

TWO = {"init": ("native", "matched"), "head_lr": ("native", "matched")}
SIX = {"init": ("native", "centred", "matched"), "head_lr": ("native", "matched")}


def variant(values, varies, twins=None, **settings):
    """A variant from its values by seed, None for a run that was lost."""
    config = Config(**settings)

    def outcomes(values):
        return {
            seed: Outcome(
                "", config, seed, *(("diverged", "loss is not finite") if value is None else ("complete", "")), 1,
                {} if value is None else {"test/elbo": value}, (), (), "cpu", (), ()
            )
            for seed, value in values.items()
        }  # fmt: skip

    named = {name: getattr(config, name) for name in varies}
    return TrainedVariant(label(config, varies), named, outcomes(values), outcomes(twins or {}))


def variants(factors, values, **settings):
    """Variants of a full grid, from their values by cell and seed."""
    varies = ["param", *(name for name in factors if name != "param")]
    cells = product(*factors.values())
    return [variant(values[cell], varies, **settings, **dict(zip(factors, cell, strict=True))) for cell in cells]


def asked(variants, effects_of="init=native,head_lr=native", **question):
    question = Question(effects=effects_of, **question)
    factors = baselines(effects_of, list(variants[0].values))
    return effects(variants, factors, question, 0.5 if question.margin is None else question.margin)


def by_label(variants, *words, **question):
    (grid,), _ = asked(variants, *words, **question)
    return {effect.label: effect for effect in grid.effects}


def drawn(factors, seeds, seed=0, spread=0.3):
    """Values of all cells by seed, with what the cells of a seed share."""
    rng = np.random.default_rng(seed)
    shared = -105 + rng.normal(0, 1, seeds)
    return {
        cell: dict(enumerate(shared + rng.normal(0.4 * place, spread, seeds)))
        for place, cell in enumerate(product(*factors.values()))
    }


@pytest.mark.parametrize("names", [("init", "head_lr"), ("param", "init", "head_lr")])
def test_against_an_analysis_of_variance(names):
    """With two levels each, t² of an effect is the F of a repeated-measures analysis of variance."""
    levels = {"param": ("logstd", "natural"), **TWO}
    factors = {name: levels[name] for name in names}
    values = drawn(factors, 7)
    settings = {} if "param" in names else {"param": "logstd"}
    (grid,), _ = asked(variants(factors, values, **settings), ",".join(f"{n}={factors[n][0]}" for n in names))
    long = [
        {**dict(zip(names, cell, strict=True)), "seed": seed, "elbo": value}
        for cell, by_seed in values.items()
        for seed, value in by_seed.items()
    ]
    table = AnovaRM(pandas.DataFrame(long), "elbo", "seed", within=list(names)).fit().anova_table
    assert len(grid.effects) == len(names) + math.comb(len(names), 2)
    for effect in grid.effects:
        row, difference = table.loc[":".join(effect.levels)], effect.difference
        assert (difference.mean / difference.sd) ** 2 * 7 == pytest.approx(row["F Value"], rel=1e-6)
        assert difference.p_difference == pytest.approx(row["Pr > F"], rel=1e-6)


def test_against_scipy():
    values = drawn(SIX, 6)
    table = np.array([[values[cell][seed] for cell in product(*SIX.values())] for seed in range(6)])
    # Native, centred and matched starts, each at a native and at a matched rate.
    weights = {
        "init=centred": np.array([-1, -1, 1, 1, 0, 0]) / 2,
        "init=matched": np.array([-1, -1, 0, 0, 1, 1]) / 2,
        "head_lr=matched": np.array([-1, 1, -1, 1, -1, 1]) / 3,
        "init=centred × head_lr=matched": np.array([1, -1, -1, 1, 0, 0]),
        "init=matched × head_lr=matched": np.array([1, -1, 0, 0, -1, 1]),
    }
    shown = by_label(variants(SIX, values, param="logstd"))
    assert list(shown) == list(weights)
    tests = {name: stats.ttest_1samp(table @ w, 0) for name, w in weights.items()}
    holm = holm_by_statsmodels([test.pvalue for test in tests.values()])
    for (name, test), adjusted in zip(tests.items(), holm, strict=True):
        difference, interval = shown[name].difference, test.confidence_interval(0.95)
        assert difference.pairs == 6
        assert difference.mean == pytest.approx((table @ weights[name]).mean(), rel=1e-9)
        assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
        assert difference.p_difference == pytest.approx(test.pvalue, rel=1e-9)
        assert difference.p_holm == pytest.approx(adjusted, rel=1e-9)


def flat(factors, shift, seeds=6, spread=0.05):
    """Values of all cells, at which a function of the cell says how far they lie from the others."""
    values = drawn(factors, seeds, spread=spread)
    return {
        cell: {seed: value - 0.4 * place + shift(*cell) for seed, value in values[cell].items()}
        for place, cell in enumerate(values)
    }


def test_verdicts_and_sentences():
    values = flat(TWO, lambda init, rate: 2.0 * (init == "matched") + 1.5 * (init == rate == "matched"))
    shown = by_label(variants(TWO, values, param="logstd"))
    assert {name: effect.verdict for name, effect in shown.items()} == {
        "init=matched": "better",
        "head_lr=matched": "better",
        # More of an interaction is not better.
        "init=matched × head_lr=matched": "beyond the margin",
    }
    assert shown["init=matched"].sentence.startswith("Within logstd, init=matched is better than init=native: +2.7")
    assert "over 6 seeds" in shown["init=matched"].sentence
    sentence = shown["init=matched × head_lr=matched"].sentence
    beyond = "the effect of init=matched at head_lr=matched differs from that at head_lr=native by more than the margin"
    assert sentence.startswith(f"Within logstd, {beyond}")
    assert shown["init=matched × head_lr=matched"].levels == {"init": "matched", "head_lr": "matched"}
    assert shown["init=matched × head_lr=matched"].baseline == {"init": "native", "head_lr": "native"}


def test_without_a_direction_nothing_is_better():
    values = flat(TWO, lambda init, rate: 2.0 * (init == "matched"))
    made = variants(TWO, values, param="logstd")
    for one in made:
        for run in one.runs.values():
            run.values["test/kl"] = run.values["test/elbo"]
    assert by_label(made, metric="test/kl")["init=matched"].verdict == "beyond the margin"


def test_all_grids_are_one_family():
    values = flat(TWO, lambda init, rate: 0.0, spread=0.2)
    one = by_label(variants(TWO, values, param="logstd"))
    (first, second), _ = asked([*variants(TWO, values, param="logstd"), *variants(TWO, values, param="natural")])
    assert [first.label, second.label] == ["logstd", "natural"]
    assert first.variants[0] == "logstd,init=native,head_lr=native"
    p = [effect.difference.p_difference for effect in one.values()]
    holm = holm_by_statsmodels([*p, *p])
    assert [effect.difference.p_holm for effect in (*first.effects, *second.effects)] == pytest.approx(list(holm))


def test_a_lost_run_costs_only_what_it_is_part_of():
    values = flat(SIX, lambda init, rate: 0.0)
    values["native", "matched"][3] = None
    shown = by_label(variants(SIX, values, param="logstd"), "init=centred,head_lr=native")
    assert {name: effect.difference.pairs for name, effect in shown.items()} == {
        "init=matched": 6,
        "init=native": 5,
        "head_lr=matched": 5,
        "init=matched × head_lr=matched": 6,
        "init=native × head_lr=matched": 5,
    }
    assert shown["init=matched"].verdict == "equivalent"
    assert shown["init=native"].verdict == "undecided"
    assert shown["init=native × head_lr=matched"].verdict == "undecided"
    assert shown["init=native"].lost == {3: "logstd,init=native,head_lr=matched: loss is not finite"}
    assert "11 of 12 runs survived (init=centred: 12 of 12)" in shown["init=native"].sentence
    # Of the effects that differ, that at a matched rate is the one with the lost run.
    interaction = shown["init=native × head_lr=matched"]
    assert "11 of 12 runs survived (that at head_lr=native: 12 of 12)" in interaction.sentence
    assert interaction.difference.survival is None


def test_survival_is_a_verdict_of_a_main_effect_only():
    values = flat(TWO, lambda init, rate: 0.0)
    values["native", "native"] = dict.fromkeys(range(6))
    shown = by_label(variants(TWO, values, param="logstd"))
    assert {name: effect.verdict for name, effect in shown.items()} == {
        "init=matched": "better",
        "head_lr=matched": "better",
        "init=matched × head_lr=matched": "undecided",
    }
    assert shown["init=matched"].sentence.startswith("Within logstd, init=matched loses fewer runs than init=native: ")
    assert shown["init=matched"].difference.survival == 1
    assert shown["init=matched"].difference.pairs == 0


def test_losses_are_counted_by_seed():
    """Three runs of one seed that are lost together are one loss: one seed of six, against none of six."""
    values = flat(SIX, lambda init, rate: 0.0)
    for init in SIX["init"]:
        values[init, "native"][0] = None
    difference = by_label(variants(SIX, values, param="logstd"))["head_lr=matched"].difference
    assert difference.survival == pytest.approx(1 / 6)
    # Every outcome with more losses of the one than of the other is as extreme, and that is likeliest at a share of ½.
    assert difference.p_survival == pytest.approx(1 - math.comb(12, 6) / 2**12)


def test_seeds_that_only_some_have():
    values = flat(TWO, lambda init, rate: 0.0)
    del values["native", "native"][0], values["matched", "matched"][5]
    (grid,), warnings = asked(variants(TWO, values, param="logstd"))
    assert {tuple(effect.seeds) for effect in grid.effects} == {(1, 2, 3, 4)}
    assert {tuple(effect.unpaired) for effect in grid.effects} == {(0, 5)}
    assert warnings == ["effects within logstd are over the seeds that all combinations have, without 0, 5"]


def test_no_seed_that_all_have():
    values = flat(TWO, lambda init, rate: 0.0)
    values["native", "native"] = {7: -100.0}
    with pytest.raises(UsageError, match="no effects within logstd: there is no seed that all combinations were"):
        asked(variants(TWO, values, param="logstd"))


def test_one_seed_has_no_interval():
    values = {cell: {0: by_seed[0]} for cell, by_seed in flat(TWO, lambda init, rate: 1.0).items()}
    effect = by_label(variants(TWO, values, param="logstd"))["init=matched"]
    assert (effect.difference.pairs, effect.difference.low, effect.verdict) == (1, None, "undecided")


def test_the_chaos_floor_is_twice_as_high_for_an_interaction():
    values = flat(TWO, lambda init, rate: 0.3 * (init == "matched") + 0.3 * (init == rate == "matched"), spread=0.001)
    varies = ["param", *TWO]
    made = [
        variant(
            values[cell],
            varies,
            {0: values[cell][0] + (0.2 if cell == ("native", "native") else 0.1)},
            param="logstd",
            **dict(zip(TWO, cell, strict=True)),
        )
        for cell in product(*TWO.values())
    ]
    shown = by_label(made, margin=0.1)
    assert shown["init=matched"].chaos_floor == pytest.approx(0.2)
    assert shown["init=matched × head_lr=matched"].chaos_floor == pytest.approx(0.4)
    assert shown["init=matched"].verdict == "better"
    # 0.3, which would be beyond the margin.
    assert shown["init=matched × head_lr=matched"].verdict == "undecided"


def test_at_the_best_rate_of_each():
    made = [
        variant(
            {seed: value + 0.01 * seed for seed in range(4)}, ["param", "init", "lr"], param="logstd", init=i, lr=lr
        )
        for i, lr, value in (("native", 1e-3, -100.0), ("matched", 3e-3, -98.0))
    ]
    (grid,), _ = asked(made, "init=native", at="best-lr")
    assert (grid.label, [effect.label for effect in grid.effects]) == ("logstd", ["init=matched"])
    assert grid.effects[0].difference.mean == pytest.approx(2.0)


# Rates in simulated studies of three starts and two rates

_ORDER = list(product(*SIX.values()))


def weights():
    """The contrasts of the program, (effects, cells), with the cells in the order of `_ORDER`."""
    made = variants(SIX, {cell: {0: 0.0} for cell in _ORDER}, param="logstd")
    (grid,), _ = full_grids(made, {"init": "native", "head_lr": "native"})
    unit = [{cell: float(cell == one) for cell in _ORDER} for one in _ORDER]
    return np.array([[np.subtract(*contrast.sides(values)) for values in unit] for contrast in contrasts(grid)])


def studies(law, seeds, repeats, true, rng):
    """Studies (repeats, seeds, cells) whose effects have a true size; each seed shares something, each cell has noise.

    A native start is three times as noisy as the others, and its two cells share some of that.
    """
    shape = (repeats, seeds, len(_ORDER))
    draw = {
        "normal": lambda shape: rng.normal(size=shape),
        "Laplace": lambda shape: rng.laplace(size=shape) / math.sqrt(2),
        "t3": lambda shape: rng.standard_t(3, shape) / math.sqrt(3),
    }[law]
    noise = draw(shape) * [0.45, 0.45, 0.15, 0.15, 0.15, 0.15]
    noise[..., :2] += 0.3 * draw((*shape[:2], 1))
    return draw((*shape[:2], 1)) + noise + np.linalg.pinv(weights()) @ true


def pooled_intervals(table, w):
    """The intervals of an analysis of variance, with one error for all effects: the rest beside cells and seeds."""
    n, cells = table.shape[1:]
    rest = table - table.mean(1, keepdims=True) - table.mean(2, keepdims=True) + table.mean((1, 2), keepdims=True)
    df = (n - 1) * (cells - 1)
    half = stats.t.ppf(0.975, df) * np.sqrt((rest**2).sum((1, 2))[:, None] / df * (w**2).sum(1) / n)
    centre = table.mean(1) @ w.T
    return centre - half, centre + half


def t_tests(d, margin):
    """The intervals (studies, effects) and the p of the two tests, of differences (studies, seeds, effects)."""
    n = d.shape[1]
    mean, error = d.mean(1), d.std(1, ddof=1) / math.sqrt(n)
    half = special.stdtrit(n - 1, 0.975) * error
    p_equivalence = special.stdtr(n - 1, (np.abs(mean) - margin) / error)
    return mean - half, mean + half, 2 * special.stdtr(n - 1, -np.abs(mean) / error), p_equivalence


def shares(values):
    return ", ".join(f"{value:.1%}" for value in np.atleast_1d(values))


LAWS = [
    pytest.param(law, seeds, marks=[] if (law, seeds) == ("normal", 5) else pytest.mark.long)
    for law in ("normal", "Laplace", "t3")
    for seeds in (5, 10, 20)
]


@pytest.mark.parametrize(("law", "seeds"), LAWS)
def test_rates_of_effects(law, seeds):
    repeats, w, margin = 10_000, weights(), 0.5
    rng = np.random.default_rng(seeds)
    null = studies(law, seeds, repeats, np.zeros(len(w)), rng)
    # Each effect is at the margin, on one of its sides.
    edge = studies(law, seeds, repeats, margin * np.array([1, -1, 1, 1, -1]), rng)
    low, high, p, _ = t_tests(null @ w.T, margin)
    *_, p_equivalence = t_tests(edge @ w.T, margin)
    for study in range(20):
        tests = [paired_t_test(d, np.zeros(seeds), margin=margin) for d in (null @ w.T)[study].T]
        assert [test.low for test in tests] == pytest.approx(list(low[study]), rel=1e-9)
        assert [test.p_difference for test in tests] == pytest.approx(list(p[study]), rel=1e-9)
        any_different = any(one.p_difference < 0.05 for one in adjust(tests, 0.05))
        assert any_different == (p[study].min() * len(w) < 0.05)
    covered = ((low <= 0) & (high >= 0)).mean(0)
    low, high = pooled_intervals(null, w)
    pooled = ((low <= 0) & (high >= 0)).mean(0)
    # Holm's method calls any of them so where it calls that with the least p so.
    different, equivalent = ((q.min(1) * len(w) < 0.05).mean() for q in (p, p_equivalence))
    print(f"\n{law}, n = {seeds}: intervals cover {shares(covered)}; with one pooled error {shares(pooled)}", end="; ")
    print(f"any called different {shares(different)}, equivalent at the margin {shares(equivalent)}")
    error = 4 * math.sqrt(0.05 * 0.95 / repeats)
    assert max(different, equivalent) < 0.05 + error
    assert covered.min() > 0.95 - error
    if law == "normal":
        assert covered == pytest.approx(0.95, abs=error)
        # An error that is pooled over all cells is wrong about each.
        assert pooled.min() < 0.9 < 0.955 < pooled.max()


@pytest.mark.long
@pytest.mark.parametrize(("seeds", "size"), [(5, 2.0), (10, 1.0), (20, 0.7)])
def test_rates_of_a_joint_test(seeds, size):
    """Hotelling's T² of both levels of a factor against Holm's method over the two, where one level has an effect."""
    repeats, rng = 10_000, np.random.default_rng(seeds)
    d = rng.normal(size=(repeats, seeds, 2)) @ np.linalg.cholesky([[1, 0.5], [0.5, 1]]).T + [size, 0]
    mean, n = d.mean(1), seeds
    covariance = np.einsum("rni,rnj->rij", d - mean[:, None], d - mean[:, None]) / (n - 1)
    t_squared = n * np.einsum("ri,rij,rj->r", mean, np.linalg.inv(covariance), mean)
    joint = (stats.f.sf((n - 2) / (2 * (n - 1)) * t_squared, 2, n - 2) < 0.05).mean()
    p = 2 * stats.t.sf(np.abs(mean) / np.sqrt(covariance[:, [0, 1], [0, 1]] / n), n - 1)
    holm = (p.min(1) < 0.025).mean()
    print(f"\nn = {n}, an effect of {size} sd: T² {joint:.1%}, Holm {holm:.1%}")
    # With few seeds T² estimates too many covariances.
    assert (holm > joint) == (seeds == 5)
