"""A study: the conditions below a folder compared together, as one family of tests."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaecli.config import UsageError
from vaecli.config.naming import label_folder
from vaecli.config.sequential import SequentialPlan, StudyPlace
from vaecli.report.compare import Commands, Unjudged, conclude, gather
from vaecli.report.findings import findings, one_family
from vaecli.report.formatting import count, first_four, joined
from vaecli.report.judgement import judge
from vaecli.report.map import map_of_study
from vaecli.report.model import Comparison, ConditionComparison, Question, StudyComparison
from vaecli.runs.collection import RunDirectories
from vaecli.runs.directory import SUMMARY
from vaecli.runs.plans import plans_beside, plans_of_runs


class _Planned(NamedTuple):
    """A folder of a condition: the folder, its plan of looks, and its place in the study."""

    folder: Path
    plan: SequentialPlan
    place: StudyPlace


def study_folders(directories: RunDirectories) -> Sequence[Path]:
    """Returns the folders of the conditions of a study that have some runs, in the order of the study.

    Nothing is returned where the runs are not those of several conditions.

    Args:
      directories: the runs.

    Raises:
      UsageError: a plan of looks cannot be read, or the conditions are not those of one study.
    """
    folders = plans_of_runs(directories.paths)
    planned = [_Planned(folder, plan, plan.study) for folder, plan in folders.items() if plan and plan.study]
    if len(planned) < 2 or len(planned) < len(folders):
        return []
    return [one.folder for one in _of_one_study(planned)]


def _of_one_study(planned: Sequence[_Planned]) -> Sequence[_Planned]:
    """Returns the conditions in their order.

    Raises:
      UsageError: they are not those of one study.
    """
    first, *others = sorted(planned, key=lambda one: one.place.number)
    shared = "name", "conditions", "family", "null_control", "failing_control"
    for one in others:
        unlike = [name for name in shared if getattr(one.place, name) != getattr(first.place, name)]
        unlike += [name for name in ("alpha", "metric") if getattr(one.plan, name) != getattr(first.plan, name)]
        if unlike:
            which = f"which differ in {joined(unlike)}"
            raise UsageError(f"{first.folder} and {one.folder} are of two studies, {which}; compare them apart")
    numbers = [one.place.number for one in (first, *others)]
    if twice := [one for one in others if numbers.count(one.place.number) > 1]:
        raise UsageError(f"{twice[0].folder}: is condition {twice[0].place.number} of its study, as is another folder")
    return [first, *others]


def compare_study(
    folders: Sequence[Path], given: Mapping[str, Any], commands: Commands = lambda variants, varies: ()
) -> StudyComparison:
    """Answers a question under every condition of a study.

    Args:
      folders: those of the conditions, as `study_folders` returns them.
      given: what is asked, by the fields of `Question`; what is not given is what the plans ask.
      commands: says how to get the comparison of a condition again.

    Raises:
      UsageError: the runs of a condition cannot be compared; the message names it.
    """
    plans = plans_beside(folders)
    planned = [_Planned(folder, plan, plan.study) for folder in folders if (plan := plans[folder]) and plan.study]
    planned = [one for one in planned if _has_begun(one)] or planned
    unjudged = [(one, _gathered(one, given)) for one in planned]
    first = unjudged[0][1].question
    contrasts = {
        (one.place.number, name): contrast
        for one, condition in unjudged
        for name, contrast in condition.contrasts.items()
    }
    # What every condition counts is the whole study, and what its own folder has beyond the plan.
    of_study = planned[0].place.family
    family = of_study + sum(condition.family - of_study for _, condition in unjudged)
    judgements = judge(contrasts, first.alpha, family)
    conditions = []
    for one, condition in unjudged:
        mine = {name: judgements[one.place.number, name] for name in condition.contrasts}
        comparison = conclude(condition, mine, commands)
        conditions.append(
            ConditionComparison(
                name=one.folder.name,
                why=one.place.why,
                field=one.place.field,
                invalid=comparison.controls.invalid if comparison.controls else [],
                comparison=comparison,
            )
        )
    study = StudyComparison(
        name=planned[0].place.name,
        answer="",
        metric=first.metric,
        unit=first.unit,
        alpha=first.alpha,
        reference=_head(planned[0], first),
        conditions=conditions,
        family=family,
        warnings=[*_absent(planned, plans), *_of_several_codes([condition.comparison for condition in conditions])],
    )
    overview = map_of_study(study)
    return dataclasses.replace(study, answer=findings(overview), notes=[one_family(overview)])


def _has_begun(one: _Planned) -> bool:
    """Returns whether runs of two variants of a condition have ended, one of them that of the reference."""
    folders = {name: one.folder / label_folder(name) for name in one.plan.variants}
    ended = {name for name, folder in folders.items() if any(folder.glob(f"*/{SUMMARY}"))}
    return len(ended) > 1 and any(f",{name}".endswith(f",{one.plan.reference}") for name in ended)


def _gathered(one: _Planned, given: Mapping[str, Any]) -> Unjudged:
    """Reads the runs of a condition, and pairs them."""
    asked = dict(given)
    if "reference" in asked and one.place.field != "param" and "=" not in asked["reference"]:
        asked["reference"] = f"{one.place.field}={asked['reference']}"
    try:
        return gather([one.folder], asked)
    except UsageError as error:
        # A message about a flag, or about a folder, stands for itself.
        text = str(error)
        raise UsageError(text if text.startswith(("--", str(one.folder))) else f"{one.folder}: {text}") from error


def _head(one: _Planned, question: Question) -> str:
    """Returns the head that the others are compared with."""
    return question.reference.removeprefix(f"{one.place.field}=")


def _absent(planned: Sequence[_Planned], plans: Mapping[Path, SequentialPlan]) -> list[str]:
    """Says which conditions of a study have no runs here."""
    place = planned[0].place
    here = {one.place.number for one in planned}
    if not (missing := place.conditions - len(here)):
        return []
    names = {plan.study.number: folder.name for folder, plan in plans.items() if plan.study}
    known = [names[number] for number in range(1, place.conditions + 1) if number in names and number not in here]
    named = f": {first_four(known)}" if known else ""
    have = "has no pair of runs, and its heads count" if missing == 1 else "have no pair of runs, and their heads count"
    return [f"{count(missing, 'condition')} of {place.conditions} {have} as undecided{named}"]


def _of_several_codes(comparisons: Sequence[Comparison]) -> list[str]:
    """Says that the conditions were not all trained by the same code, if that is so."""
    commits = {one.provenance.git_commit or "an unknown commit" for one in comparisons}
    versions = {tuple(sorted(one.provenance.versions.items())) for one in comparisons}
    if len(commits) == len(versions) == 1:
        return []
    listed = first_four(sorted(commit[:12] for commit in commits))
    return [f"the conditions were not all trained by the same code (commits {listed})"]
