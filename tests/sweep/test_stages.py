"""A sweep that stops when it is decided: which runs come next, from what is on disk."""

import dataclasses
import shutil

import numpy as np
import pytest
from helpers.outcomes import end, write

from vaecli import ConfigError, UsageError, compare
from vaecli.config.sequential import SequentialPlan
from vaecli.config.toml import SweepPlan
from vaecli.report.sequential import Looks, critical_values
from vaecli.runs.plans import PLAN, read_plan, write_plan
from vaecli.sweep.grid import PERTURBATION, expand, outcomes
from vaecli.sweep.stages import current_stage, keep_plan, planned

BASE = {"name": "s", "seed": 3}
HEADS = ["logvar", "logstd", "natural", "abs_std", "square_std"]
LOOKS = SequentialPlan(looks=(5, 8, 12))
FOLDER = "s"


def grid_of(runs, **plan):
    return expand(BASE, SweepPlan(12, False, [{"param": HEADS}], **plan), runs)


def bound_of(task, seed):
    """logstd is clearly the same, natural clearly worse, abs_std loses its runs, and square_std takes longer."""
    head = HEADS.index(task.config.param)
    shared = np.random.default_rng(seed).normal()
    own = np.random.default_rng([seed, head]).normal() * (0.5 if task.config.param == "square_std" else 0.05)
    if task.config.param == "abs_std":
        return None
    return -100 + shared + own - 5 * (task.config.param == "natural")


def end_all(stage):
    """Ends the runs that a stage has and that are not there."""
    for task in stage.sweep.tasks:
        for seed in task.seeds:
            if not stage.sweep.path(task, seed).exists():
                end(stage.sweep, task, seed, bound_of(task, seed))


def seeds_of(stage):
    return {stage.sweep.label(task): list(task.seeds) for task in stage.sweep.tasks}


@pytest.fixture
def grid(tmp_path):
    return grid_of(tmp_path)


@pytest.fixture
def plan(grid):
    return planned(grid, LOOKS)


def test_a_plan_names_seeds_and_variants(plan):
    assert (plan.seed, plan.variants, plan.looks) == (3, tuple(HEADS), (5, 8, 12))


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A sweep with a plan, and all its stages, one after the other; not to be changed."""
    grid = grid_of(tmp_path_factory.mktemp("stages"))
    plan = planned(grid, LOOKS)
    keep_plan(grid, plan, overwrite=False)
    reached = [current_stage(grid, plan)]
    while not all(reached[-1].summaries.values()):
        end_all(reached[-1])
        reached.append(current_stage(grid, plan))
    return grid, plan, reached


def test_what_is_decided_gets_no_more_seeds(stages):
    grid, plan, (first, second, *others) = stages
    assert seeds_of(first) == {head: list(range(3, 8)) for head in HEADS}
    assert not any(first.summaries.values())
    longer = seeds_of(second)
    assert longer == {head: list(range(3, 8)) for head in HEADS} | {
        head: list(range(3, 11)) for head in ("logvar", "square_std")
    }
    assert second.looks == ["look 1 of 3, at 5 seeds: equivalent: logstd; worse: natural and abs_std; 1 to go on"]
    for stage in others:
        assert all(stage.summaries.values()) == (len(stage.looks) == 3 or stage.looks[-1].endswith("square_std"))
    assert current_stage(grid, plan) == others[-1]
    # The comparison of the folder comes to the same verdicts.
    verdicts = {result.label: result.verdict for result in compare(grid.runs / FOLDER).results}
    assert (verdicts["logstd"], verdicts["natural"], verdicts["abs_std"]) == ("equivalent", "worse", "worse")


def test_stages_follow_from_the_disk_wherever_it_was_stopped(stages, tmp_path):
    grid, plan, (*_, stage) = stages
    for missing in ("logvar/seed4", "square_std/seed10"):
        other = tmp_path / missing.replace("/", "-")
        shutil.copytree(grid.runs / FOLDER, other / FOLDER)
        shutil.rmtree(other / FOLDER / missing)
        there = grid._replace(runs=other)
        partial = current_stage(there, plan)
        assert [str(path).removeprefix(f"{other / FOLDER}/") for path, run in partial.summaries.items() if not run] == [
            missing
        ]
        end_all(partial)
        after = current_stage(there, plan)
        assert (seeds_of(after), after.looks) == (seeds_of(stage), stage.looks)


def test_it_ends_after_the_last_look(tmp_path):
    grid = expand(BASE, SweepPlan(4, False, [{"param": ["logvar", "logstd"]}]), tmp_path)
    plan = planned(grid, SequentialPlan(looks=(2, 4), margin=1e-3))
    for _ in plan.looks:
        end_all(current_stage(grid, plan))
    stage = current_stage(grid, plan)
    assert stage.looks[-1] == "look 2 of 2, at 4 seeds: 1 undecided"
    assert all(stage.summaries.values())


def test_twins_follow_their_originals(tmp_path):
    grids = [{"param": ["logvar", "logstd"]}, {"param": ["logvar"], "perturb": [PERTURBATION]}]
    grid = expand(BASE, SweepPlan(5, False, grids), tmp_path)
    plan = planned(grid, SequentialPlan(looks=(2, 5)))
    assert plan.variants == ("logvar", "logstd")
    assert {name: len(seeds) for name, seeds in seeds_of(current_stage(grid, plan)).items()} == {
        "logvar": 2,
        "logstd": 2,
        f"logvar,perturb={PERTURBATION:g}": 2,
    }
    lone = [{"param": ["logvar", "logstd"]}, {"param": ["natural"], "perturb": [PERTURBATION]}]
    with pytest.raises(ConfigError, match=r"^perturb: .*natural"):
        planned(expand(BASE, SweepPlan(5, False, lone), tmp_path), SequentialPlan(looks=(2, 5)))


def test_each_reference_goes_on_with_those_that_need_it(tmp_path):
    swept = [{"param": ["logvar", "natural"], "lr": [1e-3, 1e-2]}]
    grid = expand(BASE, SweepPlan(8, False, swept), tmp_path)
    plan = planned(grid, SequentialPlan(looks=(5, 8)))
    keep_plan(grid, plan, overwrite=False)
    for task in (stage := current_stage(grid, plan)).sweep.tasks:
        for seed in task.seeds:
            shared, own = np.random.default_rng(seed).normal(0, 1, 2)
            # At the higher rate nothing can be said of it.
            effect = -5 + 0.1 * own if task.config.lr == 1e-3 else 3 * own
            end(stage.sweep, task, seed, -100 + shared + effect * (task.config.param == "natural"))
    assert {name: len(seeds) for name, seeds in seeds_of(current_stage(grid, plan)).items()} == {
        "logvar,lr=0.001": 5,
        "natural,lr=0.001": 5,
        "logvar,lr=0.01": 8,
        "natural,lr=0.01": 8,
    }


@pytest.mark.parametrize(
    ("grids", "given", "message"),
    [
        ([{"param": HEADS, "seed": [1, 40]}], {}, "^seed: takes one value"),
        ([{"param": HEADS, "pilot": [1], "validation": [True]}], {}, "^pilot: has no place"),
        ([{"param": ["logvar"]}], {}, "nothing to compare: there is only one variant"),
        ([{"param": HEADS}], {"reference": "logstdd"}, "--reference: .*did you mean 'logstd'"),
        ([{"param": HEADS}], {"metric": "nll"}, "--metric: nll comes from vae evaluate"),
        (
            [{"param": HEADS}, {"param": ["logstd"], "lr": [1e-2]}],
            {"reference": "logvar,lr=0.001"},
            None,
        ),
        (
            [{"param": ["logvar", "logstd"], "lr": [1e-3, 1e-4]}, {"param": ["logstd"], "lr": [1e-2]}],
            {},
            "--reference: logstd,lr=0.01 could never be decided",
        ),
    ],
)
def test_what_does_not_go_together(tmp_path, grids, given, message):
    grid = expand(BASE, SweepPlan(12, False, grids), tmp_path)
    if message is None:
        planned(grid, dataclasses.replace(LOOKS, **given))
        return
    with pytest.raises(UsageError, match=message):
        planned(grid, dataclasses.replace(LOOKS, **given))


def test_a_plan_is_kept(grid, plan):
    folder = grid.runs / FOLDER
    keep_plan(grid, plan, overwrite=False, write=False)
    assert not folder.exists()
    keep_plan(grid, plan, overwrite=False)
    written = (folder / PLAN).read_bytes()
    assert read_plan(folder) == plan
    keep_plan(grid, plan, overwrite=False)
    keep_plan(grid, plan, overwrite=True)
    assert (folder / PLAN).read_bytes() == written
    end_all(current_stage(grid, plan))
    other = dataclasses.replace(plan, margin=0.2, spending="obrien-fleming")
    with pytest.raises(UsageError, match=r"margin is 0\.5 there and 0\.2 here; spending is pocock there"):
        keep_plan(grid, other, overwrite=False)
    assert (folder / PLAN).read_bytes() == written
    keep_plan(grid, other, overwrite=True)
    assert read_plan(folder) == dataclasses.replace(other, replaced_after=25)
    assert any("replaced another one, after 25 runs" in warning for warning in compare(folder).warnings)


def test_runs_that_came_before_a_plan_are_named(grid, plan):
    end(grid, grid.tasks[0], 3, -100.0)
    with pytest.raises(UsageError, match="has 1 run of this sweep, and no plan of looks"):
        keep_plan(grid, plan, overwrite=False)
    keep_plan(grid, plan, overwrite=True)
    assert read_plan(grid.runs / FOLDER).replaced_after == 1


def judged(grid, plan, seeds, bounds):
    """Compares a head with logvar, with so many seeds each and these differences."""
    keep_plan(grid, plan, overwrite=False)
    for task in grid.tasks[:2]:
        for seed in list(task.seeds)[:seeds]:
            end(grid, task, seed, -100.0 + bounds[seed - 3] * (task.config.param == "logstd"))
    return next(result for result in compare(grid.runs / FOLDER).results if result.label == "logstd")


def test_intervals_are_those_of_the_looks(grid, plan):
    bounds = np.random.default_rng(0).normal(0, 1, 12).astype(np.float32).tolist()
    result = judged(grid, plan, 8, bounds)
    d = np.array(bounds[:8], np.float64)
    critical = critical_values(Looks((5, 8), (5 / 12, 8 / 12), "pocock"), 0.025)[-1]
    half = critical * d.std(ddof=1) / 8**0.5
    assert (result.difference.low, result.difference.high) == pytest.approx(
        (d.mean() - half, d.mean() + half), rel=1e-4
    )
    assert (result.look.number, result.look.seeds, result.look.next_seeds, result.seeds_needed) == (2, 8, 12, 12)
    assert "look 3 of 3 is at 12 seeds" in result.sentence


def test_seeds_between_looks_decide_nothing(grid, plan):
    bounds = [0.0] * 5 + [-40.0] * 7
    result = judged(grid, plan, 7, bounds)
    assert (result.look.seeds, result.difference.pairs, result.verdict) == (5, 5, "equivalent")
    comparison = compare(grid.runs / FOLDER)
    assert any("4 runs left out, in no look of the plan" in warning for warning in comparison.warnings)
    assert comparison.to_json()["plan"]["looks"] == (5, 8, 12)


def test_before_the_first_look_nothing_is_decided(grid, plan):
    result = judged(grid, plan, 4, [-40.0] * 12)
    assert (result.look.number, result.difference.pairs, result.verdict, result.seeds_needed) == (0, 0, "undecided", 5)


def test_another_question_is_named(grid, plan):
    judged(grid, plan, 5, [0.0] * 12)
    folder = grid.runs / FOLDER
    assert not any("later" in warning for warning in compare(folder).warnings)
    other = compare(folder, margin=0.25, reference="logstd")
    assert any("--margin 0.25 instead of 0.5, --reference logstd instead of logvar" in w for w in other.warnings)
    with pytest.raises(UsageError, match="--effects: goes with a fixed number of seeds"):
        compare(folder, effects="param")


def test_runs_of_another_folder_do_not_share_a_plan(grid, plan, tmp_path):
    judged(grid, plan, 5, [0.0] * 12)
    shutil.copytree(grid.runs / FOLDER / "logstd", tmp_path / "other" / "logstd")
    with pytest.raises(UsageError, match=r"has a plan of looks, which is not that of the runs in .*other"):
        compare(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["looks = [5, 3]", "looks = 5", "margins = 1", "looks = [1", "alpha = 0.4", "seed = 'a'", "", "variants = 5"],
)
def test_a_damaged_plan_is_named(grid, plan, text):
    judged(grid, plan, 5, [0.0] * 12)
    (grid.runs / FOLDER / PLAN).write_text(text)
    with pytest.raises(UsageError, match=r"plan\.toml: is not a plan of looks"):
        compare(grid.runs / FOLDER)
    with pytest.raises(UsageError, match=r"plan\.toml: is not a plan of looks"):
        keep_plan(grid, plan, overwrite=False)


def test_lost_runs_spend_their_level_at_each_look(grid, plan):
    """Boschloo's p of 2 of 5 and of 4 of 8 lost runs against none: neither is below what its look adds."""
    keep_plan(grid, plan, overwrite=False)
    for task in grid.tasks[:2]:
        for seed in list(task.seeds)[:8]:
            lost = task.config.param == "logstd" and seed % 2
            end(grid, task, seed, None if lost else -100.0)
    ended = outcomes(grid)
    assert all(ended[grid.path(grid.tasks[0], seed)] for seed in range(3, 11))
    difference = next(r for r in compare(grid.runs / FOLDER).results if r.label == "logstd").difference
    fixed = 0.0256
    assert difference.p_survival > fixed
    assert difference.pairs == 4


def test_a_plan_can_be_written_to_any_folder(tmp_path):
    write_plan(tmp_path / "a/b", LOOKS)
    assert read_plan(tmp_path / "a/b") == LOOKS
    assert read_plan(tmp_path) is None


def test_the_family_is_that_of_the_plan(grid, plan):
    """Four variants are planned: the one that is here has its p times four, wherever the others are."""
    alone = judged(grid, plan, 5, [0.1, 0.0, 0.2, 0.1, -0.1] + [0.0] * 7)
    difference = alone.difference
    assert difference.p_equivalence_holm == pytest.approx(4 * difference.p_equivalence)
    assert difference.p_survival is None
    (warning,) = compare(grid.runs / FOLDER).warnings
    assert warning.startswith("natural, abs_std and square_std of the plan of looks count as undecided")
    # A run of each of the others that has no seed of the plan, or not yet all those of a look, changes nothing.
    for task in grid.tasks[2:]:
        end(grid, task, 3, None)
    again = next(result for result in compare(grid.runs / FOLDER).results if result.label == "logstd")
    assert again.difference == difference


def test_variants_that_are_not_planned_are_named(grid, plan, tmp_path):
    end_all(current_stage(grid, plan))
    keep_plan(grid, plan, overwrite=True)
    other = expand(BASE, SweepPlan(20, False, [{"param": ["softplus_std"]}]), tmp_path)
    end(other, other.tasks[0], 20, -100.0)
    comparison = compare(grid.runs / FOLDER)
    assert "softplus_std" not in {result.label for result in comparison.results}
    assert any("left out, in no look of the plan that is complete: softplus_std" in w for w in comparison.warnings)
    end(other, other.tasks[0], 3, -100.0)
    warnings = compare(grid.runs / FOLDER).warnings
    assert "softplus_std is not in the plan of looks, and makes the family of tests larger" in warnings


def test_a_plan_is_that_of_linked_variants_too(grid, plan, tmp_path):
    judged(grid, plan, 5, [0.0] * 12)
    folder, disk = grid.runs / FOLDER, tmp_path / "disk"
    disk.mkdir()
    shutil.move(folder / "logstd", disk)
    (folder / "logstd").symlink_to(disk / "logstd")
    assert compare(folder).plan == plan
    (tmp_path / "elsewhere").mkdir()
    for name in ("logvar", "logstd"):
        (tmp_path / "elsewhere" / name).symlink_to(folder / name)
    shutil.move(folder / "logvar", disk)
    (folder / "logvar").symlink_to(disk / "logvar")
    assert compare(folder).plan == plan


def test_losses_of_the_other_side_are_no_verdict(grid, plan):
    """At the first look logstd has lost all, and in the end fewer than its reference."""
    keep_plan(grid, plan, overwrite=False)
    for task in grid.tasks[:2]:
        for seed in task.seeds:
            lost = (seed < 8) == (task.config.param == "logstd")
            end(grid, task, seed, None if lost else -100.0)
    result = next(result for result in compare(grid.runs / FOLDER).results if result.label == "logstd")
    assert (result.difference.p_survival, result.verdict) == (1, "undecided")


def test_levels_that_a_sequential_p_does_not_reach_are_refused(grid, plan):
    judged(grid, plan, 5, [0.0] * 12)
    with pytest.raises(UsageError, match=r"^--alpha: must be at most 0\.3 where there is a plan of looks"):
        compare(grid.runs / FOLDER, alpha=0.35)


def test_what_nobody_logged_decides_nothing(grid, plan):
    """Only the reference and one other log it."""
    keep_plan(grid, dataclasses.replace(plan, metric="extra"), overwrite=False)
    stage = current_stage(grid, plan)
    for task in stage.sweep.tasks:
        for seed in task.seeds:
            logged = {"extra": -1.0 - seed % 2} if task.config.param in ("logvar", "logstd") else {}
            settings = dataclasses.asdict(task.config_of(seed))
            write(stage.sweep.runs, -100.0, stage.sweep.vary, metrics=logged, **settings)
    with pytest.raises(UsageError, match=r"^--metric: no run of natural, abs_std and square_std logged extra"):
        current_stage(grid, dataclasses.replace(plan, metric="extra"))


def test_a_margin_is_not_that_of_another_unit(grid, plan):
    judged(grid, plan, 5, [0.0] * 12)
    folder = grid.runs / FOLDER
    assert compare(folder, metric="test/kl").margin == 0.5
    with pytest.raises(UsageError, match=r"^--margin: is needed for safety/saturated"):
        compare(folder, metric="safety/saturated")
    assert compare(folder, metric="safety/saturated", margin=0.1).margin == 0.1
