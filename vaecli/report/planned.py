"""What a plan of looks does to a comparison: what is asked, and which runs count."""

from collections.abc import Mapping, Sequence
from typing import Any

from vaecli.config import UsageError
from vaecli.config.naming import flag
from vaecli.config.sequential import SequentialPlan
from vaecli.report.formatting import count, first_eight
from vaecli.report.model import Question, TrainedVariant
from vaecli.report.tuning import Choice

_PLANNED = "metric", "margin", "alpha", "reference"


def question_of(given: Mapping[str, Any], plan: SequentialPlan | None) -> Question:
    """Returns a question: what is not given is what the plan asks, or the default where there is no plan.

    Args:
      given: the values of some fields of `Question`.
      plan: the plan of looks.

    Raises:
      UsageError: a value is wrong, or goes with a fixed number of seeds only.
    """
    if plan is None:
        return Question(**given)
    if given.get("effects"):
        raise UsageError("--effects: goes with a fixed number of seeds; these runs have a plan of looks")
    return Question(**{name: getattr(plan, name) for name in _PLANNED} | dict(given))


def at_looks(choice: Choice, question: Question, margin: float, plan: SequentialPlan) -> Choice:
    """Returns the variants with the runs that count under a plan.

    These have the seeds of the last look for which their variant is complete; before its first look, those of that one.

    Args:
      choice: the variants that are compared.
      question: what is asked.
      margin: the least difference that matters.
      plan: the looks.

    Raises:
      UsageError: a variant has no run with a seed of the plan.
    """
    kept, left_out = list[TrainedVariant](), dict[str, list[int]]()
    for variant in choice.variants:
        complete = [look for look in plan.looks if all(seed in variant.runs for seed in plan.seeds(look))]
        counting = variant.among(plan.seeds(complete[-1] if complete else plan.looks[0]))
        if not counting.runs:
            raise UsageError(f"{variant.name}: has no run with a seed of the plan, {plan.seed} and those after it")
        kept.append(counting)
        if others := sorted(variant.runs.keys() - counting.runs.keys()):
            left_out[variant.name] = others
    warnings = [*choice.warnings, *_other_question(question, margin, plan), *_left_out(left_out)]
    if plan.replaced_after:
        warnings.append(f"the plan of looks replaced another one, after {count(plan.replaced_after, 'run')} had ended")
    return choice._replace(variants=kept, warnings=warnings)


def of_looks(plan: SequentialPlan | None) -> list[str]:
    """Says that p-values and intervals allow for the looks of a plan, if there is one."""
    if plan is None:
        return []
    looks = ", ".join(map(str, plan.looks))
    return [f"looks were planned at {looks} seeds ({plan.spending}); p-values and intervals allow for all of them"]


def _other_question(question: Question, margin: float, plan: SequentialPlan) -> list[str]:
    """Says in what a question differs from that of a plan."""
    asked = {"metric": question.metric, "margin": margin, "alpha": question.alpha, "reference": question.reference}
    planned_margin = 0.5 if plan.margin is None and question.metric == plan.metric else plan.margin
    planned = {name: getattr(plan, name) for name in asked} | {"margin": planned_margin}
    unlike = [
        f"{flag(name)} {value} instead of {planned[name]}" for name, value in asked.items() if value != planned[name]
    ]
    if not unlike:
        return []
    return [f"not what the plan of looks asks, but a question that came later: {', '.join(unlike)}"]


def _left_out(seeds: Mapping[str, Sequence[int]]) -> list[str]:
    """Says which runs of which variants count for nothing."""
    if not seeds:
        return []
    name, some = next(iter(seeds.items()))
    runs, which = count(sum(map(len, seeds.values())), "run"), f"seed{'s' * (len(some) > 1)} {first_eight(some)}"
    return [f"{runs} left out, in no look of the plan that is complete: {name}, {which}"]
