"""The plan of a comparison that stops when it is decided: written down before the first run, and never changed."""

import dataclasses
import itertools
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import tomli_w

from vaecli.config import UsageError
from vaecli.config.naming import flag
from vaecli.config.validators import nearest, positive, wrong_type
from vaecli.config.validators import seed as wrong_seed

Spending = Literal["pocock", "obrien-fleming"]
"""How the level is spent over the looks: evenly from the first one on, or nearly all of it at the last."""

HeadsOf = Literal["encoder", "decoder"]
"""Whose scale the heads are of that a study compares."""

HEAD_SETTINGS: Mapping[HeadsOf, tuple[str, str, str]] = {
    "encoder": ("param", "init", "head_lr"),
    "decoder": ("decoder_param", "decoder_init", "decoder_lr"),
}
"""The settings of either: its head, and that head's start and rate."""

MOST_LOOKS = 100

MOST_ALPHA = 0.3


@dataclasses.dataclass(frozen=True)
class StudyPlace:
    """Where a plan stands in a study, whose conditions each have one.

    Attributes:
      name: the name of the study.
      number: the place of the condition among the others, from 1 on.
      conditions: how many there are.
      why: what the condition is there for, in a sentence.
      heads_of: whose scale the heads are of that are compared, `encoder` or `decoder`.
      family: how many comparisons there are in all conditions, which are one family of tests.
      null_control: a head that, matched, must end exactly where the reference does; empty for none.
      failing_control: a head that must lose every run, or be worse by more than the margin; empty for none.

    Raises:
      UsageError: a value has the wrong type.
    """

    name: str
    number: int
    conditions: int
    why: str
    heads_of: HeadsOf
    family: int
    null_control: str
    failing_control: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if complaint := wrong_type(getattr(self, field.name), field.type):
                raise UsageError(f"study.{field.name}: {complaint}")

    @property
    def field(self) -> str:
        """The setting that the heads are values of."""
        return HEAD_SETTINGS[self.heads_of][0]

    @property
    def controls(self) -> Sequence[str]:
        """The settings that the directories of controls name; every directory names the encoder's head."""
        return [name for name in HEAD_SETTINGS[self.heads_of] if name != "param"]


@dataclasses.dataclass(frozen=True)
class SequentialPlan:
    """When a comparison is looked at, and by what its verdicts are reached.

    Attributes:
      looks: the numbers of seeds of each variant at which verdicts may be reached, rising.
      margin: the least difference that matters, in the metric's unit.
      alpha: the level of each family of tests, over all looks.
      spending: how the level is spent over the looks.
      reference: what the others are compared with: a head, or `[head],field=value,…`.
      metric: the logged scalar that is compared.
      seed: the first seed.
      variants: the names of the variants that are compared.
      replaced_after: how many runs had ended when this plan replaced another one; 0 for a first plan.
      study: the study of which this is a condition, if it is one.

    Raises:
      UsageError: a value has the wrong type or lies outside its range; the message names the flag.
    """

    looks: Sequence[int] = (5, 8, 12, 18, 26)
    margin: float = 0.5
    alpha: float = 0.05
    spending: Spending = "pocock"
    reference: str = "logvar"
    metric: str = "test/elbo"
    seed: int = 0
    variants: Sequence[str] = ()
    replaced_after: int = 0
    study: StudyPlace | None = None

    def __post_init__(self) -> None:
        types = {"margin": float, "alpha": float, "spending": Spending, "reference": str, "metric": str}
        types |= {"looks": tuple, "seed": int, "replaced_after": int}
        for name, expected in types.items():
            value = getattr(self, name)
            complaint = _wrong_looks(value) if name == "looks" else wrong_type(value, expected)
            if complaint:
                raise UsageError(f"{flag(name)}: {complaint}")
        if not isinstance(self.variants, tuple) or any(wrong_type(name, str) for name in self.variants):
            raise UsageError(f"variants: must be a list of names, got {self.variants!r}")
        if complaint := positive(self.margin):
            raise UsageError(f"--margin: {complaint}")
        # Up to that level a test that rejects at one level rejects at every higher one, for either spending.
        if not 1e-9 <= self.alpha <= MOST_ALPHA:
            limits = f"between 1e-9 and {MOST_ALPHA}"
            raise UsageError(f"--alpha: must lie {limits} where there is a plan of looks, got {self.alpha}")
        if complaint := wrong_seed(self.seed + self.looks[-1] - 1):
            raise UsageError(f"--seed: with {self.looks[-1]} seeds, the last one {complaint}")

    @property
    def fractions(self) -> Sequence[float]:
        """The share of all planned seeds at each look."""
        return [look / self.looks[-1] for look in self.looks]

    def seeds(self, look: int) -> range:
        """Returns the seeds of the look that has so many."""
        return range(self.seed, self.seed + look)

    def to_toml(self) -> str:
        """Returns the plan as TOML; `plan_from_toml` reads it back."""
        values = dataclasses.asdict(self) | {"looks": list(self.looks), "variants": list(self.variants)}
        return tomli_w.dumps({name: value for name, value in values.items() if value is not None})

    def differences(self, other: "SequentialPlan") -> Sequence[str]:
        """Returns `field is a there and b here` for each value in which another plan differs from this one."""
        names = (field.name for field in dataclasses.fields(self) if field.name != "replaced_after")
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in names)
        return [f"{name} is {_shown(a)} there and {_shown(b)} here" for name, a, b in pairs if a != b]


def _shown(value: Any) -> str:
    if isinstance(value, StudyPlace):
        return f"{value.number} of {value.conditions} conditions with {value.family} heads ({value.why})"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _wrong_looks(looks: Any) -> str | None:
    if complaint := wrong_type(looks, tuple[int, ...]):
        return complaint
    if not looks or len(looks) > MOST_LOOKS:
        return f"must be 1 to {MOST_LOOKS} numbers of seeds, got {len(looks)}"
    rising = all(a < b for a, b in itertools.pairwise(looks))
    if looks[0] < 2 or looks[-1] > 10_000 or not rising:
        return f"must be numbers of seeds from 2 to 10000, each more than the one before, got {_shown(looks)}"
    return None


def plan_from_toml(text: str) -> SequentialPlan:
    """Reads a plan that `SequentialPlan.to_toml` wrote.

    Raises:
      UsageError: the text is no plan.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not valid TOML: {error}") from error
    known = [field.name for field in dataclasses.fields(SequentialPlan)]
    if unknown := [name for name in values if name not in known]:
        raise UsageError(f"unknown key {unknown[0]!r}{nearest(unknown[0], known)}")
    # A default in the place of what is missing would be another plan.
    if missing := [name for name in known if name not in values and name != "study"]:
        raise UsageError(f"without {missing[0]}")
    study = _study_place(values.pop("study", None))
    return SequentialPlan(**with_tuples(values), study=study)


def _study_place(table: Any) -> StudyPlace | None:
    """Reads what a plan says of its study.

    Raises:
      UsageError: it is not that.
    """
    known = [field.name for field in dataclasses.fields(StudyPlace)]
    if table is None:
        return None
    if not isinstance(table, dict) or sorted(table) != sorted(known):
        raise UsageError(f"study must have {', '.join(known)}, and nothing else")
    return StudyPlace(**table)


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values of TOML as a plan holds them, with tuples instead of lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
