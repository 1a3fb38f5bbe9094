"""The findings of a map in words: that they claim what the verdicts do, and name where."""

import dataclasses
import re

import pytest
from helpers.maps import comparison, study

from vaecli.report.findings import findings, one_family
from vaecli.report.map import map_of_study

SAME = {"logstd": 0.0, "logprec": 0.0}
ALL_LOST = [("logprec", seed) for seed in range(8)]


def said(conditions, **given):
    return findings(map_of_study(study(conditions, **given)))


def test_nothing_matters():
    assert said({"default": comparison(SAME), "long": comparison(SAME, margin=0.8)}) == (
        "No: under all 2 conditions no head makes a difference that matters, compared with logvar. No run is lost. "
        "All heads are equivalent to logvar under all 2 conditions (margin ±0.5 to 0.8 nats per image)."
    )


def test_worse_and_better_are_said_with_conditions_and_sizes():
    words = said(
        {
            "default": comparison(SAME),
            "sgd": comparison({"logstd": 0.0, "logprec": -3.0, "abs_std": -33.0}),
            "deep": comparison({"logstd": 2.0, "logprec": -9.0}),
        }
    )
    assert words.startswith("Yes, under 2 of 3 conditions at least one of 3 heads makes a difference that matters,")
    assert "Better: logstd under deep by 2.0 nats per image; worse: logprec under sgd and deep by 3.0 to 9.0, " in words
    assert "abs_std under sgd by 33." in words
    assert "All heads are equivalent to logvar under default (margin ±0.5)." in words
    # A head that was not trained under all conditions is counted where it was.
    assert "logstd under all 3, logprec under 1, abs_std under 0 of 1." in words


def test_a_metric_without_a_direction_has_no_better_and_no_worse():
    one = comparison({"logstd": 2.0, "logprec": -2.0}, better=None)
    words = said({"default": comparison(SAME, better=None), "sgd": one})
    assert "Higher: logstd under sgd by 2.0 nats per image; lower: logprec under sgd by 2.0." in words
    assert "better" not in words
    assert "worse" not in words
    assert "Shown to be equivalent, of 2 conditions: logstd and logprec under 1." in words


def test_lost_runs_with_a_verdict_and_without():
    one = comparison(SAME, lost=[*ALL_LOST, ("logstd", 1), ("logvar", 2)])
    words = said({"default": comparison(SAME), "hot": one})
    assert "More runs are lost than by logvar: logprec under hot (8 of 8; the reference 1 of 8)" in words
    assert "runs are also lost, without a verdict on their number, in 1 cell under hot" in words
    assert "logvar itself loses runs under hot (1 of 8)." in words


def test_fewer_lost_runs():
    lost = [("logvar", seed) for seed in range(7)]
    words = said({"default": comparison(SAME), "hot": comparison(SAME, lost=lost)})
    assert "Fewer runs are lost than by logvar: logstd and logprec under hot (0 of 16; the reference 7 of 8)" in words


def test_what_is_open_is_counted():
    words = said({"default": comparison(SAME, spread=3.0), "long": comparison(SAME, spread=4.0)})
    assert words.startswith("Not known yet: no head is shown to make a difference that matters, compared with logvar,")
    assert "Under no condition are all heads shown to be equivalent to logvar." in words
    assert "Of 4 cells, 4 are undecided (under all 2 conditions)." in words
    different = comparison({"logstd": 0.45, "logprec": 0.0}, spread=0.2)
    assert {result.verdict for result in different.results} == {"reference", "different", "equivalent"}
    assert "Of 2 cells, 1 differs by an amount that may not matter" in said({"default": different})


def test_an_invalid_condition_is_no_evidence():
    bad = comparison({"logstd": 0.0, "logprec": -50.0}, lost=[("logstd", 0)])
    words = said({"default": comparison(SAME), "f16": bad}, invalid={"f16": "matched logstd is not exactly 0"})
    assert words.startswith("No: under the only condition no head makes a difference")
    assert words.endswith("No evidence, since the controls are not right: f16 (matched logstd is not exactly 0).")
    assert "No run is lost." in words
    assert said({"f16": bad}, invalid={"f16": "no controls"}).startswith("Not known: there is no evidence,")


def test_long_lists_are_cut():
    heads = {f"head_{number}": 0.0 for number in range(9)}
    worse = {head: -1.0 - number for number, head in enumerate(heads)}
    conditions = {f"condition-{number}": comparison(heads) for number in range(12)}
    for number, head in enumerate(heads):
        conditions[f"condition-{number}"] = comparison({**heads, head: worse[head]})
    words = said(conditions)
    assert "5 other heads under condition-4, condition-5, condition-6 and 2 others by 5.0 to 9.0" in words
    assert len(re.findall(r"\.(?: |$)", words)) <= 8
    most = said({name: comparison(SAME if name == "condition-3" else {**SAME, "logstd": -3.0}) for name in conditions})
    assert "logstd under all conditions but condition-3 by 3.0 nats per image" in most


def test_every_cell_is_counted_once():
    """In numbers: better, worse, lost, equivalent and open cells add up, whatever the verdicts are."""
    map = map_of_study(study({"a": comparison({**SAME, "natural": -9.0}), "b": comparison(SAME, spread=3.0)}))
    words = findings(map)
    assert "natural under a by 9.0 nats per image" in words
    assert "Of 5 cells, 2 are undecided (under b)." in words
    assert "All heads are equivalent" not in words


@pytest.mark.parametrize(("family", "words"), [(0, "The 4 comparisons of the map are"), (7, "(3 of them without runs")])
def test_one_family(family, words):
    map = map_of_study(study({"default": comparison(SAME), "long": comparison(SAME)}, family=family))
    assert words in one_family(map)
    assert "Holm's method" in one_family(map)
    assert one_family(dataclasses.replace(map, alpha=0.01)).endswith("anywhere on the map is at most 1 %.")
