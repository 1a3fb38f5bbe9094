"""The answer to a comparison in one sentence: what it claims, of whom, and that it reads as prose."""

import numpy as np
import pytest
from helpers.outcomes import write

from vaecli.report.answer import answer, spoken
from vaecli.report.compare import compare
from vaecli.report.model import Difference, Question, VariantResult

TESTS = ("pairs", "mean", "sd", "p_holm", "p_survival_holm", "p_beyond_holm", "survival")


def result(label, verdict="reference", mean=None, *, runs=10, lost=0, reference="logvar", more=None, **given):
    """What came of a variant, as far as the answer reads it."""
    is_reference = verdict == "reference"
    numbers = dict.fromkeys(Difference.__dataclass_fields__)
    numbers |= {"pairs": runs - lost, "mean": mean, "sd": 0.2, "survival": -lost / runs, "paired": True}
    numbers |= {name: given.pop(name) for name in TESTS if name in given}
    head, *fields = label.split(",")
    return VariantResult(
        label=label,
        values={"param": head, **dict(field.split("=") for field in fields)},
        reference=None if is_reference or verdict == "no reference" else reference,
        is_reference=is_reference,
        seeds=list(range(runs)),
        runs=runs,
        survived=runs - lost,
        lost={},
        mean=None,
        sd=None,
        difference=None if is_reference else Difference(**numbers),
        unpaired=[],
        chaos_floor=given.pop("chaos_floor", None),
        seeds_needed=given.pop("seeds_needed", None if more is None else runs + more),
        verdict=verdict,
        paths=[],
        sentence="",
        more_seeds=more,
        **given,
    )


def said(*results, margin=0.5, caveats=(), references=(), **asked):
    return answer([*(references or [result("logvar")]), *results], Question(**asked), margin, caveats)


def worse(label, mean, **given):
    return result(label, "worse", mean, p_beyond_holm=0.001, **given)


def equivalent(label, **given):
    return result(label, "equivalent", 0.01, **given)


def undecided(label, more=5, **given):
    return result(label, "undecided", 0.3, more=more, **given)


def test_the_answer_to_three_heads():
    sentence = said(worse("abs_std", -31.2), equivalent("logstd"), undecided("softplus_std"))
    assert sentence == (
        "Yes, for 1 of 3 heads compared with logvar: abs_std is worse by 31 nats per image; "
        "logstd makes no difference that matters (less than 0.5); softplus_std needs about 5 more seeds."
    )


def test_one_verdict_by_itself():
    lead = "compared with logvar:"
    assert said(equivalent("logstd")) == (
        f"No, {lead} logstd makes no difference that matters (less than 0.5 nats per image)."
    )
    assert said(worse("natural", -1.412)) == f"Yes, {lead} natural is worse by 1.4 nats per image."
    assert said(result("natural", "better", 1.412)) == f"Yes, {lead} natural is better by 1.4 nats per image."
    assert said(undecided("natural", more=1)) == f"Not known yet, {lead} natural needs about 1 more seed."
    assert said(result("square_std", "different", -0.371, more=18)) == (
        f"Not known yet, {lead} square_std is lower by 0.37 nats per image, "
        "and about 18 more seeds would show whether that matters."
    )
    assert said() == "There is nothing to compare with logvar."
    assert said(result("natural", "no reference")) == "There is nothing to compare with logvar."


def test_better_and_worse_are_said_only_where_there_is_a_direction():
    results = [result("natural", "beyond the margin", 3.0), result("abs_std", "beyond the margin", -2.0)]
    sentence = said(*results, metric="test/kl")
    assert sentence == (
        "Yes, for both heads compared with logvar in test KL: natural is higher by 3.0 nats per image; "
        "abs_std is lower by 2.0."
    )
    sentence = said(*results, equivalent("logstd"), metric="grad/snr/encoder", margin=0.01)
    assert "nats" not in sentence
    assert "compared with logvar in grad/snr/encoder: natural is higher by 3.0; " in sentence
    assert sentence.endswith("logstd makes no difference that matters (less than 0.01).")
    assert said(worse("natural", 0.8), metric="nll") == (
        "Yes, compared with logvar in NLL: natural is worse by 0.80 nats per image."
    )


def test_many_heads_are_grouped():
    same = [equivalent(name) for name in ("logprec", "elu_std", "a", "b", "c", "d")]
    assert said(*same) == (
        "No, compared with logvar: logprec, elu_std and 4 others make no difference that matters "
        "(less than 0.5 nats per image)."
    )
    assert "a, b and c make no difference" in said(*same[2:5])
    # Some of each: the sizes of few, and the range of many.
    assert "a is worse by 60 nats per image, b by 1.4 and c by 0.70;" in said(
        worse("a", -60, sd=15), worse("b", -1.41), worse("c", -0.7), *same[:2]
    )
    many = [worse(name, -size) for name, size in (("a", 60), ("b", 1.41), ("c", 0.7), ("d", 2))]
    assert "all 4 heads compared with logvar: a, b and 2 others are worse by 0.70 to 60 nats per image." in said(*many)
    needing = [undecided(name, more) for name, more in (("a", 5), ("b", 12), ("c", 7), ("d", 5))]
    assert said(*needing, same[0]) == (
        "Not known yet, for 4 of 5 heads compared with logvar: a, b and 2 others need about 5 to 12 more seeds; "
        "logprec makes no difference that matters (less than 0.5 nats per image)."
    )
    several = said(*[result(name, "different", size, more=9) for name, size in (("a", 0.4), ("b", 0.6), ("c", -0.4))])
    assert "a is higher by 0.40 nats per image and b by 0.60, and about 9 more seeds would show" in several
    assert "c is lower by 0.40, and about 9 more seeds would show whether that matters" in several


def test_settings_of_a_head_stand_together():
    rates = ("lr=0.001", "lr=0.01")
    references = [result(f"logvar,{rate}") for rate in rates]
    logstd = [equivalent(f"logstd,{rate}", reference=f"logvar,{rate}") for rate in rates]
    natural = [
        equivalent("natural,lr=0.001", reference="logvar,lr=0.001"),
        worse("natural,lr=0.01", -2, reference="logvar,lr=0.01"),
    ]
    assert said(*logstd, *natural, references=references) == (
        "Yes, for 1 of 4 variants compared with logvar at the same settings: "
        "natural (lr=0.01) is worse by 2.0 nats per image; "
        "logstd (at both settings) and natural (lr=0.001) make no difference that matters (less than 0.5)."
    )
    # At best rates the rate is not what is asked about.
    tuned = [result("logvar,lr=0.001/0.01"), worse("natural,lr=0.01", -2, reference="logvar,lr=0.001/0.01")]
    tuned.append(equivalent("logstd,lr=0.01", reference="logvar,lr=0.001/0.01"))
    assert answer(tuned, Question(at="best-lr"), 0.5).startswith(
        "Yes, for 1 of 2 heads compared with logvar, each at its best learning rate: natural (lr=0.01) is worse by 2.0"
    )
    assert spoken("my_heads:mine,bound=clip:-5,3") == "my_heads:mine (bound=clip:-5,3)"
    assert spoken("init=native,lr=0.1") == "init=native, lr=0.1"


def test_lost_runs():
    gone = {"p_survival_holm": 0.002}
    assert said(worse("a", 3.0, lost=8, **gone)) == (
        "Yes, compared with logvar: a is worse, since it lost 8 of 10 runs (logvar 0 of 10)."
    )
    reference = result("logvar", lost=9)
    fewer = result("a", "different", -3.0, survival=0.9, pairs=1, **gone)
    assert said(fewer, references=[reference]) == (
        "Yes, compared with logvar: a lost 0 of 10 runs (logvar 9 of 10), "
        "but is worse by 3.0 nats per image where both survived."
    )
    many = [result(name, "better", None, survival=0.9, **gone) for name in "abcd"]
    assert "a, b and 2 others are better, with fewer runs lost." in said(*many, references=[reference])
    # A verdict on the mean says what it leaves out.
    assert "a is worse by 3.0 nats per image (with 1 of 10 runs lost)" in said(worse("a", -3.0, lost=1))
    # Survivors are a selection: more is not claimed of them than the verdict does.
    assert said(result("a", "different", 2.0, lost=1, p_beyond_holm=0.01)) == (
        "Not known yet, compared with logvar: a is higher by 2.0 nats per image where both survived, "
        "but as it lost 1 of 10 runs (logvar 0 of 10), no more can be said."
    )
    assert said(result("a", "different", 0.6, lost=1, p_beyond_holm=0.2, more=40)).endswith(
        "a is higher by 0.60 nats per image (with 1 of 10 runs lost), "
        "and about 40 more seeds would show whether more runs are lost."
    )
    nobody = undecided("a", None, lost=10, pairs=0)
    assert said(nobody).endswith("a is undecided, since no seed survived on both sides.")
    assert said(undecided("a", None, lost=1, survival=0.0)).endswith("a is undecided, since runs were lost.")

    reference = result("logvar", lost=2)
    assert "a is better by 3.0 nats per image (with 2 of 10 runs of logvar lost)." in said(
        result("a", "better", 3.0, survival=0.2, pairs=8), references=[reference]
    )


def test_no_more_than_chaos():
    one = undecided("a", p_holm=0.01, chaos_floor=0.4)
    assert said(one).endswith("a differs by no more than a negligible change of one weight does.")
    assert said(undecided("a", p_holm=0.01, chaos_floor=0.2)).endswith("a needs about 5 more seeds.")
    assert said(undecided("a", p_holm=0.2, chaos_floor=0.4)).endswith("a needs about 5 more seeds.")


def test_what_no_number_of_seeds_decides():
    assert said(undecided("a", None, pairs=1)).endswith("a is undecided, since there is only one pair of runs.")
    assert said(undecided("a", None, seeds_needed=">10000")).endswith("a needs more than 10000 seeds.")
    assert said(result("a", "different", 0.5, seeds_needed=">10000")).endswith(
        "and more than 10000 seeds would be needed to know whether that matters."
    )


def test_caveats_are_part_of_the_answer():
    one = worse("a", -2, confounders=["epochs"])
    assert said(one).endswith(
        "a is worse by 2.0 nats per image; but a differs in epochs, too, which may be the reason."
    )
    sentence = said(equivalent("a"), result("b", "no reference"), caveats=["these runs are not of one kind"])
    assert sentence.endswith("; 1 variant has no reference; but these runs are not of one kind.")


def test_a_size_is_not_shown_as_the_margin():
    assert "worse by 0.504 nats" in said(worse("a", -0.504, sd=0.002))
    assert "worse by 31 nats" in said(worse("a", -31.4, sd=0.002))


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(4)
    seeds = -105 + rng.normal(0, 0.4, 7)
    for param, mean, sd in (("logvar", 0, 0), ("logstd", 0, 0.1), ("natural", -3, 0.3), ("softplus_std", 0.4, 1.5)):
        for seed, value in enumerate(seeds + rng.normal(mean, sd, 7)):
            write(tmp_path, float(value), param=param, seed=seed)
    return tmp_path


def test_the_seeds_that_are_still_needed(runs):
    """They are those that the planning gives, less those that there are; and the answer is in the JSON, too."""
    report = compare([runs], Question()).to_json()
    by_label = {row["label"]: row for row in report["settings"]}
    needing = by_label["softplus_std"]
    assert needing["verdict"] == "undecided"
    assert needing["more_seeds"] == needing["seeds_needed"] - 7 > 0
    mean = f"{abs(by_label['natural']['difference']['mean']):.1f}"
    assert report["answer"] == (
        f"Yes, for 1 of 3 heads compared with logvar: natural is worse by {mean} nats per image; logstd makes no "
        f"difference that matters (less than 0.5); softplus_std needs about {needing['more_seeds']} more seeds."
    )
    assert all(row["more_seeds"] is None for label, row in by_label.items() if label != "softplus_std")


def test_seeds_are_counted_as_the_planning_counts_them(tmp_path):
    """Pairs where both lost the same, and the runs of each where they did not."""
    rng = np.random.default_rng(0)
    for seed in range(8):
        status = "diverged" if seed == 0 else "complete"
        write(tmp_path, -100.0 - seed, param="logvar", seed=seed, status=status)
        write(tmp_path, -100.0 - seed + rng.normal(0, 2), param="logstd", seed=seed, status=status)
        write(tmp_path, -100.0 - seed, param="abs_std", seed=seed, status="diverged" if seed < 5 else "complete")
    results = {result.label: result for result in compare([tmp_path], Question()).results}
    assert results["logstd"].more_seeds == results["logstd"].seeds_needed - 7
    assert results["abs_std"].verdict == "undecided"
    assert results["abs_std"].more_seeds == results["abs_std"].seeds_needed - 8


def test_mixed_runs_and_units_of_a_head_are_caveats(tmp_path):
    for seed in range(4):
        metrics = {"grad/variance/scale_head": 1.0 + 0.1 * seed}
        write(tmp_path, -100.0 - seed, param="logvar", seed=seed, metrics=metrics)
        write(tmp_path, -100.0 - seed, param="logstd", seed=seed, metrics=metrics, commit="d" * 40)
    mixed = compare([tmp_path], Question(allow_mixed=True)).answer
    assert mixed.endswith("; but these runs are not of one kind (see the warnings).")
    asked = Question(metric="grad/variance/scale_head", margin=0.1, allow_mixed=True)
    assert "grad/variance/scale_head is not in one unit (see the warnings)" in compare([tmp_path], asked).answer


def test_claims_are_those_of_the_verdicts():
    """Over random comparisons: a word is in the answer only if a verdict carries it."""
    rng = np.random.default_rng(1)
    verdicts = ("equivalent", "better", "worse", "beyond the margin", "different", "undecided")
    for _ in range(300):
        results = [
            result(f"head{place}", verdict, float(rng.normal(0, 3)), more=int(rng.integers(1, 99)))
            for place, verdict in enumerate(rng.choice(verdicts, rng.integers(1, 12)))
        ]
        sentence = said(*results)
        has = {one.verdict for one in results}
        assert (" better by " in sentence) == ("better" in has)
        assert (" worse by " in sentence) == ("worse" in has)
        assert ("no difference that matters" in sentence) == ("equivalent" in has)
        assert ("whether that matters" in sentence) == ("different" in has)
        matter = sum(one.verdict in ("better", "worse", "beyond the margin") for one in results)
        assert sentence.startswith("Yes") == (matter > 0)
        assert sentence.startswith("No, ") == (has == {"equivalent"})
        if 0 < matter < len(results):
            assert sentence.startswith(f"Yes, for {matter} of {len(results)} heads")
        assert sentence.count("nats per image") == (0 if has == {"undecided"} else 1)
