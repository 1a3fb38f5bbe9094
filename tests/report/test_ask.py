"""Comparing from Python: the same answer and the same complaints as those of the command."""

import dataclasses
import inspect
import json

import pytest
from helpers.outcomes import write

from vaecli import UsageError, compare
from vaecli.cli.main import main
from vaecli.report.model import Question
from vaecli.runs.logged import LogOptions


@pytest.fixture
def runs(tmp_path):
    for seed in range(3):
        write(tmp_path, -100.0 - seed, seed=seed)
        write(tmp_path, -101.0 - seed, seed=seed, param="logstd")
    return tmp_path


def test_keywords_are_those_of_a_question():
    keywords = {
        name: parameter.default
        for name, parameter in inspect.signature(compare).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    # What a plan of looks may decide is not given by default.
    planned = dict.fromkeys(["metric", "margin", "alpha", "reference"])
    known = {field.name: field.default for kind in (Question, LogOptions) for field in dataclasses.fields(kind)}
    del known["of_logs"]
    assert keywords == known | planned | {"expect": None}


def test_answer_is_that_of_the_command(runs, capsys):
    comparison = compare(runs / "mnist", margin=2.5, reference="logstd")
    assert main(["compare", str(runs / "mnist"), "--margin", "2.5", "--reference", "logstd", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    given = json.loads(json.dumps(comparison.to_json()))
    for answer in (printed, given):
        del answer["provenance"]["commands"]
    assert given == printed
    assert repr(comparison) == f"<comparison of 2 variants by test/elbo: {comparison.answer}>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": -1.0}, "--margin: must be a positive number"),
        ({"margin": "1"}, "--margin: must be a number, got '1'"),
        ({"alpha": 0.7}, "--alpha: must lie between 1e-12 and 0.5, got 0.7"),
        ({"at": "best"}, "--at: must be one of each, best-lr, got 'best'"),
        ({"metric": 3}, "--metric: must be text, got 3"),
        ({"allow_mixed": 1}, "--allow-mixed: must be true or false, got 1"),
        ({"reference": 3}, "--reference: must be text, got 3"),
    ],
)
def test_wrong_options(runs, options, message):
    with pytest.raises(UsageError, match=message):
        compare(runs, **options)


def test_wrong_folders(runs):
    with pytest.raises(UsageError, match=r"a folder with runs is needed, as in compare\('runs/mnist'\)"):
        compare()
    with pytest.raises(UsageError, match=r"a folder is named by a text or a path, got \['a'\]"):
        compare(["a"])
    with pytest.raises(UsageError, match="nowhere: does not exist"):
        compare(runs / "nowhere")
