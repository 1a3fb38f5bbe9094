"""The learning rates: the runs over a grid of them, and at which rate each seed of a head is compared.

A seed is compared at the rate that its own pilots chose. So each seed repeats the whole of tuning and testing, and what
the choice leaves to chance is in the differences between seeds, of which the intervals are made.
"""

import collections
import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from vaecli.config import UsageError
from vaecli.config.naming import label, text
from vaecli.report.formatting import count, seed_list
from vaecli.report.model import BestRate, RateGrid, TrainedVariant
from vaecli.report.variants import Grouping
from vaecli.runs.collection import Outcome
from vaecli.vae.objectives import OBJECTIVES

CRITERIA = {name: f"validation/{objective.tag}" for name, objective in OBJECTIVES.items()}
"""What a learning rate is chosen by, for each objective."""

Bounds = Mapping[float, Sequence[float | None]]
"""For each rate, the validation bound of each pilot; None for one that was lost."""


class Choice(NamedTuple):
    """The variants that are compared.

    Attributes:
      variants: all of them or, at best rates, one for each grid.
      rates: the rates of each, by its name without the rate; empty where none was chosen.
      warnings: what a reader of the verdicts should know.
    """

    variants: Sequence[TrainedVariant]
    rates: Mapping[str, BestRate]
    warnings: Sequence[str]


def rate_grids(grouping: Grouping) -> list[RateGrid]:
    """Groups variants and pilots by all but their learning rate; returns nothing where it does not vary."""
    if "lr" not in grouping.varies:
        return []
    others = [name for name in grouping.varies if name != "lr"]
    variants: dict[str, dict[float, TrainedVariant]] = {}
    for variant in grouping.variants:
        variants.setdefault(label(variant.config, others), {})[variant.values["lr"]] = variant
    pilots: dict[str, dict[float, dict[int, dict[int, Outcome]]]] = {}
    for pilot in grouping.pilots:
        name = label(dataclasses.replace(pilot.config, pilot=0), others)
        seeds = pilots.setdefault(name, {}).setdefault(pilot.config.lr, {})
        seeds.setdefault(pilot.seed, {})[pilot.config.pilot] = pilot
    return [
        RateGrid(name, dict(sorted(variants.get(name, {}).items())), dict(sorted(pilots.get(name, {}).items())))
        for name in dict.fromkeys([*variants, *pilots])
    ]


def at_each_rate(grouping: Grouping) -> Choice:
    """Compares every variant, whatever its rate; pilots are left out.

    Raises:
      UsageError: there are only pilots.
    """
    if not grouping.pilots:
        return Choice(grouping.variants, {}, [])
    pilots = count(len(grouping.pilots), "pilot")
    if not grouping.variants:
        raise UsageError(f"{pilots}, and no run that they have chosen a rate for; the same vae sweep goes on")
    return Choice(grouping.variants, {}, [f"{pilots} left out, which choose learning rates; --at best-lr uses them"])


def best_rate(bounds: Bounds) -> float:
    """Returns the rate at which most pilots survive and, of those, the mean bound is greatest; of equals the lowest."""

    return max(sorted(bounds), key=lambda rate: (len(_survivors(bounds[rate])), _mean(bounds[rate])))


def _survivors(bounds: Sequence[float | None]) -> list[float]:
    return [bound for bound in bounds if bound is not None]


def _mean(bounds: Sequence[float | None]) -> float:
    survivors = _survivors(bounds)
    return fmean(survivors) if survivors else -math.inf


def at_best_rate(grids: Sequence[RateGrid]) -> Choice:
    """Compares each head at its best rates, each seed at the one that its own pilots choose.

    Only those rates and pilots take part that all grids have.

    Raises:
      UsageError: there is no grid, no pilot, no rate that all have, no validation split, or no run at a chosen rate.
    """
    if not grids:
        raise UsageError("--at best-lr: the learning rate does not vary among these runs")
    for grid in grids:
        if not grid.pilots:
            raise UsageError(f"--at best-lr: {_without_pilots(grid)}")
    rates = sorted(set.intersection(*(set(grid.pilots) for grid in grids)))
    if not rates:
        raise UsageError("--at best-lr: there is no learning rate at which all variants have pilots")
    numbers = sorted(set.intersection(*(_numbers(grid) for grid in grids)))
    if not numbers:
        raise UsageError("--at best-lr: the variants have different pilots; train the same --pilot-seeds for all")
    variants, best, warnings = [], {}, []
    if any(len(grid.pilots) > len(rates) for grid in grids):
        warnings.append(f"only rates that all variants have take part: {', '.join(map(text, rates))}")
    if any(_numbers(grid) != set(numbers) for grid in grids):
        warnings.append(f"only pilots that all variants have take part: {', '.join(map(str, numbers))}")
    for grid in grids:
        bounds, incomplete = _bounds(grid, rates, numbers)
        chosen = {seed: best_rate(of_seed) for seed, of_seed in bounds.items()}
        if incomplete:
            warnings.append(f"{grid.name}: {seed_list(incomplete)} left out, whose pilots are not all here")
        variant, left_out = _at_rates(grid, chosen)
        warnings += left_out
        if variant:
            variants.append(variant)
            best[grid.name] = _best(bounds, chosen, rates, len(numbers))
            warnings += _warnings(grid.name, bounds, chosen, rates)
    if not variants:
        raise UsageError(f"--at best-lr: no run is at a rate that its pilots chose ({warnings[-1]})")
    return Choice(variants, best, warnings)


def _without_pilots(grid: RateGrid) -> str:
    """Says what a head lacks, and what to do."""
    lacks = f"{grid.name} has no pilots, and runs that choose a rate cannot test it, too; with the same settings"
    if all(variant.config.validation for variant in grid.variants.values()):
        return f"{lacks}, vae sweep --pilot-seeds 1 adds them to the runs that are there"
    return f"{lacks} and another --name, vae sweep --validation --pilot-seeds 1 trains what is needed"


def _numbers(grid: RateGrid) -> set[int]:
    """Returns which pilots a seed of a grid has: the first, the second, …"""
    return {number for seeds in grid.pilots.values() for pilots in seeds.values() for number in pilots}


def _bounds(grid: RateGrid, rates: Sequence[float], numbers: Sequence[int]) -> tuple[dict[int, Bounds], list[int]]:
    """Returns for each seed of a grid the bounds of its pilots, and the seeds that lack one of them.

    Args:
      grid: a head's.
      rates: those that take part.
      numbers: which pilots of each seed take part.
    """
    bounds: dict[int, Bounds] = {}
    incomplete = []
    for seed in sorted({seed for rate in rates for seed in grid.pilots[rate]}):
        pilots = {rate: grid.pilots[rate].get(seed, {}) for rate in rates}
        if all(number in of_rate for of_rate in pilots.values() for number in numbers):
            bounds[seed] = {rate: [_bound(of_rate[number]) for number in numbers] for rate, of_rate in pilots.items()}
        else:
            incomplete.append(seed)
    return bounds, incomplete


def _bound(pilot: Outcome) -> float | None:
    return pilot.surviving(CRITERIA[pilot.config.objective])


def _at_rates(grid: RateGrid, chosen: Mapping[int, float]) -> tuple[TrainedVariant | None, list[str]]:
    """Puts together the runs of a head at the rates that were chosen for its seeds; says what is left out."""
    runs: dict[int, Outcome] = {}
    twins: dict[int, Outcome] = {}
    for seed, rate in chosen.items():
        if variant := grid.variants.get(rate):
            runs |= {seed: variant.runs[seed]} if seed in variant.runs else {}
            twins |= {seed: variant.twins[seed]} if seed in variant.twins else {}
    if not runs:
        return None, [
            f"{grid.name} left out, without a run at a rate that its pilots chose; the same vae sweep goes on"
        ]
    warnings = []
    if missing := [seed for seed in chosen if seed not in runs]:
        warnings.append(f"{grid.name}: {seed_list(missing)} left out, not trained at the rate that its pilots chose")
    if others := sum(seed not in chosen or chosen[seed] != lr for lr, v in grid.variants.items() for seed in v.runs):
        warnings.append(f"{grid.name}: {count(others, 'run')} left out at rates that no pilot chose for their seeds")
    rates = sorted({chosen[seed] for seed in runs})
    value = rates[0] if len(rates) == 1 else "/".join(map(text, rates))
    values = {**next(iter(grid.variants.values())).values, "lr": value}
    pilots = [pilot for at_rate in grid.all_pilots.values() for pilot in at_rate]
    return TrainedVariant(f"{grid.name},lr={text(value)}", values, runs, twins, pilots), warnings


def _best(bounds: Mapping[int, Bounds], chosen: Mapping[int, float], rates: Sequence[float], pilots: int) -> BestRate:
    """Returns what there is to say of the rates that were chosen for a head."""
    times = collections.Counter(chosen.values())
    lr = max(sorted(times), key=lambda rate: times[rate])
    survivors = [bound for of_seed in bounds.values() for bound in _survivors(of_seed[lr])]
    return BestRate(lr, fmean(survivors) if survivors else None, lr in (rates[0], rates[-1]), pilots, chosen)


def _warnings(
    name: str, bounds: Mapping[int, Bounds], chosen: Mapping[int, float], rates: Sequence[float]
) -> list[str]:
    """Says where a choice of rates should be looked at."""
    warnings = []

    def of_seeds(seeds: Collection[int]) -> str:
        return "" if len(seeds) == len(chosen) else f" for {len(seeds)} of {count(len(chosen), 'seed')}"

    for rate in dict.fromkeys((rates[0], rates[-1])):
        if seeds := [seed for seed in chosen if chosen[seed] == rate]:
            warnings.append(f"{name}: its best learning rate {text(rate)} lies at an edge of the grid{of_seeds(seeds)}")
    if safer := [seed for seed in chosen if _mean(bounds[seed][chosen[seed]]) < max(map(_mean, bounds[seed].values()))]:
        warnings.append(f"{name}: at another rate the bound is greater{of_seeds(safer)}, but more pilots were lost")
    if lost := [seed for seed in chosen if not any(map(_survivors, bounds[seed].values()))]:
        warnings.append(f"{name}: no pilot survived at any rate{of_seeds(lost)}, and the lowest rate was taken")
    return warnings
