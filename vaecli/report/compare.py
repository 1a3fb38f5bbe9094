"""From run directories to verdicts: what the statistics say of each setting and its reference."""

import collections
import statistics as plain
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vaecli.checks import nearest
from vaecli.config import UsageError
from vaecli.report import statistics, words
from vaecli.report.settings import CRITERIA, Rates, Setting, at_best_rate, rates_of, references, settings_of
from vaecli.runs.collection import Collected, Outcome, collect


class Question(NamedTuple):
    """What is asked of the runs.

    Attributes:
      metric: the logged scalar that is compared.
      margin: the least difference that matters, in its unit.
      alpha: the level of all tests.
      reference: what the others are compared with: a head, or `[head],field=value,…`.
      at: `each` setting with the reference at the same settings, or each head at its `best-lr`.
      allow_mixed: whether data and code may differ between the runs.
    """

    metric: str = "test/elbo"
    margin: float = 0.5
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
    warnings = _skipped(collected)
    if not collected.outcomes:
        raise UsageError("; ".join([f"{', '.join(map(str, folders))}: no run that is over", *warnings]))
    _check_metric(collected.outcomes, question.metric)
    warnings += _mixed(collected.outcomes, question.allow_mixed)
    vary, settings = settings_of(collected.outcomes, warnings)
    grid, best = rates_of(settings, vary), None
    if question.at == "best-lr":
        settings, best = at_best_rate(grid)
        vary = [name for name in vary if name != "lr"]
        warnings += [
            f"{name}: its best learning rate {found['lr']:g} lies at an edge of the grid"
            for name, found in best.items()
            if found["edge"]
        ]
    partners = references(settings, question.reference)
    settings = sorted(settings, key=lambda setting: setting.name in partners)
    report = {
        **question._asdict(),
        "unit": words.unit(question.metric),
        "varies": vary,
        "epochs": _one({setting.config.epochs for setting in settings}),
        "settings": _rows(settings, partners, question),
        "runs": [row for setting in settings for row in _run_rows(setting, partners, question.metric)],
        "best_lr": best,
        "lr_grid": [_rates_row(rates, question.metric) for rates in grid] or None,
        "provenance": _provenance(collected.outcomes, folders),
        "warnings": warnings,
    }
    return Comparison(report, settings)


def _skipped(collected: Collected) -> list[str]:
    """What is left out, and how much of it."""
    warnings = []
    if number := len(collected.broken):
        warnings.append(f"{number} run{'s' * (number > 1)} skipped that cannot be read: {collected.broken[0]}")
    if number := len(collected.unfinished):
        example = collected.unfinished[0]
        warnings.append(f"{number} run{'s' * (number > 1)} skipped without an outcome yet, such as {example}")
    return warnings


def _check_metric(outcomes: Sequence[Outcome], metric: str) -> None:
    complete = [outcome for outcome in outcomes if outcome.status == "complete"]
    if complete and not any(metric in outcome.tags for outcome in complete):
        known = sorted({tag for tags in {outcome.tags for outcome in complete} for tag in tags})
        raise UsageError(f"--metric: no run logged {metric!r}{nearest(metric, known)} (logged: {', '.join(known)})")


def _mixed(outcomes: Sequence[Outcome], allowed: bool) -> list[str]:
    """What differs between the runs that should not, or may alone with a warning."""
    found = []
    for what, parts in (("data", {o.data for o in outcomes}), ("code", {o.code for o in outcomes})):
        if len(parts) > 1:
            names = dict.fromkeys(name for part in sorted(parts) for name, _ in part)
            differing = {name: {dict(part).get(name, "none") for part in parts} for name in names}
            told = [f"{name} {_listed(values)}" for name, values in differing.items() if len(values) > 1]
            found.append(f"the runs are of different {what}: {'; '.join(told)}")
    if found and not allowed:
        raise UsageError(f"{'; '.join(found)} (--allow-mixed compares them all the same)")
    if len(devices := {outcome.device for outcome in outcomes}) > 1:
        found.append(f"the runs are of different devices: {_listed(devices)}")
    return found


def _listed(values: set[str]) -> str:
    # Of a checksum or a commit the beginning, and whether files were changed since.
    short = [value[:12] + "-dirty" * value.endswith("-dirty") if len(value) > 30 else value for value in sorted(values)]
    return " and ".join([", ".join(short[:4]), "more"] if len(short) > 4 else short)


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
        row["verdict"] = statistics.verdict(difference, adjusted, p_survival, **levels)
        significant = statistics.significant(difference, adjusted, p_survival, **levels)
        if row["verdict"] == "undecided" and difference.sd is not None and p_survival is None:
            needed = statistics.seeds_needed(
                difference.mean or 0.0,
                difference.sd,
                pairs=difference.pairs,
                margin=question.margin,
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
    asked = question._asdict() | {"unit": words.unit(question.metric)}
    return words.sentence(row, asked, significant=significant, reference=reference)


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
        [mine[seed] for seed in pairs], [theirs[seed] for seed in pairs], margin=question.margin, alpha=question.alpha
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
        originals = setting.surviving(metric)
        twins = [(twin.values[metric], originals.get(twin.seed)) for twin in setting.twins if twin.status == "complete"]
        known = [(twin, original) for twin, original in twins if twin is not None and original is not None]
        if known:
            floors.append(statistics.chaos_floor(*zip(*known, strict=True)))
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
