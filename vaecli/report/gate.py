"""A gate: whether every variant is what it was expected to be, shown by the tests of a comparison."""

import dataclasses
from typing import Literal

from vaecli.config import UsageError
from vaecli.config.validators import wrong_type
from vaecli.report.answer import kind
from vaecli.report.formatting import first_four
from vaecli.report.model import Comparison, Expectation, StudyComparison, VariantResult

Expected = Literal["equivalent", "not-worse"]
_Outcome = Literal["met", "not met", "undecided"]


def with_expectation(comparison: Comparison, expected: Expected) -> Comparison:
    """Returns a comparison with what came of an expectation; docs/statistics.md says when it is met.

    Raises:
      UsageError: it is no such word, or that nothing is worse, of a metric without a direction.
    """
    if complaint := wrong_type(expected, Expected):
        raise UsageError(f"--expect: {complaint}")
    if expected == "not-worse" and not comparison.direction:
        raise UsageError(f"--expect not-worse: which values of {comparison.metric} are better, --better has to say")
    by_label = {result.label: result for result in comparison.results}
    outcomes: dict[_Outcome, list[str]] = {"met": [], "not met": [], "undecided": []}
    for result in comparison.results:
        if reference := by_label.get(result.reference or ""):
            outcomes[_outcome(result, reference, expected, comparison.alpha)].append(result.label)
    met, not_met, undecided = outcomes.values()
    whole: _Outcome = "not met" if not_met else "undecided" if undecided or not met else "met"
    expectation = Expectation(expected, whole, met, not_met, undecided)
    return dataclasses.replace(comparison, expectation=expectation)


def study_with_expectation(study: StudyComparison, expected: Expected) -> StudyComparison:
    """Returns a study with what came of an expectation of all its cells.

    Raises:
      UsageError: as `with_expectation`.
    """
    outcomes: dict[str, list[str]] = {"met": [], "not_met": [], "undecided": []}
    for condition in study.conditions:
        expectation = with_expectation(condition.comparison, expected).expectation
        for name, labels in outcomes.items():
            labels += [f"{label} under {condition.name}" for label in getattr(expectation, name)]
    met, not_met, undecided = outcomes.values()
    whole: _Outcome = "not met" if not_met else "undecided" if undecided or not met else "met"
    return dataclasses.replace(study, expectation=Expectation(expected, whole, met, not_met, undecided))


def _outcome(result: VariantResult, reference: VariantResult, expected: Expected, alpha: float) -> _Outcome:
    """Returns what came of the expectation of one variant."""
    verdict = result.verdict
    if verdict == "invalid":
        return "undecided"
    if expected == "equivalent":
        otherwise = verdict in ("better", "worse", "beyond the margin") or kind(result, alpha) == "lost runs"
        return "met" if verdict == "equivalent" else "not met" if otherwise else "undecided"
    if verdict == "worse":
        return "not met"
    p = result.difference.p_not_worse_holm if result.difference else None
    shown = p is not None and p < alpha and not _lost_more(result, reference)
    return "met" if verdict in ("better", "equivalent") or shown else "undecided"


def _lost_more(result: VariantResult, reference: VariantResult) -> bool:
    """Whether a variant lost a greater share of its runs, or a run whose partner survived."""
    survival = result.difference.survival if result.difference else None
    alone = {seed for seed in result.lost if seed in reference.seeds and seed not in reference.lost}
    return bool(alone) or (survival is not None and survival < 0)


def words(expectation: Expectation) -> str:
    """Says on one line what was expected and what came of it.

    >>> words(Expectation("not-worse", "not met", ["lion"], ["sgd"], ["adamw"]))
    'expected not-worse: not met by sgd; undecided for adamw; met by lion'
    """
    groups = [
        ("not met by", expectation.not_met),
        ("undecided for", expectation.undecided),
        ("met by", expectation.met),
    ]
    parts = [f"{lead} {first_four(labels)}" for lead, labels in groups if labels]
    return f"expected {expectation.expected}: {'; '.join(parts) or 'undecided, since no variant has a reference'}"
