"""What a difference between two variants is made of: shape, coupling, start, rate, and what is left to interaction.

A variant V has a start and a learning rate of its own, V(own, own). Each can be matched to those of `logvar`, which
makes three more variants, its counterfactuals. Where a head moves the mean, too, a control C has the same map and
leaves the mean alone; otherwise C is V. Then

    V(own, own) = C(matched, matched)                                                          shape
                + V(matched, matched) − C(matched, matched)                                    coupling
                + V(own, matched) − V(matched, matched)                                        start
                + V(matched, own) − V(matched, matched)                                        rate
                + V(own, own) − V(own, matched) − V(matched, own) + V(matched, matched)        interaction

and a part of the difference B − A is that part of B less that of A. At every seed the parts add up to the difference.
"""

import collections
import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from vaecli.config import UsageError
from vaecli.report.effects import PairedSums, paired_sums
from vaecli.report.judgement import judge
from vaecli.report.model import Difference, Judgement, Question, TrainedVariant, Verdict
from vaecli.report.statistics import Ratio, ratio_of_means

PARTS = ("shape", "coupling", "start", "rate", "interaction")

Side = Literal["a", "b"]
Kept = Literal["own", "matched"]


class Counterfactual(NamedTuple):
    """One of two variants, or what it becomes with another start, rate or head.

    Attributes:
      side: which of the two.
      control: whether it has the head of the control.
      start, rate: whether they are the variant's own or matched.
    """

    side: Side
    control: bool
    start: Kept
    rate: Kept


Weights = Mapping[Counterfactual, int]
"""By what counterfactuals are multiplied before they are added up; the weights add up to 0."""

_WHOLE: Weights = {Counterfactual("a", False, "own", "own"): -1, Counterfactual("b", False, "own", "own"): 1}


def counterfactuals(controls: Collection[Side]) -> list[Counterfactual]:
    """Returns all that the parts are made of, the two variants themselves first.

    Args:
      controls: which of the two variants have a control.
    """
    return list(dict.fromkeys(cell for weights in (_WHOLE, *_parts(controls).values()) for cell in weights))


def _parts(controls: Collection[Side]) -> dict[str, Weights]:
    """Returns what each part is made of."""
    parts: dict[str, collections.Counter[Counterfactual]] = {name: collections.Counter() for name in PARTS}
    sides: tuple[tuple[Side, int], ...] = (("b", 1), ("a", -1))
    for side, sign in sides:
        own = Counterfactual(side, False, "own", "own")
        start, rate = own._replace(rate="matched"), own._replace(start="matched")
        matched = rate._replace(rate="matched")
        base = matched._replace(control=side in controls)
        terms = {
            "shape": [(base, 1)],
            "coupling": [(matched, 1), (base, -1)],
            "start": [(start, 1), (matched, -1)],
            "rate": [(rate, 1), (matched, -1)],
            "interaction": [(own, 1), (start, -1), (rate, -1), (matched, 1)],
        }
        for name, of_part in terms.items():
            for cell, weight in of_part:
                parts[name][cell] += sign * weight
    return {name: dict(weights) for name, weights in parts.items()}


class _Sums(NamedTuple):
    """The counterfactuals that are added and those that are subtracted, each as often as it counts.

    Attributes:
      plus, minus: as many each.
      over: what both sums are divided by.
    """

    plus: Sequence[Counterfactual]
    minus: Sequence[Counterfactual]
    over: int

    @classmethod
    def of(cls, weights: Weights, runs: Mapping[Counterfactual, TrainedVariant], over: int = 1) -> "_Sums":
        """Returns the sums, without what cancels since two counterfactuals are the same runs."""
        first = {id(runs[cell]): cell for cell in reversed(list(runs))}
        merged = collections.Counter[Counterfactual]()
        for cell, weight in weights.items():
            merged[first[id(runs[cell])]] += weight
        plus, minus = ([cell for cell, n in merged.items() for _ in range(sign * n)] for sign in (1, -1))
        return cls(plus, minus, over)

    @property
    def scale(self) -> float:
        """How many differences of two counterfactuals their difference is made of."""
        return len(self.plus) / self.over

    def sides(self, values: Mapping[Counterfactual, float]) -> tuple[float, float]:
        """Returns both sums, from the values of all counterfactuals at one seed."""
        # Sums of float32 values are exact, and the only division is one by 1 or 2.
        plus, minus = (math.fsum(values[cell] for cell in side) / self.over for side in (self.plus, self.minus))
        return plus, minus


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A part of a difference, or the whole of it.

    Attributes:
      name: `shape`, `coupling`, `start`, `rate` or `interaction`; `whole` for all of it.
      plus, minus: the names of the variants that it is made of.
      exact: whether it is 0 by arithmetic, since the runs that it compares are the same bit for bit.
      seeds: those that all of these were trained with.
      lost: which of these runs were lost and why, by seed.
      difference: its size, over the seeds that lost none; None where it is exact.
      chaos_floor: the size that a negligible change of one weight gives it; None where it was not measured.
      verdict: the conclusion; None where it is exact.
      share: which share of the whole it is, with its interval; None of each where the whole may be 0.
    """

    name: str
    plus: Sequence[str]
    minus: Sequence[str]
    exact: bool
    seeds: Sequence[int]
    lost: Mapping[int, str]
    difference: Difference | None
    chaos_floor: float | None
    verdict: Verdict | None
    share: Ratio


@dataclasses.dataclass(frozen=True, slots=True)
class CounterfactualResult:
    """What came of a counterfactual.

    Attributes:
      label: the name of its variant.
      of: the name of the variant whose counterfactual it is.
      control: whether it has the head of the control.
      start, rate: `own` or `matched`.
      seeds: those it was trained with.
      survived: how many of its runs ended with a finite value.
      mean, sd: over these; None where there are too few.
      paths: the directories of its runs.
    """

    label: str
    of: str
    control: bool
    start: Kept
    rate: Kept
    seeds: Sequence[int]
    survived: int
    mean: float | None
    sd: float | None
    paths: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedDifference:
    """A difference between two variants, and what it is made of; docs/explain.md describes it.

    Attributes:
      a, b: the names of the variants; the difference is b minus a.
      question: what was asked, of which the reference has no part in it.
      margin: the least difference that matters, in the metric's unit.
      controls: the head of the control of each variant that has one, by its name.
      whole: the difference.
      judgement: what the tests conclude about it.
      parts: its parts, in the order of `PARTS`; those that cannot be told apart are not there.
      averaged: start and rate once more, each a mean over both orders in which the two can be changed, so that nothing
        is left to interaction.
      counterfactuals: what the parts are made of.
    """

    a: str
    b: str
    question: Question
    margin: float
    controls: Mapping[str, str]
    whole: Part
    judgement: Judgement
    parts: Sequence[Part]
    averaged: Sequence[Part]
    counterfactuals: Sequence[CounterfactualResult]

    def to_json(self) -> dict[str, Any]:
        """Returns what `vae explain A B DIR … --json` prints."""
        question = self.question
        return {
            "a": self.a,
            "b": self.b,
            "metric": question.metric,
            "unit": question.unit,
            "margin": self.margin,
            "alpha": question.alpha,
            "controls": dict(self.controls),
            "whole": _part_to_json(self.whole),
            "parts": [_part_to_json(part) for part in self.parts],
            "averaged": [_part_to_json(part) for part in self.averaged],
            "counterfactuals": [dataclasses.asdict(one) for one in self.counterfactuals],
        }


def _part_to_json(part: Part) -> dict[str, Any]:
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return values | {
        "lost": {str(seed): reason for seed, reason in part.lost.items()},
        "difference": part.difference and dataclasses.asdict(part.difference),
        "share": part.share._asdict(),
    }


def take_apart(
    a: str,
    b: str,
    runs: Mapping[Counterfactual, TrainedVariant],
    controls: Mapping[Side, str],
    question: Question,
    margin: float,
) -> ExplainedDifference:
    """Takes the difference of two variants apart.

    All parts that are not 0 by arithmetic are one family; the whole is judged by itself.

    Args:
      a, b: their names.
      runs: all counterfactuals. Those that are the same runs bit for bit are the same object.
      controls: the head of the control of each of the two that has one.
      question: what is asked.
      margin: the least difference that matters.

    Raises:
      UsageError: the two variants are the same runs, or no seed is left.
    """
    whole = _Sums.of(_WHOLE, runs)
    if not whole.plus:
        raise UsageError(f"{a} and {b} are the same runs bit for bit, so there is no difference to explain")
    of_whole = paired_sums(runs, whole, question, margin, main=True)
    weights = _parts(controls)
    sums = {name: _Sums.of(weights[name], runs) for name in PARTS}
    measured = {
        name: paired_sums(runs, one, question, margin, main=one.scale == 1 and name != "interaction")
        for name, one in sums.items()
        if one.plus
    }
    if not of_whole.seeds or not all(one.seeds for one in measured.values()):
        raise UsageError(f"{a} and {b}: there is no seed that they and all their counterfactuals were trained with")
    judged = judge({name: one.contrast for name, one in measured.items()}, question.alpha)
    (judgement,) = judge({"whole": of_whole.contrast}, question.alpha).values()
    averaged = _averaged(weights, runs, question, margin)

    def part(name: str, one: _Sums, of: PairedSums | None, judgement: Judgement | None) -> Part:
        return _part(name, one, of, judgement, of_whole, runs, question.alpha)

    return ExplainedDifference(
        a=a,
        b=b,
        question=question,
        margin=margin,
        controls={(a if side == "a" else b): head for side, head in controls.items()},
        whole=part("whole", whole, of_whole, judgement),
        judgement=judgement,
        parts=[
            part(name, one, measured.get(name), judged.get(name))
            for name, one in sums.items()
            if controls or name != "coupling"
        ],
        averaged=[part(name, one, of, judgement) for name, (one, of, judgement) in averaged.items()],
        counterfactuals=[_result(cell, runs[cell], {"a": a, "b": b}[cell.side], question.metric) for cell in runs],
    )


def _averaged(
    weights: Mapping[str, Weights], runs: Mapping[Counterfactual, TrainedVariant], question: Question, margin: float
) -> dict[str, tuple[_Sums, PairedSums | None, Judgement | None]]:
    """Returns the means of start and of rate over both orders, and what the tests say of them, as a family."""
    sums = {}
    for name in ("start", "rate"):
        twice = collections.Counter[Counterfactual]()
        for of, times in ((weights[name], 2), (weights["interaction"], 1)):
            for cell, weight in of.items():
                twice[cell] += times * weight
        sums[name] = _Sums.of(twice, runs, over=2)
    measured = {name: paired_sums(runs, one, question, margin, main=False) for name, one in sums.items() if one.plus}
    judged = judge({name: one.contrast for name, one in measured.items()}, question.alpha)
    return {name: (one, measured.get(name), judged.get(name)) for name, one in sums.items()}


def _part(
    name: str,
    sums: _Sums,
    measured: PairedSums | None,
    judgement: Judgement | None,
    whole: PairedSums,
    runs: Mapping[Counterfactual, TrainedVariant],
    alpha: float,
) -> Part:
    """Returns a part with what came of judging it; without tests it is 0 by arithmetic."""
    plus, minus = (list(dict.fromkeys(runs[cell].name for cell in side)) for side in (sums.plus, sums.minus))
    if measured is None or judgement is None:
        return Part(name, plus, minus, True, [], {}, None, None, None, Ratio(0.0, 0.0, 0.0))
    both = [seed for seed in measured.sides if seed in whole.sides]
    of_part, of_whole = (
        [plus - minus for plus, minus in (sides[seed] for seed in both)] for sides in (measured.sides, whole.sides)
    )
    return Part(
        name=name,
        plus=plus,
        minus=minus,
        exact=False,
        seeds=measured.seeds,
        lost=measured.lost,
        difference=judgement.difference,
        chaos_floor=judgement.chaos_floor,
        verdict=judgement.verdict,
        share=ratio_of_means(of_part, of_whole, alpha=alpha),
    )


def _result(cell: Counterfactual, variant: TrainedVariant, of: str, metric: str) -> CounterfactualResult:
    """Returns what there is to say of a counterfactual by itself."""
    values = list(variant.surviving(metric).values())
    return CounterfactualResult(
        label=variant.name,
        of=of,
        control=cell.control,
        start=cell.start,
        rate=cell.rate,
        seeds=list(variant.runs),
        survived=len(values),
        mean=fmean(values) if values else None,
        sd=stdev(values) if len(values) > 1 else None,
        paths=[str(run.path) for run in variant.runs.values()],
    )
