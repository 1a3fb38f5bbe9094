"""The first screen of the page: no more is said there than the verdicts carry."""

from dataclasses import replace

import numpy as np
from helpers.outcomes import write

from vaecli.report.compare import compare
from vaecli.report.glance import glance, question
from vaecli.report.model import Question


def facts(runs, effects, *, metrics=(), seeds=6, sd=0.02, commands=(), **asked):
    """Writes runs of `logvar` and of heads with these effects, and returns what the first screen says of them."""
    rng = np.random.default_rng(0)
    for seed in range(seeds):
        for param, effect in {"logvar": 0.0, **effects}.items():
            value = -100.0 - 0.3 * seed + effect + sd * rng.normal()
            write(runs, value, param=param, seed=seed, metrics=dict.fromkeys(metrics, value))
    comparison = replace(compare([runs], Question(**asked)), next_commands=commands)
    return {fact.term: (fact.words, list(fact.commands)) for fact in glance(comparison)}


def test_what_is_better_is_best(tmp_path):
    said = facts(tmp_path, {"logstd": 2.0, "natural": 0.0, "abs_std": -3.0})
    assert said["Best"][0] == "logstd, the only one that is better than logvar."
    assert said["Use"][0] == "logstd. Not abs_std."
    assert said["Evidence"][0].startswith("6 seeds of each, paired; all 24 runs survived; at most 5 % risk")
    words, commands = said["Next"]
    assert words == "Nothing is open. To look at one posterior through every head:"
    assert commands == [f"vae probe {tmp_path}/mnist/logvar/seed0"]


def test_those_that_are_better_are_not_compared_with_each_other(tmp_path):
    said = facts(tmp_path, {"logstd": 2.0, "natural": 2.01, "abs_std": 3.0})
    assert said["Best"][0] == (
        "abs_std leads the 3 that are better than logvar; they are not tested against each other."
    )
    assert said["Use"][0] == "abs_std, logstd or natural."


def test_of_an_nll_less_is_better(tmp_path):
    said = facts(tmp_path, {"logstd": -2.0, "natural": -3.0}, metrics=["test/nll"], metric="test/nll")
    assert said["Best"][0].startswith("natural leads the 2")
    assert said["Measure"][0] == "test NLL after 10 epochs on MNIST, in nats per image; lower is better."


def test_too_few_seeds(tmp_path):
    assert facts(tmp_path, {"logstd": 1.0}, seeds=1)["Next"] == ("Train the same seeds of each, five or more.", [])


def test_nothing_is_shown_by_noise(tmp_path):
    said = facts(tmp_path, {"logstd": 0.0}, sd=2.0, commands=["vae train"])
    assert said["Best"][0] == "None is shown to be better than logvar."
    assert said["Use"][0] == "logvar, while no other is shown to be as good."
    assert said["Next"] == ("", ["vae train"])


def test_a_metric_without_a_direction_has_no_best(tmp_path):
    said = facts(tmp_path, {"logstd": 9.0}, metrics=["grad/snr/encoder"], metric="grad/snr/encoder", margin=0.1)
    assert said["Best"][0] == "Cannot be said: grad/snr/encoder has no better or worse."
    assert said["Use"][0] == "Choose by a metric that has better and worse, such as test/elbo or nll."
    assert said["Margin"][0].startswith("A difference of 0.1 or more matters")
    assert "higher" not in said["Measure"][0]


def test_the_question_is_what_differs_from_the_reference(tmp_path):
    for seed in range(3):
        for epochs in (5, 10):
            for param in ("logvar", "logstd"):
                write(tmp_path, -100.0 - seed, ["epochs"], param=param, seed=seed, epochs=epochs)
    heads = "Does it matter how the encoder’s variance is parameterised?"
    assert question(compare([tmp_path], Question())) == heads
    assert question(compare([tmp_path], Question(reference="epochs=5"))) == "Does epochs matter?"
    one = question(compare([tmp_path], Question(reference="logvar,epochs=5")))
    assert one == "Do the head and epochs matter?"
