"""The name of runs that are given none: that of their config file, and that of their data."""

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from vaecli.config import SETTINGS, Config, UsageError
from vaecli.config.naming import OWN_DATA, folder_name
from vaecli.runs.directory import CONFIG, read_config, run_path


def default_name(data_dirs: Iterable[str], config_name: str = "") -> str:
    """Returns the name of runs that are given none.

    Args:
      data_dirs: their data folders, "" for the MNIST in this package.
      config_name: the name of the file that their config comes from, if its data are others.

    >>> default_name([""]), default_name(["/data/kmnist/"]), default_name(["/data/kmnist"], "headline")
    ('mnist', 'kmnist', 'headline-kmnist')
    """
    data_dirs = list(data_dirs)
    words = [config_name] * (config_name not in ("", OWN_DATA))
    words += [_data_name(data_dir) if data_dir else OWN_DATA for data_dir in data_dirs]
    name = "-".join(dict.fromkeys(words))[:100].rstrip("-._")
    # Some file systems tell no capitals apart.
    return f"{name}-data" if any(data_dirs) and name.lower() == OWN_DATA else name


def _data_name(data_dir: str) -> str:
    """Returns what a data folder is called, as the user sees it: a link by its own name."""
    path = os.path.expanduser(data_dir)
    # What lies above a link is not what lies above its target.
    path = os.path.realpath(path) if os.path.basename(path.rstrip("/")) == ".." else os.path.abspath(path)
    return folder_name(os.path.basename(path)) or "data"


def chosen_name(name: str, configs: Iterable[Config], runs: Path, vary: Collection[str], config_name: str = "") -> str:
    """Returns the name of runs that were given none: the default one, or that under which they were begun.

    An earlier version gave the same name to runs on any data, that of the config file. Such a run goes on in its place.

    Args:
      name: the default one.
      configs: the runs, with the place of their data as it is recorded.
      runs: the folder of all results.
      vary: settings that the directories name.
      config_name: the name of the file that their config comes from.
    """
    earlier = config_name or OWN_DATA
    if name == earlier or not (runs / earlier).is_dir():
        return name
    wanted = {_outcome_only(config): dataclasses.replace(config, name=name) for config in configs}
    if any(run_path(runs, config, vary).parent.exists() for config in wanted.values()):
        return name
    begun = any(
        _outcome_only(config) in wanted and run_path(runs, config, vary) == path
        for path, config in _first_runs(runs / earlier)
    )
    return earlier if begun else name


def _first_runs(folder: Path) -> Iterator[tuple[Path, Config]]:
    """Yields, for each variant in a folder of runs, the directory and the config of one of its runs."""
    for first in {path.parent.parent: path.parent for path in folder.glob(f"*/*/{CONFIG}")}.values():
        try:
            yield first, read_config(first)
        except (UsageError, OSError):
            continue  # Whoever asks for that run is told.


def _outcome_only(config: Config) -> Config:
    """Returns what decides the outcome of a config's runs and of their pilots, and the place of their data."""
    ignored = {name for name, setting in SETTINGS.items() if not setting.outcome} - {"data_dir"}
    ignored |= {"name", "seed", "pilot", "perturb"}
    return dataclasses.replace(config, **{name: SETTINGS[name].default for name in ignored})
