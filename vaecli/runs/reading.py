"""A finished run, read back from its directory."""

import dataclasses
import os
from pathlib import Path

from vaecli.config import Config, UsageError
from vaecli.runs.directory import CONFIG, SUMMARY, Summary, read_config, read_summary


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as its directory records it."""

    path: Path
    config: Config
    summary: Summary


def open_run(path: Path) -> Run:
    """Reads a run that has a checkpoint to show: a complete one, a stopped one, or one that diverged later.

    Raises:
      UsageError: there is no run, or it is unfinished or damaged; the message says which.
    """
    try:
        if not path.is_dir():
            raise UsageError(
                f"{path}: is a file and not a run directory" if path.exists() else f"{path}: does not exist"
            )
        if not os.path.lexists(path / CONFIG):
            inside = (sorted(path.glob(f"{'*/' * depth}{CONFIG}")) for depth in (1, 2, 3))
            configs = next(filter(None, inside), None)
            example = f"; one of those in it is {configs[0].parent}" if configs else ""
            raise UsageError(f"{path}: is not a run directory, it has no {CONFIG}{example}")
        config = read_config(path)
        if not os.path.lexists(path / SUMMARY):
            raise UsageError(f"{path}: holds an unfinished run, it has no {SUMMARY} yet")
        summary = read_summary(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    return Run(path, config, summary)
