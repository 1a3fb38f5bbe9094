"""What a plan of looks does to a comparison: what is asked, and which runs count."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaecli.config import UsageError
from vaecli.config.naming import flag, label_folder
from vaecli.config.sequential import MOST_ALPHA, SequentialPlan
from vaecli.report.formatting import count, first_eight, joined, unit
from vaecli.report.model import Question, TrainedVariant, Variant
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
    question = Question(**{name: getattr(plan, name) for name in _PLANNED} | dict(given))
    # A sequential p says nothing above that level.
    if question.alpha > MOST_ALPHA:
        raise UsageError(f"--alpha: must be at most {MOST_ALPHA} where there is a plan of looks, got {question.alpha}")
    # A margin is no margin of what is measured in another unit.
    other_unit = question.unit != unit(plan.metric)
    return dataclasses.replace(question, margin=None) if other_unit and "margin" not in given else question


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
    seeds = plan.seeds(plan.looks[-1])
    for variant in choice.variants:
        complete = [look for look in plan.looks if all(seed in variant.runs for seed in plan.seeds(look))]
        counting = variant.among(plan.seeds(complete[-1] if complete else plan.looks[0]))
        if counting.runs:
            kept.append(counting)
        if others := sorted(variant.runs.keys() - counting.runs.keys()):
            left_out[variant.name] = others
    if not kept:
        raise UsageError(f"no run has a seed of the plan of looks, {seeds[0]} to {seeds[-1]}")
    warnings = [*choice.warnings, *_other_question(question, margin, plan), *_left_out(left_out)]
    warnings += _other_variants(kept, plan)
    if plan.replaced_after:
        warnings.append(f"the plan of looks replaced another one, after {count(plan.replaced_after, 'run')} had ended")
    return choice._replace(variants=kept, warnings=warnings)


def comparisons(plan: SequentialPlan, variants: Sequence[Variant], partners: Mapping[str, Variant | None]) -> int:
    """Returns how many variants there are to be compared: those of a plan, whether they have runs or not, and others.

    Those of the other conditions of a study are among them: all are one family.

    Args:
      plan: the looks.
      variants: all variants that have runs.
      partners: what each that is not a reference is compared with, by name.
    """
    planned = {label_folder(name) for name in plan.variants}
    absent = planned - {_folder(variant) for variant in variants}
    here = len(absent) + sum(partner is not None for partner in partners.values())
    # A plan's reference is one of its variants.
    elsewhere = plan.study.family - (len(planned) - 1) if plan.study else 0
    return here + max(elsewhere, 0)


def _folder(variant: Variant) -> str:
    """Returns the name of the folder of a variant, which is what a plan calls it."""
    return Path(next(iter(variant.runs.values())).path).parent.name


def of_looks(plan: SequentialPlan | None) -> list[str]:
    """Says that p-values and intervals allow for the looks of a plan, if there is one."""
    if plan is None:
        return []
    looks = ", ".join(map(str, plan.looks))
    notes = [f"Looks were planned at {looks} seeds ({plan.spending}); p-values and intervals allow for all of them"]
    if study := plan.study:
        notes.append(f"The family of the tests is that of the study {study.name}: {study.family} comparisons")
    return notes


def _other_question(question: Question, margin: float, plan: SequentialPlan) -> list[str]:
    """Says in what a question differs from that of a plan."""
    asked = {"metric": question.metric, "margin": margin, "alpha": question.alpha, "reference": question.reference}
    planned = {name: getattr(plan, name) for name in asked}
    unlike = [
        f"{flag(name)} {value} instead of {planned[name]}" for name, value in asked.items() if value != planned[name]
    ]
    if not unlike:
        return []
    return [f"not what the plan of looks asks, but a question that came later: {', '.join(unlike)}"]


def _other_variants(variants: Sequence[TrainedVariant], plan: SequentialPlan) -> list[str]:
    """Says which variants a plan has that have no runs here, and which it does not have."""
    here = {_folder(variant): variant.name for variant in variants}
    planned = {label_folder(name): name for name in plan.variants}
    absent = [name for folder, name in planned.items() if folder not in here]
    others = [name for folder, name in here.items() if folder not in planned]
    warnings = []
    if absent:
        counted = "counts as undecided" if len(absent) == 1 else "count as undecided"
        warnings.append(f"{joined(absent)} of the plan of looks {counted}: no run of a look is here")
    if others:
        which = (
            "is not in the plan of looks, and makes" if len(others) == 1 else "are not in the plan of looks, and make"
        )
        warnings.append(f"{joined(others)} {which} the family of tests larger")
    return warnings


def _left_out(seeds: Mapping[str, Sequence[int]]) -> list[str]:
    """Says which runs of which variants count for nothing."""
    if not seeds:
        return []
    name, some = next(iter(seeds.items()))
    runs, which = count(sum(map(len, seeds.values())), "run"), f"seed{'s' * (len(some) > 1)} {first_eight(some)}"
    return [f"{runs} left out, in no look of the plan that is complete: {name}, {which}"]
