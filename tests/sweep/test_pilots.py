"""Sweeps in which pilots choose the learning rates: which runs there are before and after the pilots are done."""

from pathlib import Path

import pytest
from helpers.outcomes import end

from vaecli import UsageError
from vaecli.config.toml import SweepPlan
from vaecli.report.compare import compare
from vaecli.report.model import Question
from vaecli.sweep.grid import PERTURBATION, expand, unfinished_tasks
from vaecli.sweep.pilots import tuned

BASE = {"name": "s", "validation": True}
RATES = [1e-3, 3e-3, 1e-2]
GRID = {"param": ["logvar", "logstd"], "lr": RATES}


def best_of(seed):
    """The rate that is best for a seed."""
    return RATES[seed % 3]


def end_pilots(sweep, keep=lambda task, seed: True):
    """Ends the pilots that are kept: a seed has its best rate, and logstd loses all its pilots of seed 1."""
    for task in sweep.tasks:
        for seed in task.seeds if task.config.pilot else ():
            if not sweep.path(task, seed).exists() and keep(task, seed):
                lost = task.config.param == "logstd" and seed == 1
                end(sweep, task, seed, None if lost else -100.0 - (task.config.lr != best_of(seed)))


def compared(sweep):
    """The label and seed of each run that is not a pilot."""
    return {(sweep.label(task), seed) for task in sweep.tasks if not task.config.pilot for seed in task.seeds}


def test_first_there_are_pilots_at_each_rate(tmp_path):
    grid = expand(BASE, SweepPlan(4, True, [GRID]), tmp_path)
    sweep, summaries = tuned(grid, 2)
    labels = [sweep.label(task) for task in sweep.tasks]
    assert len(labels) == 12
    assert labels[:3] == ["logvar,pilot=1,lr=0.001", "logvar,pilot=2,lr=0.001", "logvar,pilot=1,lr=0.003"]
    assert {tuple(task.seeds) for task in sweep.tasks} == {(0, 1, 2, 3)}
    assert {task.config.perturb for task in sweep.tasks} == {0}
    assert sweep.unchosen == 2 * 4 * 2
    assert set(summaries.values()) == {None}
    assert sweep.path(sweep.tasks[0], 3) == tmp_path / "s/logvar,pilot=1,lr=0.001/seed3"


def test_then_each_seed_at_the_rate_that_its_pilots_chose(tmp_path):
    grid = expand(BASE, SweepPlan(4, True, [GRID]), tmp_path)
    end_pilots(tuned(grid, 1)[0])
    sweep, summaries = tuned(grid, 1)
    chosen = {(head, seed): best_of(seed) for head in GRID["param"] for seed in range(4)} | {("logstd", 1): RATES[0]}
    assert compared(sweep) == {
        (f"{head}{twin},lr={rate}", seed)
        for (head, seed), rate in chosen.items()
        for twin in ("", f",perturb={PERTURBATION:g}")
    }
    assert sweep.unchosen == 0
    assert len(summaries) == 2 * 3 * 4 + 2 * 4 * 2
    assert all(not task.config.pilot for task in unfinished_tasks(sweep, summaries))
    assert tuned(grid, 1)[0] == sweep
    for task in unfinished_tasks(sweep, summaries):
        for seed in task.seeds:
            end(sweep, task, seed, -101.0 - seed)
    report = compare([tmp_path], Question(at="best-lr")).to_json()
    assert {
        (head, int(seed)): rate for head, best in report["best_lr"].items() for seed, rate in best["chosen"].items()
    } == chosen
    assert [row["seeds"] for row in report["settings"]] == [[0, 1, 2, 3]] * 2
    assert not any("left out" in warning for warning in report["warnings"])


def test_a_seed_waits_only_for_its_own_pilots(tmp_path):
    grid = expand(BASE, SweepPlan(3, False, [GRID]), tmp_path)
    end_pilots(tuned(grid, 1)[0], lambda task, seed: seed == 0 or (seed == 2 and task.config.lr < 0.01))
    sweep, _ = tuned(grid, 1)
    assert compared(sweep) == {("logvar,lr=0.001", 0), ("logstd,lr=0.001", 0)}
    assert sweep.unchosen == 4


def test_more_seeds_and_more_pilots_keep_what_is_there(tmp_path):
    """Neither takes the place of a run that there was; nor do runs at every rate, from a sweep without pilots."""
    plain = expand(BASE, SweepPlan(2, False, [GRID]), tmp_path)
    for task in plain.tasks:
        for seed in task.seeds:
            end(plain, task, seed, -100.0)
    end_pilots(tuned(plain, 1)[0])
    sweep, summaries = tuned(plain, 1)
    assert unfinished_tasks(sweep, summaries) == []
    grown = expand(BASE, SweepPlan(3, False, [GRID]), tmp_path)
    sweep, summaries = tuned(grown, 2)
    missing = [path for path, summary in summaries.items() if not summary]
    assert len(missing) == 2 * 3 * (2 + 1 + 1)
    assert all("pilot=2" in str(path) or "seed2" in str(path) for path in missing)


@pytest.mark.parametrize(
    ("base", "plan", "message"),
    [
        (BASE, SweepPlan(1, False, [{"param": ["logvar", "logstd"]}], 1), "lr: pilot_seeds choose among several rates"),
        (BASE, SweepPlan(1, False, [GRID, {"lr": [0.5]}], 1), "the same ones for every variant"),
        (BASE, SweepPlan(1, False, [GRID, {"lr": [0.01], "seed": [5]}], 1), "seed: pilot_seeds choose among rates"),
        ({"name": "s"}, SweepPlan(1, False, [GRID], 1), "validation: is needed for pilot_seeds"),
        (BASE, SweepPlan(1, False, [GRID], -1), "pilot_seeds: must lie between 0, for none, and 1000, got -1"),
        (BASE, SweepPlan(1, False, [GRID], 1001), "pilot_seeds: must lie between 0, for none, and 1000, got 1001"),
        (BASE | {"pilot": 1}, SweepPlan(1, False, [GRID], 1), "pilot: has no place beside pilot_seeds"),
        (BASE, SweepPlan(10_000, False, [{"lr": RATES}], 9), "a sweep of 270000 pilots is more"),
    ],
)
def test_pilots_that_cannot_choose(base, plan, message):
    with pytest.raises(UsageError, match=message):
        tuned(expand(base, plan, Path("runs")), plan.pilot_seeds)


def test_a_directory_that_cannot_be_used_is_refused_before_the_first_pilot(tmp_path):
    (tmp_path / "s/logstd,lr=0.01/seed0").mkdir(parents=True)
    (tmp_path / "s/logstd,lr=0.01/seed0/notes.txt").touch()
    with pytest.raises(UsageError, match="is not a run directory"):
        tuned(expand(BASE, SweepPlan(1, False, [GRID]), tmp_path), 1)
