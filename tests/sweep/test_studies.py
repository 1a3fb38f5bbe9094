"""The sweeps of a study: which runs there are, where they lie, and how it goes on after any stop."""

import itertools
import shutil

import numpy as np
import pytest
from helpers.outcomes import end

from vaecli import UsageError
from vaecli.config.sequential import SequentialPlan
from vaecli.config.toml import sweep_from_toml
from vaecli.report.study import compare_study, study_folders
from vaecli.runs.collection import find_runs
from vaecli.sweep.stages import current_stage, keep_plan, planned
from vaecli.sweep.studies import chosen, parts

TEXT = """
[study]
heads = ["logvar", "logstd", "natural", "abs_std"]
[[condition]]
name = "plain"
why = "What everybody begins with."
[[condition]]
name = "hot"
why = "A rate ten times too high."
margin = 5
lr = 0.01
[[condition]]
name = "pixel"
why = "The decoder's own scale."
heads_of = "decoder"
heads = ["logvar", "logstd"]
likelihood = "gaussian"
binarisation = "dequantised"
decoder_scale = "pixel"
"""
LOOKS = SequentialPlan(looks=(3, 8), margin=1.0)


def parts_in(runs, text=TEXT, **given):
    return parts(sweep_from_toml(text)[1].study, "s", {"seed": 3}, given, LOOKS, runs)


def bound_of(part, task, seed):
    """natural is worse when hot, abs_std is lost when plain, and all else is the same."""
    config = task.config
    head = getattr(config, part.condition.field)
    if head == "std" or (head == "abs_std" and part.condition.name == "plain"):
        return None
    own = ["natural", "abs_std", "logstd"].index(head) if head in ("natural", "abs_std", "logstd") else 9
    matched = "matched" in (config.init, config.decoder_init)
    noise = np.random.default_rng([seed, own]).normal() * 0.05 * (head != "logvar") * (not matched)
    shared = np.random.default_rng([seed, part.place.number]).normal()
    return float(-100 + shared + noise - 60 * (head == "natural" and part.condition.name == "hot"))


def trained(every, *, most=None):
    """Ends the runs of a study as a sweep does, at most so many; returns how many that were."""
    ended = 0
    for part in every:
        sweep = part.sweep
        if part.looks:
            plan = planned(sweep, part.looks)
            keep_plan(sweep, plan, overwrite=False)
        while True:
            sweep = current_stage(part.sweep, plan).sweep if part.looks else part.sweep
            due = [(t, s) for t in sweep.tasks for s in t.seeds if not sweep.path(t, s).exists()]
            for task, seed in due:
                if ended == most:
                    return ended
                end(sweep, task, seed, bound_of(part, task, seed))
                ended += 1
            if not due:
                break
    return ended


def cells(runs):
    return [
        (one.name, result.label, result.verdict, result.difference)
        for one in compare_study(study_folders(find_runs([runs])), {}).conditions
        for result in one.comparison.results
    ]


def test_a_condition_has_its_controls_and_then_its_heads(tmp_path):
    every = parts_in(tmp_path)
    assert [(part.condition.name, bool(part.looks)) for part in every] == list(
        itertools.product(("plain", "hot", "pixel"), (False, True))
    )
    controls, heads, *_ = every
    assert [str(controls.sweep.path(task, 3).relative_to(tmp_path)) for task in controls.sweep.tasks] == [
        "s/plain/logstd,init=matched,head_lr=matched/seed3",
        "s/plain/std,init=native,head_lr=native/seed3",
    ]
    assert {len(task.seeds) for task in controls.sweep.tasks} == {3}
    assert str(heads.sweep.path(heads.sweep.tasks[2], 3).relative_to(tmp_path)) == "s/plain/natural/seed3"
    assert {len(task.seeds) for task in heads.sweep.tasks} == {8}
    pixel = every[-1].sweep
    assert pixel.path(pixel.tasks[1], 3).parent.name == "logvar,decoder_param=logstd"
    assert all(task.config.lr == 0.01 for part in every[2:4] for task in part.sweep.tasks)


def test_flags_replace_the_settings_of_all_conditions(tmp_path):
    every = parts_in(tmp_path, lr=0.5, epochs=2)
    assert {(task.config.lr, task.config.epochs) for part in every for task in part.sweep.tasks} == {(0.5, 2)}


def test_conditions_can_be_chosen(tmp_path):
    every = parts_in(tmp_path)
    assert [part.condition.name for part in chosen(every, ["pixel"])] == ["pixel", "pixel"]
    assert chosen(every, []) == every
    with pytest.raises(UsageError, match=r"no condition 'hto' \(conditions: plain, hot, pixel\)"):
        chosen(every, ["hto"])


def test_what_is_wrong_with_a_condition_names_it(tmp_path):
    with pytest.raises(UsageError, match=r"\[\[condition\]\] hot: lr: must be a positive number"):
        parts_in(tmp_path, TEXT.replace("lr = 0.01", "lr = -1.0"))
    with pytest.raises(UsageError, match=r"\[\[condition\]\] plain: .*no_such_head"):
        parts_in(tmp_path, TEXT.replace('"natural"', '"no_such_head"'))


def test_a_study_stopped_anywhere_ends_with_the_same_cells(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    total = trained(parts_in(whole))
    expected = cells(whole)
    for most in (1, 5, 11, 2, 30):
        trained(parts_in(cut), most=most)
    # A run that a kill has cut off leaves nothing that counts.
    shutil.rmtree(cut / "s/hot/natural/seed4", ignore_errors=True)
    trained(parts_in(cut))
    assert cells(cut) == expected
    assert sum(1 for _ in cut.glob("s/*/*/seed*")) == total
    verdicts = {(name, label): verdict for name, label, verdict, _ in expected}
    assert verdicts["plain", "natural"] == "equivalent"
    assert verdicts["hot", "natural"] == "worse"
    assert verdicts["pixel", "logvar,decoder_param=logstd"] == "equivalent"
