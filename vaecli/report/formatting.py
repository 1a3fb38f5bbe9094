"""The words and digits of a comparison, the same in tables, sentences, figures and the page."""

import math
from collections.abc import Mapping
from typing import Any

_NATS = {"elbo": "ELBO", "iwae": "IWAE bound", "kl": "KL", "reconstruction": "reconstruction", "objective": "objective"}


def unit(metric: str) -> str:
    """The unit of a logged scalar; empty where it has none, or one of its own (docs/metrics.md)."""
    return "nats per image" if metric.rpartition("/")[2] in _NATS else ""


def title(metric: str) -> str:
    """A logged scalar as a sentence names it."""
    split, _, what = metric.rpartition("/")
    return f"{split} {_NATS[what]}" if split and what in _NATS else metric


def finite(value: Any) -> float:
    """A value as a number, NaN for one that is missing or not finite."""
    return float(value) if value is not None and math.isfinite(value) else math.nan


def decimals(spread: Any, value: Any = None) -> int:
    """Decimals that show two significant digits of a spread or, where it is 0, of the value: at most six, else 2."""
    spread, value = abs(finite(spread)), abs(finite(value))
    if spread > 0:
        return max(0, min(6, 1 - math.floor(math.log10(spread))))
    return max(2, min(6, 1 - math.floor(math.log10(value)))) if value > 0 else 2


def number(value: Any, places: int = 2) -> str:
    """A number for a reader, with a real minus sign; a dash where there is none.

    >>> number(-0.123, 2), number(-0.001, 2), number(None), number(-2.5e30), number(3e-8, 6)
    ('−0.12', '0.00', '–', '−2.5·10³⁰', '3.0·10⁻⁸')
    """
    value = finite(value)
    if math.isnan(value):
        return "–"
    if abs(value) >= 1e7 or (places == 6 and 0 < abs(value) < 1e-4):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}·{power(int(exponent))}".replace("-", "−")
    text = f"{value:.{places}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: Any, places: int = 2) -> str:
    """A number with its sign, be it plus; none for 0.

    >>> signed(0.123), signed(-0.001)
    ('+0.12', '0.00')
    """
    shown = number(value, places)
    return f"+{shown}" if finite(value) > 0 and shown.strip("0.") else shown


def power(exponent: int) -> str:
    """A power of ten with a raised exponent."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def probability(value: float | None) -> str:
    """A p-value for a reader.

    >>> probability(0.0004), probability(0.034), probability(None)
    ('<0.001', '0.034', '–')
    """
    return "<0.001" if finite(value) < 0.001 else number(value, 3)


def level(setting: Mapping[str, Any]) -> str:
    """Mean and standard deviation over the runs that survived.

    >>> level({"mean": -105.512, "sd": 0.312}), level({"mean": 1.0, "sd": None})
    ('−105.51 ± 0.31', '1.00')
    """
    places = decimals(setting["sd"], setting["mean"])
    words = number(setting["mean"], places)
    return words if setting["sd"] is None else f"{words} ± {number(setting['sd'], places)}"


def interval(difference: Mapping[str, Any]) -> str:
    """A mean difference and its interval, with as many digits as its spread allows.

    >>> interval({"mean": 0.0312, "sd": 0.25, "low": -0.2, "high": 0.2612})
    '+0.03 [−0.20, +0.26]'
    """
    places = decimals(difference["sd"], difference["mean"])
    mean = signed(difference["mean"], places)
    if difference["low"] is None:
        return mean
    return f"{mean} [{signed(difference['low'], places)}, {signed(difference['high'], places)}]"


def sentence(row: Mapping[str, Any], report: Mapping[str, Any], *, significant: bool, reference: Any) -> str:
    """The answer for one setting.

    Args:
      row: of the setting, all but its sentence.
      report: its `metric`, `unit`, `margin` and `alpha`.
      significant: whether the difference is, by Holm's p and the chaos floor.
      reference: `runs` and `survived` of what it is compared with.
    """
    name, difference = row["label"], row["difference"]
    if row["is_reference"]:
        survived = f"{row['survived']} of {row['runs']} runs"
        return f"{name} is the reference: {title(report['metric'])} {_nats(level(row), report)}, {survived} complete."
    if row["reference"] is None:
        return f"{name} has no reference at the same settings."
    lost = ""
    if row["survived"] < row["runs"] or reference["survived"] < reference["runs"]:
        lost = (
            f"{row['survived']} of {row['runs']} runs survived "
            f"({row['reference']}: {reference['survived']} of {reference['runs']}); "
        )
    against = f"{name} against {row['reference']}"
    by_survival = row["verdict"] == "different" and not _differs_in_mean(row)
    if not difference["pairs"]:
        outcome = f"different in survival, Holm's p {_p(difference['p_holm'])}" if by_survival else "undecided"
        return f"{against}: {lost}{outcome}; no seed {'survived in both' if lost else 'is in both'}."
    if difference["sd"] is None:
        by = _nats(signed(difference["mean"]), report)
        return f"{against}: {lost}undecided, {by} at the one seed they share; one pair gives no interval."
    places = decimals(difference["sd"], difference["mean"])
    low, high = (signed(difference[end], places) for end in ("low", "high"))
    by = _nats(signed(difference["mean"], places), report)
    percent = f"{100 * (1 - report['alpha']):g} %"
    over = f"{difference['pairs']} seeds{' that they share' if row['unpaired'] else ''}"
    shown = f"{by} ({percent} interval {low} to {high}) over {over}"
    if row["verdict"] == "equivalent":
        if difference["sd"] == 0 and difference["mean"] == 0:
            shown = f"the same to the last digit in each of {difference['pairs']} seeds"
        elif significant:
            shown = f"differs by {shown}, below the margin"
        return f"{name} is equivalent to {row['reference']}: {lost}{shown}."
    if by_survival:
        survival = f"{lost}Holm's p {_p(difference['p_holm'])}"
        return f"{name} is different from {row['reference']} in survival: {survival}; where both survived, {shown}."
    if row["verdict"] == "different":
        return f"{name} is different from {row['reference']}: {lost}{shown}, Holm's p {_p(difference['p_holm'])}."
    return f"{against} is undecided: {lost}{shown}{_missing(row, report)}."


def _differs_in_mean(row: Mapping[str, Any]) -> bool:
    """Whether it is the mean that makes a setting different, and not the survival of its runs."""
    difference = row["difference"]
    if difference["p_survival"] is None:
        return True
    p = difference["p_difference"]
    return p is not None and p < difference["p_survival"] and abs(difference["mean"]) > (row["chaos_floor"] or 0.0)


def _missing(row: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """What an undecided setting lacks."""
    floor, difference = row["chaos_floor"], row["difference"]
    p = difference["p_holm"]
    if p is not None and p < report["alpha"] and floor and abs(difference["mean"]) <= floor:
        return f", no more than the chaos floor of {_nats(number(floor, 3), report)}"
    if row["seeds_needed"] is None:
        return ", and what survived is a selection" if difference["p_survival"] is not None else ""
    return f"; about {row['seeds_needed']} seeds would decide it"


def _p(p: float | None) -> str:
    shown = probability(p)
    return shown if shown.startswith("<") else f"= {shown}"


def _nats(words: str, report: Mapping[str, Any]) -> str:
    return f"{words} nats" if report["unit"] else words
