"""The answer to a comparison in one sentence, for a person who is no statistician.

It claims what the verdicts claim, and no more: better and worse are those of the verdicts, so that a metric without a
direction has neither; no difference that matters is only said of what is equivalent; and where a verdict is open, it
says how many more seeds would close it.
"""

import collections
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from vaecli.report.formatting import count, decimals, finite, joined, number, title
from vaecli.report.model import Question, VariantResult

# The most names in a clause; of more, only the first two are given.
_NAMED = 3

Kind = Literal["lost runs", "better", "worse", "beyond the margin", "different", "equivalent", "undecided"]
"""What a clause says of its variants; `lost runs` is a verdict on survival."""


class Subject(NamedTuple):
    """Whom a clause is about: a variant, or all settings of one head, under one name."""

    name: str
    results: Sequence[VariantResult]


def answer(results: Sequence[VariantResult], question: Question, margin: float, caveats: Sequence[str] = ()) -> str:
    """Answers a comparison in one sentence.

    Args:
      results: what came of all variants.
      question: what was asked.
      margin: the least difference that matters.
      caveats: what stands in the way of any answer, in a few words each.
    """
    judged = [result for result in results if result.reference is not None]
    if not judged:
        return f"There is nothing to compare with {question.reference}."
    if any(result.verdict == "invalid" for result in judged):
        return "There is no verdict, since the controls are not right (see the warnings)."
    kinds: dict[Kind, list[VariantResult]] = collections.defaultdict(list)
    for result in judged:
        kinds[kind(result, question.alpha)].append(result)
    matter = sum(len(kinds[one]) for one in _MATTER)
    undecided = len(kinds["different"]) + len(kinds["undecided"])
    clauses = _Clauses(results, question, margin)
    order = _OPEN_LAST if matter else _OPEN_FIRST
    said = [clauses.of(one, kinds[one]) for one in order if kinds[one]]
    lead = _lead(results, judged, question, matter, undecided)
    return f"{lead}: {'; '.join([*said, *_caveats(results, caveats)])}."


_MATTER: Sequence[Kind] = ("better", "worse", "beyond the margin", "lost runs")
_OPEN_LAST: Sequence[Kind] = (*_MATTER, "different", "equivalent", "undecided")
_OPEN_FIRST: Sequence[Kind] = ("different", "undecided", "equivalent")


def kind(result: VariantResult, alpha: float) -> Kind:
    """Returns what there is to say of a variant that has a reference."""
    p = result.difference.p_survival_holm if result.difference else None
    if p is not None and p < alpha:
        return "lost runs"
    verdict = result.verdict
    assert verdict not in ("reference", "no reference", "invalid")
    return verdict


def differing(results: Sequence[VariantResult], at: str) -> list[str]:
    """Returns the fields in which any variant differs from its reference, other than a rate that was tuned."""
    by_label = {result.label: result for result in results}
    fields = (
        name
        for result in results
        if (reference := by_label.get(result.reference or ""))
        for name, value in result.values.items()
        if value != reference.values.get(name)
    )
    return [name for name in dict.fromkeys(fields) if name != "lr" or at != "best-lr"]


def spoken(label: str) -> str:
    """Returns the name of a variant as a sentence has it.

    >>> spoken("logstd,bound=clip:-5,3,lr=0.001"), spoken("logstd")
    ('logstd (bound=clip:-5,3, lr=0.001)', 'logstd')
    """
    head, *fields = re.split(r",(?=[a-z_]+=)", label)
    return f"{head} ({', '.join(fields)})" if fields and "=" not in head else ", ".join([head, *fields])


def _lead(
    results: Sequence[VariantResult], judged: Sequence[VariantResult], question: Question, matter: int, undecided: int
) -> str:
    """Says yes, no or that it is not known, of how many, compared with what, and in what."""
    word = "Yes" if matter else "Not known yet" if undecided else "No"
    portion = ","
    if (number_of := matter or undecided) and len(judged) > 1:
        heads = {result.values.get("param") for result in judged}
        of_heads = differing(results, question.at) == ["param"] and not question.of_logs
        things = "heads" if of_heads and len(heads) == len(judged) else "variants"
        share = _all(number_of) if number_of == len(judged) else f"{number_of} of {len(judged)}"
        portion = f", for {share} {things}"
    references = {result.reference for result in judged}
    if question.at == "best-lr":
        reference, where = question.reference, ", each at its best learning rate"
    elif len(references) == 1:
        reference, where = judged[0].reference or "", ""
    else:
        reference, where = question.reference, " at the same settings"
    measure = "" if question.metric == "test/elbo" else f" in {title(question.metric)}"
    return f"{word}{portion} compared with {spoken(reference)}{measure}{where}"


def _caveats(results: Sequence[VariantResult], of_runs: Sequence[str]) -> list[str]:
    """Says what else a reader of the sentence has to know."""
    caveats = []
    if without := sum(result.verdict == "no reference" for result in results):
        caveats.append(f"{count(without, 'variant')} {'has' if without == 1 else 'have'} no reference")
    if confounded := [result for result in results if result.confounders]:
        subjects = [Subject(spoken(result.label), [result]) for result in confounded]
        who = _listed(subjects) if len(subjects) <= _NAMED else f"{len(subjects)} of them"
        fields = list(dict.fromkeys(field for result in confounded for field in result.confounders))
        verb = "differs" if len(confounded) == 1 else "differ"
        caveats.append(f"but {who} {verb} in {joined(fields)}, too, which may be the reason")
    return [*caveats, *(f"but {caveat}" for caveat in of_runs)]


@dataclasses.dataclass(slots=True)
class _Clauses:
    """Makes the clauses of one sentence, in which the unit is only said once.

    Attributes:
      results: what came of all variants.
      question: what was asked.
      margin: the least difference that matters.
    """

    results: Sequence[VariantResult]
    question: Question
    margin: float
    _unit_said: bool = False
    _by_label: Mapping[str, VariantResult] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self._by_label = {result.label: result for result in self.results}

    def of(self, one: Kind, results: Sequence[VariantResult]) -> str:
        """Says one thing of all variants of which it is true."""
        makers: Mapping[Kind, Callable[[Sequence[VariantResult]], str]] = {
            "lost runs": self._of_lost_runs,
            "better": self._of_better,
            "worse": self._of_worse,
            "beyond the margin": self._of_beyond,
            "different": self._of_different,
            "equivalent": self._of_equivalent,
            "undecided": self._of_undecided,
        }
        return makers[one](results)

    def _of_better(self, results: Sequence[VariantResult]) -> str:
        return self._by(self._subjects(results), "better")

    def _of_worse(self, results: Sequence[VariantResult]) -> str:
        return self._by(self._subjects(results), "worse")

    def _of_beyond(self, results: Sequence[VariantResult]) -> str:
        return "; ".join(self._by(self._subjects(side), word) for word, side in _sides(results))

    def _of_lost_runs(self, results: Sequence[VariantResult]) -> str:
        """Says who loses more runs and who fewer; what the survivors say is not counted against it."""
        clauses = []
        for word, ways in (("worse", "more"), ("better", "fewer"), ("different", "fewer")):
            these = [result for result in results if result.verdict == word]
            if len(these) > _NAMED:
                clauses.append(f"{self._who(these)} {_are(these)} {word}, with {ways} runs lost")
            else:
                clauses += [self._lost_run(result) for result in these]
        return "; ".join(clauses)

    def _lost_run(self, result: VariantResult) -> str:
        losses = self._losses(result)
        if result.verdict == "different":
            size = self._amount([result])
            return f"{spoken(result.label)} lost {losses}, but is worse by {size} where both survived"
        return f"{spoken(result.label)} is {result.verdict}, since it lost {losses}"

    def _of_different(self, results: Sequence[VariantResult]) -> str:
        """Says by how much those differ whose size against the margin is open."""
        clauses = []
        unlike = [result for result in results if _beyond(result, self.question.alpha)]
        for result in unlike:
            (side, _), *_ = _sides([result])
            lost = f"{spoken(result.label)} is {side} by {self._amount([result])} where both survived"
            clauses.append(f"{lost}, but as it lost {self._losses(result)}, no more can be said")
        for unequal in (False, True):
            alike = [one for one in results if not _beyond(one, self.question.alpha) and _unequal(one) == unequal]
            for side, these in _sides(alike):
                what = "whether more runs are lost" if unequal else "whether that matters"
                clauses.append(f"{self._by(self._subjects(these), side)}, and {_to_settle(these, what)}")
        return "; ".join(clauses)

    def _of_equivalent(self, results: Sequence[VariantResult]) -> str:
        makes = "makes" if len(results) == 1 else "make"
        margin = self._with_unit(f"{self.margin:g}")
        return f"{self._who(results)} {makes} no difference that matters (less than {margin})"

    def _of_undecided(self, results: Sequence[VariantResult]) -> str:
        """Says what the undecided ones need."""
        # Under a plan there is no more to say than where each stands.
        clauses = [f"{self._who(these)} {_are(these)} undecided {where}" for where, these in _by_look(results)]
        results = [result for result in results if not result.look]
        chaotic = [result for result in results if _within_chaos(result, self.question.alpha)]
        results = [result for result in results if not _within_chaos(result, self.question.alpha)]
        needing = [result for result in results if result.more_seeds]
        beyond = [result for result in results if isinstance(result.seeds_needed, str)]
        if chaotic:
            differs = "differs" if len(chaotic) == 1 else "differ"
            clauses.append(f"{self._who(chaotic)} {differs} by no more than a negligible change of one weight does")
        if needing:
            clauses.append(f"{self._who(needing)} {_need(needing)} about {_more_seeds(needing)}")
        if beyond:
            most = str(beyond[0].seeds_needed).lstrip(">")
            clauses.append(f"{self._who(beyond)} {_need(beyond)} more than {most} seeds")
        reasons: dict[str, list[VariantResult]] = collections.defaultdict(list)
        for result in results:
            if not result.more_seeds and not isinstance(result.seeds_needed, str):
                reasons[self._reason(result)].append(result)
        clauses += [f"{self._who(these)} {_are(these)} undecided{reason}" for reason, these in reasons.items()]
        return "; ".join(clauses)

    def _reason(self, result: VariantResult) -> str:
        """Says why no number of seeds is known that would decide a variant."""
        difference = result.difference
        reference = self._reference(result)
        lost = result.survived < result.runs or (reference is not None and reference.survived < reference.runs)
        if difference and not difference.paired and difference.sd is None:
            return ", since one side has no run" + " or only one" * (difference.mean is not None)
        if difference is None or not difference.pairs:
            return ", since no seed survived on both sides" if lost else ""
        if difference.pairs == 1:
            return ", since there is only one pair of runs"
        return ", since runs were lost" if lost else ""

    def _by(self, subjects: Sequence[Subject], word: str) -> str:
        """Says by how much variants are better, worse, higher or lower: of each, or of many together."""
        if len(subjects) > _NAMED or any(len(subject.results) > 1 for subject in subjects):
            everyone = [result for subject in subjects for result in subject.results]
            return f"{_listed(subjects)} {_are(everyone)} {word} by {self._amount(everyone)}{_also_lost(everyone)}"
        parts = []
        for place, subject in enumerate(subjects):
            (result,) = subject.results
            verb = f" is {word}" if place == 0 else ""
            lost = _also_lost([result]) or self._lost_by_reference(result)
            parts.append(f"{subject.name}{verb} by {self._amount([result])}{lost}")
        return joined(parts)

    def _lost_by_reference(self, result: VariantResult) -> str:
        reference = self._reference(result)
        if reference is None or reference.survived == reference.runs:
            return ""
        lost = reference.runs - reference.survived
        return f" (with {lost} of {count(reference.runs, 'run')} of {spoken(reference.label)} lost)"

    def _who(self, results: Sequence[VariantResult]) -> str:
        return _listed(self._subjects(results))

    def _subjects(self, results: Sequence[VariantResult]) -> list[Subject]:
        """Names variants, all settings of a head together where a clause is about all of them."""
        of_head = collections.Counter(one.values.get("param") for one in self.results if one.reference is not None)
        groups: dict[str, list[VariantResult]] = collections.defaultdict(list)
        for result in results:
            groups[str(result.values.get("param"))].append(result)
        subjects = []
        for head, group in groups.items():
            if len(of_head) > 1 and len(group) == of_head[group[0].values.get("param")] > 1:
                subjects.append(Subject(f"{head} (at {_all(len(group))} settings)", group))
            else:
                subjects += [Subject(spoken(result.label), [result]) for result in group]
        return subjects

    def _amount(self, results: Sequence[VariantResult]) -> str:
        """Gives the size of mean differences, with the unit if it is the first of the sentence."""
        sizes = sorted(dict.fromkeys((abs(finite(r.difference and r.difference.mean)), self._size(r)) for r in results))
        shown = list(dict.fromkeys((sizes[0][1], sizes[-1][1])))
        return self._with_unit(" to ".join(shown))

    def _size(self, result: VariantResult) -> str:
        """Shows a size with two digits, and with more where it would look like the margin."""
        difference = result.difference
        mean = abs(finite(difference and difference.mean))
        most = decimals(difference and difference.sd, mean)
        places = min(most, decimals(mean))
        while places < most and float(f"{mean:.{places}f}") == self.margin:
            places += 1
        return number(mean, places)

    def _with_unit(self, words: str) -> str:
        what = "" if self._unit_said else self.question.unit
        self._unit_said = True
        return f"{words} {what}" if what else words

    def _losses(self, result: VariantResult) -> str:
        """Says how many runs a variant and its reference lost."""
        mine = f"{result.runs - result.survived} of {count(result.runs, 'run')}"
        reference = self._reference(result)
        if reference is None:
            return mine
        return f"{mine} ({spoken(reference.label)} {reference.runs - reference.survived} of {reference.runs})"

    def _reference(self, result: VariantResult) -> VariantResult | None:
        return self._by_label.get(result.reference or "")


def _sides(results: Sequence[VariantResult]) -> list[tuple[str, list[VariantResult]]]:
    """Parts variants whose mean is higher than their reference's from those whose mean is lower; neither is empty."""
    sides: dict[str, list[VariantResult]] = {"higher": [], "lower": []}
    for result in results:
        sides["higher" if finite(result.difference and result.difference.mean) > 0 else "lower"].append(result)
    return [(word, side) for word, side in sides.items() if side]


def _beyond(result: VariantResult, alpha: float) -> bool:
    """Returns whether a difference is beyond the margin and is only not called so since the losses are unequal."""
    p = result.difference.p_beyond_holm if result.difference else None
    return _unequal(result) and p is not None and p < alpha


def _within_chaos(result: VariantResult, alpha: float) -> bool:
    """Returns whether a difference is not 0 by its p, but no more than the chaos floor."""
    difference, floor = result.difference, result.chaos_floor
    p = difference.p_holm if difference else None
    return p is not None and p < alpha and bool(floor) and abs(finite(difference and difference.mean)) <= finite(floor)


def _unequal(result: VariantResult) -> bool:
    """Returns whether a variant and its reference lost different shares of their runs."""
    return bool(result.difference and result.difference.survival)


def _to_settle(results: Sequence[VariantResult], what: str) -> str:
    """Says what it takes to know what is open."""
    if looks := _by_look(results):
        return f"{what} is open {joined([where for where, _ in looks])}"
    beyond = [result for result in results if isinstance(result.seeds_needed, str)]
    if beyond:
        return f"more than {str(beyond[0].seeds_needed).lstrip('>')} seeds would be needed to know {what}"
    if all(result.more_seeds for result in results):
        return f"about {_more_seeds(results)} would show {what}"
    return f"{what} is open"


def _by_look(results: Sequence[VariantResult]) -> list[tuple[str, list[VariantResult]]]:
    """Parts the variants that are judged at the looks of a plan by where they stand."""
    at: dict[str, list[VariantResult]] = collections.defaultdict(list)
    for result in results:
        if look := result.look:
            at[f"after look {look.number} of {look.planned}" if look.number else "before the first look"].append(result)
    return list(at.items())


def _more_seeds(results: Sequence[VariantResult]) -> str:
    """Gives the number of further seeds, from the least to the most that any of them needs."""
    numbers = sorted({result.more_seeds for result in results if result.more_seeds})
    span = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    if any(result.difference and not result.difference.paired for result in results):
        return f"{span} more run{'s' * (span != '1')} of each"
    return f"{span} more seed{'s' * (span != '1')}"


def _also_lost(results: Sequence[VariantResult]) -> str:
    """Says how many runs were lost by variants whose verdict is on the mean of the others."""
    lost = sum(result.runs - result.survived for result in results)
    return f" (with {lost} of {count(sum(result.runs for result in results), 'run')} lost)" if lost else ""


def _all(number_of: int) -> str:
    return "both" if number_of == 2 else f"all {number_of}"


def _are(results: Sequence[VariantResult]) -> str:
    return "is" if len(results) == 1 else "are"


def _need(results: Sequence[VariantResult]) -> str:
    return "needs" if len(results) == 1 else "need"


def _listed(subjects: Sequence[Subject]) -> str:
    """Joins up to three names; of more, it gives two and counts the variants that the others are."""
    if len(subjects) <= _NAMED:
        return joined([subject.name for subject in subjects])
    others = sum(len(subject.results) for subject in subjects[2:])
    return f"{subjects[0].name}, {subjects[1].name} and {others} others"
