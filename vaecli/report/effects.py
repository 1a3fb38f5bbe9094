"""The effects of settings: the contrasts of full grids, each paired over seeds and judged as a variant is.

No assumption ties the cells to each other: a contrast is one number for each seed, to which Student's t applies,
whatever the variances of the cells and their correlations are.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

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


_Key = TypeVar("_Key", bound=Hashable)


class CellSums(Protocol[_Key]):
    """The two sums over cells whose difference is asked about.

    Attributes:
      plus, minus: their cells.
      scale: how many differences of two cells their difference is made of.
    """

    @property
    def plus(self) -> Sequence[_Key]: ...
    @property
    def minus(self) -> Sequence[_Key]: ...
    @property
    def scale(self) -> float: ...

    def sides(self, values: Mapping[_Key, float]) -> tuple[float, float]:
        """Returns both, from the values of all cells at one seed."""
        ...


class PairedSums(NamedTuple):
    """The difference of two sums over variants, at each seed by itself.

    Attributes:
      seeds: those that all of the variants were trained with.
      lost: of those, the seeds at which not all of them survived, with the reason.
      sides: the two sums at each of the other seeds.
      contrast: the tests.
    """

    seeds: Sequence[int]
    lost: Mapping[int, str]
    sides: Mapping[int, tuple[float, float]]
    contrast: Contrast


class _Measured(NamedTuple):
    """An effect before it is judged.

    Attributes:
      grid: the grid to which it belongs.
      cells: which of its cells are compared, and how.
      sums: the effect at each seed, and the tests.
    """

    grid: FullGrid
    cells: CellContrast
    sums: PairedSums


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
        if all(one.sums.seeds for one in every):
            measured += every
        else:
            warnings.append(f"no effects{grid.within}: there is no seed that all combinations were trained with")
    if not measured:
        raise UsageError(f"--effects: {warnings[-1]}")
    judged = judge({str(place): one.sums.contrast for place, one in enumerate(measured)}, question.alpha)
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
    return _Measured(grid, cells, paired_sums(grid.cells, cells, question, margin, main=cells.scale == 1))


def paired_sums(
    variants: Mapping[_Key, TrainedVariant], sums: CellSums[_Key], question: Question, margin: float, *, main: bool
) -> PairedSums:
    """Computes the difference of two sums over variants, at every seed by itself, and tests it.

    Args:
      variants: the variants by cell.
      sums: the cells of both sums.
      question: what is asked.
      margin: the least difference that matters.
      main: whether one of the two sides can be better, and lose more runs; of an interaction that cannot be said.
    """
    used = [*sums.plus, *sums.minus]
    values = {cell: variants[cell].surviving(question.metric) for cell in used}
    trained = [set(variants[cell].runs) for cell in used]
    seeds = sorted(set.intersection(*trained))
    sides = {
        seed: sums.sides({cell: values[cell][seed] for cell in used})
        for seed in seeds
        if all(seed in values[cell] for cell in used)
    }
    plus, minus = [plus for plus, _ in sides.values()], [minus for _, minus in sides.values()]
    test = statistics.paired_t_test(plus, minus, margin=margin, alpha=question.alpha)
    counts = {
        seed: [sum(seed not in values[cell] for cell in side) for side in (sums.plus, sums.minus)] for seed in seeds
    }
    floor = chaos_floor([variants[cell] for cell in used], question.metric)
    # Runs of one seed may share their fate: it is seeds that are counted, with any loss, and not runs.
    lost, lost_by_minus = (sum(both[side] > 0 for both in counts.values()) for side in (0, 1))
    losses = Losses(lost, len(seeds), lost_by_minus, len(seeds)) if main else None
    contrast = Contrast(
        test=test,
        losses=losses,
        p_survival=losses and boschloo(losses),
        same_seeds=all(more == fewer for more, fewer in counts.values()),
        p_sign=_p_sign(counts, sides, question.direction, margin) if main else None,
        chaos_floor=None if floor is None else sums.scale * floor,
        unpaired=sorted(set.union(*trained) - set(seeds)),
        # More of an interaction is not better.
        direction=question.direction if main else 0,
        smaller_sample=test.pairs,
        margin=margin,
    )
    why = {
        seed: _why([variants[cell] for cell in used if seed not in values[cell]], seed, question.metric)
        for seed in seeds
        if seed not in sides
    }
    return PairedSums(seeds, why, sides, contrast)


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


def _why(lost: Sequence[TrainedVariant], seed: int, metric: str) -> str:
    """Says which variants lost their run of a seed, and why the first did."""
    more = f", and {count(len(lost) - 1, 'other run')}" if len(lost) > 1 else ""
    return f"{lost[0].name}: {lost[0].runs[seed].why or f'{metric} is not finite'}{more}"


def _effect(one: _Measured, judgement: Judgement, question: Question) -> Effect:
    """Returns an effect with what came of judging it."""
    return Effect(
        label=one.cells.label,
        levels=one.cells.levels,
        baseline=one.cells.baseline,
        seeds=one.sums.seeds,
        lost=one.sums.lost,
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
    survived = sum(seed in one.grid.cells[cell].surviving(metric) for cell in cells for seed in one.sums.seeds)
    return survived, len(cells) * len(one.sums.seeds)


def _partly(results: Sequence[GridEffects]) -> list[str]:
    """Says which effects are over a part of the seeds."""
    warnings = []
    for grid in results:
        if seeds := sorted({seed for effect in grid.effects for seed in effect.unpaired}):
            within = f" within {grid.label}" if grid.label else ""
            without = f"without {first_eight(seeds)}"
            warnings.append(f"effects{within} are over the seeds that all combinations have, {without}")
    return warnings
