"""A study: the same heads under several conditions, with controls, as a config file describes it."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vaecli.config import SETTINGS, UsageError
from vaecli.config.sequential import HEAD_SETTINGS, HeadsOf, SequentialPlan, StudyPlace
from vaecli.config.validators import nearest, positive, wrong_type

_STUDY_KEYS = "heads", "null_control", "failing_control"
_CONDITION_KEYS = "name", "why", "margin", "heads", "heads_of"

MOST_CONDITIONS = 100


@dataclasses.dataclass(frozen=True)
class Condition:
    """A condition of a study.

    Attributes:
      name: its name, which is that of the folder of its runs.
      why: what it is there for, in a sentence.
      settings: the fields of `Config` that it sets.
      heads: the heads that are compared under it.
      heads_of: whose scale they are heads of.
      margin: the least difference that matters; None for that of the study.
    """

    name: str
    why: str
    settings: Mapping[str, Any]
    heads: Sequence[str]
    heads_of: HeadsOf = "encoder"
    margin: float | None = None

    @property
    def field(self) -> str:
        """The setting that the heads are values of."""
        return HEAD_SETTINGS[self.heads_of][0]

    @property
    def matched(self) -> Mapping[str, str]:
        """The settings with which a head starts and learns as the reference does."""
        return dict.fromkeys(HEAD_SETTINGS[self.heads_of][1:], "matched")


@dataclasses.dataclass(frozen=True)
class Study:
    """Heads under several conditions.

    Attributes:
      conditions: the conditions.
      null_control: a head that, matched, must end exactly where the reference does; empty for none.
      failing_control: a head that must lose every run, or be worse by more than the margin; empty for none.
    """

    conditions: Sequence[Condition]
    null_control: str = "logstd"
    failing_control: str = "std"

    def family(self, reference: str) -> int:
        """Returns how many heads are compared with the reference, over all conditions."""
        return sum(head != reference for condition in self.conditions for head in condition.heads)

    def place(self, name: str, condition: Condition, reference: str) -> StudyPlace:
        """Returns what the plan of looks of a condition says of the study.

        Args:
          name: the name of the study.
          condition: one of its conditions.
          reference: the head that the others are compared with.
        """
        return StudyPlace(
            name=name,
            number=1 + list(self.conditions).index(condition),
            conditions=len(self.conditions),
            why=condition.why,
            heads_of=condition.heads_of,
            family=self.family(reference),
            null_control=self.null_control,
            failing_control=self.failing_control,
        )


def study_from_tables(study: Any, conditions: Any) -> Study:
    """Reads a study from the tables `[study]` and `[[condition]]` of a TOML text.

    Raises:
      UsageError: they are not those of a study; the message names the table and the key.
    """
    if not isinstance(conditions, list) or not all(isinstance(one, dict) for one in conditions):
        raise UsageError("a condition is written [[condition]], with two brackets")
    if not isinstance(study, dict) or study.keys() - {*_STUDY_KEYS}:
        raise UsageError(f"[study] may hold only {', '.join(map(repr, _STUDY_KEYS))}")
    if not conditions:
        raise UsageError("[study] has no [[condition]]")
    if len(conditions) > MOST_CONDITIONS:
        raise UsageError(f"has {len(conditions)} conditions; a study has at most {MOST_CONDITIONS}")
    controls = {name: study[name] for name in ("null_control", "failing_control") if name in study}
    for name, value in controls.items():
        if complaint := wrong_type(value, str):
            raise UsageError(f"[study] {name}: {complaint}")
    read = [_condition(table, study.get("heads")) for table in conditions]
    names = [condition.name.lower() for condition in read]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"[[condition]] name: {twice[0]!r} is that of two conditions")
    return Study(read, **controls)


def _condition(table: Mapping[str, Any], shared_heads: Any) -> Condition:
    """Reads a condition.

    Raises:
      UsageError: it is not one.
    """
    name = table.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name.endswith("."):
        raise UsageError(f"[[condition]] name: must be the name of a folder, of letters, digits and -, got {name!r}")
    where = f"[[condition]] {name}"
    if not isinstance(table.get("why"), str) or not table["why"].strip():
        raise UsageError(f'{where}: needs a sentence that says why it is there, as in why = "…"')
    settings = {key: value for key, value in table.items() if key not in _CONDITION_KEYS}
    for key in settings:
        if key not in SETTINGS:
            raise UsageError(f"{where}: unknown key '{key}'{nearest(key, [*SETTINGS, *_CONDITION_KEYS])}")
    heads_of = table.get("heads_of", "encoder")
    if complaint := wrong_type(heads_of, HeadsOf):
        raise UsageError(f"{where} heads_of: {complaint}")
    margin = table.get("margin")
    if margin is not None and (complaint := wrong_type(margin, float) or positive(float(margin))):
        raise UsageError(f"{where} margin: {complaint}")
    condition = Condition(
        name=name,
        why=table["why"].strip(),
        settings={key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()},
        heads=_heads(table.get("heads", shared_heads), where),
        heads_of=heads_of,
        margin=None if margin is None else float(margin),
    )
    if own := [key for key in ("seed", "pilot", "perturb", condition.field) if key in settings]:
        raise UsageError(f"{where}: {own[0]} is what the study itself sets")
    return condition


def _heads(heads: Any, where: str) -> tuple[str, ...]:
    """Returns the heads of a condition.

    Raises:
      UsageError: they are not the names of two heads or more, each once.
    """
    if not isinstance(heads, list) or any(wrong_type(head, str) for head in heads) or len({*heads}) < 2:
        raise UsageError(f"{where}: heads, of the condition or of [study], must be a list of two names or more")
    if len({*heads}) < len(heads):
        raise UsageError(f"{where}: heads has a name twice")
    return tuple(heads)


def plan_of(study: Study, condition: Condition, name: str, looks: SequentialPlan) -> SequentialPlan:
    """Returns the plan of looks of a condition.

    Args:
      study: the study.
      condition: one of its conditions.
      name: the name of the study.
      looks: the plan of looks that all conditions share, whose reference is a head.
    """
    reference = looks.reference if condition.field == "param" else f"{condition.field}={looks.reference}"
    return dataclasses.replace(
        looks,
        reference=reference,
        margin=looks.margin if condition.margin is None else condition.margin,
        study=study.place(name, condition, looks.reference),
    )
