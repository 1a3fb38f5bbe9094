"""From run directories to verdicts: what the statistics say of each setting and its reference."""

import collections
import statistics as plain
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vaecli.config import UsageError
from vaecli.report import diagnostics, formatting, statistics
from vaecli.report.variants import (
    CRITERIA,
    Rates,
    Setting,
    at_best_rate,
    rates_of,
    references,
    settings_of,
    survivors,
)
from vaecli.runs.collection import Outcome, collect


class Question(NamedTuple):
    """What is asked of the runs.

    Attributes:
      metric: the logged scalar that is compared.
      margin: the least difference that matters, in its unit; without, 0.5 where that is nats per image.
      alpha: the level of all tests.
      reference: what the others are compared with: a head, or `[head],field=value,…`.
      at: `each` setting with the reference at the same settings, or each head at its `best-lr`.
      allow_mixed: whether data and code may differ between the runs.
    """

    metric: str = "test/elbo"
    margin: float | None = None
    alpha: float = 0.05
    reference: str = "logvar"
    at: Literal["each", "best-lr"] = "each"
    allow_mixed: bool = False


class Comparison(NamedTuple):
    """The answer.

    Attributes:
      report: as `--json` prints it; docs/statistics.md describes it.
      settings: in the order of its rows.
    """

    report: dict[str, Any]
    settings: Sequence[Setting]


def compare(folders: Sequence[Path], question: Question) -> Comparison:
    """Answers a question from all runs below some folders.

    Raises:
      UsageError: there are no runs, none of the reference or with the metric, or they do not go together.
    """
    collected = collect(folders, {question.metric, *CRITERIA.values()})
    warnings = diagnostics.skipped(collected)
    if not collected.outcomes:
        raise UsageError("; ".join([f"{', '.join(map(str, folders))}: no run that is over", *warnings]))
    outcomes = diagnostics.with_metric(collected.outcomes, question.metric, warnings)
    margin, unit = question.margin, formatting.unit(question.metric)
    if margin is None and not unit:
        raise UsageError(f"--margin: is needed for {question.metric}, which is not in nats per image")
    question = question._replace(margin=0.5 if margin is None else margin)
    warnings += diagnostics.mixed(outcomes, question.allow_mixed)
    vary, settings = settings_of(outcomes, warnings)
    grid, best = rates_of(settings, vary), None
    if question.at == "best-lr":
        settings, best = at_best_rate(grid, warnings)
    partners = references(settings, question.reference, ["lr"] if best else [])
    settings = sorted(settings, key=lambda setting: setting.name in partners)
    rows = _rows(settings, partners, question)
    warnings += diagnostics.unpaired(rows) + diagnostics.lost_twins(settings)
    report = {
        **question._asdict(),
        "unit": unit,
        "varies": vary,
        "epochs": _one({setting.config.epochs for setting in settings}),
        "settings": rows,
        "runs": [row for setting in settings for row in _run_rows(setting, partners, question.metric)],
        "best_lr": best,
        "lr_grid": [_rates_row(rates, question.metric) for rates in grid] or None,
        "provenance": _provenance(outcomes, folders),
        "warnings": warnings,
    }
    return Comparison(report, settings)


def _rows(
    settings: Sequence[Setting], partners: Mapping[str, Setting | None], question: Question
) -> list[dict[str, Any]]:
    """What there is to say of each setting."""
    rows = [_row(setting, partners, question) for setting in settings]
    compared = [row for row in rows if row["difference"]]
    told = [row["difference"] for row in compared]
    found = [statistics.Difference(**{name: row[name] for name in statistics.Difference._fields}) for row in told]
    p = [statistics.p_value(one, row["p_survival"]) for one, row in zip(found, told, strict=True)]
    family = sum(one is not None for one in p)
    by_label = {row["label"]: row for row in rows}
    for row, difference, adjusted in zip(compared, found, statistics.holm(p), strict=True):
        row["difference"]["p_holm"] = adjusted
        p_survival, floor = row["difference"]["p_survival"], row["chaos_floor"]
        levels = {"alpha": question.alpha, "floor": floor}
        tests = {**levels, "family": family}
        row["verdict"] = statistics.verdict(difference, adjusted, p_survival, **tests)
        significant = statistics.significant(difference, adjusted, p_survival, **tests)
        if row["verdict"] == "undecided" and difference.sd is not None and p_survival is None:
            needed = statistics.seeds_needed(
                difference.mean or 0.0,
                difference.sd,
                pairs=difference.pairs,
                margin=question.margin or 0.0,
                alpha_difference=question.alpha / family,
                **levels,
            )
            row["seeds_needed"] = needed or ">10000"
        reference = by_label[row["reference"]]
        row["sentence"] = _sentence(row, question, significant, reference)
    for row in rows:
        if not row["difference"]:
            row["sentence"] = _sentence(row, question, False, None)
    return rows


def _sentence(row: Mapping[str, Any], question: Question, significant: bool, reference: Any) -> str:
    asked = question._asdict() | {"unit": formatting.unit(question.metric)}
    return formatting.sentence(row, asked, significant=significant, reference=reference)


def _row(setting: Setting, partners: Mapping[str, Setting | None], question: Question) -> dict[str, Any]:
    """A setting by itself and, but for the verdict, beside its reference."""
    metric, reference = question.metric, partners.get(setting.name)
    mine = setting.surviving(metric)
    is_reference = setting.name not in partners
    row = {
        "label": setting.name,
        "settings": dict(setting.values),
        "reference": reference and reference.name,
        "is_reference": is_reference,
        "seeds": list(setting.runs),
        "runs": len(setting.runs),
        "survived": len(mine),
        "lost": {
            str(seed): run.why or f"{metric} is not finite" for seed, run in setting.runs.items() if seed not in mine
        },
        "mean": plain.fmean(mine.values()) if mine else None,
        "sd": plain.stdev(mine.values()) if len(mine) > 1 else None,
        "difference": None,
        "unpaired": [],
        "chaos_floor": _floor([setting], metric),
        "seeds_needed": None,
        "verdict": "reference" if is_reference else "no reference",
        "paths": [str(run.path) for run in setting.runs.values()],
    }
    if reference is None:
        return row
    theirs = reference.surviving(metric)
    both = [seed for seed in setting.runs if seed in reference.runs]
    pairs = [seed for seed in both if seed in mine and seed in theirs]
    lost = [sum(seed in one and seed not in other for seed in both) for one, other in ((theirs, mine), (mine, theirs))]
    found = statistics.paired(
        [mine[seed] for seed in pairs],
        [theirs[seed] for seed in pairs],
        margin=question.margin or 0.0,
        alpha=question.alpha,
    )
    survival = statistics.survival(*lost) if any(lost) else None
    row["difference"] = {**found._asdict(), "p_holm": None, "p_survival": survival}
    row["unpaired"] = sorted(setting.runs.keys() ^ reference.runs.keys())
    row["chaos_floor"] = _floor([setting, reference], metric)
    return row


def _floor(settings: Sequence[Setting], metric: str) -> float | None:
    """The greatest chaos floor of some settings; None where none has a twin."""
    floors = []
    for setting in settings:
        originals, twins = setting.surviving(metric), survivors(setting.twins, metric)
        if seeds := [seed for seed in twins if seed in originals]:
            pairs = [twins[seed] for seed in seeds], [originals[seed] for seed in seeds]
            floors.append(statistics.chaos_floor(*pairs))
    return max(floors, default=None)


def _run_rows(setting: Setting, partners: Mapping[str, Setting | None], metric: str) -> list[dict[str, Any]]:
    reference = partners.get(setting.name)
    mine, theirs = setting.surviving(metric), reference.surviving(metric) if reference else {}
    return [
        {
            "path": str(run.path),
            "label": setting.name,
            "seed": seed,
            "status": run.status,
            "value": mine.get(seed),
            "difference": mine[seed] - theirs[seed] if seed in mine and seed in theirs else None,
        }
        for seed, run in setting.runs.items()
    ]


def _rates_row(rates: Rates, metric: str) -> dict[str, Any]:
    row: dict[str, Any] = {"label": rates.name, "lr": list(rates.settings)}
    values = [list(setting.surviving(metric).values()) for setting in rates.settings.values()]
    row["mean"] = [plain.fmean(of_rate) if of_rate else None for of_rate in values]
    row["sd"] = [plain.stdev(of_rate) if len(of_rate) > 1 else None for of_rate in values]
    row["survived"] = [len(of_rate) for of_rate in values]
    row["runs"] = [len(setting.runs) for setting in rates.settings.values()]
    return row


def _provenance(outcomes: Sequence[Outcome], folders: Sequence[Path]) -> dict[str, Any]:
    versions, data = (_joined(parts) for parts in ({o.code for o in outcomes}, {o.data for o in outcomes}))
    commit = versions.pop("commit")
    return {
        "versions": versions,
        "git_commit": None if commit == "none" else commit,
        "devices": sorted({outcome.device for outcome in outcomes}),
        "data_sha256": data,
        "folders": [str(folder) for folder in folders],
    }


def _joined(parts: set[tuple[tuple[str, str], ...]]) -> dict[str, str]:
    values = collections.defaultdict(set)
    for part in parts:
        for name, value in part:
            values[name].add(value)
    return {name: ", ".join(sorted(found)) for name, found in values.items()}


def _one(values: set[int]) -> int | None:
    return next(iter(values)) if len(values) == 1 else None
