"""A run's directory: where it is, whether it may be used, and its record."""

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from vaecli.config import SETTINGS, Config, UsageError
from vaecli.config.naming import OWN_DATA, label, label_folder
from vaecli.config.toml import differences, to_toml, values_from_toml
from vaecli.runs import records
from vaecli.runs.files import TEMPORARY, read_regular, write_atomically
from vaecli.runs.lock import Held, RunLock, is_lock

CONFIG, SUMMARY, METRICS, STEPS, CHECKPOINT, PICTURES, EVENTS = (
    "config.toml",
    "summary.json",
    "metrics.jsonl",
    "steps.jsonl",
    "checkpoint",
    "pictures",
    "events.out.tfevents.*",
)
_OURS = {CHECKPOINT: "step*", PICTURES: "*_epoch*.png"}
"""What a run puts into its folders."""

Summary = dict[str, Any]


def is_event_file(name: str) -> bool:
    """Returns whether a file of this name in a run's directory is its event file."""
    return fnmatchcase(name, EVENTS) and "/" not in name


def is_log(name: str) -> bool:
    """Returns whether a file of this name in a run's directory is one that a run appends to."""
    return name in (METRICS, STEPS) or is_event_file(name)


def run_path(runs: Path, config: Config, vary: Collection[str] = ()) -> Path:
    """Returns `<runs>/<name>/<label>/seed<k>`, the label as `label_folder` has it."""
    return runs / (config.name or OWN_DATA) / label_folder(label(config, vary)) / f"seed{config.seed}"


def finished(
    path: Path, config: Config, *, overwrite: bool = False, same_data: Callable[[Summary], bool] = lambda summary: True
) -> Summary | None:
    """Returns the summary of a run that has its outcome, or None for one that is to be trained, anew or further.

    Args:
      path: the directory.
      config: the run that is asked for.
      overwrite: whether a run that lies there may be written over.
      same_data: asked of a run whose data lay in another place; says whether they are those of the config.

    Raises:
      UsageError: the directory holds another config, a damaged run, or something that is not a run.
    """
    try:
        if not path.exists():
            return None
        entries = {entry.name for entry in path.iterdir() if not is_lock(entry.name)}
        entries -= {name for name in entries if name.endswith(TEMPORARY)}
        if CONFIG not in entries:
            if not entries:
                return None
            raise UsageError(
                f"{path}: exists but is not a run directory (it has no {CONFIG}); choose another --name or --runs"
            )
        _check_kinds(path)
        if overwrite:
            return None
        recorded = _or_overwrite(read_config, path)
        if unlike := differences(recorded, config):
            raise UsageError(
                f"{path}: holds another config ({'; '.join(unlike)}); choose another --name, or train with --overwrite"
            )
        if SUMMARY in entries:
            summary = _or_overwrite(lambda path: read_summary(path, recorded), path)
            if summary["status"] != "interrupted":
                if recorded.data_dir != config.data_dir and not same_data(summary):
                    raise UsageError(
                        f"{path}: holds a run on other data (in {recorded.data_dir or 'this package'}, not "
                        f"{config.data_dir or 'this package'}); choose another --name, or train with --overwrite"
                    )
                return summary
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    return None


def _check_kinds(path: Path) -> None:
    """Checks that a run directory has files where a run has files, and folders where it has folders.

    A link to one of the right kind will do, as for checkpoints on a disk of their own.
    """
    files = {path / name for name in (CONFIG, SUMMARY, METRICS, STEPS)} | set(path.glob(EVENTS))
    for entry in sorted(files | {path / CHECKPOINT, path / PICTURES}):
        if not os.path.lexists(entry):
            continue
        try:
            mode = entry.stat().st_mode
        except FileNotFoundError as error:
            leads = f"is a link that leads nowhere ({os.readlink(entry)})"
            raise UsageError(f"{entry}: {leads}; bring back what it names, or remove it") from error
        except OSError as error:
            raise UsageError(f"{entry}: cannot be read ({error.strerror})") from error
        wanted, right = ("file", stat.S_ISREG(mode)) if entry in files else ("folder", stat.S_ISDIR(mode))
        if not right:
            kinds = {stat.S_ISREG: "a file", stat.S_ISDIR: "a folder"}
            what = next((kind for is_kind, kind in kinds.items() if is_kind(mode)), "a pipe, socket or device")
            raise UsageError(f"{entry}: is {what} where a run has a {wanted}; move it away")


def _or_overwrite(read: Callable[[Path], Any], path: Path) -> Any:
    """Reads a file of a run; where it is damaged, the message says that the run can be started anew."""
    try:
        return read(path)
    except UsageError as error:
        raise UsageError(f"{error}; training it with --overwrite starts it anew") from error


def read_config(path: Path) -> Config:
    """Reads the config of a run directory.

    Raises:
      UsageError: it is damaged.
    """
    try:
        return Config(**values_from_toml(read_regular(path / CONFIG).decode()))
    except (UsageError, UnicodeDecodeError) as error:
        raise UsageError(f"{path / CONFIG}: {error}") from error


def read_summary(path: Path, config: Config | None = None) -> Summary:
    """Reads the summary of a run directory.

    Args:
      path: the directory.
      config: the config in it, to which the summary must belong, where that is to be checked.

    Raises:
      UsageError: it is damaged, or that of another run.
    """
    summary = _read_summary(path)
    if config and (unlike := _unlike(summary, config)):
        changed = f"was changed after the run ({'; '.join(unlike)}), or its {SUMMARY} is that of another run"
        raise UsageError(f"{path / CONFIG}: {changed}")
    return summary


def _unlike(summary: Summary, config: Config) -> Collection[str]:
    """In what a summary does not belong to a config."""
    recorded = summary.get("config")
    if isinstance(recorded, dict):
        # A setting that came later had its default then.
        pairs = (
            (name, recorded.get(name, _plain(SETTINGS[name].default)), value)
            for name, value in outcome_settings(config).items()
        )
        return [f"{name} is {a!r} there and {b!r} here" for name, a, b in pairs if a != b]
    epochs = summary["epochs"]
    fits = epochs == config.epochs if summary["status"] == "complete" else 0 <= epochs <= config.epochs
    return [] if fits else [f"epochs is {epochs} there and {config.epochs} here"]


def outcome_settings(config: Config) -> Mapping[str, Any]:
    """Returns the settings that decide a run, as JSON has them; names and places do not."""
    deciding = (name for name, setting in SETTINGS.items() if setting.outcome and name not in ("name", "data_dir"))
    return {name: _plain(getattr(config, name)) for name in deciding}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _read_summary(path: Path) -> Summary:
    try:
        return records.summary(read_regular(path / SUMMARY).decode())
    except (records.DamagedError, UnicodeDecodeError) as error:
        raise UsageError(f"{path / SUMMARY}: is damaged") from error


NO_UPDATE = "no update"
"""The cause of a run that ended since all of its updates were skipped for long."""


def divergence(summary: Mapping[str, Any]) -> str:
    """The first thing that was not finite in a run that diverged, in words."""
    first = summary["first_non_finite"]
    if first["quantity"] == NO_UPDATE:
        return f"no update is made any more at step {first['step']}: the gradient's norm stays above --skip-norm"
    block = f" of {first['block']}" if first.get("block") else ""
    return f"{first['quantity']}{block} is not finite at step {first['step']}"


_STOPPED = "while this process was working on it, so it stops"


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """A run's directory that this process holds, from `claim` to `release`.

    Attributes:
      path: its name when it was claimed.
      place: the directory itself, wherever it has been moved since; files are written below it. Where the system has no
        such name for an open folder, it is the path.
      descriptor: the open folder.
      lock: its lock.
      made: the folders that were made for it, the innermost first.
    """

    path: Path
    place: Path
    descriptor: int
    lock: RunLock
    made: tuple[Path, ...] = ()

    def check(self) -> None:
        """Makes sure, before something is written, that the path still leads to this directory, and is still locked.

        Raises:
          UsageError: it does not, so that another process may be working on this run.
          OSError: it cannot be found out.
        """
        if not self._is_in_place():
            raise UsageError(f"{self.path}: {self._whereabouts()}")
        if not self.lock.is_valid():
            raise UsageError(
                f"{self.path}: its lock was removed {_STOPPED}; the same command goes on from the last checkpoint"
            )

    def _is_in_place(self) -> bool:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        return False

    def _whereabouts(self) -> str:
        """What has become of a directory that is no longer in its place, and what to do."""
        try:
            now = os.readlink(self.place)
        except OSError:
            return f"was moved or removed {_STOPPED}; bring it back, and the same command goes on"
        if now.endswith(" (deleted)") or os.fstat(self.descriptor).st_nlink == 0:
            return f"was removed {_STOPPED}; the same command begins the run anew"
        return f"was moved to {now} {_STOPPED}; move it back, and the same command goes on"

    def start(self, config: Config) -> None:
        """Removes what an earlier run left, and records the config.

        Wherever in here the process ends, it leaves an empty directory, or a run that was cut off.
        """
        self.resume()
        self._empty(METRICS, STEPS, EVENTS)
        self.write_config(config)

    def write_config(self, config: Config) -> None:
        """Records the config."""
        write_atomically(self.place / CONFIG, to_toml(config))

    def _empty(self, *patterns: str) -> None:
        """Removes the folders of the run, and then its files of these names."""
        for folder in _OURS:
            self._clear(folder)
        for pattern in patterns:
            for file in self.place.glob(pattern):
                file.unlink()

    def _clear(self, name: str) -> None:
        """Removes a folder of the run; a link stays, and what the run has put there is removed."""
        folder = self.place / name
        if folder.is_symlink():
            # The checksums of a checkpoint come before it, so that no more than one is ever without them.
            for entry in sorted(folder.glob(_OURS[name]), reverse=True):
                discard(entry)
        elif folder.exists():
            # Half a checkpoint would look like a damaged one.
            renamed = self.place / f".{name}{TEMPORARY}"
            os.replace(folder, renamed)
            discard(renamed)

    def resume(self) -> None:
        """Removes the summary of a run that is about to go on, and what writes that were cut off left."""
        self.check()
        (self.place / SUMMARY).unlink(missing_ok=True)
        self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Removes what writes that were cut off left."""
        for entry in leftovers(self.place):
            discard(entry)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes the summary: the last file of a run, which says that it is over."""
        self.check()
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(self.place / SUMMARY, f"{text}\n")

    def abandon(self) -> None:
        """Removes what a run has written that comes to nothing, so that no run is left."""
        with contextlib.suppress(OSError, UsageError):
            self.resume()
            self._empty(METRICS, STEPS, EVENTS, CONFIG)

    def release(self) -> None:
        """Lets other processes use the directory; one in which no run was started is removed again."""
        try:
            if os.path.lexists(self.place / CONFIG):
                self.lock.release()
                return
            # While the lock is held: after that, another process may already hold the same file.
            with contextlib.suppress(OSError):
                self.lock.remove()
            self.lock.release()
            with contextlib.suppress(OSError):  # A folder with the files of somebody else stays.
                if self._is_in_place():
                    for folder in (self.path, *self.made[1:]):
                        folder.rmdir()
        finally:
            os.close(self.descriptor)


def leftovers(path: Path) -> Sequence[Path]:
    """Returns what writes that were cut off left in a run's directory, or writes that are under way have there."""
    return [entry for folder in (path, path / PICTURES) for entry in folder.glob(f".*{TEMPORARY}")]


def discard(entry: Path) -> None:
    """Removes a file, a link or a folder."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


class UnwritableError(UsageError):
    """A run's directory cannot be written, though it may be read."""


_TRIES = 10
"""How often a directory is claimed that others, who claim it too, make and remove."""


def claim(path: Path) -> RunDirectory:
    """Makes a run directory and takes its lock, which is free when the process ends, however it ends.

    Raises:
      UnwritableError: the directory cannot be made, or written.
      UsageError: another process holds it.
    """
    made: tuple[Path, ...] = ()
    try:
        for tries_left in reversed(range(_TRIES)):
            made = tuple(folder for folder in (path, *path.parents) if not folder.exists())
            path.mkdir(parents=True, exist_ok=True)
            try:
                return _claimed(path, made)
            except FileNotFoundError:
                if not tries_left:
                    raise
        raise AssertionError
    except Held as error:
        holder = f" ({error.holder})" if error.holder else ""
        gone = f", or if that process is gone, remove {path / error.file}" if error.file else ""
        raise UsageError(f"{path}: another process is working on this run{holder}; wait for it{gone}") from error
    except OSError as error:
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise UnwritableError(f"{path}: cannot be written ({error.strerror})") from error


def _claimed(path: Path, made: tuple[Path, ...]) -> RunDirectory:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        by_descriptor = Path(f"/proc/self/fd/{descriptor}")
        place = by_descriptor if by_descriptor.is_dir() else Path(os.path.abspath(path))
        directory = RunDirectory(path, place, descriptor, RunLock(place), made)
    except BaseException:
        os.close(descriptor)
        raise
    if not directory._is_in_place():
        directory.release()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if os.path.lexists(place / CONFIG):
        with contextlib.suppress(OSError):  # They take room and do no harm.
            directory.remove_leftovers()
    return directory
