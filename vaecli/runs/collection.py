"""A collection of runs, read from their directories: their configs and their outcomes."""

import contextlib
import copy
import dataclasses
import functools
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from vaecli.config import Config, UsageError, validators
from vaecli.config.toml import values_from_toml
from vaecli.runs import records
from vaecli.runs.directory import CONFIG, METRICS, SUMMARY, Summary, divergence, read_config, read_summary
from vaecli.runs.files import TEMPORARY, open_regular, read_regular

_SEED = re.compile(r"^seed = (\d+)\n", re.MULTILINE)


class EvaluatedNLL(NamedTuple):
    """The NLL of a run, of its test images at its last checkpoint.

    Attributes:
      nll: in nats per image; None where it is not finite.
      unreliable: whether its weights were; None where an earlier version has not recorded it.
    """

    nll: float | None
    unreliable: bool | None


class Outcome(NamedTuple):
    """The outcome of a run.

    Attributes:
      path: its directory.
      config: its config with the seed 0, the same object for all runs that differ only in their seed.
      seed: its seed.
      status: `complete` or `diverged`.
      why: what was not finite first, in words; empty where it is complete.
      epochs: how many it trained.
      values: the last values of those tags that were asked for and that it logged; None for one that is not finite.
      tags: all tags of its last log point.
      code: the versions and the commit of the software that made it.
      device: the device on which it was trained.
      environment: what else of its environment its last digits depend on; empty for a run that has no record of it.
      data: the checksums of its data files.
      evaluations: what `vae evaluate` has made of it, by the number of samples.
      steps: how many steps it took, those included whose update was skipped.
      skipped_updates: how many of its updates were skipped.
      skipped_by_norm: how many of these for the norm of their gradient; the others were not finite.
    """

    path: Path
    config: Config
    seed: int
    status: str
    why: str
    epochs: int
    values: Mapping[str, float | None]
    tags: Sequence[str]
    code: tuple[tuple[str, str], ...]
    device: str
    environment: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...]
    evaluations: Mapping[int, EvaluatedNLL] = MappingProxyType({})
    steps: int = 0
    skipped_updates: int = 0
    skipped_by_norm: int = 0

    @property
    def images(self) -> tuple[tuple[str, str], ...]:
        """The checksums by which its data are known: without those of labels, which nothing uses and may be missing."""
        return _without_labels(self.data)

    @property
    def end(self) -> int:
        """The epoch at which its training was to end."""
        return self.config.epochs

    def surviving(self, tag: str) -> float | None:
        """Returns the value of a tag where the run is complete and the value finite; otherwise None."""
        return self.values.get(tag) if self.status == "complete" else None

    def curves(self, tags: Collection[str]) -> Mapping[str, Mapping[float, float]]:
        """Reads the finite values that it logged under some tags: for each tag, by epoch.

        Raises:
          UsageError: its log is damaged.
        """
        curves: dict[str, dict[float, float]] = {tag: {} for tag in tags}
        for point in log_points(self.path):
            for tag in tags:
                if (value := _finite(point.get(tag))) is not None:
                    curves[tag][point["epoch"]] = value
        return curves


class Collected(NamedTuple):
    """The runs below some folders.

    Attributes:
      outcomes: those that have an outcome.
      unfinished: the directories of those that are unfinished or were stopped.
      broken: what is wrong with those that cannot be read.
    """

    outcomes: Sequence[Outcome]
    unfinished: Sequence[Path]
    broken: Sequence[str]


class Entry(NamedTuple):
    """The directory of a run as far as it can be read.

    Attributes:
      path: the directory; where a folder cannot be listed, that folder.
      config: its config with the seed 0, as in `Outcome`; None where it cannot be read.
      seed: its seed.
      outcome: None for a run that is unfinished or was stopped, and for one that cannot be read.
      broken: what is wrong with one that cannot be read; otherwise empty.
    """

    path: Path
    config: Config | None = None
    seed: int = 0
    outcome: Outcome | None = None
    broken: str = ""


class RunDirectories(NamedTuple):
    """The directories of runs below some folders.

    Attributes:
      folders: the folders.
      paths: the directories, each once, in the order of their names.
      unlisted: what is wrong with folders that cannot be listed.
    """

    folders: Sequence[Path]
    paths: Sequence[Path]
    unlisted: Sequence[Entry]


def find_runs(folders: Sequence[Path]) -> RunDirectories:
    """Lists the directories of the runs below some folders.

    Args:
      folders: each is a run's directory, or one above.

    Raises:
      UsageError: a folder does not exist.
    """
    unlisted: list[Entry] = []
    paths = [path for folder in folders for path in _run_directories(folder, unlisted)]
    return RunDirectories(folders, list({path.resolve(): path for path in paths}.values()), unlisted)


def collect(directories: RunDirectories, tags: Collection[str]) -> Collected:
    """Reads some runs.

    Args:
      directories: those that `find_runs` returns.
      tags: the metrics that are wanted.
    """
    entries = read_all(directories, tags)
    return Collected(
        [entry.outcome for entry in entries if entry.outcome],
        [entry.path for entry in entries if not entry.outcome and not entry.broken],
        [entry.broken for entry in entries if entry.broken],
    )


def read_all(directories: RunDirectories, tags: Collection[str]) -> Sequence[Entry]:
    """Reads some runs, in the order of their names.

    Args:
      directories: those that `find_runs` returns.
      tags: the metrics that are wanted.
    """
    return [*directories.unlisted, *(_entry(path, tags) for path in directories.paths)]


def _entry(path: Path, tags: Collection[str]) -> Entry:
    """Reads the directory of a run; what is wrong with it is no error."""
    try:
        config, seed = _config_and_seed(path)
        return Entry(path, config, seed, _read(path, config, seed, tags))
    except UsageError as error:
        return Entry(path, broken=str(error))
    except OSError as error:
        return Entry(path, broken=f"{path}: cannot be read ({error.strerror})")


def _run_directories(folder: Path, unlisted: list[Entry]) -> Iterator[Path]:
    """The run directories below a folder, in the order of their names; links are followed.

    A folder that cannot be read is added to `unlisted`.
    """

    def fail(error: OSError) -> None:
        unlisted.append(Entry(Path(error.filename), broken=f"{error.filename}: cannot be read ({error.strerror})"))

    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file and not a folder" if folder.exists() else f"{folder}: does not exist")
    seen = set()
    for place, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.endswith(TEMPORARY))
        if CONFIG in files:
            folders.clear()
            yield Path(place)
        elif (real := os.path.realpath(place)) in seen:
            folders.clear()  # A link to a folder above it.
        else:
            seen.add(real)


def _read(path: Path, config: Config, seed: int, tags: Collection[str]) -> Outcome | None:
    """Reads the outcome of a run; returns None where it has none yet."""
    if not os.path.lexists(path / SUMMARY):
        return None
    summary = read_summary(path, _with_seed(config, seed))
    if summary["status"] == "interrupted":
        return None
    metrics = summary["metrics"]
    code = {**summary.get("versions", {}), "commit": summary.get("git_commit") or "none"}
    return Outcome(
        path,
        config,
        seed,
        summary["status"],
        divergence(summary) if summary["status"] == "diverged" else "",
        summary["epochs"],
        {tag: _finite(metrics[tag]) for tag in tags if tag in metrics},
        _same(tuple(metrics)),
        _sorted_items(code),
        summary.get("device", "unknown"),
        _sorted_items(summary.get("environment")),
        _sorted_items(summary["data_sha256"]),
        _evaluations(summary),
        steps=summary["steps"],
        skipped_updates=summary.get("skipped_updates", 0),
        skipped_by_norm=summary.get("skipped_by_norm", 0),
    )


def _evaluations(summary: Summary) -> dict[int, EvaluatedNLL]:
    """Returns the evaluations of the test split at the last checkpoint; those of the wrong kind are left out."""
    return {
        result["samples"]: EvaluatedNLL(_finite(result.get("nll")), _bool_or_none(result.get("nll_unreliable")))
        for result in summary.get("evaluations", [])
        if (result.get("split"), result.get("checkpoint")) == ("test", "last")
        and isinstance(result.get("samples"), int)
    }


def _bool_or_none(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _sorted_items(values: Any) -> tuple[tuple[str, str], ...]:
    """Returns the names and values of a table as texts, sorted; nothing for what is not a table."""
    return _same(tuple(sorted((str(key), str(value)) for key, value in values.items()))) if values else ()


def _finite(value: Any) -> float | None:
    # A run's numbers are float32; a larger one is no more a result than a NaN is, and sums of them overflow.
    return float(value) if isinstance(value, int | float) and abs(value) <= 3.5e38 else None


@functools.cache
def _same(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns one object for all that are equal: thousands of runs differ in little."""
    return values


@functools.cache
def _without_labels(data: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((role, sha256) for role, sha256 in data if not role.endswith("-labels"))


def _config_and_seed(path: Path) -> tuple[Config, int]:
    try:
        text = read_regular(path / CONFIG).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path / CONFIG}: is not a text file ({error.reason})") from error
    # Reading TOML takes longer than all the rest; runs of one variant differ only in this line.
    if len(seeds := _SEED.findall(text)) == 1 and len(seeds[0]) < 12 and not validators.seed(int(seeds[0])):
        with contextlib.suppress(UsageError):  # It is raised again below, with the name of the file.
            return _without_seed(_SEED.sub("", text)), int(seeds[0])
    config = read_config(path)
    return dataclasses.replace(config, seed=0), config.seed


def _with_seed(config: Config, seed: int) -> Config:
    """Returns a config with a seed that has been checked: to check all its settings again takes a third of the time."""
    other = copy.copy(config)
    object.__setattr__(other, "seed", seed)
    return other


@functools.cache
def _without_seed(text: str) -> Config:
    return Config(**values_from_toml(text))


def log_points(path: Path) -> Sequence[Mapping[str, Any]]:
    """Reads the log points of a run: the epoch, the step and the scalars by tag; None for one that is not finite.

    Raises:
      UsageError: its log is damaged.
    """
    try:
        with os.fdopen(open_regular(path / METRICS), encoding="utf-8") as file:
            return [records.log_point(line) for line in file]
    except OSError as error:
        raise UsageError(f"{path / METRICS}: cannot be read ({error.strerror})") from error
    except (records.DamagedError, UnicodeDecodeError) as error:
        raise UsageError(f"{path / METRICS}: is damaged") from error
