"""Where interrupted runs resume."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.config import Config, UsageError
from vaecli.config.toml import differences
from vaecli.data import Dataset, same_images
from vaecli.environment import differing, recorded_environment, require_default_jax
from vaecli.runs.checkpoint import Snapshot, snapshots
from vaecli.runs.directory import CONFIG, RunDirectory, is_log
from vaecli.runs.journal import matches
from vaecli.runs.provenance import versions
from vaecli.training.checkpoint_record import check_record, recorded_config
from vaecli.training.progress import Observer


class ResumePoint(NamedTuple):
    """The place where a run starts or resumes; runs that share it take each of their steps together.

    The order of the fields is that of time, so the greatest point of a run is its latest.

    Attributes:
      epoch: passes over the training images so far.
      saved: whether there is a checkpoint.
      pending: whether the log point of this epoch has yet to be written.
      ended: whether no step follows, so that only the summary is missing.
    """

    epoch: int = 0
    saved: bool = False
    pending: bool = False
    ended: bool = False


class Group(NamedTuple):
    """Runs that go on together.

    Attributes:
      start: where they do.
      members: their numbers within the batch.
      snapshots: the checkpoint of each, or None for a run from its beginning.
    """

    start: ResumePoint
    members: Sequence[int]
    snapshots: Sequence[Snapshot | None]


ResumePoints = Mapping[ResumePoint, Snapshot | None]
"""The places from which one run can go on, each with its checkpoint; None is for the beginning."""

FRESH: ResumePoints = {ResumePoint(): None}
"""That of a run which begins anew."""


def resume_points(config: Config, directory: RunDirectory, dataset: Dataset, observer: Observer) -> ResumePoints:
    """Returns where a run can resume, and notes what is wrong with its other checkpoints.

    Raises:
      UsageError: it has checkpoints, but none from which it can resume.
    """
    usable = _usable(config, directory, dataset, observer)
    return {_resume_point(snapshot): snapshot for snapshot in usable} or FRESH


def groups(points: Mapping[int, ResumePoints], interval: int) -> list[Group]:
    """Groups the runs that can resume at one place; a run may lose its last checkpoint interval for that.

    Args:
      points: where each run can resume, by its number.
      interval: the epochs between two checkpoints.
    """
    waiting = dict(points)
    grouped = []
    while waiting:
        start = min(max(of_run) for of_run in waiting.values())
        members = [
            number
            for number, of_run in waiting.items()
            if start in of_run and max(of_run).epoch <= start.epoch + max(interval, 1)
        ]
        grouped.append(Group(start, members, [waiting.pop(number)[start] for number in members]))
    return grouped


def _resume_point(snapshot: Snapshot) -> ResumePoint:
    record = snapshot.record
    return ResumePoint(record["epoch"], True, record["pending"], record["ended"] is not None)


def _usable(config: Config, directory: RunDirectory, dataset: Dataset, observer: Observer) -> Sequence[Snapshot]:
    """Returns the checkpoints from which a run can resume, and notes what is wrong with the others."""
    path = directory.path
    if not (path / CONFIG).exists():
        return []
    undamaged, complaints = snapshots(path)
    usable = []
    for snapshot in undamaged:
        _check_origin(snapshot, path, config, dataset)
        changed = [name for name, mark in snapshot.record["logs"].items() if not matches(path / name, mark)]
        if changed:
            complaints.append(f"{path / changed[0]}: is not what it was at step {snapshot.step}")
        else:
            usable.append(snapshot)
    if complaints and not usable:
        raise UsageError(f"{complaints[0]}; no other checkpoint is left, --overwrite starts the run anew")
    if not undamaged and not complaints:
        observer.note(f"{path}: was cut off before its first checkpoint; starting anew")
    for complaint in complaints:
        observer.note(f"{complaint}; going on from the checkpoint before")
    return usable


def _check_origin(snapshot: Snapshot, path: Path, config: Config, dataset: Dataset) -> None:
    """Checks that a checkpoint was written by this version, for this config and these data.

    Raises:
      UsageError: it was not.
    """
    record = snapshot.record
    try:
        recorded = recorded_config(record)
        check_record(record)
        if not all(map(is_log, record["logs"])):
            raise UsageError("it names files that belong to no run")
    except UsageError as error:  # Its checksums match: it is not damaged.
        raise UsageError(f"{snapshot.folder}: is not a checkpoint of this version ({error}); --overwrite it") from error
    if unlike := differences(recorded, config):
        raise UsageError(f"{path / CONFIG}: was changed after the run began ({'; '.join(unlike)}); --overwrite it")
    if not same_images(record["data_sha256"], dataset.sha256):
        place = f" (in {recorded.data_dir}, now {config.data_dir})" if recorded.data_dir != config.data_dir else ""
        raise UsageError(f"{path}: the data are no longer what the run began with{place}; --overwrite it")


def announce(directory: RunDirectory, group: Group, observer: Observer) -> None:
    """Notes where the runs of a group resume, if they do, and what may change their digits there.

    Args:
      directory: that of the first of them.
      group: the group.
      observer: who is given the notes.
    """
    if not group.start.saved:
        return
    others = len(group.members) - 1
    and_others = f" and {others} other{'s' * (others > 1)}" if others else ""
    observer.note(f"{directory.path}{and_others}: going on after epoch {group.start.epoch}")
    require_default_jax()
    records = [snapshot.record for snapshot in group.snapshots if snapshot]
    changed = [change for record in records for change in differing(record["versions"], versions())]
    # A run that an earlier version began has no record of its environment.
    changed += [
        change for record in records for change in differing(record.get("environment") or {}, recorded_environment())
    ]
    if changed:
        began = f"{directory.path}: began with {', '.join(dict.fromkeys(changed))}"
        observer.note(f"{began}; its last digits may differ")
