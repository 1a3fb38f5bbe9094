"""The answer for each variant as a sentence."""

from typing import Protocol

from vaecli.report.formatting import NATS, count, decimals, level, number, probability, rounded_up, signed, title
from vaecli.report.model import Judgement, Question


class Side(Protocol):
    """One side of a comparison: its name, how many runs it has, and how many of them survived."""

    @property
    def label(self) -> str: ...
    @property
    def survived(self) -> int: ...
    @property
    def runs(self) -> int: ...


def of_reference(label: str, mean: float | None, sd: float | None, runs: int, survived: int, question: Question) -> str:
    """Says where a reference stands."""
    spread = _with_unit(level(mean, sd), question)
    return f"{label} is the reference: {title(question.metric)} {spread}, {survived} of {runs} runs complete."


def without_reference(label: str) -> str:
    """Says that a variant is compared with nothing."""
    return f"{label} has no reference at the same settings."


def of_judgement(variant: Side, reference: Side, judgement: Judgement, question: Question) -> str:
    """Says what came of comparing a variant with its reference.

    Args:
      variant: the variant by itself.
      reference: that with which it is compared.
      judgement: what the tests conclude.
      question: what was asked.
    """
    difference, verdict = judgement.difference, judgement.verdict
    lost = _lost(variant, reference)
    against = f"{variant.label} against {reference.label}"
    if judgement.by_survival:
        return _of_survival(variant, reference, judgement, question)
    if difference.mean is None:
        return f"{against}: {lost}undecided; {_no_mean(judgement)}{_seeds_to(judgement, 'decide it')}."
    if difference.sd is None:
        by = _with_unit(signed(difference.mean), question)
        where = "at the one seed they share; one pair gives no interval" if difference.paired else _SINGLE
        return f"{against}: {lost}undecided, {by} {where}."
    shown = _estimate(variant, reference, judgement, question)
    if verdict == "equivalent":
        return f"{variant.label} is equivalent to {reference.label}: {_equivalence(judgement, question, shown)}."
    if verdict == "different":
        reason = _unsettled(variant, reference, judgement, question)
        p = f"Holm's p {_p(difference.p_holm)}"
        return f"{variant.label} is different from {reference.label}: {lost}{shown}, {p}; {reason}."
    if verdict == "undecided":
        return f"{against} is undecided: {lost}{shown}{_missing(judgement, question)}."
    p = f"Holm's p {_p(difference.p_beyond_holm)}"
    if verdict == "beyond the margin":
        return f"{variant.label} differs from {reference.label} by more than the margin: {lost}{shown}, {p}."
    return f"{variant.label} is {verdict} than {reference.label}: {lost}{shown}, beyond the margin with {p}."


def _of_survival(variant: Side, reference: Side, judgement: Judgement, question: Question) -> str:
    """Says that one of the two lost more runs and, where both survived, by how much they differ."""
    difference = judgement.difference
    more = "more" if (difference.survival or 0.0) < 0 else "fewer"
    mean = f" (the mean says otherwise: {variant.label} is different)" if judgement.verdict == "different" else ""
    p = f"Holm's p {_p(difference.p_survival_holm)}"
    words = f"{variant.label} loses {more} runs than {reference.label}: {_lost(variant, reference)}{p}{mean}"
    if difference.mean is None:
        return f"{words}; {_no_mean(judgement)}."
    shown = _estimate(variant, reference, judgement, question)
    return f"{words}; {shown}, which says nothing of those that were lost."


def _lost(variant: Side, reference: Side) -> str:
    """Says how many runs survived, where any was lost."""
    if variant.survived == variant.runs and reference.survived == reference.runs:
        return ""
    theirs = f"{reference.label}: {reference.survived} of {reference.runs}"
    return f"{variant.survived} of {variant.runs} runs survived ({theirs}); "


_SINGLE = "between runs that are not paired; a single run of one of the two gives no interval"


def _no_mean(judgement: Judgement) -> str:
    """Says why there is no mean difference."""
    return "no seed survived in both" if judgement.difference.paired else "no run of one of the two survived"


def _estimate(variant: Side, reference: Side, judgement: Judgement, question: Question) -> str:
    """Gives the mean difference and its interval, and says over which runs."""
    difference = judgement.difference
    places = decimals(difference.sd, difference.mean)
    by = _with_unit(signed(difference.mean, places), question)
    over = f"{difference.pairs} seeds"
    if not difference.paired:
        over = f"{variant.survived} and {reference.survived} runs that are not paired"
    elif _lost(variant, reference):
        over = f"the {count(difference.pairs, 'seed')} that survived in both"
    elif judgement.unpaired:
        over += " that they share"
    if difference.low is None:
        return f"{by} over {over}"
    low, high = signed(difference.low, places), signed(difference.high, places)
    return f"{by} ({100 * (1 - question.alpha):g} % interval {low} to {high}) over {over}"


def _equivalence(judgement: Judgement, question: Question, shown: str) -> str:
    difference = judgement.difference
    if difference.sd == 0 and difference.mean == 0:
        runs = f"each of {difference.pairs} seeds" if difference.paired else "all runs"
        return f"the same to the last digit in {runs}"
    below = "differs by " if judgement.significant else ""
    kept = ", below the margin" if judgement.significant else ""
    return f"{below}{shown}{kept}{_smallest_margin(judgement, question, 'and so at any margin')}"


def _smallest_margin(judgement: Judgement, question: Question, words: str) -> str:
    """Says from which margin on the two are equivalent, in one family with the others."""
    margin = judgement.difference.smallest_margin
    if margin is None:
        return ""
    return f", {words} above {_with_unit(rounded_up(margin, judgement.difference.sd), question)}"


def _unsettled(variant: Side, reference: Side, judgement: Judgement, question: Question) -> str:
    """Says what a verdict of different leaves open."""
    survival, p = judgement.difference.survival, judgement.difference.p_beyond_holm
    if survival and p is not None and p < question.alpha:
        loser = variant if survival < 0 else reference
        return f"more is not said, since {loser.label} lost more runs and what survived is a selection"
    margin = _with_unit(f"{judgement.margin:g}", question)
    settled = _seeds_to(judgement, "settle it")
    return f"whether by more than the margin of {margin} is open{settled}"


def _missing(judgement: Judgement, question: Question) -> str:
    """Says what an undecided variant lacks."""
    floor, difference = judgement.chaos_floor, judgement.difference
    p = difference.p_holm
    if p is not None and p < question.alpha and floor and abs(difference.mean or 0.0) <= floor:
        return f", no more than the chaos floor of {_with_unit(number(floor, 3), question)}"
    within = difference.p_equivalence_holm
    if within is not None and within < question.alpha:
        lacking = ", within the margin, but the two did not lose the same runs"
    else:
        lacking = _smallest_margin(judgement, question, "equivalent only at a margin")
    return lacking + _seeds_to(judgement, "decide it")


def _seeds_to(judgement: Judgement, what: str) -> str:
    """Says how many seeds would do something, or where the next look is."""
    needed, look = judgement.seeds_needed, judgement.look
    if look and look.next_seeds is None:
        return f"; that was the last of {look.planned} looks" if look.planned > 1 else "; that was the only look"
    if look and needed is not None:
        return f"; look {look.number + 1} of {look.planned} is at {needed} seeds"
    if needed is None:
        return ""
    about = f"more than {needed[1:]}" if isinstance(needed, str) else f"about {needed}"
    return f"; {about} {'seeds' if judgement.difference.paired else 'runs of each'} would {what}"


def _p(p: float | None) -> str:
    shown = probability(p)
    return shown if shown.startswith("<") else f"= {shown}"


def _with_unit(words: str, question: Question) -> str:
    of = question.unit
    return f"{words} {'nats' if of == NATS else of}" if of else words
