"""The grid of a sweep: the runs in it, and the outcome of each of them."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaecli.config import SETTINGS, Config, ConfigError, UsageError
from vaecli.config.naming import label, text
from vaecli.config.toml import SweepPlan
from vaecli.data import RawImages, check_pixels, check_size, description, read
from vaecli.runs.directory import Summary, finished, run_path
from vaecli.runs.limits import check_paths
from vaecli.runs.names import chosen_name, default_name
from vaecli.training.data_checks import data_first, same_data_as
from vaecli.training.train import checked

MAX_RUNS = 100_000
"""The most runs of a sweep, which looks at the directory of each before it begins."""

PERTURBATION = 1e-6
"""Of a twin; next to no change, and more than float32 rounds away."""


class Task(NamedTuple):
    """A set of runs that differ only in their seed; they train in one compiled program.

    Attributes:
      config: the config of the first.
      seeds: the seeds of all.
    """

    config: Config
    seeds: Sequence[int]

    def config_of(self, seed: int) -> Config:
        """Returns the config of one of the runs."""
        return dataclasses.replace(self.config, seed=seed)


class Sweep(NamedTuple):
    """The runs of a sweep.

    Attributes:
      tasks: its tasks, in the order in which they are trained.
      vary: the fields that the directories name.
      runs: the folder of all results.
      unchosen: the number of further runs, whose learning rates the pilots among the tasks have yet to choose.
    """

    tasks: Sequence[Task]
    vary: Sequence[str]
    runs: Path
    unchosen: int = 0

    def path(self, task: Task, seed: int) -> Path:
        """Returns the directory of a run."""
        return run_path(self.runs, task.config_of(seed), self.vary)

    def label(self, task: Task) -> str:
        """Returns what distinguishes the runs of a task from those of the others."""
        return label(task.config, self.vary)


def expand(base: Mapping[str, Any], plan: SweepPlan, runs: Path, config_name: str = "") -> Sweep:
    """Returns the runs of all grids of a plan, each once.

    Args:
      base: the settings that a grid does not vary.
      plan: what varies.
      runs: the folder of all results.
      config_name: the name of the file of the sweep; where that gives no name, it is part of it.

    Raises:
      UsageError: a combination of settings cannot be trained; the message names it.
    """
    seeds_of = _combinations(base, plan)
    if _varies("name", seeds_of):
        raise UsageError("a sweep has one name; give --name one value")
    if plan.chaos_floor:
        if any(config.perturb for config in seeds_of):
            raise ConfigError("perturb", "has no place beside chaos_floor, which adds the perturbed twins itself")
        seeds_of |= {dataclasses.replace(config, perturb=PERTURBATION): seeds for config, seeds in seeds_of.items()}
    if max(max(seeds) for seeds in seeds_of.values()) >= 2**32:
        raise ConfigError("seed", "the last one must be less than 2**32")
    unnamed = {"param", "seed", "pilot", "perturb"}
    vary = [name for name in SETTINGS if name not in unnamed and _varies(name, seeds_of)]
    name = next(iter(seeds_of)).name
    if not name:
        name = chosen_name(default_name(_data_dirs(base, plan), config_name), seeds_of, runs, vary, config_name)
    tasks = [Task(dataclasses.replace(config, name=name, seed=seeds[0]), seeds) for config, seeds in seeds_of.items()]
    sweep = Sweep(tasks, vary, runs)
    _check_paths(sweep)
    return sweep


def _combinations(base: Mapping[str, Any], plan: SweepPlan) -> dict[Config, tuple[int, ...]]:
    """The configs of all grids of a plan, with the seed 0, and the seeds of each."""
    if not 1 <= plan.seeds <= 10_000:
        raise ConfigError("seeds", f"must lie between 1 and 10000, got {plan.seeds}")
    grids = plan.grids or [{}]
    if (size := plan.seeds * sum(math.prod(map(len, grid.values())) for grid in grids)) > MAX_RUNS:
        raise UsageError(f"a sweep of {size} runs is more than one can be ({MAX_RUNS}); split it into several")
    seeds_of: dict[Config, dict[int, None]] = {}
    for grid in grids:
        varied = [name for name, values in grid.items() if len(values) > 1]
        for combination in itertools.product(*grid.values()):
            config = _config({**base, **dict(zip(grid, combination, strict=True))}, varied)
            seeds = seeds_of.setdefault(dataclasses.replace(config, seed=0), {})
            seeds.update(dict.fromkeys(range(config.seed, config.seed + plan.seeds)))
    return {config: tuple(seeds) for config, seeds in seeds_of.items()}


def _check_paths(sweep: Sweep) -> None:
    """Checks that no two tasks share a directory."""
    tasks: dict[Path, Task] = {}
    for task in sweep.tasks:
        path = sweep.path(task, 0)
        other = tasks.setdefault(path, task)
        if other is not task:
            raise UsageError(f"{path}: would hold both {sweep.label(other)} and {sweep.label(task)}")


def _data_dirs(base: Mapping[str, Any], plan: SweepPlan) -> Sequence[str]:
    """Returns the data folders of all grids of a plan, as they are given."""
    given = [base.get("data_dir", "")]
    return list(dict.fromkeys(folder for grid in plan.grids or [{}] for folder in grid.get("data_dir", given)))


def _varies(name: str, configs: Iterable[Config]) -> bool:
    return len({getattr(config, name) for config in configs}) > 1


def _config(values: Mapping[str, Any], varied: Collection[str]) -> Config:
    """The config of one combination; what is wrong with it names the fields that vary."""
    try:
        return checked(Config(**values)).config
    except ConfigError as error:
        if not set(varied) - {error.field}:
            raise
        which = ", ".join(f"{name}={text(values[name])}" for name in varied)
        raise ConfigError(error.field, f"{error.message} (with {which})") from error


def outcomes(sweep: Sweep) -> Mapping[Path, Summary | None]:
    """Returns the summary of each run that has its outcome, and None for the others.

    Raises:
      UsageError: a directory cannot be made, or holds something else.
    """
    configs = [task.config_of(seed) for task in sweep.tasks for seed in task.seeds]
    paths = [run_path(sweep.runs, config, sweep.vary) for config in configs]
    same_data = functools.cache(same_data_as)
    with data_first(task.config for task in sweep.tasks):
        check_paths(paths)
        return {
            path: finished(path, config, same_data=same_data(config.data_dir))
            for path, config in zip(paths, configs, strict=True)
        }


def unfinished_tasks(sweep: Sweep, summaries: Mapping[Path, Summary | None]) -> Sequence[Task]:
    """Returns the tasks with runs that have no outcome yet, by the summaries that `outcomes` returns."""
    return [task for task in sweep.tasks if not all(summaries[sweep.path(task, seed)] for seed in task.seeds)]


def data_of(tasks: Sequence[Task]) -> Sequence[str]:
    """Checks the data of tasks; returns what a person reads of them, line by line.

    Raises:
      UsageError: they cannot be used.
    """
    lines: dict[str, None] = {}
    images: dict[str, RawImages] = {}
    for config in (task.config for task in tasks):
        if config.data_dir not in images:
            images[config.data_dir] = read(config.data_dir)
            check_pixels(images[config.data_dir], config.data_dir)
        check_size(images[config.data_dir], config)
        lines |= dict.fromkeys(description(images[config.data_dir], config))
    return list(lines)
