"""The answer for each variant as a sentence."""

from vaecli.report.formatting import decimals, level, number, probability, signed, title, unit
from vaecli.report.model import Difference, Judgement, Question, VariantResult


def of_reference(label: str, mean: float | None, sd: float | None, runs: int, survived: int, metric: str) -> str:
    """Says where a reference stands."""
    spread = _with_unit(level(mean, sd), metric)
    return f"{label} is the reference: {title(metric)} {spread}, {survived} of {runs} runs complete."


def without_reference(label: str) -> str:
    """Says that a variant is compared with nothing."""
    return f"{label} has no reference at the same settings."


def of_judgement(variant: VariantResult, reference: VariantResult, judgement: Judgement, question: Question) -> str:
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
    by_survival = verdict == "different" and not _differs_in_mean(judgement)
    p_holm = _p(difference.p_holm)
    if not difference.pairs:
        outcome = f"different in survival, Holm's p {p_holm}" if by_survival else "undecided"
        return f"{against}: {lost}{outcome}; no seed {'survived in both' if lost else 'is in both'}."
    if difference.sd is None:
        by = _with_unit(signed(difference.mean), question.metric)
        return f"{against}: {lost}undecided, {by} at the one seed they share; one pair gives no interval."
    shown = _estimate(judgement, question)
    if verdict == "equivalent":
        return f"{variant.label} is equivalent to {reference.label}: {lost}{_equivalence(judgement, shown)}."
    different = f"{variant.label} is different from {reference.label}"
    if by_survival:
        return f"{different} in survival: {lost}Holm's p {p_holm}; where both survived, {shown}."
    if verdict == "different":
        return f"{different}: {lost}{shown}, Holm's p {p_holm}."
    return f"{against} is undecided: {lost}{shown}{_missing(judgement, question)}."


def _lost(variant: VariantResult, reference: VariantResult) -> str:
    """Says how many runs survived, where any was lost."""
    if variant.survived == variant.runs and reference.survived == reference.runs:
        return ""
    theirs = f"{reference.label}: {reference.survived} of {reference.runs}"
    return f"{variant.survived} of {variant.runs} runs survived ({theirs}); "


def _estimate(judgement: Judgement, question: Question) -> str:
    """Gives the mean difference and its interval."""
    difference = judgement.difference
    places = decimals(difference.sd, difference.mean)
    by = _with_unit(signed(difference.mean, places), question.metric)
    low, high = signed(difference.low, places), signed(difference.high, places)
    percent = f"{100 * (1 - question.alpha):g} %"
    over = f"{difference.pairs} seeds{' that they share' if judgement.unpaired else ''}"
    return f"{by} ({percent} interval {low} to {high}) over {over}"


def _equivalence(judgement: Judgement, shown: str) -> str:
    difference = judgement.difference
    if difference.sd == 0 and difference.mean == 0:
        return f"the same to the last digit in each of {difference.pairs} seeds"
    return f"differs by {shown}, below the margin" if judgement.significant else shown


def _differs_in_mean(judgement: Judgement) -> bool:
    """Returns whether it is the mean that makes a variant different, and not the survival of its runs."""
    difference = judgement.difference
    if difference.p_survival is None:
        return True
    p = difference.p_difference
    return p is not None and p < difference.p_survival and _above_floor(difference, judgement.chaos_floor)


def _above_floor(difference: Difference, floor: float | None) -> bool:
    return abs(difference.mean or 0.0) > (floor or 0.0)


def _missing(judgement: Judgement, question: Question) -> str:
    """Says what an undecided variant lacks."""
    floor, difference = judgement.chaos_floor, judgement.difference
    p = difference.p_holm
    if p is not None and p < question.alpha and floor and not _above_floor(difference, floor):
        return f", no more than the chaos floor of {_with_unit(number(floor, 3), question.metric)}"
    if judgement.seeds_needed is None:
        return ", and what survived is a selection" if difference.p_survival is not None else ""
    return f"; about {judgement.seeds_needed} seeds would decide it"


def _p(p: float | None) -> str:
    shown = probability(p)
    return shown if shown.startswith("<") else f"= {shown}"


def _with_unit(words: str, metric: str) -> str:
    return f"{words} nats" if unit(metric) else words
