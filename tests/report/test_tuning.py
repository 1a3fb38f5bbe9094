"""The choice of learning rates by pilots, and how often heads that are equal differ after it.

`python -m pytest tests/report/test_tuning.py -n 0 -s -m long` prints the figures of `docs/statistics.md`.
"""

import functools
import math
from pathlib import Path

import numpy as np
import pytest

from vaecli import Config, UsageError
from vaecli.report.model import RateGrid, TrainedVariant
from vaecli.report.statistics import paired_t_test
from vaecli.report.tuning import at_best_rate, best_rate
from vaecli.runs.collection import Outcome

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3]
ALPHA = 0.05


config = functools.cache(Config)


def outcome(config, seed, test=None, validation=None):
    """A run that ended with these ELBOs; one that diverged where there are none."""
    status = "diverged" if test is None else "complete"
    values = {} if test is None else {"test/elbo": float(test), "validation/elbo": float(validation)}
    return Outcome(Path("r"), config, seed, status, "", 1, values, (), (), "", (), ())


def grid(name, pilots, tests):
    """A head's runs from arrays of (seeds, rates, [test, validation]); NaN for a run that was lost, inf for none."""

    def at(place, values, **settings):
        made = config(param=name, lr=RATES[place], validation=True, **settings)
        return {
            seed: outcome(made, seed, *([] if math.isnan(pair[0]) else pair))
            for seed, pair in enumerate(values[:, place].tolist())
            if pair[0] != math.inf
        }

    variants, of_rate = {}, {}
    for place, rate in enumerate(RATES[: pilots.shape[1]]):
        of_rate[rate] = {seed: {1: run} for seed, run in at(place, pilots, pilot=1).items()}
        if runs := at(place, tests):
            variants[rate] = TrainedVariant(f"{name},lr={rate}", {"param": name, "lr": rate}, runs, {})
    return RateGrid(name, variants, of_rate)


def constant(values, seeds=3):
    """Runs with the same value of both ELBOs at each rate, whatever their seed."""
    return np.broadcast_to(np.array(values, float)[:, None], (seeds, len(values), 2)).copy()


# The choice


@pytest.mark.parametrize(
    ("bounds", "rate"),
    [
        ({0.1: [-5.0], 0.2: [-3.0], 0.3: [-4.0]}, 0.2),
        ({0.1: [-5.0, -1.0], 0.2: [-3.5, -3.0]}, 0.1),
        ({0.1: [-5.0, -6.0], 0.2: [-3.0, None]}, 0.1),
        ({0.1: [None, -6.0], 0.2: [-3.0, None], 0.3: [None, None]}, 0.2),
        ({0.3: [-2.0], 0.1: [-3.0], 0.2: [-2.0]}, 0.2),
        ({0.2: [None], 0.1: [None]}, 0.1),
    ],
)
def test_most_survivors_then_the_greatest_mean_then_the_lowest_rate(bounds, rate):
    assert best_rate(bounds) == rate


def test_each_seed_is_compared_where_its_own_pilots_are_best():
    """Against an arg max over arrays, with lost runs among both."""
    rng = np.random.default_rng(0)
    heads = {}
    for head in ("logvar", "logstd"):
        pilots, tests = rng.normal(size=(2, 12, 5, 2))
        pilots[rng.random((12, 5)) < 0.3] = math.nan
        tests[rng.random((12, 5)) < 0.3] = math.nan
        heads[head] = pilots, tests
    choice = at_best_rate([grid(head, *runs) for head, runs in heads.items()])
    for variant, (head, (pilots, tests)) in zip(choice.variants, heads.items(), strict=True):
        places = np.nan_to_num(pilots[..., 1], nan=-np.inf).argmax(1)
        chosen = {seed: RATES[place] for seed, place in enumerate(places)}
        best = choice.rates[head]
        assert best.chosen == chosen
        assert {seed: run.config.lr for seed, run in variant.runs.items()} == chosen
        assert not any(run.config.pilot for run in variant.runs.values())
        kept = {seed: tests[seed, place, 0] for seed, place in enumerate(places) if not np.isnan(tests[seed, place, 0])}
        assert variant.surviving("test/elbo") == kept
        assert len(variant.pilots) == 60
        assert best.pilots == 1
        mode = RATES[np.bincount(places).argmax()]
        assert best.lr == mode
        assert best.validation == pytest.approx(np.nanmean(pilots[:, RATES.index(mode), 1]))
        assert best.edge == (mode in (RATES[0], RATES[4]))
        used = sorted(set(chosen.values()))
        assert variant.name == f"{head},lr={'/'.join(f'{rate:g}' for rate in used)}"


def test_one_rate_for_all_seeds_is_named_as_a_number():
    (variant,) = at_best_rate([grid("logvar", constant([-3, -1, -2]), constant([-1, -2, -3]))]).variants
    assert (variant.name, variant.values) == ("logvar,lr=0.0003", {"param": "logvar", "lr": 3e-4})
    assert variant.surviving("test/elbo") == {0: -2, 1: -2, 2: -2}


def test_what_is_missing_is_left_out_and_said():
    pilots, tests = constant([-3, -1, -2], seeds=4), constant([-1, -2, -3], seeds=4)
    pilots[2, 0] = math.inf
    tests[1, 1] = math.inf
    choice = at_best_rate([grid("logvar", pilots, tests)])
    assert list(choice.variants[0].runs) == [0, 3]
    assert choice.warnings == [
        "logvar: seed 2 left out, whose pilots are not all here",
        "logvar: seed 1 left out, not trained at the rate that its pilots chose",
        "logvar: 9 runs left out at rates that no pilot chose for their seeds",
    ]
    whole = grid("logstd", constant([-3, -1, -2], seeds=4), constant([-1, -2, -3], seeds=4))
    tests[:, 1] = math.inf
    choice = at_best_rate([whole, grid("logvar", pilots, tests)])
    assert [variant.name for variant in choice.variants] == ["logstd,lr=0.0003"]
    assert list(choice.rates) == ["logstd"]
    assert "logvar left out, without a run at a rate that its pilots chose" in choice.warnings[-1]
    with pytest.raises(UsageError, match=r"no run is at a rate that its pilots chose \(logvar left out"):
        at_best_rate([grid("logvar", pilots, tests)])


def test_what_should_be_looked_at_is_said():
    pilots = constant([-3, -1, -2], seeds=4)
    pilots[1, 1] = math.nan  # The next best is at an edge.
    pilots[2, :] = math.nan
    choice = at_best_rate([grid("logvar", pilots, constant([-1, -2, -3], seeds=4))])
    assert choice.rates["logvar"].chosen == {0: 3e-4, 1: 1e-3, 2: 1e-4, 3: 3e-4}
    assert choice.warnings[1:] == [
        "logvar: its best learning rate 0.0001 lies at an edge of the grid for 1 of 4 seeds",
        "logvar: its best learning rate 0.001 lies at an edge of the grid for 1 of 4 seeds",
        "logvar: no pilot survived at any rate for 1 of 4 seeds, and the lowest rate was taken",
    ]


def test_what_all_have_takes_part():
    narrow, wide = (
        grid(head, constant(v), constant(v)) for head, v in (("logvar", [-2, -1]), ("logstd", [-3, -2, -1]))
    )
    choice = at_best_rate([narrow, wide])
    assert choice.warnings[0] == "only rates that all variants have take part: 0.0001, 0.0003"
    assert choice.rates["logstd"].lr == 3e-4
    second = {rate: {seed: {2: run[1]} for seed, run in seeds.items()} for rate, seeds in narrow.pilots.items()}
    with pytest.raises(UsageError, match="the variants have different pilots"):
        at_best_rate([RateGrid("logvar", narrow.variants, second), wide])
    both = {rate: {s: {1: run[1], 2: run[1]} for s, run in seeds.items()} for rate, seeds in narrow.pilots.items()}
    choice = at_best_rate([RateGrid("logvar", narrow.variants, both), wide])
    assert choice.warnings[1] == "only pilots that all variants have take part: 1"
    elsewhere = RateGrid("natural", {}, {5.0: narrow.pilots[1e-4]})
    with pytest.raises(UsageError, match="no learning rate at which all variants have pilots"):
        at_best_rate([narrow, elsewhere])


def test_runs_that_choose_a_rate_never_test_it():
    one = grid("logvar", constant([-2, -1]), constant([-2, -1]))
    with pytest.raises(UsageError, match=r"logstd has no pilots.* vae sweep --pilot-seeds 1 adds them"):
        at_best_rate([one, RateGrid("logstd", one.variants, {})])
    with pytest.raises(UsageError, match="does not vary"):
        at_best_rate([])


# Heads that are equal at their best rates, by the means of head and reference over a grid


def flat(rates):
    return np.zeros(rates)


def single(rates):
    """One rate is good."""
    return np.where(np.arange(rates) == rates // 2, 0.0, -3.0)


def sloping(rates):
    """The rates beside the best one are worse by 0.2 and 0.6 nats: a pilot may miss it."""
    return -0.4 * ((np.arange(rates) - rates // 2 + 0.25) ** 2 - 0.25**2)


CURVES = {"flat, flat": (flat, flat), "flat, single": (flat, single), "sloping, sloping": (sloping, sloping)}


def draw(rng, means, count, seeds):
    """ELBOs of (comparison, seed, head, rate, [test, validation]): sd 0.25; ρ is 0.3 of two runs, 0.9 of two splits."""
    shape = (count, seeds, *means.shape)
    test = math.sqrt(0.3) * rng.normal(size=(count, seeds, 1, 1)) + math.sqrt(0.7) * rng.normal(size=shape)
    validation = 0.9 * test + math.sqrt(1 - 0.9**2) * rng.normal(size=shape)
    return means[..., None] + 0.25 * np.stack([test, validation], axis=-1)


def chosen(runs):
    """The place of the best rate by `best_rate`, from runs of (seed, rate, [test, validation])."""
    return best_rate(dict(enumerate(runs[..., 1].T.tolist())))


def own_pilots(pilots, tests):
    """The test ELBOs of a head, each seed at the rate that its own pilots chose."""
    places = map(chosen, np.split(pilots, len(tests)))
    return [test[place, 0] for place, test in zip(places, tests, strict=True)]


def shared_pilots(pilots, tests):
    """The same, all at the rate that three pilots chose."""
    return tests[:, chosen(pilots[:3]), 0]


def no_pilots(pilots, tests):
    """The same, all at the rate that the tested runs themselves chose."""
    return tests[:, chosen(tests), 0]


def simulated(method, curves, rates, seeds, count, each=1):
    """How often the head is called better, and worse, and its mean difference, with `each` pilots of each seed."""
    means = np.stack([curve(rates) for curve in CURVES.get(curves, (flat, sloping))])
    rng = np.random.default_rng([rates, seeds, each])
    pilots, tests = draw(rng, means, count, seeds * each), draw(rng, means, count, seeds)
    better = worse = 0
    differences = []
    for pilot, test in zip(pilots, tests, strict=True):
        head, reference = (method(pilot[:, place], test[:, place]) for place in range(2))
        result = paired_t_test(head, reference, margin=0.5, alpha=ALPHA)
        significant = result.p_difference < ALPHA
        better += significant and result.mean > 0
        worse += significant and result.mean < 0
        differences.append(result.mean)
    return better / count, worse / count, float(np.mean(differences))


def printed(method, curves, rates, seeds, count, each=1):
    better, worse, bias = simulated(method, curves, rates, seeds, count, each)
    print(
        f"{method.__name__}({each}), {curves}, {rates} rates, {seeds} seeds: better {100 * better:.1f} %, "
        f"worse {100 * worse:.1f} %, mean {bias:+.3f} nats"
    )
    return better, worse, bias


def check(curves, rates, seeds, count):
    """Four standard errors; the seeds are fixed."""
    better, worse, bias = printed(own_pilots, curves, rates, seeds, count)
    side = ALPHA / 2 + 4 * math.sqrt(ALPHA / 2 / count)
    assert max(better, worse) < side
    assert better + worse < ALPHA + 4 * math.sqrt(ALPHA / count)
    assert abs(bias) < max(0.02, 4 * 0.35 / math.sqrt(seeds * count))


@pytest.mark.parametrize("curves", CURVES)
def test_equal_heads_are_rarely_called_better(curves):
    check(curves, rates=5, seeds=5, count=1000)


@pytest.mark.long
@pytest.mark.parametrize("curves", CURVES)
@pytest.mark.parametrize("rates", [3, 5, 8])
@pytest.mark.parametrize("seeds", [5, 10])
def test_rates_of_error(curves, rates, seeds):
    check(curves, rates, seeds, count=10_000)
    for method in (shared_pilots, no_pilots):
        printed(method, curves, rates, seeds, count=10_000)


@pytest.mark.long
def test_what_few_pilots_cost():
    """A head that does as well at any rate gains over one whose best rate few pilots miss; more of them find it."""
    gains = [printed(own_pilots, "flat, sloping", 5, 5, 4000, each)[2] for each in (1, 3, 10)]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] < gains[0] / 2
