"""What a comparison leaves out or refuses, and what a reader of its verdicts should know."""

from collections.abc import Mapping, Sequence
from typing import Any

from vaecli.config import UsageError
from vaecli.config.validators import nearest
from vaecli.report.variants import Setting, count
from vaecli.runs.collection import Collected, Outcome


def skipped(collected: Collected) -> list[str]:
    """What is left out, and how much of it."""
    warnings = []
    if broken := collected.broken:
        warnings.append(f"{count(len(broken), 'folder')} skipped that cannot be read: {broken[0]}")
    if unfinished := collected.unfinished:
        warnings.append(f"{count(len(unfinished), 'run')} skipped without an outcome yet, such as {unfinished[0]}")
    return warnings


def with_metric(outcomes: Sequence[Outcome], metric: str, warnings: list[str]) -> Sequence[Outcome]:
    """The runs that logged a metric, or diverged before they could."""
    without = [o for o in outcomes if o.status == "complete" and metric not in o.values]
    if without and len(without) == sum(outcome.status == "complete" for outcome in outcomes):
        known = sorted({tag for tags in {outcome.tags for outcome in without} for tag in tags})
        raise UsageError(f"--metric: no run logged {metric!r}{nearest(metric, known)} (logged: {', '.join(known)})")
    if without:
        warnings.append(f"{count(len(without), 'run')} left out that did not log {metric}, such as {without[0].path}")
    left_out = {id(outcome) for outcome in without}
    return [outcome for outcome in outcomes if id(outcome) not in left_out]


def unpaired(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many settings have seeds without a partner."""
    if not (found := [row for row in rows if row["unpaired"]]):
        return []
    first = found[0]
    seeds = f"{', '.join(map(str, first['unpaired'][:8]))}{', …' * (len(first['unpaired']) > 8)}"
    of = f"{first['label']} and {first['reference']} do not share seed{'s' * (len(first['unpaired']) > 1)} {seeds}"
    return [f"{count(len(found), 'setting')} compared over a part of the seeds: {of}"]


def lost_twins(settings: Sequence[Setting]) -> list[str]:
    lost = [twin for setting in settings for twin in setting.twins.values() if twin.status != "complete"]
    return [f"{count(len(lost), 'perturbed twin')} diverged, and is in no chaos floor: {lost[0].path}"] if lost else []


def mixed(outcomes: Sequence[Outcome], allowed: bool) -> list[str]:
    """What differs between the runs that should not, or may alone with a warning."""
    found = []
    commits = {dict(outcome.code)["commit"] for outcome in outcomes}
    if dirty := sorted(commit for commit in commits if commit.endswith("-dirty")):
        found.append(f"runs of commit {_listed(set(dirty))}: its files had been changed, which nothing here records")
    refused = []
    for what, parts in (("data", {o.data for o in outcomes}), ("code", {o.code for o in outcomes})):
        if len(parts) > 1:
            names = dict.fromkeys(name for part in sorted(parts) for name, _ in part)
            differing = {name: {dict(part).get(name, "none") for part in parts} for name in names}
            told = [f"{name} {_listed(values)}" for name, values in differing.items() if len(values) > 1]
            refused.append(f"the runs are of different {what}: {'; '.join(told)}")
    if refused and not allowed:
        raise UsageError(f"{'; '.join(refused)} (--allow-mixed compares them all the same)")
    found += refused
    if len(devices := {outcome.device for outcome in outcomes}) > 1:
        found.append(f"the runs are of different devices: {_listed(devices)}")
    return found


def _listed(values: set[str]) -> str:
    # Of a checksum or a commit the beginning, and whether files were changed since.
    short = [value[:12] + "-dirty" * value.endswith("-dirty") if len(value) > 30 else value for value in sorted(values)]
    return " and ".join([", ".join(short[:4]), "more"] if len(short) > 4 else short)
