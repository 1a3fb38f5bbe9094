"""The judgement of variants, each beside its reference: what the tests say, over the family of all of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vaecli.report import planning, statistics, survival
from vaecli.report.formatting import direction
from vaecli.report.model import Difference, Judgement, Question, Variant


class Contrast(NamedTuple):
    """A variant beside its reference, before the tests are adjusted over all variants.

    Attributes:
      test: the paired t of the seeds at which both survived.
      losses: the runs of both that were lost; None where nobody asks.
      same_seeds: whether the two lost the runs of the same seeds, or none.
      p_sign: the p of the sign test that the variant is worse by more than the margin, or lost, where its reference is
        not; None for a metric without a direction, and where there are no seeds that both have.
      chaos_floor: the greater one of the two; None where it was not measured.
      unpaired: the seeds that only one of the two was trained with.
      direction: 1 where more is better, −1 where less is, 0 where neither.
    """

    test: statistics.PairedTTest
    losses: survival.Losses | None
    same_seeds: bool
    p_sign: float | None
    chaos_floor: float | None
    unpaired: Sequence[int]
    direction: int


def contrast(variant: Variant, reference: Variant, question: Question, margin: float) -> Contrast:
    """Pairs the runs of a variant and its reference by seed, and tests them.

    Args:
      variant, reference: the two.
      question: what is asked.
      margin: the least difference that matters.
    """
    mine, theirs = variant.surviving(question.metric), reference.surviving(question.metric)
    both = [seed for seed in variant.runs if seed in reference.runs]
    pairs = [seed for seed in both if seed in mine and seed in theirs]
    test = statistics.paired_t_test(
        [mine[seed] for seed in pairs], [theirs[seed] for seed in pairs], margin=margin, alpha=question.alpha
    )
    counts = len(variant.runs), len(reference.runs)
    losses = survival.Losses(counts[0] - len(mine), counts[0], counts[1] - len(theirs), counts[1])
    sign = direction(question.metric)
    worse = [seed in theirs and (seed not in mine or sign * (mine[seed] - theirs[seed]) < -margin) for seed in both]
    return Contrast(
        test=test,
        losses=losses,
        same_seeds=losses.excess == 0 and all((seed in mine) == (seed in theirs) for seed in both),
        p_sign=survival.sign_test(sum(worse), len(worse)) if sign and both else None,
        chaos_floor=chaos_floor([variant, reference], question.metric),
        unpaired=sorted(variant.runs.keys() ^ reference.runs.keys()),
        direction=sign,
    )


def judge(contrasts: Mapping[str, Contrast], question: Question, margin: float) -> dict[str, Judgement]:
    """Concludes from the contrasts of all variants, with one family for each kind of claim.

    Args:
      contrasts: each by the name of its variant.
      question: what is asked.
      margin: the least difference that matters.
    """
    tests = [one.test for one in contrasts.values()]
    families = statistics.adjust(tests, question.alpha)
    margins = statistics.smallest_margins(tests, question.alpha)
    # A variant that lost nothing belongs to the family, too: it could have.
    p_survival = statistics.holm([one.losses and survival.boschloo(one.losses) for one in contrasts.values()])
    return {
        name: _judgement(one, _Adjusted(family, p, smallest, len(tests)), question, margin)
        for (name, one), family, p, smallest in zip(contrasts.items(), families, p_survival, margins, strict=True)
    }


class _Adjusted(NamedTuple):
    """What the family says of a variant.

    Attributes:
      of_mean: its tests of the mean, adjusted.
      p_survival: its p of Boschloo's test, adjusted.
      smallest_margin: the margin above which it is equivalent; None where it has too few pairs.
      size: the number of variants.
    """

    of_mean: statistics.FamilyTest
    p_survival: float | None
    smallest_margin: float | None
    size: int


def _judgement(contrast: Contrast, adjusted: _Adjusted, question: Question, margin: float) -> Judgement:
    """Concludes from the tests of a variant."""
    test, losses, floor, alpha = contrast.test, contrast.losses, contrast.chaos_floor, question.alpha
    family, p_survival = adjusted.of_mean, adjusted.p_survival if losses and losses.any else None
    of_mean = statistics.verdict(test, family, alpha=alpha, floor=floor, direction=contrast.direction)
    verdict = survival.conclude(
        of_mean,
        losses,
        p_survival,
        same_seeds=contrast.same_seeds,
        p_sign=None if contrast.p_sign is None else adjusted.size * contrast.p_sign,
        alpha=alpha,
    )
    by_survival = p_survival is not None and p_survival < alpha
    low, high = survival.interval(losses, alpha) if losses else (None, None)
    difference = Difference(
        **test._asdict(),
        p_holm=family.p_difference,
        p_equivalence_holm=family.p_equivalence,
        p_beyond_holm=family.p_beyond,
        smallest_margin=adjusted.smallest_margin,
        p_survival=survival.boschloo(losses) if losses and losses.any else None,
        p_survival_holm=p_survival,
        survival=-losses.excess if losses else None,
        survival_low=low,
        survival_high=high,
    )
    significant = statistics.significant(test, family, alpha=alpha, floor=floor)
    needed = None if by_survival else _seeds_needed(contrast, adjusted, verdict, margin, alpha)
    more = _more_seeds(contrast, needed)
    return Judgement(margin, difference, floor, significant, by_survival, verdict, needed, more, contrast.unpaired)


def _seeds_needed(
    contrast: Contrast, adjusted: _Adjusted, verdict: str, margin: float, alpha: float
) -> int | str | None:
    """Returns how many seeds would decide an undecided variant, or settle one that is different; None for others."""
    test, family = contrast.test, adjusted.of_mean
    if verdict not in ("undecided", "different"):
        return None
    if not contrast.same_seeds:
        # However many pairs there were, the runs that are lost stand in the way of a verdict on the mean.
        losses = contrast.losses
        return survival.seeds_needed(losses, alpha / adjusted.size) if losses and losses.excess else None
    if test.sd is None:
        return None
    settled = verdict == "different"
    needed = planning.seeds_needed(
        test.mean or 0.0,
        test.sd,
        pairs=test.pairs,
        margin=margin,
        alpha=alpha / max(family.open_equivalence, 1),
        alpha_difference=alpha / max(family.open_beyond if settled else family.open_difference, 1),
        beyond=margin if settled else 0.0,
        floor=contrast.chaos_floor,
    )
    return needed or ">10000"


def _more_seeds(contrast: Contrast, needed: int | str | None) -> int | None:
    """Returns how many of the seeds that are needed are still to be trained; None where that is no number."""
    if not isinstance(needed, int):
        return None
    if not contrast.same_seeds and (losses := contrast.losses):
        return needed - min(losses.runs, losses.reference_runs)
    return needed - contrast.test.pairs


def chaos_floor(variants: Sequence[Variant], metric: str) -> float | None:
    """Returns the greatest chaos floor of some variants; None where none has a twin."""
    floors = []
    for variant in variants:
        if not (twins := variant.surviving_twins(metric)):
            continue
        originals = variant.surviving(metric)
        if seeds := [seed for seed in twins if seed in originals]:
            floors.append(statistics.chaos_floor([twins[seed] for seed in seeds], [originals[seed] for seed in seeds]))
    return max(floors, default=None)
