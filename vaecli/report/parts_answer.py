"""What a difference is made of, in words."""

from collections.abc import Sequence

from vaecli.report import sentences
from vaecli.report.effects import Levels
from vaecli.report.formatting import NATS, count, decimals, interval, joined, number, seed_list, signed
from vaecli.report.parts import ExplainedDifference, Part

_MATTERS = ("better", "worse", "beyond the margin", "different")


def answer(explained: ExplainedDifference) -> list[str]:
    """Returns the answer: a sentence on the difference, and one on what it is made of."""
    whole, judgement = explained.whole, explained.judgement
    runs = {one.of: one for one in explained.counterfactuals if one.start == one.rate == "own" and not one.control}
    b, a = (Levels(name, runs[name].survived, len(runs[name].seeds)) for name in (explained.b, explained.a))
    return [
        sentences.of_judgement(b, a, judgement, explained.question),
        _of_parts(explained, whole),
    ]


def _of_parts(explained: ExplainedDifference, whole: Part) -> str:
    """Says what each part is, those that matter first."""
    mean = whole.difference and whole.difference.mean
    sized = [part for part in explained.parts if part.verdict in _MATTERS]
    sized.sort(key=lambda part: -abs((part.difference and part.difference.mean) or 0.0))
    clauses = [_sized(part) for part in sized]
    unit = _unit(explained)
    if small := [part.name for part in explained.parts if part.verdict == "equivalent"]:
        makes = "makes" if len(small) == 1 else "make"
        clauses.append(f"{joined(small)} {makes} no difference that matters (less than {explained.margin:g}{unit})")
    if exact := [part.name for part in explained.parts if part.exact]:
        clauses.append(f"{joined(exact)} {'is' if len(exact) == 1 else 'are'} exactly 0")
    if undecided := [part for part in explained.parts if part.verdict == "undecided"]:
        shown = joined([f"{part.name} ({size(part)})" for part in undecided])
        clauses.append(f"{shown} {'is' if len(undecided) == 1 else 'are'} undecided")
    if mean is None:
        return f"What it is made of: {'; '.join(clauses)}."
    of = signed(mean, decimals(whole.difference and whole.difference.sd, mean))
    return f"Of the {of}{unit} by which {explained.b} differs from {explained.a}, {'; '.join(clauses)}."


def _sized(part: Part) -> str:
    mean = part.difference and part.difference.mean
    if mean is None:
        return f"{part.name} is {part.verdict} by the runs that were lost"
    return f"{part.name} is {size(part)}{f', {share(part)} of it' if part.share.value is not None else ''}"


def size(part: Part) -> str:
    """Formats the size of a part and its interval."""
    difference = part.difference
    if difference is None:
        return "0"
    return interval(difference.mean, difference.sd, difference.low, difference.high) if difference.pairs else "–"


def share(part: Part) -> str:
    """Formats the share of a part in the whole, and its interval; a dash where there is none.

    >>> from vaecli.report.statistics import Ratio
    >>> share(Part("rate", [], [], False, [], {}, None, None, "worse", Ratio(0.861, 0.7, 1.03)))
    '86 % [70, 103]'
    """
    value, low, high = part.share
    if value is None:
        return "–"
    if part.exact:
        return "0 %"
    ends = "" if low is None or high is None else f" [{number(100 * low, 0)}, {number(100 * high, 0)}]"
    return f"{number(100 * value, 0)} %{ends}"


def _unit(explained: ExplainedDifference) -> str:
    unit = explained.question.unit
    return f" {'nats' if unit == NATS else unit}" if unit else ""


def notes(explained: ExplainedDifference) -> list[str]:
    """Returns what a reader of the parts should know."""
    a, b, whole = explained.a, explained.b, explained.whole
    lines = []
    if not (whole.difference and whole.difference.pairs):
        lines.append(f"no shares, since no seed survived in both {a} and {b}")
    elif whole.share.value is None:
        lines.append(f"no shares, since it is not known whether {a} and {b} differ at all")
    for name, head in explained.controls.items():
        lines.append(f"coupling is what {name} does beyond {head}, which has the same map and a mean of its own")
    start, rate = explained.averaged
    averaged = (
        f". Averaged over both orders (Shapley) start is {size(start)} and rate {size(rate)}, and nothing is left to "
        "interaction"
    )
    known = all(part.exact or (part.difference and part.difference.pairs) for part in explained.averaged)
    lines.append(f"start and rate are each changed alone, with the other one matched{averaged if known else ''}")
    if exact := [part.name for part in explained.parts if part.exact]:
        are = "is" if len(exact) == 1 else "are"
        lines.append(f"{joined(exact)} {are} 0 by arithmetic: the runs that would be compared are the same bit for bit")
    return [*lines, *_lost(explained)]


def _lost(explained: ExplainedDifference) -> list[str]:
    """Says which parts are over fewer seeds than there are, and why."""
    lines = []
    for part in (explained.whole, *explained.parts):
        if part.lost:
            first = next(iter(part.lost.values()))
            lines.append(f"{part.name} is without {seed_list(list(part.lost))}, where runs were lost ({first})")
    if any(part.lost for part in explained.parts):
        lines.append("the parts are over different seeds, so they do not add up to the whole")
    return lines


def counted(labels: Sequence[str], number_of: Sequence[int]) -> str:
    """Says how many runs of which variants there are.

    >>> counted(["natural,init=matched", "softplus_prec"], [10, 1])
    '10 runs of natural,init=matched and 1 run of softplus_prec'
    """
    return joined([f"{count(n, 'run')} of {label}" for label, n in zip(labels, number_of, strict=True)])
