"""From a grid to the runs in it, and to what each of them has come to."""

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaecli.config import SETTINGS, Config, ConfigError, UsageError
from vaecli.config.naming import label, text
from vaecli.config.toml import Plan
from vaecli.data import load
from vaecli.runs.directory import Summary, finished, run_path
from vaecli.training.train import checked

MOST = 100_000
"""Runs of a sweep; it looks at the directory of each before it begins."""

PERTURBATION = 1e-6
"""Of a twin; next to no change, and more than float32 rounds away."""


class Task(NamedTuple):
    """Runs that differ in their seed alone; they train in one compiled program.

    Attributes:
      config: of the first.
      seeds: of all.
    """

    config: Config
    seeds: Sequence[int]

    def run(self, seed: int) -> Config:
        """The config of one of them."""
        return dataclasses.replace(self.config, seed=seed)


class Sweep(NamedTuple):
    """The runs of a sweep.

    Attributes:
      tasks: in the order in which they are trained.
      vary: the fields that the directories name.
      runs: the folder of all results.
    """

    tasks: Sequence[Task]
    vary: Sequence[str]
    runs: Path

    def path(self, task: Task, seed: int) -> Path:
        """The directory of a run."""
        return run_path(self.runs, task.run(seed), self.vary)

    def label(self, task: Task) -> str:
        """What tells the runs of a task from those of the others."""
        return label(task.config, self.vary)


def expand(base: Mapping[str, Any], plan: Plan, runs: Path) -> Sweep:
    """The runs of all grids of a plan, each once.

    Args:
      base: the settings that a grid does not vary.
      plan: what varies.
      runs: the folder of all results.

    Raises:
      UsageError: a combination of settings cannot be trained; the message names it.
    """
    if not 1 <= plan.seeds <= 10_000:
        raise ConfigError("seeds", f"must lie between 1 and 10000, got {plan.seeds}")
    grids = plan.grids or [{}]
    if (size := plan.seeds * sum(math.prod(map(len, grid.values())) for grid in grids)) > MOST:
        raise UsageError(f"a sweep of {size} runs is more than one can be ({MOST}); make several of it")
    found: dict[Config, dict[int, None]] = {}
    for grid in grids:
        for values in itertools.product(*grid.values()):
            varied = [name for name, of_field in grid.items() if len(of_field) > 1]
            config = _config({**base, **dict(zip(grid, values, strict=True))}, varied)
            seeds = found.setdefault(dataclasses.replace(config, seed=0), {})
            seeds.update(dict.fromkeys(range(config.seed, config.seed + plan.seeds)))
    if _varies("name", found):
        raise UsageError("a sweep has one name; give --name one value")
    if plan.chaos_floor and any(config.perturb for config in found):
        raise ConfigError("perturb", "has no place beside chaos_floor, which adds the perturbed twins itself")
    if plan.chaos_floor:
        found |= {dataclasses.replace(config, perturb=PERTURBATION): seeds for config, seeds in found.items()}
    if max(max(seeds) for seeds in found.values()) >= 2**32:
        raise ConfigError("seed", "the last one must be less than 2**32")
    tasks = [Task(dataclasses.replace(config, seed=next(iter(seeds))), tuple(seeds)) for config, seeds in found.items()]
    vary = [name for name in SETTINGS if name not in ("param", "seed", "perturb") and _varies(name, found)]
    sweep = Sweep(tasks, vary, runs)
    folders: dict[Path, Task] = {}
    for task in tasks:
        other = folders.setdefault(sweep.path(task, 0), task)
        if other is not task:
            raise UsageError(f"{sweep.path(task, 0)}: would hold both {sweep.label(other)} and {sweep.label(task)}")
    return sweep


def _varies(name: str, configs: Collection[Config]) -> bool:
    return len({getattr(config, name) for config in configs}) > 1


def _config(values: Mapping[str, Any], varied: Sequence[str]) -> Config:
    try:
        return checked(Config(**values))
    except ConfigError as error:
        if not set(varied) - {error.field}:
            raise
        which = ", ".join(f"{name}={text(values[name])}" for name in varied)
        raise ConfigError(error.field, f"{error.message} (with {which})") from error


def outcomes(sweep: Sweep) -> Mapping[Path, Summary | None]:
    """The summary of each run that has its outcome, and None for those that have not; the data are looked at, too.

    Raises:
      UsageError: a directory holds something else, or the data of runs without an outcome cannot be used.
    """
    found: dict[Path, Summary | None] = {}
    unfinished: dict[str, Config] = {}
    for task in sweep.tasks:
        for seed in task.seeds:
            path = sweep.path(task, seed)
            found[path] = finished(path, task.run(seed))
            if not found[path]:
                unfinished[task.config.data_dir] = task.config
    for config in unfinished.values():
        load(config)
    return found
