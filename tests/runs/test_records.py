"""What stands in a file of a run is taken only in the form in which a run writes it."""

import json

import pytest

from vaecli.runs import records

SUMMARY = {
    "status": "complete",
    "first_non_finite": None,
    "metrics": {"test/elbo": -20.5, "test/reconstruction": -20, "test/kl": 0.5, "grad/snr/all": None},
    "epochs": 2,
    "steps": 10,
    "skipped_updates": 0,
    "data_sha256": {"train-images": "ab"},
    "checkpoint_sha256": "cd",
    "best": {"epoch": 1, "validation/elbo": -21.0},
    "versions": {"jax": "0.10"},
    "device": "cpu",
    "git_commit": None,
    "evaluations": [{"nll": 1.0}],
    "of_a_later_version": [[{}]],
}
DIVERGED = SUMMARY | {"status": "diverged", "first_non_finite": {"quantity": "gradient", "block": None, "step": 3}}


@pytest.mark.parametrize("written", [SUMMARY, DIVERGED, DIVERGED | {"status": "interrupted", "metrics": {}}])
def test_a_summary_reads_back(written):
    assert records.summary(json.dumps(written)) == written


def with_elbo(text):
    return json.dumps(SUMMARY).replace("-20.5", text, 1)


@pytest.mark.parametrize(
    "text",
    [
        *map(with_elbo, ['"-20.5"', "true", "null", "NaN", "Infinity", "-Infinity", "1e400", "9" * 30, "[1]", "1e39"]),
        with_elbo("9" * 5000),
        *(
            json.dumps(SUMMARY | change)
            for change in (
                {"metrics": [1]},
                {"metrics": SUMMARY["metrics"] | {"other": "x"}},
                {"metrics": SUMMARY["metrics"] | {"other": True}},
                {"metrics": {"test/elbo": -1}},
                {"status": ["complete"]},
                {"status": "done"},
                {"status": "diverged"},
                {"epochs": True},
                {"epochs": -1},
                {"epochs": 2.0},
                {"steps": 10**30},
                {"skipped_updates": "0"},
                {"best": {"epoch": "1"}},
                {"best": 3},
                {"evaluations": {}},
                {"evaluations": [3]},
                {"versions": ["jax"]},
                {"versions": {"jax": 3}},
                {"device": None},
                {"git_commit": 3},
                {"data_sha256": {"train-images": None}},
                {"checkpoint_sha256": 5},
                {"device": "\ud800"},
            )
        ),
        json.dumps(DIVERGED).replace('"step": 3', '"step": "3"'),
        json.dumps(DIVERGED).replace('"gradient"', "7"),
        '{"status": "complete", ' + json.dumps(SUMMARY)[1:],
        "[" * 10**5,
        '{"a":' * 10**5,
        "[]",
        "3",
        "",
        "{",
        "\x00",
    ],
)
def test_a_damaged_summary_is_refused(text):
    with pytest.raises(records.DamagedError):
        records.summary(text)


def test_what_is_not_finite_reads_as_a_run_writes_it():
    text = json.dumps(SUMMARY).replace(
        '"grad/snr/all": null', '"a": NaN, "b": -Infinity, "c": 1e999, "d": 1' + "0" * 5000
    )
    metrics = records.summary(text)["metrics"]
    assert [metrics[tag] for tag in "abcd"] == [None] * 4
    assert records.log_point('{"epoch": 1, "test/elbo": NaN}') == {"epoch": 1, "test/elbo": None}


@pytest.mark.parametrize(
    "line", ["{", "[]", "3", "{}", '{"epoch": 1.5}', '{"epoch": "1"}', '{"epoch": 1e400}', '{"epoch": 1, "a": "x"}']
)
def test_a_damaged_log_point_is_refused(line):
    with pytest.raises(records.DamagedError):
        records.log_point(line)
