"""How wide the range of learning rates is at which a head is about as good as at its best, as a metric of its seeds."""

import math
from collections.abc import Mapping, Sequence

from vaecli.config import UsageError
from vaecli.config.naming import text
from vaecli.report.derived import Derived, parsed
from vaecli.report.formatting import LR_WINDOW, count, direction, seed_list
from vaecli.report.model import RateGrid, TrainedVariant
from vaecli.report.tuning import Choice
from vaecli.runs.collection import Outcome

_LEAST_RATES = 3


def window(metric: str) -> Derived | None:
    """Returns the scalar, and how much worse than at the best rate it may be, that `lr-window:[TAG:]DROP` names.

    None stands for another metric.

    Raises:
      UsageError: it names no drop, or its scalar has no direction.
    """
    of = parsed(metric, LR_WINDOW, "drop", "0.5")
    if of and of.number <= 0:
        raise UsageError(f"--metric: {metric!r}: a drop is a positive number, as in {LR_WINDOW}0.5")
    return of


def over_rates(grids: Sequence[RateGrid], metric: str, of: Derived) -> Choice:
    """Returns a variant for each grid of rates, whose runs have the width of the window of their seed, in decades.

    The window of a seed is the range of log10 of the rate around its best one in which the scalar is at most `drop`
    worse, interpolated linearly between rates. It ends at a rate beside which a run was lost, and at an edge of the
    grid, of which a warning says how often. A seed whose runs were all lost is lost.

    Raises:
      UsageError: there are fewer than three rates that all grids have, or no seed with a run at each of them.
    """
    rates = sorted(set.intersection(*(set(grid.variants) for grid in grids))) if grids else []
    if len(rates) < _LEAST_RATES:
        raise UsageError(f"--metric: {metric} needs {_LEAST_RATES} learning rates at least, the same for all variants")
    variants, warnings = [], []
    if any(len(grid.variants) > len(rates) for grid in grids):
        warnings.append(f"only rates that all variants have take part: {', '.join(map(text, rates))}")
    for grid in grids:
        by_seed = {seed: [grid.variants[rate].runs.get(seed) for rate in rates] for seed in _seeds(grid)}
        complete = {seed: [run for run in runs if run] for seed, runs in by_seed.items() if None not in runs}
        if left_out := sorted(by_seed.keys() - complete.keys()):
            warnings.append(f"{grid.name}: {seed_list(left_out)} left out, not trained at every rate")
        if not complete:
            raise UsageError(f"--metric: {grid.name} has no seed that was trained at every rate")
        runs, edges = _widths(complete, rates, metric, of)
        if edges:
            warnings.append(
                f"{grid.name}: the window of {count(edges, 'seed')} reaches an edge of the rates, or beyond"
            )
        values = {**grid.variants[rates[0]].values, "lr": "/".join(map(text, rates))}
        variants.append(TrainedVariant(grid.name, values, runs, {}))
    return Choice(variants, {}, warnings)


def _seeds(grid: RateGrid) -> list[int]:
    return sorted({seed for variant in grid.variants.values() for seed in variant.runs})


def _widths(
    by_seed: Mapping[int, Sequence[Outcome]], rates: Sequence[float], metric: str, of: Derived
) -> tuple[dict[int, Outcome], int]:
    """Returns for each seed its run at the best rate, with the width among its values; and how many reach an edge."""
    runs, edges = {}, 0
    places = [math.log10(rate) for rate in rates]
    for seed, at_rates in by_seed.items():
        values = [run.surviving(of.tag) for run in at_rates]
        # Larger is better.
        goods = [None if value is None else direction(of.tag) * value for value in values]
        known = [good for good in goods if good is not None]
        if not known:
            runs[seed] = at_rates[0]
            continue
        best = goods.index(max(known))
        level = max(known) - of.number
        high, at_high = _end(places[best:], goods[best:], level)
        low, at_low = _end([-place for place in places[best::-1]], goods[best::-1], level)
        edges += at_high or at_low
        run = at_rates[best]
        runs[seed] = run._replace(values={**run.values, metric: high + low})
    return runs, edges


def _end(places: Sequence[float], goods: Sequence[float | None], level: float) -> tuple[float, bool]:
    """Returns where the window ends that begins at the first place, and whether that is the last place."""
    for k in range(1, len(places)):
        near, far = goods[k - 1], goods[k]
        if far is None or near is None:
            return places[k - 1], False
        if far < level:
            return places[k - 1] + (places[k] - places[k - 1]) * (near - level) / (near - far), False
    return places[-1], True
