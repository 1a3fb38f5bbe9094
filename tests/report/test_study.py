"""The comparison of a study: one family over all conditions, and controls in each."""

import json
import shutil
from html import unescape

import numpy as np
import pytest
from helpers.outcomes import end, write

import vaecli
from vaecli import UsageError, compare
from vaecli.cli.main import main
from vaecli.config.sequential import SequentialPlan
from vaecli.config.toml import sweep_from_toml
from vaecli.report.map import map_of_study
from vaecli.report.statistics import holm
from vaecli.report.study import compare_study, study_folders
from vaecli.runs.collection import find_runs
from vaecli.runs.plans import PLAN
from vaecli.sweep.stages import keep_plan, planned
from vaecli.sweep.studies import parts

TEXT = """
[study]
heads = ["logvar", "logstd", "natural"]
[[condition]]
name = "one"
why = "The first."
[[condition]]
name = "two"
why = "The second."
margin = 4
lr = 0.01
[[condition]]
name = "three"
why = "The third."
lr = 0.1
"""
LOOKS = SequentialPlan(looks=(6,), margin=1.0)


def noise(*key):
    return float(np.random.default_rng(key).normal())


def bound_of(part, task, seed):
    head = task.config.param
    if head == "std":
        return None
    if task.config.init == "matched" or head == "logvar":
        return -100 + noise(seed, part.place.number)
    place = ["logstd", "natural"].index(head)
    shift = 1.5 if (head, part.condition.name) == ("natural", "one") else 0.0
    return -100 + noise(seed, part.place.number) + 0.4 * noise(seed, part.place.number, place) - shift


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study that has ended."""
    runs = tmp_path_factory.mktemp("study")
    for part in parts(sweep_from_toml(TEXT)[1].study, "s", {}, {}, LOOKS, runs):
        if part.looks:
            keep_plan(part.sweep, planned(part.sweep, part.looks), overwrite=False)
        for task in part.sweep.tasks:
            for seed in task.seeds:
                end(part.sweep, task, seed, bound_of(part, task, seed))
    return runs / "s"


@pytest.fixture
def runs(made, tmp_path):
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "s")


def study_of(folder, **given):
    return compare_study(study_folders(find_runs([folder])), given)


def differences(study):
    return {
        (one.name, result.label): result.difference
        for one in study.conditions
        for result in one.comparison.results
        if result.difference
    }


def test_all_cells_are_one_family(made):
    study = study_of(made)
    assert [one.name for one in study.conditions] == ["one", "two", "three"]
    assert study.family == 6
    cells = differences(study)
    for raw, adjusted in (
        ("p_difference", "p_holm"),
        ("p_equivalence", "p_equivalence_holm"),
        ("p_beyond", "p_beyond_holm"),
    ):
        expected = holm([getattr(cell, raw) for cell in cells.values()])
        assert [getattr(cell, adjusted) for cell in cells.values()] == pytest.approx(expected)


def test_each_condition_has_its_margin(made):
    study = study_of(made)
    assert [one.comparison.margin for one in study.conditions] == [1.0, 4.0, 1.0]
    assert {row.name: row.margin for row in map_of_study(study).rows} == {"one": 1.0, "two": 4.0, "three": 1.0}


def test_a_condition_by_itself_is_judged_in_the_family_of_the_study(made):
    alone = compare(made / "one")
    cell = alone.results[-1].difference
    # Six comparisons, of which four are elsewhere: Holm's first factor is 6.
    raw = sorted(result.difference.p_beyond for result in alone.results if result.difference)
    assert min(result.difference.p_beyond_holm for result in alone.results if result.difference) == pytest.approx(
        min(1, 6 * raw[0])
    )
    assert cell is not None
    assert any("the study s: 6 comparisons" in note for note in alone.notes)
    assert [note for note in alone.notes if note.startswith("Controls: ")]


def test_controls_are_in_no_comparison(made):
    study = study_of(made)
    assert {result.label for one in study.conditions for result in one.comparison.results} == {
        "logvar",
        "logstd",
        "natural",
    }
    assert all(not one.invalid for one in study.conditions)
    assert map_of_study(study).heads == ["logstd", "natural"]


def change(path, bound, status="complete"):
    summary = json.loads((path / "summary.json").read_text())
    summary["metrics"]["test/elbo"], summary["status"] = bound, status
    (path / "summary.json").write_text(json.dumps(summary))


def test_a_null_control_that_is_off_by_the_last_bit_makes_its_condition_invalid(runs):
    path = runs / "two/logstd,init=matched,head_lr=matched/seed2"
    bound = json.loads((path / "summary.json").read_text())["metrics"]["test/elbo"]
    change(path, float(np.nextafter(bound, 0)))
    study = study_of(runs)
    assert [one.invalid for one in study.conditions] == [
        [],
        ["logstd, matched, does not end where logvar does at 1 of 6 seeds"],
        [],
    ]
    results = study.conditions[1].comparison.results
    assert [result.verdict for result in results] == ["reference", "invalid", "invalid"]
    assert "has no verdict, since the controls are not right" in results[1].sentence
    assert "two" in study.answer
    # By itself, too.
    assert [result.verdict for result in compare(runs / "two").results] == ["reference", "invalid", "invalid"]


def test_a_failing_control_that_survives_makes_its_condition_invalid(runs):
    reference = json.loads((runs / "one/logvar/seed0/summary.json").read_text())["metrics"]["test/elbo"]
    failing = {"param": "std", "init": "native", "seed": 0, "name": "one"}
    for difference in (1.5, 0.5):
        assert not study_of(runs).conditions[0].invalid
        shutil.rmtree(runs / "one/std,init=native,head_lr=native/seed0")
        write(runs, reference - difference, ("init", "head_lr"), **failing)
    assert study_of(runs).conditions[0].invalid == ["std, which cannot work, survives at 1 of 6 seeds"]


def test_a_control_that_is_missing_makes_its_condition_invalid(runs):
    shutil.rmtree(runs / "three/std,init=native,head_lr=native/seed1")
    assert study_of(runs).conditions[2].invalid == ["std, which cannot work, was not trained with seed 1"]


def test_conditions_without_runs_stay_in_the_family(runs):
    whole = differences(study_of(runs))
    for path in [path for path in (runs / "three").iterdir() if path.name != PLAN]:
        shutil.rmtree(path)
    study = study_of(runs)
    assert study.family == 6
    assert study.warnings == ["1 condition of 3 has no pair of runs, and its heads count as undecided: three"]
    for cell, difference in differences(study).items():
        assert difference.p_beyond_holm >= whole[cell].p_beyond_holm


@pytest.mark.parametrize("left", [["logvar/seed0"], ["natural/seed0"], ["std,init=native,head_lr=native/seed0"]])
def test_a_condition_that_has_only_begun_leaves_the_others_their_map(runs, left):
    for path in (runs / "three").glob("*/seed*"):
        if str(path.relative_to(runs / "three")) not in left:
            shutil.rmtree(path)
    study = study_of(runs)
    assert [one.name for one in study.conditions] == ["one", "two"]
    assert study.warnings == ["1 condition of 3 has no pair of runs, and its heads count as undecided: three"]


def test_a_head_that_no_plan_has_makes_the_family_larger(runs):
    for seed in range(6):
        config = {"param": "elu_std", "seed": seed, "lr": 0.01, "name": "two"}
        write(runs, -100.0 + noise(seed, 2) + 0.1 * noise(seed, 77), **config)
    study = study_of(runs)
    assert study.family == 7
    assert any("elu_std is not in the plan of looks" in text for text in study.conditions[1].comparison.warnings)


def test_folders_of_two_studies_are_refused(runs, tmp_path):
    other = shutil.copytree(runs / "one", tmp_path / "other/one")
    (other / PLAN).write_text((other / PLAN).read_text().replace('name = "s"', 'name = "t"'))
    with pytest.raises(UsageError, match="are of two studies, which differ in name; compare them apart"):
        study_folders(find_runs([runs, other]))
    shutil.copytree(runs / "one", runs / "one-again")
    with pytest.raises(UsageError, match="is condition 1 of its study, as is another folder"):
        study_folders(find_runs([runs]))


def test_runs_of_no_study_are_none(runs):
    assert study_folders(find_runs([runs / "one"])) == []
    assert len(study_folders(find_runs([runs / "one", runs / "two/logvar", runs / "two/natural"]))) == 2


def test_another_question_is_asked_of_every_condition(made):
    study = study_of(made, margin=9.0, reference="logstd")
    assert {one.comparison.margin for one in study.conditions} == {9.0}
    assert study.reference == "logstd"
    assert all("a question that came later" in " ".join(one.comparison.warnings) for one in study.conditions)
    # The controls are those of the plan, whatever the heads are compared with.
    assert not any(one.invalid for one in study.conditions)


def test_controls_are_read_whichever_runs_are_compared(runs):
    two = [runs / "one/natural", runs / "one/logstd"]
    results = compare(*two, reference="logstd").results
    assert results[0].verdict == "reference"
    assert results[1].verdict != "invalid"
    shutil.rmtree(runs / "one/std,init=native,head_lr=native")
    assert [result.verdict for result in compare(*two, reference="logstd").results] == ["reference", "invalid"]


def test_what_is_printed_as_json_is_json(made):
    values = json.loads(json.dumps(study_of(made).to_json()))
    assert values["family"] == 6
    one = values["conditions"][0]["comparison"]
    assert one["controls"]["invalid"] == []
    assert one["plan"]["study"]["number"] == 1


def test_the_command_writes_the_page_and_the_picture(made, tmp_path, capsys):
    page, picture = tmp_path / "page.html", tmp_path / "map.svg"
    assert main(["compare", str(made), "--html", str(page), "--map", str(picture)]) == 0
    printed = capsys.readouterr().out
    study = study_of(made)
    assert " ".join(study.answer.split()) in " ".join(printed.split())
    html = page.read_text()
    assert html.count('<section id="condition-') == 3
    for one in study.conditions:
        for result in one.comparison.results:
            if result.reference:
                assert result.sentence in unescape(html)
    # Each cell has the command that trains its runs again.
    assert html.count("<code>vae train ") >= 6
    assert picture.read_text().count("<svg") == 1


def test_a_study_is_compared_from_python(made):
    study = vaecli.compare_study(made, margin=9.0, expect="equivalent")
    assert isinstance(study, vaecli.StudyComparison)
    assert study.expectation.outcome == "met"
    assert "natural under one" in study.expectation.met
    assert vaecli.compare_study(made).answer == study_of(made).answer
    with pytest.raises(UsageError, match="compare_study: these are not the runs of several conditions"):
        vaecli.compare_study(made / "one")
    with pytest.raises(UsageError, match="--margin: must be a positive number"):
        vaecli.compare_study(made, margin=-1.0)
