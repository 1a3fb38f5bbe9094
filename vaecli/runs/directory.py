"""A run's directory: where it is, whether it may be used, and its record."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vaecli.config import Config, UsageError
from vaecli.config.naming import label
from vaecli.config.toml import differences, to_toml, values_from_toml
from vaecli.runs import records

CONFIG, SUMMARY, METRICS, CHECKPOINT, PICTURES, EVENTS = (
    "config.toml",
    "summary.json",
    "metrics.jsonl",
    "checkpoint",
    "pictures",
    "events.out.tfevents.*",
)
LOCK = ".lock"
TEMPORARY = ".vae-tmp"
"""At the end of the name of what is still being written."""

Summary = dict[str, Any]


def run_path(runs: Path, config: Config, vary: Collection[str] = ()) -> Path:
    """Returns `<runs>/<name>/<label>/seed<k>`; characters of a label that a shell or file system minds are replaced."""
    folder = re.sub(r"[^A-Za-z0-9._=,+-]", "_", label(config, vary).replace(":", "."))
    return runs / config.name / folder / f"seed{config.seed}"


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
        entries = {entry.name for entry in path.iterdir()} - {LOCK}
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
            summary = _or_overwrite(read_summary, path)
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
    """Checks that a run directory has files where a run has files, and folders where it has folders."""
    for name in (CONFIG, SUMMARY, METRICS):
        if (path / name).is_dir():
            raise UsageError(f"{path / name}: is a folder where a run has a file; move it away")
    for name in (CHECKPOINT, PICTURES):
        if (path / name).is_file():
            raise UsageError(f"{path / name}: is a file where a run has a folder; move it away")


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
        return Config(**values_from_toml((path / CONFIG).read_text(encoding="utf-8")))
    except (UsageError, UnicodeDecodeError) as error:
        raise UsageError(f"{path / CONFIG}: {error}") from error


def read_summary(path: Path) -> Summary:
    """Reads the summary of a run directory.

    Raises:
      UsageError: it is damaged.
    """
    try:
        return records.summary((path / SUMMARY).read_text(encoding="utf-8"))
    except (records.DamagedError, UnicodeDecodeError) as error:
        raise UsageError(f"{path / SUMMARY}: is damaged") from error


def divergence(summary: Mapping[str, Any]) -> str:
    """The first thing that was not finite in a run that diverged, in words."""
    first = summary["first_non_finite"]
    block = f" of {first['block']}" if first.get("block") else ""
    return f"{first['quantity']}{block} is not finite at step {first['step']}"


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """A run's directory that this process holds, from `claim` to `release`."""

    path: Path
    lock: FileLock
    made: tuple[Path, ...] = ()
    """The folders that were made for it, the innermost first."""

    def start(self, config: Config) -> None:
        """Removes what an earlier run left, and records the config.

        Wherever in here the process ends, it leaves an empty directory, or a run that was cut off.
        """
        self.resume()
        for folder in (CHECKPOINT, PICTURES):
            if (self.path / folder).exists():
                # Half a checkpoint would look like a damaged one.
                renamed = self.path / f".{folder}{TEMPORARY}"
                os.replace(self.path / folder, renamed)
                shutil.rmtree(renamed)
        for entry in (METRICS, EVENTS):
            for file in self.path.glob(entry):
                file.unlink()
        self.write_config(config)

    def write_config(self, config: Config) -> None:
        """Records the config."""
        write_atomically(self.path / CONFIG, to_toml(config))

    def resume(self) -> None:
        """Removes the summary of a run that is about to go on, and what writes that were cut off left."""
        (self.path / SUMMARY).unlink(missing_ok=True)
        for entry in self.path.glob(f".*{TEMPORARY}"):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes the summary: the last file of a run, which says that it is over."""
        write_atomically(self.path / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def release(self) -> None:
        """Lets other processes use the directory; one in which no run was started is removed again."""
        if (self.path / CONFIG).exists():
            self.lock.release()
        else:
            # While the lock is held: after that, another process may already hold the same file.
            (self.path / LOCK).unlink(missing_ok=True)
            self.lock.release()
            with contextlib.suppress(OSError):  # A folder with the files of somebody else stays.
                for folder in (self.path, *self.made[1:]):
                    folder.rmdir()


def claim(path: Path) -> RunDirectory:
    """Makes a run directory and takes its lock, which the system frees when the process ends, however it ends.

    Raises:
      UsageError: the directory cannot be made, or another process holds it.
    """
    try:
        made = tuple(folder for folder in (path, *path.parents) if not folder.exists())
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK, timeout=0)
        lock.acquire()
        # Whoever holds the lock is named in its file; a name that a dead process left there is written over.
        (path / LOCK).write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    except Timeout as error:
        holder = _holder(path)
        raise UsageError(f"{path}: another process is working on this run{holder}; wait for it") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    return RunDirectory(path, lock, made)


def _holder(path: Path) -> str:
    """The holder of a directory's lock, in brackets, as far as the lock's file says."""
    try:
        text = (path / LOCK).read_text(encoding="utf-8", errors="replace")[:200].strip()
    except OSError:
        return ""
    return f" ({text})" if text else ""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file under a temporary name and renames it, so that a reader sees all of it or none.

    A link is followed, and what is there but is not a regular file, such as a device, is written to as it is.
    """
    data = content.encode() if isinstance(content, str) else content
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
        # The new name, too, outlasts a loss of power.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_output(path: Path, content: str | bytes) -> None:
    """Writes a file that the user named, as `write_atomically` does.

    Raises:
      UsageError: it cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
