"""Full grids among the variants, and the contrasts between their cells: main effects and interactions.

With a mean over all levels of the other factors, the main effect of a level is the difference from the factor's
baseline; the interaction of two levels is by how much the effect of the one differs where the other replaces its own
baseline. Each is computed at every seed by itself, so that a cell is paired with every other one.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations, product
from typing import Any, NamedTuple

from vaecli.config import SETTINGS, UsageError
from vaecli.config.naming import label, sort_key, text
from vaecli.config.validators import nearest
from vaecli.report.model import TrainedVariant
from vaecli.report.variants import matches

Cell = tuple[Any, ...]
"""One level for each factor, in their order."""


class Factor(NamedTuple):
    """A setting whose effect is asked about.

    Attributes:
      name: the field.
      levels: its values; the first one is the baseline, from which the others are said to differ.
    """

    name: str
    levels: Sequence[Any]


class FullGrid(NamedTuple):
    """Variants at every combination of the levels of some factors, alike in all other fields.

    Attributes:
      label: the values of those other fields.
      values: the same by field.
      factors: the factors; one that has a single level here has no effects.
      cells: the variants by the levels of the factors.
    """

    label: str
    values: Mapping[str, Any]
    factors: Sequence[Factor]
    cells: Mapping[Cell, TrainedVariant]

    @property
    def within(self) -> str:
        """What a warning adds to name the grid."""
        return f" within {self.label}" if self.label else ""


class CellContrast(NamedTuple):
    """A difference between cells: the mean over `plus` less that over `minus`, times `scale`.

    Attributes:
      levels: the level that replaces the baseline, by factor: one for a main effect, two for an interaction.
      baseline: the baselines of the same factors.
      plus, minus: as many cells each.
    """

    levels: Mapping[str, Any]
    baseline: Mapping[str, Any]
    plus: Sequence[Cell]
    minus: Sequence[Cell]

    @property
    def scale(self) -> int:
        """1 for a main effect; 2 for an interaction, which is a difference between two differences."""
        return len(self.levels)

    @property
    def label(self) -> str:
        """The levels, as in `init=matched × head_lr=0.5`."""
        return " × ".join(setting(name, level) for name, level in self.levels.items())

    def sides(self, values: Mapping[Cell, float]) -> tuple[float, float]:
        """Returns the two numbers whose difference is the effect, from the values of all cells at one seed."""
        # Sums of float32 values are exact, and so is a difference of 0: the division comes last.
        plus, minus = (math.fsum(values[cell] for cell in side) for side in (self.plus, self.minus))
        return self.scale * plus / len(self.plus), self.scale * minus / len(self.minus)


def setting(name: str, value: Any) -> str:
    """Returns `field=value`."""
    return f"{name}={text(value)}"


def baselines(asked: str, varies: Collection[str], chosen: Collection[str] = ()) -> dict[str, str | None]:
    """Returns the factors that `--effects` names, in its order, each with the baseline that it gives or None.

    Args:
      asked: `field,…`, of which any may be `field=value`.
      varies: the fields in which the variants differ.
      chosen: those that were chosen for each variant, and so are no factors.

    Raises:
      UsageError: it names something else, or a field twice.
    """
    wanted: dict[str, str | None] = {}
    last = ""
    for word in asked.split(","):
        name, equals, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if name not in SETTINGS and not equals and wanted.get(last) is not None:
            # A comma within a value, such as clip:-5,3.
            wanted[last] = f"{wanted[last]},{word.strip()}"
            continue
        if not name:
            raise UsageError(f"--effects: names settings with commas between them, as in init,head_lr, got {asked!r}")
        if name not in SETTINGS:
            raise UsageError(f"--effects: unknown setting {name!r}{nearest(name, SETTINGS)}")
        if name in wanted:
            raise UsageError(f"--effects: {name} is there twice")
        if name in chosen:
            raise UsageError(f"--effects: {name} is chosen for each variant by --at, and so is no factor")
        if name not in varies:
            raise UsageError(f"--effects: {name} does not vary among these variants; what does: {', '.join(varies)}")
        wanted[name], last = value.strip() if equals else None, name
    return wanted


def full_grids(
    variants: Sequence[TrainedVariant], wanted: Mapping[str, str | None], ignored: Collection[str] = ()
) -> tuple[list[FullGrid], list[str]]:
    """Returns the full grids among some variants and, as warnings, what belongs to none.

    Variants that are alike in all other fields belong together. Of those, levels that lack cells are left out, the ones
    that lack most first, until the rest is full.

    Args:
      variants: all of them.
      wanted: the factors, each with its baseline or None for the default of the setting or, where no variant has that,
        for the first level.
      ignored: fields that do not matter here.

    Raises:
      UsageError: a baseline is no level of its factor, a factor has only one level, or there is no full grid.
    """
    levels = [_levels(variants, name, baseline) for name, baseline in wanted.items()]
    others = [name for name in variants[0].values if name not in wanted and name not in ignored]
    groups: dict[Cell, dict[Cell, TrainedVariant]] = {}
    for variant in variants:
        cells = groups.setdefault(tuple(variant.values[name] for name in others), {})
        cells[tuple(variant.values[name] for name in wanted)] = variant
    grids: list[FullGrid] = []
    warnings = []
    for values, cells in groups.items():
        config = next(iter(cells.values())).config
        name = label(config, others) if "param" in others else ",".join(setting(f, getattr(config, f)) for f in others)
        present = [[level for level in one if any(cell[i] == level for cell in cells)] for i, one in enumerate(levels)]
        factors = [Factor(f, one) for f, one in zip(wanted, _full(present, cells), strict=True)]
        grid = FullGrid(name, dict(zip(others, values, strict=True)), factors, cells)
        if why := _unusable(grid, present, wanted):
            warnings.append(f"no effects{grid.within}: {why}")
            continue
        if dropped := _dropped(factors, present):
            warnings.append(f"effects{grid.within} leave out {dropped}, for lack of the other combinations")
        grids.append(grid._replace(cells={cell: cells[cell] for cell in product(*(one.levels for one in factors))}))
    if not grids:
        raise UsageError(f"--effects: {warnings[0].removeprefix('no effects: ')}{_and_more(len(warnings) - 1)}")
    return grids, warnings


def contrasts(grid: FullGrid) -> list[CellContrast]:
    """Returns the main effects of all levels, and the interactions of any two of different factors."""
    made = []
    for order in (1, 2):
        for places in combinations(range(len(grid.factors)), order):
            factors = [grid.factors[place] for place in places]
            baseline = {factor.name: factor.levels[0] for factor in factors}
            for levels in product(*(factor.levels[1:] for factor in factors)):
                sides = _sides(grid.cells, places, levels, list(baseline.values()))
                made.append(CellContrast(dict(zip(baseline, levels, strict=True)), baseline, *sides))
    return made


def _sides(
    cells: Collection[Cell], places: Sequence[int], levels: Sequence[Any], baseline: Sequence[Any]
) -> tuple[list[Cell], list[Cell]]:
    """Returns the cells that count as plus and as minus: by the product of the signs, minus for a baseline."""
    sides: tuple[list[Cell], list[Cell]] = [], []
    for cell in cells:
        at = [cell[place] for place in places]
        if all(value in pair for value, *pair in zip(at, levels, baseline, strict=True)):
            sides[sum(value == base for value, base in zip(at, baseline, strict=True)) % 2].append(cell)
    return sides


def _levels(variants: Sequence[TrainedVariant], name: str, baseline: str | None) -> list[Any]:
    """Returns the levels of a factor, its baseline first."""
    levels = sorted({variant.values[name] for variant in variants}, key=sort_key)
    listed = ", ".join(map(text, levels))
    if len(levels) == 1:
        raise UsageError(f"--effects: {name} does not vary among these variants, it is {listed} in all of them")
    if baseline is None:
        first = SETTINGS[name].default if SETTINGS[name].default in levels else levels[0]
    else:
        first = next((level for level in levels if matches(level, baseline)), None)
    if first is None:
        close = nearest(str(baseline), map(text, levels))
        raise UsageError(f"--effects: no variant has {name}={baseline}{close} (there are: {listed})")
    return [first, *(level for level in levels if level != first)]


def _full(levels: Sequence[Sequence[Any]], cells: Collection[Cell]) -> list[list[Any]]:
    """Returns the levels of a full grid: without those that lack cells; as they are where it is open which to drop."""
    kept = [list(one) for one in levels]
    while True:
        inside = [cell for cell in cells if all(level in one for level, one in zip(cell, kept, strict=True))]
        size = math.prod(map(len, kept))
        if len(inside) == size:
            return kept
        # The fraction of a level's combinations with all others that is there.
        there = {
            (place, level): sum(cell[place] == level for cell in inside) * len(one) / size
            for place, one in enumerate(kept)
            for level in one
        }
        least = min(there.values())
        worst = [key for key, fraction in there.items() if fraction == least]
        if least and len({place for place, _ in worst}) > 1:
            return [list(one) for one in levels]
        for place, level in worst:
            kept[place].remove(level)


def _unusable(grid: FullGrid, present: Sequence[Sequence[Any]], wanted: Mapping[str, str | None]) -> str:
    """Says why the variants of a group have no effects; returns an empty text where they have some.

    Args:
      grid: the group, with its factors cut down to the levels that are kept, but with all its cells.
      present: the levels of each factor that are there.
      wanted: the factors, each with the baseline that was asked for.
    """
    factors = grid.factors
    if all(len(one) == 1 for one in present):
        return f"there is only {_named(factors, [one[0] for one in present])}"
    if missing := next((cell for cell in product(*(one.levels for one in factors)) if cell not in grid.cells), None):
        return f"there are no runs of {_named(factors, missing)}"
    if all(len(factor.levels) == 1 for factor in factors):
        return "no two levels of a factor have the same levels of the others"
    for name, levels in factors:
        if (baseline := wanted[name]) is not None and not matches(levels[0], baseline):
            return f"{name}={baseline} lacks combinations with the others"
    return ""


def _dropped(factors: Sequence[Factor], present: Sequence[Sequence[Any]]) -> str:
    """Names the levels that are left out."""
    return ", ".join(
        setting(factor.name, level)
        for factor, one in zip(factors, present, strict=True)
        for level in one
        if level not in factor.levels
    )


def _named(factors: Sequence[Factor], cell: Cell | Sequence[Any]) -> str:
    return ",".join(setting(factor.name, level) for factor, level in zip(factors, cell, strict=True))


def _and_more(more: int) -> str:
    return f" (and so for {more} more)" if more else ""
