"""The controls of a condition: runs of which it is known beforehand what has to come of them.

The null control is a head that, matched, is the same model as the reference and trains by the same steps: it has to end
exactly where the reference does. The failing control is a head that cannot work: of each of its seeds the run has to be
lost, or to end worse than the reference's by more than the margin. Where either does not, the instrument is not right
under that condition, and none of its verdicts is evidence.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vaecli.config.naming import label_folder, named_fields
from vaecli.config.sequential import SequentialPlan, StudyPlace
from vaecli.report.formatting import count, first_eight
from vaecli.report.model import Controls, Question
from vaecli.runs.collection import Outcome


def is_control(path: Path, place: StudyPlace) -> bool:
    """Returns whether the directory of a run names the start and the rate of its head, as only those of controls do."""
    return set(place.controls) <= set(named_fields(path.parent.name))


def folders(condition: Path, plan: SequentialPlan) -> Sequence[Path]:
    """Returns the folders of the controls of a condition, and of the head that they are compared with.

    Args:
      condition: the folder of the condition.
      plan: its plan of looks.
    """
    place = plan.study
    assert place
    reference = {label_folder(name) for name in plan.variants if f",{name}".endswith(f",{plan.reference}")}
    subfolders = sorted(path for path in condition.iterdir() if path.is_dir())
    return [path for path in subfolders if path.name in reference or is_control(path / "seed0", place)]


def checked(outcomes: Sequence[Outcome], question: Question, margin: float, plan: SequentialPlan) -> Controls:
    """Says whether the controls of a condition came out as they have to.

    Args:
      outcomes: the runs of the controls, and of the head that they are compared with.
      question: what is asked.
      margin: the least difference that matters.
      plan: the plan of looks, at whose first look the controls have all their seeds.
    """
    place = plan.study
    assert place
    reference = {o.seed: o for o in outcomes if not is_control(o.path, place)}
    name = plan.reference.removeprefix(f"{place.field}=")
    right, invalid = [], []
    for head, start, is_right, fault, ends in (
        (place.null_control, "matched", _same, f"does not end where {name} does", f"ends exactly where {name} does"),
        (place.failing_control, "native", _fails, "survives", "is lost or worse"),
    ):
        if not head:
            continue
        who = f"{head}, matched" if start == "matched" else f"{head}, which cannot work"
        runs = _of(outcomes, head, start, place)
        complaint = _complaint(runs, reference, is_right, question, margin, plan)
        if complaint is None:
            right.append(f"{who}, {ends} at all {count(plan.looks[0], 'seed')}")
        else:
            invalid.append(f"{who}, {fault} {complaint}" if complaint.startswith("at ") else f"{who}, {complaint}")
    return Controls(right, invalid)


def _of(outcomes: Sequence[Outcome], head: str, start: str, place: StudyPlace) -> Mapping[int, Outcome]:
    """Returns the runs of the control that has a head and a start, by seed."""
    settings = dict.fromkeys(place.controls, start) | {place.field: head}
    return {
        o.seed: o
        for o in outcomes
        if is_control(o.path, place) and all(getattr(o.config, name) == value for name, value in settings.items())
    }


def _complaint(
    runs: Mapping[int, Outcome],
    reference: Mapping[int, Outcome],
    is_right: Callable[[Outcome, Outcome, Question, float], bool],
    question: Question,
    margin: float,
    plan: SequentialPlan,
) -> str | None:
    """Says at how many seeds a control is not right, or which are missing; None where it is right at all of them."""
    seeds = plan.seeds(plan.looks[0])
    if missing := [seed for seed in seeds if seed not in runs or seed not in reference]:
        return f"was not trained with seed{'s' * (len(missing) > 1)} {first_eight(missing)}"
    wrong = sum(not is_right(runs[seed], reference[seed], question, margin) for seed in seeds)
    return f"at {wrong} of {count(len(seeds), 'seed')}" if wrong else None


def _same(run: Outcome, reference: Outcome, question: Question, margin: float) -> bool:
    """Returns whether two runs ended with the same number, bit for bit, or were both lost."""
    return run.surviving(question.metric) == reference.surviving(question.metric)


def _fails(run: Outcome, reference: Outcome, question: Question, margin: float) -> bool:
    """Returns whether a run was lost, or is worse than the reference's by more than the margin."""
    mine, theirs = run.surviving(question.metric), reference.surviving(question.metric)
    if mine is None or theirs is None:
        return mine is None
    difference = mine - theirs
    return question.direction * difference < -margin if question.direction else abs(difference) > margin
