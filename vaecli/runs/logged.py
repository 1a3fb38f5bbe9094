"""Runs of other programs, read from their logs: tables of any kind, and event files of TensorBoard."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from vaecli.config import UsageError
from vaecli.config.naming import flag
from vaecli.config.validators import wrong_type

_LARGEST = 3.5e38
"""What is larger is no more a result than a NaN is, and sums of it overflow."""

_MOST_STEPS = 500
"""The most steps of a curve; of more, a page would be too large, and nobody could tell them apart."""


@dataclasses.dataclass(frozen=True, slots=True)
class LogOptions:
    """How logs are to be read; what is empty follows from the names of columns and folders.

    Attributes:
      variant: the columns whose values name the variant.
      seed: the column of the seed.
      step: the column of the step or epoch, in a table with several rows for a run.
      failed: the column that says which runs failed, and `=VALUE,…` which of its values do.
      missing: whether a run without a finite value has `failed` or is `left-out`; refused where it is None.
      runs_regex: a regular expression for the paths of event folders, or the names of runs, with the groups `variant`
        and `seed`.
    """

    variant: Sequence[str] = ()
    seed: str = ""
    step: str = ""
    failed: str = ""
    missing: Literal["failed", "left-out"] | None = None
    runs_regex: str = ""

    def __post_init__(self) -> None:
        words: dict[str, Any] = dict.fromkeys(("seed", "step", "failed", "runs_regex"), str)
        words |= {"missing": Literal["failed", "left-out"]} if self.missing is not None else {}
        for name, kind in words.items():
            if complaint := wrong_type(getattr(self, name), kind):
                raise UsageError(f"{flag(name)}: {complaint}")
        if not all(isinstance(name, str) for name in self.variant):
            raise UsageError(f"--variant: must be the names of columns, got {self.variant!r}")


class LoggedRun(NamedTuple):
    """A run of another program; `report.model.AnyRun` says what each of these is.

    Attributes:
      metric: the metric.
      value: its last value; None for one that is not finite.
      points: its finite values by step; empty where the log has no steps.
    """

    path: str
    seed: int
    status: str
    why: str
    metric: str
    value: float | None
    points: Mapping[float, float]
    skipped_updates: int = 0

    @property
    def end(self) -> float:
        """The last step."""
        return max(self.points, default=0.0)

    def surviving(self, tag: str) -> float | None:
        """Returns the value where the run is complete and it is finite; otherwise None."""
        return self.value if tag == self.metric and self.status == "complete" else None

    def curves(self, tags: Collection[str]) -> Mapping[str, Mapping[float, float]]:
        """Returns the finite values by step, of the metric and of the step itself."""
        known = {"step": {step: step for step in self.points}} | {self.metric: self.points}
        return {tag: known.get(tag, {}) for tag in tags}


class Series(NamedTuple):
    """What a log has of a run.

    Attributes:
      place: where it is.
      names: the values that name its variant.
      seed: its seed; None where the log has none.
      points: the values by step, None for the step of a log without steps; NaN for a value that is not finite. A value
        that is not there is left out.
      state: what the log says of its end: `complete`, `unfinished`, or why it failed.
    """

    place: str
    names: tuple[str, ...]
    seed: int | None
    points: Mapping[float | None, float]
    state: str = "complete"

    @property
    def last_step(self) -> float | None:
        """The last step at which there is a value; None where there is none, or there are no steps."""
        return max((step for step in self.points if step is not None), default=None)

    @property
    def last(self) -> float | None:
        """The value at the last step; None where there is none."""
        return self.points.get(self.last_step)


class Logs(NamedTuple):
    """The runs of some logs.

    Attributes:
      metric: what is compared.
      columns: what the names of the variants are values of.
      runs: the runs of each variant by seed, or numbered where there are no seeds.
      seeded: whether the logs have seeds.
      sources: the logs.
      warnings: what is left out of them.
    """

    metric: str
    columns: Sequence[str]
    runs: Mapping[tuple[str, ...], Mapping[int, LoggedRun]]
    seeded: bool
    sources: Sequence[str]
    warnings: Sequence[str]


def finite(value: float) -> float:
    """Returns a value, NaN for one that is not finite or as good as not."""
    return value if abs(value) <= _LARGEST else float("nan")


def runs_of(
    series: Sequence[Series], metric: str, columns: Sequence[str], missing: str | None, sources: Sequence[str]
) -> Logs:
    """Puts runs together by variant and seed.

    Raises:
      UsageError: there is none, two have one seed, or one has no value and nobody says what that means.
    """
    kept, warnings = _without_copies([one for one in series if one.state != "unfinished"], columns)
    if unfinished := [one for one in series if one.state == "unfinished"]:
        warnings.append(f"{_count(unfinished)} left out, not ended yet, such as {unfinished[0].place}")
    without = [one for one in kept if one.state == "complete" and not _is_number(one.last)]
    if without and missing == "left-out":
        left_out = {id(one) for one in without}
        kept = [one for one in kept if id(one) not in left_out]
        warnings.append(
            f"{_count(without)} left out without a finite {metric}, such as {_described(without[0], columns)}"
        )
    elif without and not missing:
        raise UsageError(_what_of_missing(without, metric, columns))
    if not kept:
        raise UsageError(f"{', '.join(sources)}: no run that has ended")
    variants = {one.names for one in kept}
    if len({variant_name(columns, names) for names in variants}) < len(variants):
        raise UsageError(
            f"--variant: two variants have one name, as their values of {' and '.join(columns)} have commas"
        )
    warnings += _other_ends(kept, columns)
    shown = _shown_steps(kept)
    following = max((one.seed for one in kept if one.seed is not None), default=-1) + 1
    runs: dict[tuple[str, ...], dict[int, LoggedRun]] = {}
    for one in kept:
        seed, following = (following, following + 1) if one.seed is None else (one.seed, following)
        runs.setdefault(one.names, {})[seed] = _run(one, seed, metric, shown)
    by_seed = {names: dict(sorted(of_variant.items())) for names, of_variant in runs.items()}
    return Logs(metric, columns, by_seed, all(one.seed is not None for one in kept), sources, warnings)


def _count(things: Sequence[Any], what: str = "run") -> str:
    return f"{len(things)} {what}{'s' * (len(things) != 1)}"


def _is_number(value: float | None) -> bool:
    return value is not None and value == value


def _shown_steps(series: Sequence[Series]) -> Collection[float]:
    """Returns the steps that curves have: as many as a figure can show, the last ones of all runs among them."""
    steps = sorted({step for one in series for step in one.points if step is not None})
    if len(steps) <= _MOST_STEPS:
        return set(steps)
    even = {steps[round(place * (len(steps) - 1) / (_MOST_STEPS - 1))] for place in range(_MOST_STEPS)}
    return even | {one.last_step for one in series if one.last_step is not None}


def _run(one: Series, seed: int, metric: str, shown: Collection[float]) -> LoggedRun:
    failure = "" if one.state == "complete" else one.state
    if not failure and not _is_number(one.last):
        failure = f"has no {metric}" if one.last is None else f"{metric} is not finite"
    known = ((step, value) for step, value in one.points.items() if _is_number(value))
    points = {step: value for step, value in known if step is not None and step in shown}
    status = "diverged" if failure else "complete"
    return LoggedRun(one.place, seed, status, failure, metric, None if failure else one.last, points)


def _without_copies(series: Sequence[Series], columns: Sequence[str]) -> tuple[list[Series], list[str]]:
    """Leaves out what repeats an earlier run."""
    first: dict[Any, Series] = {}
    kept, copies = [], []
    for one in series:
        other = one if one.seed is None else first.setdefault((one.names, one.seed), one)
        if other is one:
            kept.append(one)
        elif str(other[3:]) != str(one[3:]):  # As texts, in which a NaN equals itself.
            both = f"{other.place} and {one.place}"
            raise UsageError(f"{both}: are both {_variant(one, columns)}, seed {one.seed}, with different results")
        else:
            copies.append(one)
    return kept, [f"{_count(copies)} left out that others repeat, such as {copies[0].place}"] if copies else []


def _other_ends(series: Iterable[Series], columns: Sequence[str]) -> list[str]:
    """Says which complete runs do not end at the step at which most do."""
    ended = [one for one in series if one.state == "complete" and one.last_step is not None]
    steps = [one.last_step for one in ended]
    common = max(sorted({step for step in steps if step is not None}), key=steps.count, default=None)
    others = [one for one in ended if one.last_step != common]
    if not others:
        return []
    one = others[0]
    where = f"{len(others)} of {len(ended)} runs do not end at step {common:.10g}, where most do"
    return [f"{where}, such as {_described(one, columns)}, at {one.last_step:.10g}"]


def _what_of_missing(without: Sequence[Series], metric: str, columns: Sequence[str]) -> str:
    one = without[0]
    what = f"no {metric}" if one.last is None else f"no finite {metric} at its end"
    more = f"; nor is there one in {_count(without[1:], 'other run')}" if len(without) > 1 else ""
    ways = "--missing failed counts such runs as lost, --missing left-out leaves them out"
    return f"{one.place}: {_described(one, columns)}: {what}{more}; {ways}"


def _described(one: Series, columns: Sequence[str]) -> str:
    return _variant(one, columns) + (f", seed {one.seed}" if one.seed is not None else "")


def _variant(one: Series, columns: Sequence[str]) -> str:
    return variant_name(columns, one.names)


def variant_name(columns: Sequence[str], names: Sequence[str]) -> str:
    """Returns the name of a variant: the value of its column, or of several as `column=value,…`."""
    if len(columns) == 1:
        return names[0]
    return ",".join(f"{column}={name}" for column, name in zip(columns, names, strict=True))
