"""What a comparison leaves out or refuses, and what a reader of its verdicts should know."""

import re
from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

from vaecli.config import UsageError
from vaecli.config.validators import nearest
from vaecli.report.comparable import head_units, several_quantities
from vaecli.report.formatting import count, first_eight, first_four
from vaecli.report.model import TrainedVariant, VariantResult
from vaecli.runs.collection import Collected, Outcome


def skipped(collected: Collected) -> list[str]:
    """Says which directories are left out, and how many."""
    warnings = []
    if broken := collected.broken:
        warnings.append(f"{count(len(broken), 'folder')} skipped that cannot be read: {broken[0]}")
    if unfinished := collected.unfinished:
        warnings.append(f"{count(len(unfinished), 'run')} skipped without an outcome yet, such as {unfinished[0]}")
    return warnings


def with_metric(outcomes: Sequence[Outcome], metric: str) -> tuple[Sequence[Outcome], list[str]]:
    """Returns the runs that logged a metric, or diverged before they could, and says how many others there are.

    Raises:
      UsageError: no complete run logged it.
    """
    without = [o for o in outcomes if o.status == "complete" and metric not in o.values]
    if not without:
        return outcomes, []
    if len(without) == sum(outcome.status == "complete" for outcome in outcomes):
        known = sorted({tag for tags in {outcome.tags for outcome in without} for tag in tags})
        raise UsageError(f"--metric: no run logged {metric!r}{nearest(metric, known)} (logged: {', '.join(known)})")
    left_out = {id(outcome) for outcome in without}
    warning = f"{count(len(without), 'run')} left out that did not log {metric}, such as {without[0].path}"
    return [outcome for outcome in outcomes if id(outcome) not in left_out], [warning]


def unpaired(results: Sequence[VariantResult]) -> list[str]:
    """Says how many variants have seeds without a partner."""
    warnings = []
    if none := [result for result in results if result.difference and not result.difference.paired]:
        of = f"{none[0].label} and {none[0].reference}"
        warnings.append(f"{count(len(none), 'variant')} compared without pairs, by Welch's t: {of} share no seed")
    if partly := [result for result in results if result.unpaired and result not in none]:
        first = partly[0]
        seeds = f"seed{'s' * (len(first.unpaired) > 1)} {first_eight(first.unpaired)}"
        of = f"{first.label} and {first.reference} do not share {seeds}"
        warnings.append(f"{count(len(partly), 'variant')} compared over a part of the seeds: {of}")
    return warnings


def lost_twins(variants: Sequence[TrainedVariant]) -> list[str]:
    """Says how many perturbed twins diverged."""
    lost = [twin for variant in variants for twin in variant.twins.values() if twin.status != "complete"]
    return [f"{count(len(lost), 'perturbed twin')} diverged, and is in no chaos floor: {lost[0].path}"] if lost else []


def skipped_updates(variants: Sequence[TrainedVariant]) -> list[str]:
    """Says which variants went on without updates that were not finite, and which without those of a great norm."""
    return [
        *_skipping(variants, lambda run: run.skipped_updates - run.skipped_by_norm, "that were not finite"),
        *_skipping(variants, lambda run: run.skipped_by_norm, "whose gradient had a norm above --skip-norm"),
    ]


def _skipping(variants: Sequence[TrainedVariant], skipped: Callable[[Outcome], int], which: str) -> list[str]:
    """Says which variants skipped updates of one kind, in a line or none."""
    skipping = []
    untrained = 0
    for variant in variants:
        if runs := [run for run in variant.runs.values() if skipped(run)]:
            updates = f"{sum(map(skipped, runs))} of {sum(run.steps for run in runs)}"
            skipping.append(f"{variant.name} {updates} in {len(runs)} of {count(len(variant.runs), 'run')}")
            untrained += sum(skipped(run) >= run.steps for run in runs)
    if not skipping:
        return []
    every = f"; {count(untrained, 'run')} skipped every update, and was not trained at all" if untrained else ""
    shown = "; ".join([*skipping[:4], "…"] if len(skipping) > 4 else skipping)
    return [f"{count(len(skipping), 'variant')} skipped updates {which}, and went on: {shown}{every}"]


class Mixed(NamedTuple):
    """What differs between runs that should not.

    Attributes:
      warnings: what differs, one text for each.
      caveats: what of that stands in the way of any answer, in a few words.
    """

    warnings: list[str]
    caveats: list[str]


def mixed(outcomes: Sequence[Outcome], metric: str, allowed: bool) -> Mixed:
    """Says what differs between the runs that should not.

    Raises:
      UsageError: data, code or what the metric means differ, and that is not allowed.
    """
    warnings = []
    configs = {id(outcome.config): outcome.config for outcome in outcomes}.values()
    commits = {dict(outcome.code)["commit"] for outcome in outcomes}
    if dirty := sorted(commit for commit in commits if commit.endswith("-dirty")):
        warnings.append(f"runs of commit {_listed(set(dirty))}: its files had been changed, which nothing here records")
    refused = []
    for what, parts in (("data", {o.images for o in outcomes}), ("code", {o.code for o in outcomes})):
        if len(parts) > 1:
            refused.append(f"the runs are of different {what}: {'; '.join(_differing(parts))}")
    refused += several_quantities(metric, configs)
    if refused and not allowed:
        apart = "compare their folders apart, or all of them with --allow-mixed, which warns"
        raise UsageError(f"{'; '.join(refused)} ({apart})")
    own_units = head_units(metric, configs)
    caveats = ["these runs are not of one kind (see the warnings)"] if refused else []
    caveats += [f"{metric} is not in one unit (see the warnings)"] if own_units else []
    warnings += [*refused, *own_units]
    if len(devices := {outcome.device for outcome in outcomes}) > 1:
        warnings.append(f"the runs are of different devices: {_listed(devices)}")
    # The device has its own line; a run of an earlier version has no record.
    environments = {tuple(i for i in o.environment if i[0] != "device") for o in outcomes if o.environment}
    if len(environments) > 1:
        differing = "; ".join(_differing(environments))
        warnings.append(f"the runs are of different environments, so last digits may differ: {differing}")
    return Mixed(warnings, caveats)


def _differing(parts: Set[tuple[tuple[str, str], ...]]) -> list[str]:
    """Returns the names under which tables differ, each with its values."""
    names = dict.fromkeys(name for part in sorted(parts) for name, _ in part)
    values = {name: {dict(part).get(name, "none") for part in parts} for name in names}
    return [f"{name} {_listed(several)}" for name, several in values.items() if len(several) > 1]


def _listed(values: set[str]) -> str:
    return first_four([_short(value) for value in sorted(values)])


def _short(value: str) -> str:
    """Cuts a checksum or a commit to its beginning, and to whether files were changed since; another text to a line."""
    if re.fullmatch(r"[0-9a-f]{31,}(-dirty)?", value):
        return value[:12] + "-dirty" * value.endswith("-dirty")
    return value if len(value) <= 80 else f"{value[:80]} …"


def of_conditions(warnings: Sequence[tuple[str, str]], conditions: int) -> list[str]:
    """Joins the warnings of several conditions: what is said of several is said once, with their names.

    Args:
      warnings: the name of a condition and a warning of it.
      conditions: how many conditions there are.
    """
    names: dict[str, list[str]] = {}
    for name, text in warnings:
        names.setdefault(text, []).append(name)
    return [text if len(where) == conditions else f"{first_four(where)}: {text}" for text, where in names.items()]
