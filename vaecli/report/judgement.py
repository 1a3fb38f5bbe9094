"""The judgement of variants, each beside its reference: what the tests say, over the family of all of them."""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from vaecli.config.sequential import SequentialPlan
from vaecli.report import planning, sequential, statistics, survival
from vaecli.report.model import Difference, Judgement, LookTaken, Question, Variant

Name = TypeVar("Name", bound=Hashable)


class Contrast(NamedTuple):
    """A variant beside its reference, before the tests are adjusted over all variants.

    Attributes:
      test: the paired t of the seeds at which both survived; Welch's t of all that survived where they share no seed.
      losses: the runs of both that were lost; None where nobody asks.
      p_survival: the p of `survival.boschloo`; None where nobody asks.
      same_seeds: whether the two lost the runs of the same seeds, or none.
      p_sign: the p of the sign test that the variant is worse by more than the margin, or lost, where its reference is
        not; None for a metric without a direction, and where there are no seeds that both have.
      chaos_floor: the greater one of the two; None where it was not measured.
      unpaired: the seeds that only one of the two was trained with.
      direction: 1 where more is better, −1 where less is, 0 where neither.
      smaller_sample: how many pairs there are or, where they are not paired, how many runs of that one of the two that
        has fewer.
      margin: the least difference that matters.
      survival_alpha: the level of the interval of the shares that survive; None for that of the question.
      look: the look at which it is judged, where there is a plan of looks.
      at_looks: its test at all looks so far, where there is a plan of looks and enough pairs.
    """

    test: statistics.TTest
    losses: survival.Losses | None
    p_survival: float | None
    same_seeds: bool
    p_sign: float | None
    chaos_floor: float | None
    unpaired: Sequence[int]
    direction: int
    smaller_sample: int
    margin: float
    survival_alpha: float | None = None
    look: LookTaken | None = None
    at_looks: sequential.SequentialTest | None = None


def contrast(variant: Variant, reference: Variant, question: Question, margin: float) -> Contrast:
    """Pairs the runs of a variant and its reference by seed, if they share any, and tests them.

    Args:
      variant, reference: the two.
      question: what is asked.
      margin: the least difference that matters.
    """
    mine, theirs = variant.surviving(question.metric), reference.surviving(question.metric)
    both = [seed for seed in variant.runs if seed in reference.runs]
    test = statistics.difference_test(mine, theirs, paired=bool(both), margin=margin, alpha=question.alpha)
    counts = len(variant.runs), len(reference.runs)
    losses = survival.Losses(counts[0] - len(mine), counts[0], counts[1] - len(theirs), counts[1])
    sign = question.direction
    worse = [seed in theirs and (seed not in mine or sign * (mine[seed] - theirs[seed]) < -margin) for seed in both]
    return Contrast(
        test=test,
        losses=losses,
        p_survival=survival.boschloo(losses),
        same_seeds=losses.excess == 0 and _same_seeds(both, mine, theirs) if both else not losses.any,
        p_sign=survival.sign_test(sum(worse), len(worse)) if sign and both else None,
        chaos_floor=chaos_floor([variant, reference], question.metric),
        unpaired=sorted(variant.runs.keys() ^ reference.runs.keys()),
        direction=sign,
        smaller_sample=test.pairs if both else min(len(mine), len(theirs)),
        margin=margin,
    )


def _same_seeds(seeds: Sequence[int], mine: Mapping[int, float], theirs: Mapping[int, float]) -> bool:
    return all((seed in mine) == (seed in theirs) for seed in seeds)


def planned_contrast(
    variant: Variant, reference: Variant, question: Question, margin: float, plan: SequentialPlan
) -> Contrast:
    """Returns what `contrast` does, of runs that are judged at the looks of a plan.

    A look is taken when both have a run with every seed of it. What is in no look that was taken does not count.

    Args:
      variant, reference: the two.
      question: what is asked.
      margin: the least difference that matters.
      plan: the looks.
    """
    shared = variant.runs.keys() & reference.runs.keys()
    taken = [look for look in plan.looks if all(seed in shared for seed in plan.seeds(look))]
    number = len(taken)
    look = LookTaken(number, len(plan.looks), taken[-1] if taken else 0, (*plan.looks, None)[number])
    if not taken:
        untested = statistics.TTest(0)
        known = contrast(variant, reference, question, margin)
        return known._replace(test=untested, p_survival=None, p_sign=None, unpaired=[], look=look)
    seen = [(variant.among(plan.seeds(look)), reference.among(plan.seeds(look))) for look in taken]
    contrasts = [contrast(*both, question, margin) for both in seen]
    looks = sequential.Looks(tuple(taken), tuple(plan.fractions[:number]), plan.spending)
    p_sign = [one.p_sign for one in contrasts]
    counts = [one.test.pairs for one in contrasts]
    test = _sequential_test(_pairs(*seen[-1], question.metric), counts, looks, question, margin)
    last = contrasts[-1]
    return last._replace(
        test=test.test if test else last.test,
        survival_alpha=max(sequential.added(looks, question.alpha), 1e-12),
        p_survival=float(sequential.union_p_value(looks, _p_of_side(contrasts))),
        p_sign=None if None in p_sign else float(sequential.union_p_value(looks, [p or 0.0 for p in p_sign])),
        look=look,
        at_looks=test,
    )


def _p_of_side(contrasts: Sequence[Contrast]) -> list[float]:
    """Returns the p of survival at each look, 1 where it was the other one of the two that had lost more by then."""
    excess = [one.losses.excess if one.losses else 0.0 for one in contrasts]
    both = zip(contrasts, excess, strict=True)
    return [one.p_survival or 0.0 if by_then * excess[-1] > 0 else 1.0 for one, by_then in both]


def _sequential_test(
    pairs: Sequence[tuple[float, float]],
    counts: Sequence[int],
    planned: sequential.Looks,
    question: Question,
    margin: float,
) -> sequential.SequentialTest | None:
    """Tests the pairs that survived, at those of the planned looks that brought new ones; None before there are two.

    What a look without new pairs would have spent is left to the next one.
    """
    before = [1, *counts]
    new = [(n, t) for n, t, fewer in zip(counts, planned.fractions, before, strict=False) if n > max(fewer, 1)]
    if not new:
        return None
    looks = sequential.Looks(tuple(n for n, _ in new), tuple(t for _, t in new), planned.spending)
    values, reference = zip(*pairs, strict=True)
    return sequential.sequential_t_test(values, reference, looks, margin=margin, alpha=question.alpha)


def _pairs(variant: Variant, reference: Variant, metric: str) -> list[tuple[float, float]]:
    """Returns the values of both at each seed at which both survived, by seed."""
    mine, theirs = variant.surviving(metric), reference.surviving(metric)
    return [(mine[seed], theirs[seed]) for seed in mine if seed in theirs]


def judge(contrasts: Mapping[Name, Contrast], alpha: float, planned: int = 0) -> dict[Name, Judgement]:
    """Concludes from the contrasts of all variants, with one family for each kind of claim.

    Args:
      contrasts: each by the name of its variant.
      alpha: the level of the tests.
      planned: how many comparisons there are to be, where there is a plan of looks. Those that cannot be made yet are
        in the family from the start, so that a verdict which has been reached is not taken back when they can.
    """
    tests = [one.test for one in contrasts.values()]
    size = max(planned, len(tests)) if planned else 0
    families = statistics.adjust(tests, alpha, size)
    if planned:
        margins = sequential.smallest_margins([one.at_looks for one in contrasts.values()], alpha, size)
    else:
        margins = statistics.smallest_margins(tests, alpha)
    # A variant that lost nothing belongs to the family, too: it could have.
    p_survival = statistics.holm([one.p_survival for one in contrasts.values()], size)
    p_not_worse = statistics.holm([_p_not_worse(one) for one in contrasts.values()], size)
    adjusted = zip(families, p_survival, p_not_worse, margins, strict=True)
    return {
        name: _judgement(one, _Adjusted(*of_one, size or len(tests)), alpha)
        for (name, one), of_one in zip(contrasts.items(), adjusted, strict=True)
    }


def _p_not_worse(contrast: Contrast) -> float | None:
    """Returns the p of the one-sided test that a variant is not worse by more than the margin."""
    return {1: contrast.test.p_above, -1: contrast.test.p_below, 0: None}[contrast.direction]


class _Adjusted(NamedTuple):
    """What the family says of a variant.

    Attributes:
      of_mean: its tests of the mean, adjusted.
      p_survival: its p of Boschloo's test, adjusted.
      p_not_worse: its p that it is not worse by more than the margin, adjusted; None for a metric without a direction.
      smallest_margin: the margin above which it is equivalent; None where it has too few pairs.
      size: the number of variants that are compared, or to be compared.
    """

    of_mean: statistics.FamilyTest
    p_survival: float | None
    p_not_worse: float | None
    smallest_margin: float | None
    size: int


def _judgement(contrast: Contrast, adjusted: _Adjusted, alpha: float) -> Judgement:
    """Concludes from the tests of a variant."""
    test, losses, floor, margin = contrast.test, contrast.losses, contrast.chaos_floor, contrast.margin
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
    low, high = survival.interval(losses, contrast.survival_alpha or alpha) if losses else (None, None)
    difference = Difference(
        **test._asdict(),
        p_holm=family.p_difference,
        p_equivalence_holm=family.p_equivalence,
        p_beyond_holm=family.p_beyond,
        smallest_margin=adjusted.smallest_margin,
        p_survival=contrast.p_survival if losses and losses.any else None,
        p_survival_holm=p_survival,
        p_not_worse_holm=adjusted.p_not_worse,
        survival=-losses.excess if losses else None,
        survival_low=low,
        survival_high=high,
    )
    significant = statistics.significant(test, family, alpha=alpha, floor=floor)
    needed = None if by_survival else _seeds_needed(contrast, adjusted, verdict, margin, alpha)
    more = _more_seeds(contrast, needed)
    unpaired, look = contrast.unpaired, contrast.look
    return Judgement(margin, difference, floor, significant, by_survival, verdict, needed, more, unpaired, look)


def _seeds_needed(
    contrast: Contrast, adjusted: _Adjusted, verdict: str, margin: float, alpha: float
) -> int | str | None:
    """Returns how many seeds would decide an undecided variant, or settle one that is different; None for others."""
    test, family = contrast.test, adjusted.of_mean
    if verdict not in ("undecided", "different"):
        return None
    if contrast.look:
        return contrast.look.next_seeds
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
        pairs=contrast.smaller_sample,
        margin=margin,
        alpha=alpha / max(family.open_equivalence, 1),
        alpha_difference=alpha / max(family.open_beyond if settled else family.open_difference, 1),
        beyond=margin if settled else 0.0,
        floor=contrast.chaos_floor,
        # With as many runs of each as of the smaller sample, between those of one sample and of both.
        df_per_pair=1.0 if test.paired else min(max((test.df or 0.0) / (contrast.smaller_sample - 1), 1.0), 2.0),
    )
    return needed or ">10000"


def _more_seeds(contrast: Contrast, needed: int | str | None) -> int | None:
    """Returns how many of the seeds that are needed are still to be trained; None where that is no number."""
    if not isinstance(needed, int):
        return None
    if contrast.look:
        return needed - contrast.look.seeds
    if not contrast.same_seeds and (losses := contrast.losses):
        return needed - min(losses.runs, losses.reference_runs)
    return needed - contrast.smaller_sample


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
