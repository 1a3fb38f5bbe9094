"""From run directories to verdicts: what the statistics say of each variant and its reference."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from vaecli.config import UsageError
from vaecli.report import diagnostics, formatting, sentences, statistics
from vaecli.report.model import (
    Comparison,
    Difference,
    Judgement,
    Provenance,
    Question,
    RateGrid,
    RateRow,
    RunRow,
    Variant,
    VariantResult,
)
from vaecli.report.variants import CRITERIA, Choice, at_best_rate, group_runs, rate_grids, references
from vaecli.runs.collection import Outcome, collect

Commands = Callable[[Sequence[Variant], Sequence[str]], Sequence[str]]
"""From the variants and the fields in which they differ, the commands that give this comparison again."""

Partners = Mapping[str, Variant | None]
"""For each variant that is not a reference, by name, the one that it is compared with."""


def compare(
    folders: Sequence[Path], question: Question, commands: Commands = lambda variants, varies: ()
) -> Comparison:
    """Answers a question from all runs below some folders.

    Args:
      folders: each a run's directory, or one above.
      question: what is asked.
      commands: says how to get this comparison again.

    Raises:
      UsageError: there are no runs, none of the reference or with the metric, or they do not go together.
    """
    collected = collect(folders, {question.metric, *CRITERIA.values()})
    skipped = diagnostics.skipped(collected)
    if not collected.outcomes:
        raise UsageError("; ".join([f"{', '.join(map(str, folders))}: no run that has ended", *skipped]))
    outcomes, without_metric = diagnostics.with_metric(collected.outcomes, question.metric)
    margin = _margin(question)
    mixed = diagnostics.mixed(outcomes, question.allow_mixed)
    varies, grouped, left_out = group_runs(outcomes)
    grids = rate_grids(grouped, varies)
    choice = at_best_rate(grids) if question.at == "best-lr" else Choice(grouped, {}, [])
    partners = references(choice.variants, question.reference, ["lr"] if choice.rates else [])
    variants = sorted(choice.variants, key=lambda variant: variant.name in partners)
    results = _results(variants, partners, question, margin)
    return Comparison(
        metric=question.metric,
        margin=margin,
        alpha=question.alpha,
        reference=question.reference,
        at=question.at,
        allow_mixed=question.allow_mixed,
        unit=formatting.unit(question.metric),
        varies=varies,
        epochs=_same({variant.config.epochs for variant in variants}),
        variants=variants,
        results=results,
        runs=[row for variant in variants for row in _run_rows(variant, partners, question.metric)],
        best_rates=choice.rates or None,
        rate_grid=[_rate_row(grid, question.metric) for grid in grids],
        provenance=_provenance(outcomes, folders, commands(variants, varies)),
        warnings=[
            *(*skipped, *without_metric, *mixed, *left_out, *choice.warnings),
            *(*diagnostics.unpaired(results), *diagnostics.lost_twins(variants)),
        ],
    )


def _margin(question: Question) -> float:
    """Returns the least difference that matters.

    Raises:
      UsageError: none is given, and the metric has no unit that suggests one.
    """
    if question.margin is not None:
        return question.margin
    if not formatting.unit(question.metric):
        raise UsageError(f"--margin: is needed for {question.metric}, which is not in nats per image")
    return 0.5


class _Contrast(NamedTuple):
    """A variant beside its reference, before Holm's method has adjusted the p over all variants.

    Attributes:
      reference: what it is compared with.
      test: the paired t of the seeds at which both survived.
      p_survival: McNemar's p; None where no seed lost exactly one of the two runs.
      chaos_floor: the greater one of the two; None where it was not measured.
    """

    reference: Variant
    test: statistics.PairedTTest
    p_survival: float | None
    chaos_floor: float | None


def _results(variants: Sequence[Variant], partners: Partners, question: Question, margin: float) -> list[VariantResult]:
    """Judges all variants, with one family of tests."""
    unjudged = {
        variant.name: _by_itself(variant, variant.name not in partners, question.metric) for variant in variants
    }
    contrasts = {
        variant.name: _contrast(variant, reference, question, margin)
        for variant in variants
        if (reference := partners.get(variant.name))
    }
    p = [statistics.p_value(contrast.test, contrast.p_survival) for contrast in contrasts.values()]
    family = sum(one is not None for one in p)
    adjusted = dict(zip(contrasts, statistics.holm(p), strict=True))
    results = []
    for variant in variants:
        result = unjudged[variant.name]
        if contrast := contrasts.get(variant.name):
            unpaired = sorted(variant.runs.keys() ^ contrast.reference.runs.keys())
            judgement = _judgement(contrast, adjusted[variant.name], unpaired, question.alpha, margin, family)
            result = _compared(result, unjudged[contrast.reference.name], judgement, question)
        results.append(result)
    return results


def _by_itself(variant: Variant, is_reference: bool, metric: str) -> VariantResult:
    """Returns what there is to say of a variant by itself."""
    survivors = variant.surviving(metric)
    mean = fmean(survivors.values()) if survivors else None
    sd = stdev(survivors.values()) if len(survivors) > 1 else None
    runs, survived = len(variant.runs), len(survivors)
    if is_reference:
        sentence = sentences.of_reference(variant.name, mean, sd, runs, survived, metric)
    else:
        sentence = sentences.without_reference(variant.name)
    return VariantResult(
        label=variant.name,
        values=variant.values,
        reference=None,
        is_reference=is_reference,
        seeds=list(variant.runs),
        runs=runs,
        survived=survived,
        lost={
            seed: run.why or f"{metric} is not finite" for seed, run in variant.runs.items() if seed not in survivors
        },
        mean=mean,
        sd=sd,
        difference=None,
        unpaired=[],
        chaos_floor=_chaos_floor([variant], metric),
        seeds_needed=None,
        verdict="reference" if is_reference else "no reference",
        paths=[str(run.path) for run in variant.runs.values()],
        sentence=sentence,
    )


def _compared(
    variant: VariantResult, reference: VariantResult, judgement: Judgement, question: Question
) -> VariantResult:
    """Returns a variant, so far by itself, with what came of comparing it."""
    return dataclasses.replace(
        variant,
        reference=reference.label,
        difference=judgement.difference,
        unpaired=judgement.unpaired,
        chaos_floor=judgement.chaos_floor,
        seeds_needed=judgement.seeds_needed,
        verdict=judgement.verdict,
        sentence=sentences.of_judgement(variant, reference, judgement, question),
    )


def _contrast(variant: Variant, reference: Variant, question: Question, margin: float) -> _Contrast:
    """Pairs the runs of a variant and its reference by seed, and tests them."""
    mine, theirs = variant.surviving(question.metric), reference.surviving(question.metric)
    both = [seed for seed in variant.runs if seed in reference.runs]
    pairs = [seed for seed in both if seed in mine and seed in theirs]
    lost_only = sum(seed in theirs and seed not in mine for seed in both)
    reference_lost_only = sum(seed in mine and seed not in theirs for seed in both)
    test = statistics.paired_t_test(
        [mine[seed] for seed in pairs], [theirs[seed] for seed in pairs], margin=margin, alpha=question.alpha
    )
    asked = lost_only or reference_lost_only
    p_survival = statistics.mcnemar_exact(lost_only, reference_lost_only) if asked else None
    return _Contrast(reference, test, p_survival, _chaos_floor([variant, reference], question.metric))


def _judgement(
    contrast: _Contrast, p_holm: float | None, unpaired: Sequence[int], alpha: float, margin: float, family: int
) -> Judgement:
    """Concludes from the tests.

    Args:
      contrast: a variant beside its reference.
      p_holm: its p, adjusted by Holm's method.
      unpaired: the seeds that only one of the two was trained with.
      alpha: the level of the family.
      margin: the least difference that matters.
      family: the number of variants that were adjusted for.
    """
    test, p_survival, floor = contrast.test, contrast.p_survival, contrast.chaos_floor
    verdict = statistics.verdict(test, p_holm, p_survival, alpha=alpha, floor=floor, family=family)
    significant = statistics.significant(test, p_holm, p_survival, alpha=alpha, floor=floor, family=family)
    needed = None
    if verdict == "undecided" and test.sd is not None and p_survival is None:
        needed = statistics.seeds_needed(
            test.mean or 0.0,
            test.sd,
            pairs=test.pairs,
            margin=margin,
            alpha=alpha,
            alpha_difference=alpha / family,
            floor=floor,
        )
        needed = needed or ">10000"
    difference = Difference(*test, p_holm=p_holm, p_survival=p_survival)
    return Judgement(difference, floor, significant, verdict, needed, unpaired)


def _chaos_floor(variants: Sequence[Variant], metric: str) -> float | None:
    """Returns the greatest chaos floor of some variants; None where none has a twin."""
    floors = []
    for variant in variants:
        if not (twins := variant.surviving_twins(metric)):
            continue
        originals = variant.surviving(metric)
        if seeds := [seed for seed in twins if seed in originals]:
            floors.append(statistics.chaos_floor([twins[seed] for seed in seeds], [originals[seed] for seed in seeds]))
    return max(floors, default=None)


def _run_rows(variant: Variant, partners: Partners, metric: str) -> list[RunRow]:
    reference = partners.get(variant.name)
    mine, theirs = variant.surviving(metric), reference.surviving(metric) if reference else {}
    return [
        RunRow(
            path=str(run.path),
            label=variant.name,
            seed=seed,
            status=run.status,
            value=mine.get(seed),
            difference=mine[seed] - theirs[seed] if seed in mine and seed in theirs else None,
        )
        for seed, run in variant.runs.items()
    ]


def _rate_row(grid: RateGrid, metric: str) -> RateRow:
    values = [list(variant.surviving(metric).values()) for variant in grid.variants.values()]
    return RateRow(
        label=grid.name,
        lr=list(grid.variants),
        mean=[fmean(survivors) if survivors else None for survivors in values],
        sd=[stdev(survivors) if len(survivors) > 1 else None for survivors in values],
        survived=[len(survivors) for survivors in values],
        runs=[len(variant.runs) for variant in grid.variants.values()],
    )


def _provenance(outcomes: Sequence[Outcome], folders: Sequence[Path], commands: Sequence[str]) -> Provenance:
    versions = _joined({outcome.code for outcome in outcomes})
    commit = versions.pop("commit")
    return Provenance(
        versions=versions,
        git_commit=None if commit == "none" else commit,
        devices=sorted({outcome.device for outcome in outcomes}),
        data_sha256=_joined({outcome.data for outcome in outcomes}),
        folders=[str(folder) for folder in folders],
        commands=commands,
    )


def _joined(parts: Iterable[tuple[tuple[str, str], ...]]) -> dict[str, str]:
    """Joins by name what several runs say."""
    values = collections.defaultdict(set)
    for part in parts:
        for name, value in part:
            values[name].add(value)
    return {name: ", ".join(sorted(several)) for name, several in values.items()}


def _same(values: set[int]) -> int | None:
    return next(iter(values)) if len(values) == 1 else None
