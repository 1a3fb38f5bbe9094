"""The runs of folders with event files of TensorBoard, whichever program wrote them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.config import UsageError
from vaecli.config.validators import nearest
from vaecli.runs.directory import CONFIG
from vaecli.runs.log_names import name_parts, says_both
from vaecli.runs.logged import LogOptions, Series, finite

_EVENTS = "tfevents"


class EventFolder(NamedTuple):
    """A folder with event files: its path, the name by which its run is known, and the files, by name."""

    path: Path
    name: str
    files: Sequence[Path]


def is_log_folder(folder: Path) -> bool:
    """Whether a folder has event files somewhere in it, and no run of ours."""
    events = False
    for _, folders, files in os.walk(folder, followlinks=False):
        folders.sort()
        if CONFIG in files:
            return False
        events = events or any(_EVENTS in name for name in files)
    return events


def folder_runs(folder: Path, metric: str, options: LogOptions) -> tuple[list[Series], list[str]]:
    """Returns the runs below a folder, and what is left out of them.

    Raises:
      UsageError: no path says variant and seed, none has the metric, or two are the same run.
    """
    folders = list(_event_folders(folder))
    if not folders:
        raise UsageError(f"{folder}: has no event files of TensorBoard")
    names = [str(one.path) for one in folders] if options.runs_regex else _names(folder, folders)
    parts = name_parts(names, options.runs_regex, str(folder))
    warnings = []
    if others := [one for one, name in zip(folders, names, strict=True) if name not in parts]:
        warnings.append(f"{len(others)} folders left out that name no variant and seed, such as {others[0].path}")
    series: dict[tuple[str, int | None], Series] = {}
    known, unread = dict[str, None](), list[str]()
    for one, name in zip(folders, names, strict=True):
        if name not in parts:
            continue
        points, tags, damage = _points(one.files, metric)
        known |= dict.fromkeys(tags)
        unread += damage
        run = Series(str(one.path), (parts[name][0],), parts[name][1], points)
        other = series.get(parts[name])
        if other and other.points and points and run.seed is not None:
            raise UsageError(f"{other.place} and {one.path}: are both {parts[name][0]}, seed {run.seed}; {_APART}")
        if other is None or points or run.seed is None:
            series[parts[name] if run.seed is not None else (name, None)] = run
    if not any(run.points for run in series.values()):
        listed = f" (logged: {', '.join(list(known)[:20])})" if known else f" ({unread[0]})" if unread else ""
        raise UsageError(f"--metric: no run below {folder} logged {metric!r}{nearest(metric, known)}{listed}")
    if unread:
        damaged = (
            "1 event file is damaged and was" if len(unread) == 1 else f"{len(unread)} event files are damaged and were"
        )
        warnings.append(f"{damaged} read up to there: {unread[0]}")
    return list(series.values()), warnings


_APART = "--runs-regex chooses one of them"


def _names(folder: Path, folders: Sequence[EventFolder]) -> list[str]:
    """Returns the names of runs below a folder; with that of the folder, where they have no variant without it."""
    names = [one.name for one in folders]
    return names if any(map(says_both, names)) else [f"{folder.resolve().name}/{name}" for name in names]


def _event_folders(folder: Path) -> Iterator[EventFolder]:
    def fail(error: OSError) -> None:
        raise UsageError(f"{error.filename}: cannot be read ({error.strerror})") from error

    for place, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        path = Path(place)
        if events := sorted(name for name in files if _EVENTS in name):
            name = path.relative_to(folder).as_posix()
            name = name if name != "." else "/".join(path.resolve().parts[-2:])
            yield EventFolder(path, name, [path / file for file in events])


def _points(files: Sequence[Path], metric: str) -> tuple[Mapping[float | None, float], Sequence[str], list[str]]:
    """Reads a scalar by step, all tags, and what is damaged; a later file takes the place of what an earlier one has
    from its first step on, as that of a run that was started again does.
    """
    from vaecli.runs.tensorboard import DamagedEventsError, read_scalars

    points: dict[float | None, float] = {}
    tags, damage = dict[str, None](), list[str]()
    for file in files:
        of_file: dict[float, float] = {}
        try:
            for scalar in read_scalars(file):
                tags[scalar.tag] = None
                if scalar.tag == metric:
                    of_file[scalar.step] = finite(scalar.value)
        except DamagedEventsError as error:
            damage.append(f"{file} ({error})")
        except OSError as error:
            damage.append(f"{file} ({error.strerror})")
        first = min(of_file, default=0)
        if of_file:
            points = {step: value for step, value in points.items() if step is not None and step < first}
        points |= of_file
    return points, list(tags), damage
