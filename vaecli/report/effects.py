"""The effects of settings: the contrasts of full grids, each paired over seeds and judged as a variant is.

No assumption ties the cells to each other: a contrast is one number for each seed, to which Student's t applies,
whatever the variances of the cells and their correlations are.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vaecli.config import UsageError
from vaecli.report import sentences, statistics
from vaecli.report.factorial import Cell, CellContrast, FullGrid, contrasts, full_grids, setting
from vaecli.report.formatting import count, first_eight
from vaecli.report.judgement import Contrast, chaos_floor, judge
from vaecli.report.model import Effect, GridEffects, Judgement, Question, TrainedVariant
from vaecli.report.survival import Losses, boschloo, sign_test


class Levels(NamedTuple):
    """One side of an effect: its name, and how many of its runs survived."""

    label: str
    survived: int
    runs: int


class _Measured(NamedTuple):
    """An effect before it is judged.

    Attributes:
      grid: the grid to which it belongs.
      cells: which of its cells are compared, and how.
      seeds: those that all of these cells were trained with.
      lost: of those, the seeds at which not all cells survived, with the reason.
      contrast: the tests.
    """

    grid: FullGrid
    cells: CellContrast
    seeds: Sequence[int]
    lost: Mapping[int, str]
    contrast: Contrast


def effects(
    variants: Sequence[TrainedVariant], factors: Mapping[str, str | None], question: Question, margin: float
) -> tuple[list[GridEffects], list[str]]:
    """Returns the effects of some factors, judged as one family, and warnings about what is left out.

    Args:
      variants: those that are compared.
      factors: those of `factorial.baselines`.
      question: what is asked.
      margin: the least difference that matters.

    Raises:
      UsageError: there is no full grid of the factors.
    """
    grids, warnings = full_grids(variants, factors, ["lr"] if question.at == "best-lr" else [])
    measured: list[_Measured] = []
    for grid in grids:
        every = [_measure(grid, cells, question, margin) for cells in contrasts(grid)]
        if all(one.seeds for one in every):
            measured += every
        else:
            warnings.append(f"no effects{grid.within}: there is no seed that all combinations were trained with")
    if not measured:
        raise UsageError(f"--effects: {warnings[-1]}")
    judged = judge({str(place): one.contrast for place, one in enumerate(measured)}, question, margin)
    pairs = list(zip(measured, judged.values(), strict=True))
    results = []
    for grid in grids:
        if of_grid := [_effect(one, judgement, question) for one, judgement in pairs if one.grid is grid]:
            levels = {factor.name: factor.levels for factor in grid.factors}
            names = [variant.name for variant in grid.cells.values()]
            results.append(GridEffects(grid.label, grid.values, levels, names, of_grid))
    return results, [*warnings, *_partly(results)]


def _measure(grid: FullGrid, cells: CellContrast, question: Question, margin: float) -> _Measured:
    """Computes an effect at every seed by itself, and tests it."""
    used = [*cells.plus, *cells.minus]
    values = {cell: grid.cells[cell].surviving(question.metric) for cell in used}
    trained = [set(grid.cells[cell].runs) for cell in used]
    seeds = sorted(set.intersection(*trained))
    sides = {
        seed: cells.sides({cell: values[cell][seed] for cell in used})
        for seed in seeds
        if all(seed in values[cell] for cell in used)
    }
    plus, minus = [plus for plus, _ in sides.values()], [minus for _, minus in sides.values()]
    test = statistics.paired_t_test(plus, minus, margin=margin, alpha=question.alpha)
    lost = {
        seed: [sum(seed not in values[cell] for cell in side) for side in (cells.plus, cells.minus)] for seed in seeds
    }
    floor = chaos_floor([grid.cells[cell] for cell in used], question.metric)
    main = cells.scale == 1
    # Runs of one seed may share their fate: it is seeds that are counted, with any loss, and not runs.
    counts = (n for side in (0, 1) for n in (sum(both[side] > 0 for both in lost.values()), len(seeds)))
    losses = Losses(*counts) if main else None
    contrast = Contrast(
        test=test,
        losses=losses,
        p_survival=losses and boschloo(losses),
        same_seeds=all(more == fewer for more, fewer in lost.values()),
        p_sign=_p_sign(lost, sides, question.direction, margin) if main else None,
        chaos_floor=None if floor is None else cells.scale * floor,
        unpaired=sorted(set.union(*trained) - set(seeds)),
        # More of an interaction is not better.
        direction=question.direction if main else 0,
        smaller_sample=test.pairs,
    )
    why = {seed: _why(grid, used, seed, question.metric) for seed in seeds if seed not in sides}
    return _Measured(grid, cells, seeds, why, contrast)


def _p_sign(
    lost: Mapping[int, Sequence[int]], sides: Mapping[int, tuple[float, float]], sign: int, margin: float
) -> float | None:
    """Returns the p of the sign test that a level is worse by more than the margin, or loses more runs.

    Args:
      lost: the runs that the level and its baseline lost, by seed.
      sides: the means of both, by seed, where all survived.
      sign: 1 or −1 where more of the metric is better or worse, 0 where neither.
      margin: the least difference that matters.
    """
    if not (sign and lost):
        return None
    worse = sum(sign * (plus - minus) < -margin for plus, minus in sides.values())
    return sign_test(worse + sum(more > fewer for more, fewer in lost.values()), len(lost))


def _why(grid: FullGrid, cells: Sequence[Cell], seed: int, metric: str) -> str:
    """Says which runs of a seed were lost, and why the first was."""
    lost = [grid.cells[cell] for cell in cells if seed not in grid.cells[cell].surviving(metric)]
    more = f", and {count(len(lost) - 1, 'other run')}" if len(lost) > 1 else ""
    return f"{lost[0].name}: {lost[0].runs[seed].why or f'{metric} is not finite'}{more}"


def _effect(one: _Measured, judgement: Judgement, question: Question) -> Effect:
    """Returns an effect with what came of judging it."""
    return Effect(
        label=one.cells.label,
        levels=one.cells.levels,
        baseline=one.cells.baseline,
        seeds=one.seeds,
        lost=one.lost,
        difference=judgement.difference,
        unpaired=judgement.unpaired,
        chaos_floor=judgement.chaos_floor,
        seeds_needed=judgement.seeds_needed,
        verdict=judgement.verdict,
        sentence=_sentence(one, judgement, question),
    )


def _sentence(one: _Measured, judgement: Judgement, question: Question) -> str:
    """Says what came of an effect."""
    *first, second = (setting(*item) for item in one.cells.levels.items())
    *_, baseline = (setting(*item) for item in one.cells.baseline.items())
    labels = (f"the effect of {first[0]} at {second}", f"that at {baseline}") if first else (second, baseline)
    # Of an interaction, too, the sides are the levels of the last factor: that of its effects are those of the first.
    *_, name = one.cells.levels
    place = [factor.name for factor in one.grid.factors].index(name)
    used = [*one.cells.plus, *one.cells.minus]
    plus, minus = (
        Levels(label, *_survived(one, [cell for cell in used if cell[place] == side[name]], question.metric))
        for label, side in zip(labels, (one.cells.levels, one.cells.baseline), strict=True)
    )
    words = sentences.of_judgement(plus, minus, judgement, question)
    return f"Within {one.grid.label}, {words}" if one.grid.label else words


def _survived(one: _Measured, cells: Sequence[Cell], metric: str) -> tuple[int, int]:
    """Returns how many runs of some cells survived, and how many there are, over the seeds of an effect."""
    survived = sum(seed in one.grid.cells[cell].surviving(metric) for cell in cells for seed in one.seeds)
    return survived, len(cells) * len(one.seeds)


def _partly(results: Sequence[GridEffects]) -> list[str]:
    """Says which effects are over a part of the seeds."""
    warnings = []
    for grid in results:
        if seeds := sorted({seed for effect in grid.effects for seed in effect.unpaired}):
            within = f" within {grid.label}" if grid.label else ""
            without = f"without {first_eight(seeds)}"
            warnings.append(f"effects{within} are over the seeds that all combinations have, {without}")
    return warnings
