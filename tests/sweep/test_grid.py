"""The grid of a sweep: which runs it has, and what is refused before any is trained."""

import itertools
import shutil
from pathlib import Path

import pytest
from helpers.data import write_data

from vaecli import ConfigError, UsageError
from vaecli.config.toml import SweepPlan
from vaecli.sweep.grid import PERTURBATION, data_of, expand, outcomes, unfinished_tasks

BASE = {"name": "s"}


def runs_of(sweep):
    return {(sweep.label(task), seed) for task in sweep.tasks for seed in task.seeds}


def test_a_grid_is_all_combinations():
    grid = {"param": ["logvar", "logstd"], "lr": [1e-3, 3e-4], "hidden": [(400,), (300, 200)]}
    sweep = expand(BASE, SweepPlan(3, False, [grid]), Path("runs"))
    wanted = {
        (f"{param},hidden={hidden},lr={lr}", seed)
        for param, hidden, lr, seed in itertools.product(
            ("logvar", "logstd"), ("400", "300x200"), ("0.001", "0.0003"), range(3)
        )
    }
    assert runs_of(sweep) == wanted
    assert sweep.vary == ["hidden", "lr"]
    assert len(sweep.tasks) == 8
    task = sweep.tasks[0]
    assert sweep.path(task, 2) == Path("runs/s/logvar,hidden=400,lr=0.001/seed2")


def test_grids_are_joined_and_no_run_is_there_twice():
    grids = [{"param": ["logvar", "logstd"]}, {"param": ["logstd"], "init": ["centred", "matched"], "seed": [2, 7]}]
    sweep = expand(BASE, SweepPlan(2, False, grids), Path("runs"))
    assert runs_of(sweep) == {
        *(("logvar,init=centred", seed) for seed in (0, 1)),
        *(("logstd,init=centred", seed) for seed in (0, 1, 2, 3, 7, 8)),
        *(("logstd,init=matched", seed) for seed in (2, 3, 7, 8)),
    }


def test_the_chaos_floor_adds_a_twin_to_each_run():
    sweep = expand(BASE, SweepPlan(2, True, [{"param": ["logvar", "natural"]}]), Path("runs"))
    assert runs_of(sweep) == {
        (f"{param}{twin}", seed)
        for param, twin, seed in itertools.product(("logvar", "natural"), ("", ",perturb=1e-06"), range(2))
    }
    assert {task.config.perturb for task in sweep.tasks} == {0, PERTURBATION}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (SweepPlan(0), "seeds: must lie between 1 and 10000, got 0"),
        (SweepPlan(1, False, [{"name": ["a", "b"]}]), "one name"),
        (SweepPlan(1, False, [{"param": ["logvar", "logst"]}]), "unknown head 'logst', did you mean 'logstd'?"),
        (
            SweepPlan(1, False, [{"objective": ["elbo", "iwae"], "kl": ["analytic"]}]),
            r"\(with objective=iwae\)",
        ),
        (SweepPlan(1, False, [{"param": ["fixed"], "init": ["matched"]}]), "cannot be matched"),
        (SweepPlan(2, False, [{"seed": [2**32 - 1]}]), "the last one must be less than"),
        (SweepPlan(1, False, [{"data_dir": ["a b", "a?b"]}]), "would hold both"),
        (SweepPlan(1, False, [{"name": ["a", "b"]}, {}]), "one name"),
        (SweepPlan(2, False, [{"lr": [0.1] * 400, "eps": [0.1] * 400}]), "a sweep of 320000 runs is more"),
        (SweepPlan(2, True, [{"perturb": [0.0, 1e-3]}]), "perturb: has no place beside chaos_floor"),
    ],
)
def test_a_grid_that_cannot_be_trained(plan, message):
    with pytest.raises(UsageError, match=message):
        expand(BASE, plan, Path("runs"))


def test_data_are_described_and_checked_before_the_sweep(small, tmp_path):
    """Once for all runs on them; what is too small for one of the variants is said, whichever it is."""
    grid = {"lr": [0.1, 0.2], "data_transpose": [False, True]}
    sweep = expand(small, SweepPlan(2, False, [grid]), tmp_path)
    tasks = unfinished_tasks(sweep, outcomes(sweep))
    assert tasks == sweep.tasks
    lines = data_of(tasks)
    assert [line.split(" · ")[2].split(", ")[1] for line in lines] == ["6x5", "5x6"]
    with pytest.raises(ConfigError, match="300 is more than the 230"):
        data_of(expand(small, SweepPlan(1, False, [{"batch_size": [300, 50]}]), tmp_path).tasks)


def test_finished_runs_are_those_of_the_same_data_in_any_place(trained, small, small_data, tmp_path):
    copy = shutil.copytree(small_data, tmp_path / "copy", ignore=shutil.ignore_patterns("*labels*"))
    moved = expand({**small, "data_dir": str(copy)}, SweepPlan(2), trained.runs)
    assert unfinished_tasks(moved, outcomes(moved)) == []
    other = expand({**small, "data_dir": str(write_data(tmp_path / "other", test=71))}, SweepPlan(2), trained.runs)
    with pytest.raises(UsageError, match=r"seed0: holds a run on other data \(in \S+data\d+, not \S+/other\)"):
        outcomes(other)


def test_seeds_are_refused_in_words():
    with pytest.raises(ConfigError, match="seeds"):
        expand(BASE, SweepPlan(10_001), Path("runs"))
