"""The numbers and names of a comparison as text, the same in tables, sentences, figures and the page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vaecli.config.naming import text

NATS = "nats per image"
"""The unit of a bound on log p(x), and of its parts."""

STEPS_TO = "steps-to:"
"""Before a target: the metric that is the number of steps to it."""

LR_WINDOW = "lr-window:"
"""Before a drop: the metric that is the width of the range of learning rates that cost no more than it."""

_BITS = "bits_per_dim"
_NATS = {
    "elbo": "ELBO",
    "iwae": "IWAE bound",
    "kl": "KL",
    "nll": "NLL",
    "reconstruction": "reconstruction",
    "objective": "objective",
}


def unit(metric: str) -> str:
    """Returns the unit of a logged scalar; empty where it has none, or one of its own (docs/metrics.md)."""
    if metric.startswith(STEPS_TO):
        return "steps"
    if metric.startswith(LR_WINDOW):
        return "decades"
    what = metric.rpartition("/")[2]
    return NATS if what in _NATS else "bits per pixel" if what == _BITS else ""


def direction(metric: str) -> int:
    """Returns 1 for a logged scalar of which more is better, −1 where less is, and 0 where neither can be said.

    A bound on log p(x) is better where it is greater. Its parts, the reconstruction and the KL, are traded for each
    other, and a gradient's variance and SNR depend on what they are the gradient of.
    """
    if metric.startswith(STEPS_TO):
        return -1
    if metric.startswith(LR_WINDOW):
        return 1
    what = metric.rpartition("/")[2]
    return 1 if what in ("elbo", "iwae") else -1 if what in ("nll", _BITS) else 0


def title(metric: str) -> str:
    """Names a metric as a sentence does."""
    if metric.startswith(LR_WINDOW):
        tag, _, drop = metric.removeprefix(LR_WINDOW).rpartition(":")
        return f"learning rates within {drop} of the best {title(tag or 'test/elbo')}"
    if metric.startswith(STEPS_TO):
        tag, _, value = metric.removeprefix(STEPS_TO).rpartition(":")
        return f"steps to {title(tag or 'test/elbo')} {value.replace('-', '−')}"
    split, _, what = metric.rpartition("/")
    return f"{split} {_NATS[what]}" if split and what in _NATS else _NATS["nll"] if metric == "nll" else metric


def finite(value: Any) -> float:
    """Returns a value as a number, NaN for one that is missing or not finite."""
    return float(value) if value is not None and math.isfinite(value) else math.nan


def decimals(spread: Any, value: Any = None) -> int:
    """Returns how many decimals show two significant digits of a spread or, where it is 0, of the value.

    There are at most six, none from a spread of 10 on, and without a spread at least two.
    """
    spread, value = abs(finite(spread)), abs(finite(value))
    if spread > 0:
        return max(0, min(6, 1 - math.floor(math.log10(spread))))
    return max(2, min(6, 1 - math.floor(math.log10(value)))) if value > 0 else 2


def number(value: Any, places: int = 2) -> str:
    """Formats a number for a reader, with a real minus sign; a dash where there is none.

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
    """Formats a number with its sign, also if it is plus; 0 has none.

    >>> signed(0.123), signed(-0.001)
    ('+0.12', '0.00')
    """
    shown = number(value, places)
    return f"+{shown}" if finite(value) > 0 and shown.strip("0.") else shown


def power(exponent: int) -> str:
    """Formats a power of ten with a raised exponent."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def probability(value: float | None) -> str:
    """Formats a p-value for a reader.

    >>> probability(0.0004), probability(0.034), probability(None)
    ('<0.001', '0.034', '–')
    """
    return "<0.001" if finite(value) < 0.001 else number(value, 3)


def effects_title(label: str, levels: Mapping[str, Sequence[Any]]) -> str:
    """Names the effects within a grid, and the baselines that they are changes from.

    >>> effects_title("logstd", {"init": ["native", "matched"], "head_lr": ["native", 0.5]})
    'Effects within logstd, from init=native and head_lr=native'
    """
    first = [f"{name}={text(one[0])}" for name, one in levels.items()]
    return f"Effects{' within ' * bool(label)}{label}, from {joined(first)}"


def level(mean: float | None, sd: float | None) -> str:
    """Formats the mean and the standard deviation over the runs that survived.

    >>> level(-105.512, 0.312), level(1.0, None)
    ('−105.51 ± 0.31', '1.00')
    """
    places = decimals(sd, mean)
    words = number(mean, places)
    return words if sd is None else f"{words} ± {number(sd, places)}"


def interval(mean: float | None, sd: float | None, low: float | None, high: float | None) -> str:
    """Formats a mean difference and its interval, with as many digits as its spread allows.

    >>> interval(0.0312, 0.25, -0.2, 0.2612)
    '+0.03 [−0.20, +0.26]'
    """
    places = decimals(sd, mean)
    words = signed(mean, places)
    return words if low is None else f"{words} [{signed(low, places)}, {signed(high, places)}]"


def of_survivors(words: str, count: int, lost: bool) -> str:
    """Says beside a number that it is of those only that survived, where any was lost.

    >>> of_survivors("−165 ± 15", 9, True), of_survivors("−105.51 ± 0.31", 10, False)
    ('−165 ± 15 (9 left)', '−105.51 ± 0.31')
    """
    return f"{words} ({count} left)" if lost and count else words


def rounded_up(value: float | None, spread: float | None) -> str:
    """Formats a bound with the digits that a spread allows, at least two decimals, and never below its value.

    >>> rounded_up(0.2071, 0.21), rounded_up(None, None)
    ('0.21', '–')
    """
    places = max(2, decimals(spread))
    return number(value if value is None else math.ceil(value * 10**places) / 10**places, places)


def count(number_of: int, what: str) -> str:
    """Formats a number of things.

    >>> count(1, "run"), count(2, "run")
    ('1 run', '2 runs')
    """
    return f"{number_of} {what}{'s' * (number_of != 1)}"


def seed_list(seeds: Sequence[int]) -> str:
    """Names seeds, at most the first eight.

    >>> seed_list([3]), seed_list([0, 2]), seed_list([4, 5, 6])
    ('seed 3', 'seeds 0, 2', 'seeds 4 to 6')
    """
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seed{'s' * (len(seeds) > 1)} {first_eight(seeds)}"


def first_eight(seeds: Sequence[int]) -> str:
    """Joins the first eight seeds.

    >>> first_eight([0, 1, 2]), first_eight(range(9))
    ('0, 1, 2', '0, 1, 2, 3, 4, 5, 6, 7, …')
    """
    return f"{', '.join(map(str, seeds[:8]))}{', …' * (len(seeds) > 8)}"


def joined(words: Sequence[str]) -> str:
    """Joins all names or values.

    >>> joined(["a"]), joined(["a", "b"]), joined("abc")
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + [*words[-1:]])


def first_four(words: Sequence[str]) -> str:
    """Joins the first four names or values.

    >>> first_four(["a", "b"]), first_four("abcd"), first_four("abcde")
    ('a and b', 'a, b, c and d', 'a, b, c, d and more')
    """
    return joined([*words[:4], "more"] if len(words) > 4 else words)
