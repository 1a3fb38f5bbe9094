"""The controls of a condition: runs of which it is known beforehand what has to come of them.

The null control is a head that, matched, is the same model as the reference and trains by the same steps: it has to end
exactly where the reference does. The failing control is a head that cannot work: of each of its seeds the run has to be
lost, or to end worse than the reference's by more than the margin. Where either does not, the instrument is not right
under that condition, and none of its verdicts is evidence.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vaecli.config.naming import label, label_folder
from vaecli.config.sequential import SequentialPlan, StudyPlace
from vaecli.report.formatting import count, first_eight
from vaecli.report.model import AnyRun, Controls, Question, Variant
from vaecli.runs.collection import Outcome


class ControlRuns(NamedTuple):
    """The runs of the controls of a condition, by seed."""

    null: Mapping[int, Outcome]
    failing: Mapping[int, Outcome]


def split(outcomes: Sequence[Outcome], plan: SequentialPlan | None) -> tuple[Sequence[Outcome], ControlRuns | None]:
    """Parts the runs of a condition from those of its controls.

    Args:
      outcomes: the runs in its folder.
      plan: its plan of looks.

    Returns:
      The runs of its heads, and those of its controls; None where it has no study, and with it none.
    """
    if plan is None or plan.study is None:
        return outcomes, None
    place = plan.study
    of_controls = [outcome for outcome in outcomes if _is_control(outcome, place)]
    heads = [outcome for outcome in outcomes if not _is_control(outcome, place)]
    null, failing = (
        {o.seed: o for o in of_controls if getattr(o.config, place.field) == head and _matched(o, place) == matched}
        for head, matched in ((place.null_control, True), (place.failing_control, False))
    )
    return heads, ControlRuns(null, failing)


def _is_control(outcome: Outcome, place: StudyPlace) -> bool:
    """Returns whether the directory of a run names the start and the rate of its head, as only those of controls do."""
    return outcome.path.parent.name == label_folder(label(outcome.config, place.controls))


def _matched(outcome: Outcome, place: StudyPlace) -> bool:
    return all(getattr(outcome.config, name) == "matched" for name in place.controls if name != place.field)


def checked(runs: ControlRuns, reference: Variant, question: Question, margin: float, plan: SequentialPlan) -> Controls:
    """Says whether the controls of a condition came out as they have to.

    Args:
      runs: the runs of the controls.
      reference: the variant that they are compared with.
      question: what is asked.
      margin: the least difference that matters.
      plan: the plan of looks, at whose first look the controls have all their seeds.
    """
    place = plan.study
    assert place
    seeds = plan.seeds(plan.looks[0])
    right, invalid = [], []
    for head, of_head, fails in (
        (place.null_control, runs.null, lambda seed: not _same(runs.null[seed], reference.runs[seed], question.metric)),
        (
            place.failing_control,
            runs.failing,
            lambda seed: not _fails(runs.failing[seed], reference.runs[seed], question, margin),
        ),
    ):
        if not head:
            continue
        null = head == place.null_control and of_head is runs.null
        who = f"{head}, matched" if null else f"{head}, which cannot work"
        if missing := [seed for seed in seeds if seed not in of_head or seed not in reference.runs]:
            invalid.append(f"{who}, was not trained with seed{'s' * (len(missing) > 1)} {first_eight(missing)}")
            continue
        wrong = [seed for seed in seeds if fails(seed)]
        what = f"does not end where {reference.name} does" if null else "survives"
        if wrong:
            invalid.append(f"{who}, {what} at {len(wrong)} of {count(len(seeds), 'seed')}")
        else:
            ends = f"ends exactly where {reference.name} does" if null else "is lost or worse"
            right.append(f"{who}, {ends} at all {count(len(seeds), 'seed')}")
    return Controls(right, invalid)


def _same(run: AnyRun, reference: AnyRun, metric: str) -> bool:
    """Returns whether two runs ended with the same number, bit for bit, or were both lost."""
    return run.surviving(metric) == reference.surviving(metric)


def _fails(run: AnyRun, reference: AnyRun, question: Question, margin: float) -> bool:
    """Returns whether a run was lost, or is worse than the reference's by more than the margin."""
    mine, theirs = run.surviving(question.metric), reference.surviving(question.metric)
    if mine is None or theirs is None:
        return mine is None
    difference = mine - theirs
    return question.direction * difference < -margin if question.direction else abs(difference) > margin
