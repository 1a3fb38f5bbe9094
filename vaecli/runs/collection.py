"""Many runs, read from their directories: what they were, and what they have come to."""

import dataclasses
import functools
import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaecli.config import Config, UsageError
from vaecli.runs.directory import CONFIG, METRICS, SUMMARY, divergence, read_config, read_summary
from vaecli.toml import values_from_toml

_SEED = re.compile(r"^seed = (\d+)\n", re.MULTILINE)


class Outcome(NamedTuple):
    """What a run has come to.

    Attributes:
      path: of its directory.
      setting: its config with the seed 0, the same object for all runs that differ in their seed alone.
      seed: of the run.
      status: `complete` or `diverged`.
      why: what was not finite first, in words; empty where it is complete.
      epochs: that it trained.
      values: of those tags that were asked for, as last logged; None for what is no finite number.
      tags: all that its last log point had.
      code: versions and commit of what made it.
      device: that it trained on.
      data: checksums of its data files.
    """

    path: Path
    setting: Config
    seed: int
    status: str
    why: str
    epochs: int
    values: Mapping[str, float | None]
    tags: Sequence[str]
    code: tuple[tuple[str, str], ...]
    device: str
    data: tuple[tuple[str, str], ...]


class Collected(NamedTuple):
    """Runs below some folders."""

    outcomes: Sequence[Outcome]
    unfinished: Sequence[Path]
    broken: Sequence[str]


def collect(folders: Sequence[Path], tags: Collection[str]) -> Collected:
    """Reads every run below some folders.

    Args:
      folders: each a run's directory, or one above.
      tags: the metrics that are wanted.

    Returns:
      Those that have an outcome; those that are unfinished or were stopped; and what is wrong with those that cannot be
      read.

    Raises:
      UsageError: a folder does not exist or cannot be read.
    """
    outcomes, unfinished, broken = [], [], []
    for path in dict.fromkeys(path for folder in folders for path in _find(folder)):
        try:
            outcome = _read(path, tags)
        except UsageError as error:
            broken.append(str(error))
        except OSError as error:
            broken.append(f"{path}: cannot be read ({error.strerror})")
        else:
            if outcome:
                outcomes.append(outcome)
            else:
                unfinished.append(path)
    return Collected(outcomes, unfinished, broken)


def _find(folder: Path) -> Iterator[Path]:
    """The run directories below a folder, in the order of their names."""

    def fail(error: OSError) -> None:
        raise UsageError(f"{error.filename}: cannot be read ({error.strerror})") from error

    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file and no folder" if folder.exists() else f"{folder}: does not exist")
    for place, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        if CONFIG in files:
            folders.clear()
            yield Path(place)


def _read(path: Path, tags: Collection[str]) -> Outcome | None:
    setting, seed = _setting(path)
    if not (path / SUMMARY).is_file():
        return None
    summary = read_summary(path)
    if summary["status"] == "interrupted":
        return None
    metrics = summary["metrics"] if isinstance(summary.get("metrics"), dict) else {}
    code = {**summary.get("versions", {}), "commit": summary.get("git_commit") or "none"}
    return Outcome(
        path,
        setting,
        seed,
        summary["status"],
        divergence(summary) if summary["status"] == "diverged" else "",
        summary["epochs"],
        {tag: _finite(metrics.get(tag)) for tag in tags},
        _same(tuple(metrics)),
        _same(tuple(sorted((str(key), str(value)) for key, value in code.items()))),
        str(summary.get("device", "unknown")),
        _same(tuple(sorted((str(key), str(value)) for key, value in summary["data_sha256"].items()))),
    )


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


@functools.cache
def _same(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """One object for all that are equal: thousands of runs differ in little."""
    return values


def _setting(path: Path) -> tuple[Config, int]:
    try:
        text = (path / CONFIG).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path / CONFIG}: is not a text file ({error.reason})") from error
    # Reading TOML takes longer than all the rest; runs of one setting differ in this line alone.
    if len(seeds := _SEED.findall(text)) == 1:
        try:
            return _without_seed(_SEED.sub("", text)), int(seeds[0])
        except UsageError:
            pass  # So that it is named with the file.
    config = read_config(path)
    return dataclasses.replace(config, seed=0), config.seed


@functools.cache
def _without_seed(text: str) -> Config:
    return Config(**values_from_toml(text))


def read_curves(path: Path, tags: Collection[str]) -> Mapping[str, Mapping[int, float]]:
    """What a run logged under some tags: for each tag, its finite values by epoch.

    Raises:
      UsageError: its log is damaged.
    """
    found: dict[str, dict[int, float]] = {tag: {} for tag in tags}
    try:
        with (path / METRICS).open(encoding="utf-8") as file:
            for line in file:
                point = json.loads(line)
                for tag in tags:
                    value = point.get(tag)
                    if value is not None and math.isfinite(value):
                        found[tag][int(point["epoch"])] = float(value)
    except OSError as error:
        raise UsageError(f"{path / METRICS}: cannot be read ({error.strerror})") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{path / METRICS}: is damaged") from error
    return found
