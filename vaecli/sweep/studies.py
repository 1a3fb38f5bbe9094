"""The sweeps that a study consists of: for each condition its controls, and its heads at the looks of a plan."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaecli.config import UsageError
from vaecli.config.sequential import SequentialPlan, StudyPlace
from vaecli.config.study import Condition, Study, plan_of
from vaecli.config.toml import SweepPlan
from vaecli.sweep.grid import Sweep, expand


class StudyPart(NamedTuple):
    """A sweep of a study.

    Attributes:
      place: the condition's place in the study.
      condition: the condition.
      sweep: the runs with all seeds.
      looks: the plan of looks of its heads; None for its controls, which have the seeds of the first look.
    """

    place: StudyPlace
    condition: Condition
    sweep: Sweep
    looks: SequentialPlan | None

    @property
    def title(self) -> str:
        """What a person reads when it begins."""
        title = f"{self.condition.name} ({self.place.number} of {self.place.conditions})"
        return f"{title}: {self.condition.why}" if self.looks else f"{title}, its controls"


def parts(
    study: Study,
    name: str,
    base: Mapping[str, Any],
    given: Mapping[str, Any],
    looks: SequentialPlan,
    runs: Path,
    *,
    chaos_floor: bool = False,
) -> Sequence[StudyPart]:
    """Returns the sweeps of a study, in the order in which they are trained.

    Args:
      study: the study.
      name: its name, and that of the folder of its conditions.
      base: the settings that all conditions share.
      given: the settings that replace those of every condition.
      looks: the plan of looks, and what is asked at them.
      runs: the folder of all results.
      chaos_floor: whether each run of a head has a perturbed twin.

    Raises:
      UsageError: a condition cannot be trained; the message names it.
    """
    every = []
    for condition in study.conditions:
        plan = plan_of(study, condition, name, looks)
        settings = {**base, **condition.settings, **given, "name": condition.name}
        try:
            heads = SweepPlan(plan.looks[-1], chaos_floor, [{condition.field: condition.heads}])
            every += _parts(study, condition, settings, plan, heads, runs / name)
        except UsageError as error:
            raise UsageError(f"[[condition]] {condition.name}: {error}") from error
    return every


def _parts(
    study: Study,
    condition: Condition,
    settings: Mapping[str, Any],
    plan: SequentialPlan,
    of_heads: SweepPlan,
    runs: Path,
) -> list[StudyPart]:
    """Returns the sweeps of one condition."""
    place = plan.study
    assert place
    heads = expand(settings, of_heads, runs)._replace(vary=_named(condition))
    head_part = StudyPart(place, condition, heads, plan)
    grids = _control_grids(study, condition)
    if not grids:
        return [head_part]
    controls = expand(settings, SweepPlan(seeds=plan.looks[0], grids=grids), runs)
    # The directory of a control says what it is, even where there is only one.
    return [StudyPart(place, condition, controls._replace(vary=place.controls), None), head_part]


def _named(condition: Condition) -> Sequence[str]:
    """Returns the fields that the directories of the heads of a condition name."""
    return [condition.field] if condition.field != "param" else []


def _control_grids(study: Study, condition: Condition) -> list[Mapping[str, Sequence[Any]]]:
    """Returns the grids of the controls of a condition, each of one variant."""
    native = {name: ["native"] for name in condition.matched}
    matched = {name: [value] for name, value in condition.matched.items()}
    grids = []
    if study.null_control:
        grids.append({condition.field: [study.null_control], **matched})
    if study.failing_control:
        grids.append({condition.field: [study.failing_control], **native})
    return grids


def chosen(every: Sequence[StudyPart], names: Sequence[str]) -> Sequence[StudyPart]:
    """Returns the sweeps of some conditions; of all where none is named.

    Raises:
      UsageError: there is no condition of a name.
    """
    known = list(dict.fromkeys(part.condition.name for part in every))
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--condition: no condition {unknown[0]!r} (conditions: {', '.join(known)})")
    return [part for part in every if not names or part.condition.name in names]
