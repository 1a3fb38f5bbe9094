"""A sweep in which pilots choose the learning rates: at each rate they come first, then each seed at its own best rate.

Which runs there are follows from the grid and from the outcomes of the pilots, so that a sweep goes on wherever it was
stopped, and on any machine.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from vaecli.config import Config, ConfigError, UsageError
from vaecli.report.tuning import CRITERIA, best_rate
from vaecli.runs.directory import Summary
from vaecli.sweep.grid import MAX_RUNS, Sweep, Task, outcomes


def tuned(grid: Sweep, number: int) -> tuple[Sweep, Mapping[Path, Summary | None]]:
    """Returns the pilots of a grid, with the other runs as far as pilots have chosen their rates; and all summaries.

    Args:
      grid: the sweep that would train every seed at every rate.
      number: of pilots of each seed at each rate.

    Raises:
      UsageError: there is no rate to choose, or nothing to choose it by; a directory cannot be used.
    """
    pilots = grid._replace(tasks=_pilots(grid, number))
    summaries = dict(outcomes(pilots))
    # All that may be chosen, so that a directory that cannot be used is refused before the first pilot is trained.
    possible = outcomes(grid)
    chosen = _chosen(pilots, summaries)
    tasks, unchosen = [], set()
    for task in grid.tasks:
        variant, twin = _without_rate(task.config), task.config.perturb
        rates = {seed: chosen.get((variant, seed)) for seed in task.seeds}
        if seeds := tuple(seed for seed, rate in rates.items() if rate == task.config.lr):
            tasks.append(Task(task.config_of(seeds[0]), seeds))
        unchosen |= {(variant, twin, seed) for seed, rate in rates.items() if rate is None}
    paths = [grid.path(task, seed) for task in tasks for seed in task.seeds]
    summaries |= {path: possible[path] for path in paths}
    return grid._replace(tasks=[*pilots.tasks, *tasks], unchosen=len(unchosen)), summaries


def _pilots(grid: Sweep, number: int) -> Sequence[Task]:
    """Returns the pilots of a grid, those of one compiled program together."""
    if not 0 < number <= 1000:
        raise ConfigError("pilot_seeds", f"must lie between 0, for none, and 1000, got {number}")
    variants: dict[Config, dict[float, set[int]]] = {}
    tasks: dict[Config, dict[int, None]] = {}
    for task in grid.tasks:
        config = task.config
        if config.pilot:
            raise ConfigError("pilot", "has no place beside pilot_seeds, which adds the pilots itself")
        if not config.validation:
            raise ConfigError("validation", "is needed for pilot_seeds, which choose the rate on the validation split")
        variants.setdefault(_without_rate(config), {}).setdefault(config.lr, set()).update(task.seeds)
        for pilot in range(1, number + 1):
            seeds = tasks.setdefault(dataclasses.replace(config, pilot=pilot, perturb=0.0, seed=0), {})
            seeds.update(dict.fromkeys(task.seeds))
    if len(set(map(frozenset, variants.values()))) > 1 or len(next(iter(variants.values()))) < 2:
        raise ConfigError("lr", "pilot_seeds choose among several rates, the same ones for every variant")
    if any(len(set(map(frozenset, rates.values()))) > 1 for rates in variants.values()):
        raise ConfigError("seed", "pilot_seeds choose among rates that are all trained with the same seeds")
    if (size := sum(map(len, tasks.values()))) > MAX_RUNS:
        raise UsageError(f"a sweep of {size} pilots is more than one can be ({MAX_RUNS}); split it into several")
    return [Task(dataclasses.replace(config, seed=min(seeds)), tuple(seeds)) for config, seeds in tasks.items()]


def _chosen(pilots: Sweep, summaries: Mapping[Path, Summary | None]) -> Mapping[tuple[Config, int], float]:
    """Returns the best rate for each variant without its rate, and seed, whose pilots all have their outcome."""
    bounds: dict[tuple[Config, int], dict[float, list[float | None]]] = {}
    unfinished = set()
    for task in pilots.tasks:
        variant = _without_rate(task.config)
        for seed in task.seeds:
            which = variant, seed
            if summary := summaries[pilots.path(task, seed)]:
                bounds.setdefault(which, {}).setdefault(task.config.lr, []).append(_bound(summary, task.config))
            else:
                unfinished.add(which)
    return {which: best_rate(at_rates) for which, at_rates in bounds.items() if which not in unfinished}


def _bound(summary: Summary, config: Config) -> float | None:
    """Returns what a pilot says of its rate; None if it was lost."""
    return summary["metrics"].get(CRITERIA[config.objective]) if summary["status"] == "complete" else None


def _without_rate(config: Config) -> Config:
    """Returns what the runs have in common among which a rate is chosen, their pilots and twins included."""
    return dataclasses.replace(config, lr=1.0, seed=0, pilot=0, perturb=0.0)
