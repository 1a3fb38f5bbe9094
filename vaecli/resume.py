"""Where runs that were cut off go on."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vaecli.config import Config, UsageError
from vaecli.data import Dataset
from vaecli.progress import Observer
from vaecli.runs.checkpoint import Snapshot, snapshots
from vaecli.runs.directory import CONFIG, RunDirectory
from vaecli.runs.journal import reaches
from vaecli.runs.provenance import versions
from vaecli.toml import differences, values_from_toml


class Group(NamedTuple):
    """Runs that go on together: their numbers, and for each where it was, or None where it starts."""

    members: Sequence[int]
    snapshots: Sequence[Snapshot | None]

    @property
    def epoch(self) -> int:
        """The epoch that they all have behind them."""
        first = self.snapshots[0]
        return first.record["epoch"] if first else 0


def groups(
    configs: Sequence[Config], directories: Sequence[RunDirectory], dataset: Dataset, observer: Observer
) -> list[Group]:
    """Puts runs together that can go on from one epoch; a run may lose its last checkpoint for that, and no more.

    Raises:
      UsageError: a run has checkpoints, and none from which it can go on.
    """
    points: dict[int, Mapping[int, Snapshot | None]] = {}
    for number, (config, directory) in enumerate(zip(configs, directories, strict=True)):
        usable = _usable(config, directory, dataset, observer)
        points[number] = {found.record["epoch"]: found for found in usable} or {0: None}
    found = []
    while points:
        epoch = min(max(epochs) for epochs in points.values())
        members = [number for number, epochs in points.items() if epoch in epochs]
        found.append(Group(members, [points.pop(number)[epoch] for number in members]))
    for group in found:
        if group.epoch:
            _tell(directories[group.members[0]], group, observer)
    return found


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
            began = Config(**values_from_toml(then["config"]))
        except UsageError as error:  # Its checksums are right, so another version has written it.
            raise UsageError(
                f"{snapshot.folder}: is no checkpoint of this version ({error}); --overwrite it"
            ) from error
        if unlike := differences(began, config):
            raise UsageError(f"{path / CONFIG}: was changed after the run began ({'; '.join(unlike)}); --overwrite it")
        if then["data_sha256"] != dict(dataset.sha256):
            raise UsageError(f"{path}: the data are no longer what the run began with; --overwrite it")
        changed = [name for name, mark in then["logs"].items() if not reaches(path / name, mark)]
        if changed:
            complaints.append(f"{path / changed[0]}: is not what it was at step {snapshot.step}")
        else:
            usable.append(snapshot)
    if complaints and not usable:
        raise UsageError(f"{complaints[0]}; no other checkpoint is left, --overwrite starts the run anew")
    if not found:
        observer.note(f"{path}: was cut off before its first checkpoint; starting anew")
    for complaint in complaints:
        observer.note(f"{complaint}; going on from the checkpoint before")
    return usable


def _tell(directory: RunDirectory, group: Group, observer: Observer) -> None:
    """Says where runs go on, and what may change their digits there."""
    others = len(group.members) - 1
    behind = f" and {others} other{'s' * (others > 1)}" if others else ""
    observer.note(f"{directory.path}{behind}: going on after epoch {group.epoch}")
    assert group.snapshots[0] is not None
    then, now = group.snapshots[0].record["versions"], versions()
    if changed := [f"{name} {then.get(name)}, now {now[name]}" for name in now if then.get(name) != now[name]]:
        observer.note(f"{directory.path}: began with {', '.join(changed)}; its last digits may differ")
