"""The first screen of the page: what somebody asks who sees a comparison for the first time, and the answers."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.report.answer import differing, spoken
from vaecli.report.formatting import count, finite, joined, title
from vaecli.report.model import Comparison, VariantResult

# The most names in a sentence.
_NAMED = 3


class Fact(NamedTuple):
    """An answer: what it is about, the words, and the commands that go with it."""

    term: str
    words: str
    commands: Sequence[str] = ()


def question(comparison: Comparison) -> str:
    """Returns what the comparison asks."""
    fields = differing(comparison.results, comparison.at)
    if fields == ["param"] and not comparison.of_logs:
        return "Does it matter how the encoder’s variance is parameterised?"
    if not fields:
        return "Do these settings matter?"
    names = ["the head" if field == "param" and not comparison.of_logs else field for field in fields]
    return f"{'Does' if len(names) == 1 else 'Do'} {joined(names)} matter?"


def glance(comparison: Comparison) -> list[Fact]:
    """Returns the answers to the first questions: which is best, what to use, whether to trust it, what to run next."""
    return [
        Fact("Best", _best(comparison)),
        Fact("Use", _advice(comparison)),
        Fact("Evidence", _evidence(comparison)),
        Fact("Measure", _measure(comparison)),
        Fact("Margin", _margin(comparison)),
        _next(comparison),
    ]


def _of(comparison: Comparison, *verdicts: str) -> list[VariantResult]:
    return [result for result in comparison.results if result.verdict in verdicts]


def _reference(comparison: Comparison) -> str:
    references = _of(comparison, "reference")
    return references[0].label if len(references) == 1 and comparison.at == "each" else comparison.reference


def _best(comparison: Comparison) -> str:
    sign = comparison.direction
    if not sign:
        return f"Cannot be said: {title(comparison.metric)} has no better or worse."
    better = sorted(_of(comparison, "better"), key=lambda one: -sign * finite(one.difference and one.difference.mean))
    reference = spoken(_reference(comparison))
    if not better:
        return f"None is shown to be better than {reference}."
    if len(better) == 1:
        return f"{spoken(better[0].label)}, the only one that is better than {reference}."
    first = spoken(better[0].label)
    return f"{first} leads the {len(better)} that are better than {reference}; they are not tested against each other."


def _advice(comparison: Comparison) -> str:
    """Says what to use, as far as the verdicts carry it."""
    if not comparison.direction:
        words = "Choose by a metric that has better and worse, such as test/elbo or nll."
        if comparison.of_logs:
            words = f"Say which values of {title(comparison.metric)} are better: --better higher, or lower."
    elif better := _of(comparison, "better"):
        words = f"{_names(better)}{' that are better' * (len(better) > _NAMED)}."
    elif same := _of(comparison, "equivalent"):
        relative = ", which makes" if len(same) == 1 else ", which make" if len(same) <= _NAMED else " that make"
        words = f"{spoken(_reference(comparison))}, or {_names(same)}{relative} no difference that matters."
    else:
        words = f"{spoken(_reference(comparison))}, while no other is shown to be as good."
    worse = _of(comparison, "worse")
    return f"{words} Not {_names(worse)}{' that are worse' * (len(worse) > _NAMED)}." if worse else words


def _evidence(comparison: Comparison) -> str:
    """Says what the verdicts rest on."""
    results = comparison.results
    seeds = sorted({result.runs for result in results})
    each = f"{seeds[0]} to {count(seeds[-1], 'seed')}" if len(seeds) > 1 else count(seeds[0], "seed")
    runs, survived = sum(result.runs for result in results), sum(result.survived for result in results)
    left = f"all {runs} runs survived" if runs == survived else f"{survived} of {runs} runs survived"
    risk = f"at most {100 * comparison.alpha:g} % risk that any claim of one kind is wrong"
    alike = (
        "what these runs have in common" if comparison.of_logs else "these data, this network and this number of epochs"
    )
    scope = f"Only for {alike}."
    looks = f", judged at {count(len(comparison.plan.looks), 'planned look')}" if comparison.plan else ""
    return f"{each} of each, {_pairing(results)}{looks}; {left}; {risk}. {scope}"


def _pairing(results: Sequence[VariantResult]) -> str:
    paired = {result.difference.paired for result in results if result.difference}
    return "not paired" if paired == {False} else "paired where seeds are shared" if False in paired else "paired"


def _measure(comparison: Comparison) -> str:
    sign = comparison.direction
    better = {1: "; higher is better", -1: "; lower is better", 0: ""}[sign]
    unit = f", in {comparison.unit}" if comparison.unit else ""
    epochs = f" after {count(comparison.epochs, 'epoch')}" if comparison.epochs is not None else ""
    folders = {variant.config.data_dir for variant in comparison.trained}
    data = sorted({Path(folder).name if folder else "MNIST" for folder in folders})
    on = f" on {joined(data)}" if data and len(data) <= 3 else ""
    return f"{title(comparison.metric)}{epochs}{on}{unit}{better}."


def _margin(comparison: Comparison) -> str:
    unit = f" {comparison.unit}" if comparison.unit else ""
    plan = comparison.plan
    first = plan and not plan.replaced_after and plan.margin == comparison.margin
    when = "written down before the first run" if first else "to be chosen before looking"
    return f"A difference of {comparison.margin:g}{unit} or more matters; {when}."


def _next(comparison: Comparison) -> Fact:
    """Says what to run next."""
    if comparison.next_commands:
        return Fact("Next", "", comparison.next_commands)
    if any(result.more_seeds for result in comparison.results):
        same = "More runs of these" if comparison.of_logs else "The same vae sweep with more seeds, and their pilots"
        return Fact("Next", f"{same}.")
    if comparison.plan and _of(comparison, "undecided", "different"):
        return Fact("Next", "The planned looks are used up; to ask again takes new seeds, with a plan of their own.")
    if unsettled := _of(comparison, "undecided", "different"):
        few = any(result.difference is None or result.difference.sd is None for result in unsettled)
        words = (
            "Train the same seeds of each, five or more."
            if few
            else "No number of seeds is known that would close what is open."
        )
        return Fact("Next", words)
    paths = [
        path
        for result in _of(comparison, "reference")
        if not comparison.of_logs
        for seed, path in zip(result.seeds, result.paths, strict=True)
        if seed not in result.lost
    ]
    if not paths:
        return Fact("Next", "Nothing is open.")
    words = "Nothing is open. To look at one posterior through every head:"
    return Fact("Next", words, [shlex.join(["vae", "probe", paths[0]])])


def _names(results: Sequence[VariantResult]) -> str:
    """Names up to three variants; more, which the headline names, are only counted."""
    names = [spoken(result.label) for result in results]
    if len(names) > _NAMED:
        return f"any of the {len(names)}"
    return " or ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])
