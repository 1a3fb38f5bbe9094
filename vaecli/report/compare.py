"""From run directories to verdicts: what the statistics say of each variant and its reference."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from vaecli.config import UsageError
from vaecli.config.sequential import SequentialPlan, StudyPlace
from vaecli.report import controls, diagnostics, evaluations, formatting, sentences
from vaecli.report.answer import answer
from vaecli.report.comparable import confounded, confounders, no_density
from vaecli.report.effects import effects
from vaecli.report.factorial import baselines
from vaecli.report.judgement import Contrast, chaos_floor, contrast, judge, planned_contrast
from vaecli.report.lr_window import over_rates, window
from vaecli.report.model import (
    Comparison,
    Controls,
    Judgement,
    Provenance,
    Question,
    RateGrid,
    RateRow,
    RunRow,
    TrainedVariant,
    Variant,
    VariantResult,
)
from vaecli.report.planned import at_looks, comparisons, of_looks, question_of
from vaecli.report.steps_to import of_censored, target, with_steps
from vaecli.report.tuning import CRITERIA, Choice, at_best_rate, at_each_rate, rate_grids
from vaecli.report.variants import Grouping, asked_fields, group_runs, references
from vaecli.runs.collection import Outcome, RunDirectories, collect, find_runs
from vaecli.runs.logged import Logs, variant_name
from vaecli.runs.plans import plan_of_runs, plans_of_runs

Commands = Callable[[Sequence[TrainedVariant], Sequence[str]], Sequence[str]]
"""From the variants and the fields in which they differ, the commands that give this comparison again."""

Partners = Mapping[str, Variant | None]
"""For each variant that is not a reference, by name, the one that it is compared with."""


@dataclasses.dataclass(frozen=True, slots=True)
class Unjudged:
    """A comparison before its tests are judged, which those of other conditions may be with.

    Attributes:
      question: what is asked.
      margin: the least difference that matters.
      plan: the plan of looks, if there is one.
      folders: where the runs were read.
      outcomes: the runs.
      grouping: the runs put together.
      grids: the metric over the learning rates.
      choice: the variants that are compared, with the runs that count.
      partners: what each variant that is not a reference is compared with.
      ignored: the fields in which the two may differ.
      contrasts: each variant beside its reference, by its name.
      family: how many comparisons are to be made, where there is a plan of looks; otherwise 0.
      left_out: which runs are left out.
      mixed: what differs between the runs that should not.
      controls: what came of the controls; None where the runs are not those of a study.
    """

    question: Question
    margin: float
    plan: SequentialPlan | None
    folders: Sequence[Path]
    outcomes: Sequence[Outcome]
    grouping: Grouping
    grids: Sequence[RateGrid]
    choice: Choice
    partners: Partners
    ignored: Sequence[str]
    contrasts: Mapping[str, Contrast]
    family: int
    left_out: Sequence[str]
    mixed: diagnostics.Mixed
    controls: Controls | None

    @property
    def variants(self) -> Sequence[TrainedVariant]:
        """The variants that are compared, the references first."""
        return sorted(self.choice.variants, key=lambda variant: variant.name in self.partners)


def compare(
    folders: Sequence[Path] | RunDirectories,
    question: Question | Mapping[str, Any],
    commands: Commands = lambda variants, varies: (),
    *,
    plan: SequentialPlan | None = None,
) -> Comparison:
    """Answers a question from all runs below some folders.

    Args:
      folders: each a run's directory, or one above; or what `find_runs` has listed.
      question: what is asked; or some of its fields, where a plan of looks or the defaults decide on the others.
      commands: says how to get this comparison again.
      plan: the plan of looks, where it is not to be read from the folder of the runs.

    Raises:
      UsageError: there are no runs, none of the reference or with the metric, or they do not go together.
    """
    unjudged = gather(folders, question, plan=plan)
    return conclude(unjudged, judge(unjudged.contrasts, unjudged.question.alpha, unjudged.family), commands)


def gather(
    folders: Sequence[Path] | RunDirectories,
    question: Question | Mapping[str, Any],
    *,
    plan: SequentialPlan | None = None,
) -> Unjudged:
    """Reads the runs of a comparison, and pairs them; the arguments and errors are those of `compare`."""
    directories = folders if isinstance(folders, RunDirectories) else find_runs(folders)
    condition = None
    if plan is None and (plan := plan_of_runs(directories.paths)) and plan.study:
        directories, condition = _without_controls(directories, plan.study)
    question, outcomes, left_out = _read(directories, question, plan)
    margin = margin_of(question)
    mixed = diagnostics.mixed(outcomes, logged_scalar(question.metric), question.allow_mixed)
    grouping = group_runs(outcomes)
    grids = rate_grids(grouping)
    choice = _choice(grouping, grids, question, margin, plan)
    ignored = ["lr"] if choice.rates or window(question.metric) else []
    partners = references(choice.variants, question.reference, ignored)
    return Unjudged(
        question=question,
        margin=margin,
        plan=plan,
        folders=directories.folders,
        outcomes=outcomes,
        grouping=grouping,
        grids=grids,
        choice=choice,
        partners=partners,
        ignored=ignored,
        contrasts=_contrasts(choice.variants, partners, question, margin, plan),
        family=comparisons(plan, choice.variants, partners) if plan else 0,
        left_out=left_out,
        mixed=mixed,
        controls=_controls(condition, question, margin, plan) if condition and plan else None,
    )


def conclude(
    unjudged: Unjudged, judgements: Mapping[str, Judgement], commands: Commands = lambda variants, varies: ()
) -> Comparison:
    """Returns a comparison with what came of its tests.

    Args:
      unjudged: the comparison before that.
      judgements: what was concluded, by the names of its variants.
      commands: says how to get this comparison again.
    """
    question, margin, plan, partners = unjudged.question, unjudged.margin, unjudged.plan, unjudged.partners
    variants, choice, grouping = unjudged.variants, unjudged.choice, unjudged.grouping
    varies = grouping.varies
    factors = baselines(question.effects, varies, unjudged.ignored) if question.effects else {}
    asked = {*asked_fields(choice.variants, question.reference), *unjudged.ignored, *factors}
    differing = confounders(variants, partners, asked)
    results = _results(variants, partners, judgements, question)
    results = [dataclasses.replace(one, confounders=differing.get(one.label, [])) for one in results]
    notes = [*no_density(logged_scalar(question.metric), [variant.config for variant in variants]), *of_looks(plan)]
    notes += of_censored(question.metric)
    of_grids, partial = effects(choice.variants, factors, question, margin) if factors else (None, [])
    of_controls = unjudged.controls or Controls([], [])
    notes += [f"Controls: {'; '.join(of_controls.right)}"] if of_controls.right else []
    if of_controls.invalid:
        results = [_invalid(result, of_controls.invalid) for result in results]
    return Comparison(
        answer=answer(results, question, margin, unjudged.mixed.caveats),
        **_asked(question, margin),
        varies=varies,
        epochs=_same({variant.config.epochs for variant in variants}),
        variants=variants,
        results=results,
        runs=[row for variant in variants for row in _run_rows(variant, partners, question.metric)],
        best_rates=choice.rates or None,
        rate_grid=[_rate_row(grid, logged_scalar(question.metric)) for grid in unjudged.grids],
        provenance=_provenance(unjudged.outcomes, unjudged.folders, commands(variants, varies)),
        effects=of_grids,
        notes=notes,
        plan=plan,
        controls=unjudged.controls,
        warnings=[
            *(["the controls are not right: " + "; ".join(of_controls.invalid)] if of_controls.invalid else []),
            *(*unjudged.left_out, *unjudged.mixed.warnings, *grouping.warnings, *choice.warnings),
            *(*confounded(differing, partners), *diagnostics.unpaired(results)),
            *(*diagnostics.skipped_updates(variants), *diagnostics.lost_twins(variants), *partial),
        ],
    )


def _read(
    directories: RunDirectories, question: Question | Mapping[str, Any], plan: SequentialPlan | None
) -> tuple[Question, Sequence[Outcome], list[str]]:
    """Returns the question, the runs, and which are left out.

    Raises:
      UsageError: there are no runs that have ended.
    """
    if not isinstance(question, Question):
        question = question_of(question, plan)
    collected = collect(directories, {logged_scalar(question.metric), *CRITERIA.values()})
    skipped = diagnostics.skipped(collected)
    if not collected.outcomes:
        raise UsageError("; ".join([f"{', '.join(map(str, directories.folders))}: no run that has ended", *skipped]))
    outcomes, without_metric = with_metric(collected.outcomes, question.metric)
    return question, outcomes, [*skipped, *without_metric]


def _without_controls(directories: RunDirectories, place: StudyPlace) -> tuple[RunDirectories, Path]:
    """Returns the runs of the heads of a condition, and its folder."""
    folder = next(iter(plans_of_runs(directories.paths)))
    heads = [path for path in directories.paths if not controls.is_control(path, place)]
    return directories._replace(paths=heads), folder


def _controls(condition: Path, question: Question, margin: float, plan: SequentialPlan) -> Controls:
    """Returns what came of the controls of a condition, whichever of its runs are compared."""
    found = find_runs(controls.folders(condition, plan))
    outcomes, _ = with_metric(collect(found, {logged_scalar(question.metric)}).outcomes, question.metric)
    return controls.checked(outcomes, question, margin, plan)


def compare_logs(logs: Logs, given: Mapping[str, Any], commands: Sequence[str] = ()) -> Comparison:
    """Answers a question from the runs of another program.

    Args:
      logs: its logs.
      given: what is asked, by the fields of `Question`.
      commands: those that give this comparison again.

    Raises:
      UsageError: there is no reference among the runs, or no margin is given.
    """
    every = [
        Variant(variant_name(logs.columns, names), dict(zip(logs.columns, names, strict=True)), runs, {})
        for names, runs in logs.runs.items()
    ]
    # The reference of our own runs is not what anybody asked for, unless a log happens to have it.
    reference = "logvar" if any(variant.name == "logvar" for variant in every) else ""
    asked: dict[str, Any] = {"reference": reference, **given, "metric": logs.metric, "of_logs": True}
    question = Question(**asked)
    if question.effects or question.at != "each":
        flag = "--effects" if question.effects else "--at best-lr"
        raise UsageError(f"{flag}: is for runs of vae, whose settings are known")
    margin = margin_of(question)
    partners = references(every, question.reference)
    variants = sorted(every, key=lambda variant: variant.name in partners)
    judgements = judge(_contrasts(variants, partners, question, margin, None), question.alpha)
    results = _results(variants, partners, judgements, question)
    return Comparison(
        answer=answer(results, question, margin),
        **_asked(question, margin),
        varies=logs.columns,
        epochs=None,
        variants=variants,
        results=results,
        runs=[row for variant in variants for row in _run_rows(variant, partners, question.metric)],
        best_rates=None,
        rate_grid=[],
        provenance=Provenance({}, None, [], {}, logs.sources, commands),
        warnings=[*logs.warnings, *(diagnostics.unpaired(results) if logs.seeded else ())],
    )


def _asked(question: Question, margin: float) -> dict[str, Any]:
    """Returns what a comparison has of the question."""
    names = "metric", "alpha", "reference", "at", "allow_mixed", "unit", "direction", "of_logs"
    return {name: getattr(question, name) for name in names} | {"margin": margin}


def logged_scalar(metric: str) -> str:
    """Returns the logged scalar that a metric is made of."""
    of = target(metric) or window(metric)
    return of.tag if of else metric


def _choice(
    grouping: Grouping, grids: Sequence[RateGrid], question: Question, margin: float, plan: SequentialPlan | None
) -> Choice:
    """Returns the variants that are compared, with the runs that count."""
    if of := window(question.metric):
        if question.at == "best-lr" or plan:
            raise UsageError(f"--metric: {question.metric} is over all rates, and goes with a fixed number of seeds")
        return over_rates(grids, question.metric, of)
    choice = at_best_rate(grids) if question.at == "best-lr" else at_each_rate(grouping)
    return at_looks(choice, question, margin, plan) if plan else choice


def with_metric(outcomes: Sequence[Outcome], metric: str) -> tuple[Sequence[Outcome], list[str]]:
    """Returns the runs that have the metric, the pilots, which need not have it, and what else is left out."""
    pilots = [outcome for outcome in outcomes if outcome.config.pilot]
    others = [outcome for outcome in outcomes if not outcome.config.pilot]
    if metric == evaluations.METRIC:
        kept, warnings = evaluations.with_nll(others)
    else:
        kept, warnings = diagnostics.with_metric(others, logged_scalar(metric))
        if of := target(metric):
            kept = with_steps(kept, metric, of)
    return [*kept, *pilots], warnings


def margin_of(question: Question) -> float:
    """Returns the least difference that matters.

    Raises:
      UsageError: none is given, and the metric has no unit that suggests one.
    """
    if question.margin is not None:
        return question.margin
    if question.unit != formatting.NATS:
        whose = "whose unit is not known" if question.of_logs else "which is not in nats per image"
        raise UsageError(f"--margin: is needed for {question.metric}, {whose}: the smallest difference that matters")
    return 0.5


def _contrasts(
    variants: Sequence[Variant], partners: Partners, question: Question, margin: float, plan: SequentialPlan | None
) -> dict[str, Contrast]:
    """Tests each variant that has a reference, by its name."""
    return {
        variant.name: planned_contrast(variant, reference, question, margin, plan)
        if plan
        else contrast(variant, reference, question, margin)
        for variant in variants
        if (reference := partners.get(variant.name))
    }


def _results(
    variants: Sequence[Variant], partners: Partners, judgements: Mapping[str, Judgement], question: Question
) -> list[VariantResult]:
    """Returns what there is to say of all variants."""
    unjudged = {variant.name: _by_itself(variant, variant.name not in partners, question) for variant in variants}
    results = []
    for variant in variants:
        result = unjudged[variant.name]
        if (reference := partners.get(variant.name)) and (judgement := judgements.get(variant.name)):
            result = _compared(result, unjudged[reference.name], judgement, question)
        results.append(result)
    return results


def _by_itself(variant: Variant, is_reference: bool, question: Question) -> VariantResult:
    """Returns what there is to say of a variant by itself."""
    metric = question.metric
    survivors = variant.surviving(metric)
    mean = fmean(survivors.values()) if survivors else None
    sd = stdev(survivors.values()) if len(survivors) > 1 else None
    runs, survived = len(variant.runs), len(survivors)
    if is_reference:
        sentence = sentences.of_reference(variant.name, mean, sd, runs, survived, question)
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
        chaos_floor=chaos_floor([variant], metric),
        seeds_needed=None,
        verdict="reference" if is_reference else "no reference",
        paths=[str(run.path) for run in variant.runs.values()],
        sentence=sentence,
        skipped_updates=sum(run.skipped_updates for run in variant.runs.values()),
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
        more_seeds=judgement.more_seeds,
        verdict=judgement.verdict,
        look=judgement.look,
        sentence=sentences.of_judgement(variant, reference, judgement, question),
    )


def _invalid(result: VariantResult, reasons: Sequence[str]) -> VariantResult:
    """Returns a result without a verdict, since the controls are not right."""
    if result.reference is None:
        return result
    sentence = f"{result.label} has no verdict, since the controls are not right: {'; '.join(reasons)}."
    return dataclasses.replace(result, verdict="invalid", sentence=sentence, seeds_needed=None, more_seeds=None)


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
            skipped_updates=run.skipped_updates,
        )
        for seed, run in variant.runs.items()
    ]


def _rate_row(grid: RateGrid, metric: str) -> RateRow:
    """Returns the metric at each rate, over the pilots, which are at all of them; if none has it, over the others."""
    at_rate = grid.all_pilots
    if not any(metric in pilot.values for pilots in at_rate.values() for pilot in pilots):
        at_rate = {lr: list(variant.runs.values()) for lr, variant in grid.variants.items()}
    values = [[value for run in runs if (value := run.surviving(metric)) is not None] for runs in at_rate.values()]
    return RateRow(
        label=grid.name,
        lr=list(at_rate),
        mean=[fmean(survivors) if survivors else None for survivors in values],
        sd=[stdev(survivors) if len(survivors) > 1 else None for survivors in values],
        survived=[len(survivors) for survivors in values],
        runs=[len(runs) for runs in at_rate.values()],
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
