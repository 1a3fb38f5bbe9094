"""The typed comparison: what was asked, which runs were compared, and what came of it.

All values are frozen and built once. Only `Comparison.to_json` knows the keys that `vae compare --json` prints; the
fields of what it consists of stand in the order in which JSON has them.
"""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from vaecli.config import Config, UsageError
from vaecli.config.naming import OWN_DATA, flag
from vaecli.config.sequential import SequentialPlan
from vaecli.config.validators import positive, wrong_type
from vaecli.report import formatting
from vaecli.report.statistics import MeanVerdict
from vaecli.runs.collection import Outcome

Verdict = MeanVerdict | Literal["reference", "no reference", "invalid"]


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the runs.

    Attributes:
      metric: the logged scalar that is compared.
      margin: the least difference that matters, in the metric's unit; None stands for 0.5 nats per image.
      alpha: the level of all tests.
      reference: what the others are compared with: a head, or `[head],field=value,…`.
      at: `each` variant with the reference at the same settings, or each head at its `best-lr`.
      allow_mixed: whether data, code and the settings that define the metric may differ between the runs.
      effects: the factors whose effects are asked for, as `field,field=baseline,…`; none where it is empty.
      better: whether a `higher` or a `lower` value of the metric is better; None where that is known, or neither is.
      of_logs: whether the runs are those of another program, of whose metrics nothing is known.

    Raises:
      UsageError: a value has the wrong type or lies outside its range; the message names the flag.
    """

    metric: str = "test/elbo"
    margin: float | None = None
    alpha: float = 0.05
    reference: str = "logvar"
    at: Literal["each", "best-lr"] = "each"
    allow_mixed: bool = False
    effects: str = ""
    better: Literal["higher", "lower"] | None = None
    of_logs: bool = False

    def __post_init__(self) -> None:
        types = {"metric": str, "alpha": float, "reference": str, "at": Literal["each", "best-lr"]}
        types |= {"allow_mixed": bool, "effects": str, "margin": float, "better": Literal["higher", "lower"]}
        for name, expected in types.items():
            if getattr(self, name) is None and name in ("margin", "better"):
                continue
            if complaint := wrong_type(getattr(self, name), expected):
                raise UsageError(f"{flag(name)}: {complaint}")
        if self.margin is not None and (complaint := positive(self.margin)):
            raise UsageError(f"--margin: {complaint}")
        # With less, no quantile is finite.
        if not 1e-12 <= self.alpha < 0.5:
            raise UsageError(f"--alpha: must lie between 1e-12 and 0.5, got {self.alpha}")
        known = 0 if self.of_logs else formatting.direction(self.metric)
        if known and self.better and known != self.direction:
            raise UsageError(f"--better: {self.better} {self.metric} is worse")

    @property
    def unit(self) -> str:
        """The unit of the metric; empty where it has none, or one of its own, or none is known."""
        return "" if self.of_logs else formatting.unit(self.metric)

    @property
    def direction(self) -> int:
        """1 where more of the metric is better, −1 where less is, and 0 where neither can be said."""
        if self.better:
            return 1 if self.better == "higher" else -1
        return 0 if self.of_logs else formatting.direction(self.metric)


@dataclasses.dataclass(frozen=True, slots=True)
class LookTaken:
    """The look of a plan at which a variant is judged.

    Attributes:
      number: how many looks have been taken; 0 before the first.
      planned: how many there are.
      seeds: the number of seeds at this one.
      next_seeds: that at the next one; None after the last.
    """

    number: int
    planned: int
    seeds: int
    next_seeds: int | None


class AnyRun(Protocol):
    """A run that has ended, as a comparison sees it, whichever program trained it."""

    @property
    def path(self) -> Path | str:
        """Where it was read: its directory, or its place in a log."""
        ...

    @property
    def seed(self) -> int:
        """Its seed."""
        ...

    @property
    def status(self) -> str:
        """`complete` or `diverged`."""
        ...

    @property
    def why(self) -> str:
        """Why it has no result; empty where it is complete."""
        ...

    @property
    def skipped_updates(self) -> int:
        """How many of its updates were skipped."""
        ...

    @property
    def end(self) -> float:
        """The epoch, or the step, at which its training was to end."""
        ...

    def surviving(self, tag: str) -> float | None:
        """Returns the value of a metric where the run is complete and the value finite; otherwise None."""
        ...

    def curves(self, tags: Collection[str]) -> Mapping[str, Mapping[float, float]]:
        """Returns the finite values that it logged: for each metric, by epoch or step."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """Runs that differ only in their seed.

    Attributes:
      name: the head, and what else varies.
      values: the values of the fields that vary.
      runs: the runs by seed.
      twins: the runs with one weight perturbed, by seed.
    """

    name: str
    values: Mapping[str, Any]
    runs: Mapping[int, AnyRun]
    twins: Mapping[int, AnyRun]

    def value(self, name: str) -> Any:
        """Returns the value of a field."""
        return self.values[name]

    def among(self, seeds: Collection[int]) -> Self:
        """Returns the variant with those of its runs and twins only that have one of some seeds."""
        runs, twins = ({s: run for s, run in which.items() if s in seeds} for which in (self.runs, self.twins))
        return dataclasses.replace(self, runs=runs, twins=twins)

    def surviving(self, metric: str) -> dict[int, float]:
        """Returns the value of each run, by seed, that is complete and has a finite one."""
        return _surviving(self.runs, metric)

    def surviving_twins(self, metric: str) -> dict[int, float]:
        """Returns the value of each twin, by seed, that is complete and has a finite one."""
        return _surviving(self.twins, metric)


@dataclasses.dataclass(frozen=True, slots=True)
class TrainedVariant(Variant):
    """A variant of the runs of `vae`, which have a config.

    Attributes:
      pilots: the runs that chose the learning rate of each seed, where each is compared at its best one.
    """

    runs: Mapping[int, Outcome]
    twins: Mapping[int, Outcome]
    pilots: Sequence[Outcome] = ()

    @property
    def config(self) -> Config:
        """The config that all its runs share, with the seed 0; at best rates, that of the first run."""
        return next(iter(self.runs.values())).config

    @property
    def results_folder(self) -> Path:
        """The folder of all results that its runs lie in; the default where they lie otherwise."""
        parents = next(iter(self.runs.values())).path.parents
        return parents[2] if parents[1].name == (self.config.name or OWN_DATA) else Path("runs")

    def value(self, name: str) -> Any:
        """Returns the value of a setting."""
        return self.values[name] if name in self.values else getattr(self.config, name)


def _surviving(runs: Mapping[int, AnyRun], metric: str) -> dict[int, float]:
    return {seed: value for seed, run in runs.items() if (value := run.surviving(metric)) is not None}


@dataclasses.dataclass(frozen=True, slots=True)
class RateGrid:
    """A head, with whatever else varies, over a grid of learning rates.

    Attributes:
      name: the name of its variants without the rate.
      variants: the variants by rate, rising.
      pilots: the runs that choose a rate, by rate, rising, then by seed and by their number.
    """

    name: str
    variants: Mapping[float, TrainedVariant]
    pilots: Mapping[float, Mapping[int, Mapping[int, Outcome]]]

    @property
    def all_pilots(self) -> Mapping[float, Sequence[Outcome]]:
        """All pilots by rate."""
        return {
            rate: [pilot for of_seed in seeds.values() for pilot in of_seed.values()]
            for rate, seeds in self.pilots.items()
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """The difference of a variant from its reference; None where there are too few runs.

    Attributes:
      pairs: the number of seeds at which both survived; 0 where the two share no seed, so that nothing is paired.
      mean: the mean difference, variant minus reference.
      sd: the standard deviation of the differences; of two runs, one of each, where nothing is paired.
      low, high: the ends of the interval with 1 − α.
      tost_low, tost_high: the ends of the interval with 1 − 2α.
      rho: the correlation of the two over seeds.
      p_difference, p_equivalence, p_beyond: the p of the three tests of `statistics.paired_t_test` or `welch_t_test`.
      p_holm, p_equivalence_holm, p_beyond_holm: the same, adjusted by Holm's method over all variants.
      smallest_margin: the margin above which the variant would be called equivalent.
      p_survival, p_survival_holm: that of `survival.boschloo`, and adjusted; None where no run was lost.
      survival, survival_low, survival_high: the share of the variant's runs that survived minus that of the
        reference's, and its interval with 1 − α.
      paired: whether the runs are paired by seed; if not, the tests are Welch's.
      df, standard_error: the degrees of freedom of t, and the standard error of the mean.
      p_above, p_below: the p of the two one-sided tests of TOST.
      p_not_worse_holm: that one of them that says that the variant is not worse by more than the margin, adjusted; None
        for a metric without a direction.
    """

    pairs: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    tost_low: float | None
    tost_high: float | None
    rho: float | None
    p_difference: float | None
    p_equivalence: float | None
    p_holm: float | None
    p_survival: float | None
    p_beyond: float | None
    p_equivalence_holm: float | None
    p_beyond_holm: float | None
    smallest_margin: float | None
    p_survival_holm: float | None
    survival: float | None
    survival_low: float | None
    survival_high: float | None
    paired: bool = True
    df: float | None = None
    standard_error: float | None = None
    p_above: float | None = None
    p_below: float | None = None
    p_not_worse_holm: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What the tests conclude about a variant and its reference.

    Attributes:
      margin: the least difference that matters, in the metric's unit.
      difference: the numbers.
      chaos_floor: the greater one of the two; None where it was not measured.
      significant: whether the mean difference is, by Holm's p and the chaos floor.
      by_survival: whether the verdict is one on the runs that were lost.
      verdict: the conclusion.
      seeds_needed: how many seeds would decide, or settle whether a difference is beyond the margin; None where nothing
        is open, or no number of seeds would help.
      more_seeds: by how many that is more than the pairs that there are or, where the two did not lose the same runs,
        than the runs of each; None where that is no number.
      unpaired: the seeds that only one of the two was trained with.
      look: the look at which that is, where there is a plan of looks.
    """

    margin: float
    difference: Difference
    chaos_floor: float | None
    significant: bool
    by_survival: bool
    verdict: Verdict
    seeds_needed: int | str | None
    more_seeds: int | None
    unpaired: Sequence[int]
    look: LookTaken | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class VariantResult:
    """A variant by itself and, where it has a reference, compared with it.

    Attributes:
      label: the name of the variant.
      values: the values of the fields that vary.
      reference: the label of its reference; None for a reference itself, and for a variant without one.
      is_reference: whether others are compared with it.
      seeds: the seeds of its runs.
      runs, survived: how many there are, and how many of them ended with a finite value.
      lost: why each of the others did not, by seed.
      mean, sd: over the runs that survived; None where there are too few.
      difference: the difference from the reference.
      unpaired: the seeds that only one of the two was trained with.
      chaos_floor: the greater one of the two; None where it was not measured.
      seeds_needed: how many seeds would decide where it is undecided, or settle it where it is different.
      verdict: the conclusion.
      paths: the directories of its runs.
      sentence: the conclusion in words.
      skipped_updates: how many updates its runs skipped, of all its runs together.
      confounders: the settings in which it differs from its reference though nobody asked about them.
      more_seeds: how many of `seeds_needed` are still to be trained; None where that is no number.
      look: the look at which it is judged, where there is a plan of looks; `seeds_needed` is then that of the next one.
    """

    label: str
    values: Mapping[str, Any]
    reference: str | None
    is_reference: bool
    seeds: Sequence[int]
    runs: int
    survived: int
    lost: Mapping[int, str]
    mean: float | None
    sd: float | None
    difference: Difference | None
    unpaired: Sequence[int]
    chaos_floor: float | None
    seeds_needed: int | str | None
    verdict: Verdict
    paths: Sequence[str]
    sentence: str
    skipped_updates: int = 0
    confounders: Sequence[str] = ()
    more_seeds: int | None = None
    look: LookTaken | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """A main effect, or an interaction of two settings.

    Attributes:
      label: the levels that replace their baselines, as in `init=matched × head_lr=0.5`.
      levels, baseline: those, and what they replace, by field: one for a main effect and two for an interaction.
      seeds: those that all runs were trained with that it is made of.
      lost: which of these runs were lost and why, by seed.
      difference: the effect, over the seeds that lost none.
      unpaired: the seeds that only some of the runs were trained with.
      chaos_floor: the greatest of the variants that it is made of, twice that for an interaction; None where it was
        not measured.
      seeds_needed: how many seeds would decide or settle it.
      verdict: the conclusion.
      sentence: the conclusion in words.
    """

    label: str
    levels: Mapping[str, Any]
    baseline: Mapping[str, Any]
    seeds: Sequence[int]
    lost: Mapping[int, str]
    difference: Difference
    unpaired: Sequence[int]
    chaos_floor: float | None
    seeds_needed: int | str | None
    verdict: Verdict
    sentence: str


@dataclasses.dataclass(frozen=True, slots=True)
class GridEffects:
    """The effects among variants that are a full grid of some settings, alike in all others.

    Attributes:
      label: the values of the others; empty where there are none.
      values: the same by field.
      levels: the levels of the settings by field, the baseline first.
      variants: the names of the variants.
      effects: the main effects, and after them the interactions.
    """

    label: str
    values: Mapping[str, Any]
    levels: Mapping[str, Sequence[Any]]
    variants: Sequence[str]
    effects: Sequence[Effect]


@dataclasses.dataclass(frozen=True, slots=True)
class RunRow:
    """One run of the comparison.

    Attributes:
      path: its directory.
      label: the name of its variant.
      seed: its seed.
      status: `complete` or `diverged`.
      value: the metric; None where the run was lost.
      difference: that from the reference's run with the same seed; None where one of the two was lost.
      skipped_updates: how many of its updates were skipped.
    """

    path: str
    label: str
    seed: int
    status: str
    value: float | None
    difference: float | None
    skipped_updates: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class RateRow:
    """The metric over a grid of learning rates, one number of each list for each rate.

    Attributes:
      label: the name without the rate.
      lr: the rates, rising.
      mean, sd: over the runs that survived; None where there are too few.
      survived, runs: how many survived, and how many there are.
    """

    label: str
    lr: Sequence[float]
    mean: Sequence[float | None]
    sd: Sequence[float | None]
    survived: Sequence[int]
    runs: Sequence[int]


@dataclasses.dataclass(frozen=True, slots=True)
class BestRate:
    """The learning rates at which a head is compared.

    Attributes:
      lr: the rate that was chosen for most seeds; of equals the lowest.
      validation: the mean validation bound of the pilots there; None where none survived.
      edge: whether that rate lies at an edge of the grid.
      pilots: how many pilots chose the rate of each seed.
      chosen: the rate that they chose, by seed.
    """

    lr: float
    validation: float | None
    edge: bool
    pilots: int
    chosen: Mapping[int, float]

    @property
    def times(self) -> int:
        """For how many seeds the rate was chosen."""
        return sum(rate == self.lr for rate in self.chosen.values())


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """Where the runs come from.

    Attributes:
      versions: of the packages that made them; several of one are joined by commas.
      git_commit: the commits that made them; None where none is known.
      devices: the devices that they were trained on.
      data_sha256: the checksums of their data files.
      folders: where they were read.
      commands: those that compare and train them again.
    """

    versions: Mapping[str, str]
    git_commit: str | None
    devices: Sequence[str]
    data_sha256: Mapping[str, str]
    folders: Sequence[str]
    commands: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Expectation:
    """What was expected of every variant that has a reference, and what came of it.

    Attributes:
      expected: `equivalent` or `not-worse`.
      outcome: `met` by all, `not met` by some, or `undecided`.
      met, not_met, undecided: the labels of the variants by what came of each.
    """

    expected: Literal["equivalent", "not-worse"]
    outcome: Literal["met", "not met", "undecided"]
    met: Sequence[str]
    not_met: Sequence[str]
    undecided: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Controls:
    """What came of the controls of a condition; docs/studies.md says what has to.

    Attributes:
      right: those that came out as they have to, in words.
      invalid: what is not right about the others, in words; where there is any, no verdict stands.
    """

    right: Sequence[str]
    invalid: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The answer to a question; docs/statistics.md describes it.

    Attributes:
      answer: the answer in one sentence.
      metric, margin, alpha, reference, at, allow_mixed: the question, with the margin that holds.
      unit: the unit of the metric; empty where it has none, or one of its own.
      varies: the fields in which the variants differ, `param` first.
      epochs: how many all runs trained; None where they differ in it.
      variants: the runs that were compared, variant by variant.
      results: what came of each variant, in the same order.
      runs: every run.
      best_rates: the rate of each head, by name, where each is compared at its best one; otherwise None.
      rate_grid: the metric against the learning rate; empty where the rate does not vary.
      provenance: where the runs come from.
      warnings: what a reader of the verdicts should know.
      effects: those that were asked for, grid by grid; None where none were.
      next_commands: those that train what would decide or settle what is open; empty where nothing is, or where no
        number of seeds is known to.
      notes: what the metric is not, and which looks were planned; nothing that speaks against a verdict.
      plan: the plan of looks by which the verdicts were reached; None where the number of seeds was fixed.
      direction: 1 where more of the metric is better, −1 where less is, and 0 where neither can be said.
      of_logs: whether the runs are those of another program.
      expectation: what was expected, and what came of it; None where nothing was.
      controls: what came of the controls; None where the runs are not those of a study.
    """

    answer: str
    metric: str
    margin: float
    alpha: float
    reference: str
    at: Literal["each", "best-lr"]
    allow_mixed: bool
    unit: str
    varies: Sequence[str]
    epochs: int | None
    variants: Sequence[Variant]
    results: Sequence[VariantResult]
    runs: Sequence[RunRow]
    best_rates: Mapping[str, BestRate] | None
    rate_grid: Sequence[RateRow]
    provenance: Provenance
    warnings: Sequence[str]
    effects: Sequence[GridEffects] | None = None
    next_commands: Sequence[str] = ()
    notes: Sequence[str] = ()
    plan: SequentialPlan | None = None
    direction: int = 0
    of_logs: bool = False
    expectation: Expectation | None = None
    controls: Controls | None = None

    @property
    def trained(self) -> Sequence[TrainedVariant]:
        """The variants, where the runs are those of `vae`; otherwise none."""
        return [variant for variant in self.variants if isinstance(variant, TrainedVariant)]

    def __repr__(self) -> str:
        return f"<comparison of {len(self.results)} variants by {self.metric}: {self.answer}>"

    def with_warnings(self, warnings: Sequence[str]) -> "Comparison":
        """Returns the comparison with further warnings after its own."""
        return dataclasses.replace(self, warnings=[*self.warnings, *warnings])

    def to_json(self) -> dict[str, Any]:
        """Returns what `vae compare --json` prints."""
        best = self.best_rates
        return {
            "answer": self.answer,
            "metric": self.metric,
            "margin": self.margin,
            "alpha": self.alpha,
            "reference": self.reference,
            "at": self.at,
            "allow_mixed": self.allow_mixed,
            "unit": self.unit,
            "varies": self.varies,
            "epochs": self.epochs,
            "settings": [_result_to_json(result) for result in self.results],
            "runs": [_to_json(run) for run in self.runs],
            "best_lr": None if best is None else {name: _best_rate_to_json(rate) for name, rate in best.items()},
            "lr_grid": [_to_json(row) for row in self.rate_grid] or None,
            "effects": None if self.effects is None else [_effects_to_json(grid) for grid in self.effects],
            "provenance": _to_json(self.provenance),
            "warnings": self.warnings,
            "next_commands": list(self.next_commands),
            "notes": list(self.notes),
            "plan": self.plan and dataclasses.asdict(self.plan),
            "better": {1: "higher", -1: "lower", 0: None}[self.direction],
            "expect": self.expectation and _to_json(self.expectation),
            "controls": self.controls and _to_json(self.controls),
        }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConditionComparison:
    """What came of the variants of a study under one of its conditions.

    Attributes:
      name: the name of the condition.
      why: what it is there for, in a sentence.
      field: the setting that the heads are values of, `param` or `decoder_param`.
      invalid: what is not right about its controls, in a few words each; empty where its verdicts stand.
      comparison: its variants without the controls, judged in the family of all conditions.
    """

    name: str
    why: str
    field: str
    invalid: Sequence[str]
    comparison: Comparison


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StudyComparison:
    """The answer to a question under several conditions; docs/studies.md describes it.

    Attributes:
      name: the name of the study.
      answer: the findings, in a paragraph.
      metric, unit, alpha, reference: the question that all conditions share.
      conditions: the conditions, in the order of the study.
      family: how many comparisons the family of the tests has, with those that have no runs yet.
      warnings: what a reader of the verdicts should know, beside the warnings of each condition.
      notes: what is said of the whole study, such as how its tests were adjusted.
      expectation: what was expected of every cell, and what came of it; None where nothing was.
    """

    name: str
    answer: str
    metric: str
    unit: str
    alpha: float
    reference: str
    conditions: Sequence[ConditionComparison]
    family: int
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    expectation: Expectation | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns what `vae compare --json` prints."""
        own = {name: value for name, value in _to_json(self).items() if name not in ("conditions", "expectation")}
        return {
            **own,
            "expect": self.expectation and _to_json(self.expectation),
            "conditions": [_to_json(one) | {"comparison": one.comparison.to_json()} for one in self.conditions],
        }


def _result_to_json(result: VariantResult) -> dict[str, Any]:
    values = _to_json(result)
    values["lost"] = {str(seed): reason for seed, reason in result.lost.items()}
    values["difference"] = result.difference and _to_json(result.difference)
    values["look"] = result.look and _to_json(result.look)
    # In JSON, what varies has always been called settings.
    return {"settings" if name == "values" else name: value for name, value in values.items()}


def _effects_to_json(grid: GridEffects) -> dict[str, Any]:
    def one(effect: Effect) -> dict[str, Any]:
        lost = {str(seed): reason for seed, reason in effect.lost.items()}
        return _to_json(effect) | {"lost": lost, "difference": _to_json(effect.difference)}

    values = _to_json(grid) | {"effects": [one(effect) for effect in grid.effects]}
    return {"settings" if name == "values" else name: value for name, value in values.items()}


def _best_rate_to_json(best: BestRate) -> dict[str, Any]:
    return _to_json(best) | {"chosen": {str(seed): rate for seed, rate in best.chosen.items()}}


def _to_json(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _names(type(value))}


@functools.cache
def _names(dataclass: type) -> tuple[str, ...]:
    """The fields of a dataclass; looked up once, since there may be thousands of runs."""
    return tuple(field.name for field in dataclasses.fields(dataclass))
