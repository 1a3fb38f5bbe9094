"""Studies as a config file describes them."""

import pytest

from vaecli import UsageError
from vaecli.config.files import config_names, read_config
from vaecli.config.sequential import SequentialPlan, plan_from_toml
from vaecli.config.study import plan_of
from vaecli.config.toml import sweep_from_toml, values_from_toml

STUDY = """
[study]
heads = ["logvar", "logstd", "natural"]
[[condition]]
name = "plain"
why = "What everybody begins with."
[[condition]]
name = "hot"
why = "A rate ten times too high."
margin = 5
lr = 0.01
[[condition]]
name = "decoder"
why = "The decoder's own scale."
heads_of = "decoder"
heads = ["logvar", "logstd"]
likelihood = "gaussian"
"""


def read(text):
    return sweep_from_toml(text)[1].study


def test_conditions_share_heads_unless_they_have_their_own():
    study = read(STUDY)
    plain, hot, decoder = study.conditions
    assert plain.heads == hot.heads == ("logvar", "logstd", "natural")
    assert decoder.heads == ("logvar", "logstd")
    assert (plain.field, decoder.field) == ("param", "decoder_param")
    assert hot.settings == {"lr": 0.01}
    assert (plain.margin, hot.margin) == (None, 5.0)
    # Two heads beside the reference under two conditions, and one under the third.
    assert study.family("logvar") == 5


def test_the_plan_of_a_condition_knows_its_study():
    study = read(STUDY)
    looks = SequentialPlan(looks=(3, 5), margin=1.0)
    plans = [plan_of(study, condition, "s", looks) for condition in study.conditions]
    assert [plan.reference for plan in plans] == ["logvar", "logvar", "decoder_param=logvar"]
    assert [plan.margin for plan in plans] == [1.0, 5.0, 1.0]
    assert [plan.study.number for plan in plans] == [1, 2, 3]
    assert {(plan.study.family, plan.study.conditions, plan.study.name) for plan in plans} == {(5, 3, "s")}
    for plan in plans:
        assert plan_from_toml(plan.to_toml()) == plan
    assert SequentialPlan().differences(plans[1]) != []


def test_a_plan_without_a_study_is_read_as_before():
    text = SequentialPlan().to_toml()
    assert "study" not in text
    assert plan_from_toml(text) == SequentialPlan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('name = "hot"', 'name = "plain"'), "'plain' is that of two conditions"),
        (('name = "hot"', 'name = "Plain"'), "'plain' is that of two conditions"),
        (('name = "hot"', 'name = "a/b"'), r"\[\[condition\]\] name: must be the name of a folder"),
        (('name = "hot"', 'name = ".."'), "must be the name of a folder"),
        (('name = "hot"', ""), "must be the name of a folder, of letters, digits and -, got None"),
        (('why = "A rate ten times too high."', ""), "hot: needs a sentence that says why"),
        (("lr = 0.01", "lrr = 0.01"), "hot: unknown key 'lrr'.*lr"),
        (("lr = 0.01", "seed = 3"), "hot: seed is what the study itself sets"),
        (("lr = 0.01", 'param = "logvar"'), "hot: param is what the study itself sets"),
        (("margin = 5", "margin = -1"), "hot margin: must be a positive number"),
        (("margin = 5", 'margin = "big"'), "hot margin: must be a number"),
        (('heads_of = "decoder"', 'heads_of = "both"'), "decoder heads_of: must be one of encoder, decoder"),
        (('heads = ["logvar", "logstd"]', 'heads = ["logvar"]'), "decoder: heads, of the condition or of"),
        (('heads = ["logvar", "logstd"]', 'heads = ["logvar", "logstd", "logstd"]'), "decoder: heads has a name twice"),
        (("[study]", "[study]\nnull_control = 3"), r"\[study\] null_control: must be text"),
        (("[study]", "[study]\nhead = 3"), r"\[study\] may hold only"),
        (("[study]", "[sweep]\nseeds = 3\n[study]"), r"\[sweep\] seeds does not go with \[\[condition\]\]"),
        (("[study]", "[[grid]]\nlr = [0.1]\n[study]"), r"\[\[grid\]\] does not go with \[\[condition\]\]"),
    ],
)
def test_what_is_no_study_is_named(change, message):
    assert change[0] in STUDY
    with pytest.raises(UsageError, match=message):
        read(STUDY.replace(*change))


def test_a_study_without_conditions_is_none():
    with pytest.raises(UsageError, match=r"\[study\] has no \[\[condition\]\]"):
        read('[study]\nheads = ["logvar", "logstd"]')
    with pytest.raises(UsageError, match="with two brackets"):
        read("[condition]\nname = 'a'")
    with pytest.raises(UsageError, match="run it with: vae sweep"):
        values_from_toml(STUDY)


def test_the_shipped_study_has_a_dozen_conditions_and_ten_heads():
    assert "when-it-matters" in config_names(sweep=True)
    study = read_config("when-it-matters", sweep=True).plan.study
    assert len(study.conditions) >= 12
    assert max(len(condition.heads) for condition in study.conditions) == 11
    assert all(condition.why.endswith(".") for condition in study.conditions)
