"""Where runs that were cut off go on."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from vaecli.config import Config, UsageError
from vaecli.config.toml import differences, values_from_toml
from vaecli.data import Dataset
from vaecli.runs.checkpoint import Snapshot, snapshots
from vaecli.runs.directory import CONFIG, EVENTS, METRICS, RunDirectory
from vaecli.runs.journal import matches
from vaecli.runs.provenance import versions
from vaecli.training.progress import Observer


class Start(NamedTuple):
    """Where runs that go on together begin: what they all have behind them, so that they share each step.

    Attributes:
      epoch: passes over the training images.
      saved: whether there is a checkpoint.
      pending: whether its log point is not written yet.
      ended: whether no step follows, and the summary alone is missing.
    """

    epoch: int = 0
    saved: bool = False
    pending: bool = False
    ended: bool = False


class Group(NamedTuple):
    """Runs that go on together: where, their numbers, and the checkpoint of each."""

    start: Start
    members: Sequence[int]
    snapshots: Sequence[Snapshot | None]


def groups(
    configs: Sequence[Config], directories: Sequence[RunDirectory], dataset: Dataset, observer: Observer
) -> list[Group]:
    """Puts runs together that can go on from one place; a run may lose its last checkpoint interval for that.

    Raises:
      UsageError: a run has checkpoints, and none from which it can go on.
    """
    points: dict[int, Mapping[Start, Snapshot | None]] = {}
    for number, (config, directory) in enumerate(zip(configs, directories, strict=True)):
        usable = _usable(config, directory, dataset, observer)
        points[number] = {_start(found): found for found in usable} or {Start(): None}
    interval = max(configs[0].checkpoint_every, 1)
    found = []
    while points:
        start = min(max(starts) for starts in points.values())
        members = [
            number
            for number, starts in points.items()
            if start in starts and max(starts).epoch <= start.epoch + interval
        ]
        found.append(Group(start, members, [points.pop(number)[start] for number in members]))
    for group in found:
        if group.start.saved:
            _tell(directories[group.members[0]], group, observer)
    return found


def _start(snapshot: Snapshot) -> Start:
    record = snapshot.record
    return Start(record["epoch"], True, record["pending"], record["ended"] is not None)


def _usable(config: Config, directory: RunDirectory, dataset: Dataset, observer: Observer) -> Sequence[Snapshot]:
    """The checkpoints from which a run can go on."""
    path = directory.path
    if not (path / CONFIG).exists():
        return []
    found, complaints = snapshots(path)
    usable = []
    for snapshot in found:
        then = snapshot.record
        try:
            began = Config(**values_from_toml(str(then["config"])))
            _start(snapshot)
            if not all(name == METRICS or (fnmatchcase(name, EVENTS) and "/" not in name) for name in then["logs"]):
                raise UsageError("it names files of no run")
        except (UsageError, LookupError, TypeError) as error:  # Its checksums are right, so this version wrote it not.
            raise UsageError(
                f"{snapshot.folder}: is no checkpoint of this version ({error}); --overwrite it"
            ) from error
        if unlike := differences(began, config):
            raise UsageError(f"{path / CONFIG}: was changed after the run began ({'; '.join(unlike)}); --overwrite it")
        if then["data_sha256"] != dict(dataset.sha256):
            raise UsageError(f"{path}: the data are no longer what the run began with; --overwrite it")
        changed = [name for name, mark in then["logs"].items() if not matches(path / name, mark)]
        if changed:
            complaints.append(f"{path / changed[0]}: is not what it was at step {snapshot.step}")
        else:
            usable.append(snapshot)
    if complaints and not usable:
        raise UsageError(f"{complaints[0]}; no other checkpoint is left, --overwrite starts the run anew")
    if not found and not complaints:
        observer.note(f"{path}: was cut off before its first checkpoint; starting anew")
    for complaint in complaints:
        observer.note(f"{complaint}; going on from the checkpoint before")
    return usable


def _tell(directory: RunDirectory, group: Group, observer: Observer) -> None:
    """Says where runs go on, and what may change their digits there."""
    others = len(group.members) - 1
    behind = f" and {others} other{'s' * (others > 1)}" if others else ""
    observer.note(f"{directory.path}{behind}: going on after epoch {group.start.epoch}")
    assert group.snapshots[0] is not None
    then, now = group.snapshots[0].record["versions"], versions()
    if changed := [f"{name} {then.get(name)}, now {now[name]}" for name in now if then.get(name) != now[name]]:
        observer.note(f"{directory.path}: began with {', '.join(changed)}; its last digits may differ")
