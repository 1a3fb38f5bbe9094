"""The names of metrics that are made of what a run logs: `PREFIX[TAG:]NUMBER`."""

import math
from typing import NamedTuple

from vaecli.config import UsageError
from vaecli.report.formatting import direction


class Derived(NamedTuple):
    """A metric that is made of a logged scalar.

    Attributes:
      tag: the scalar, of which more or less is better.
      number: what it is measured by.
    """

    tag: str
    number: float


def parsed(metric: str, prefix: str, number: str, example: str) -> Derived | None:
    """Reads the name of a metric.

    Args:
      metric: the name.
      prefix: how it begins; None is returned for another one.
      number: what the number is, in words.
      example: a number.

    Raises:
      UsageError: it has no number, or its scalar has no direction.
    """
    if not metric.startswith(prefix):
        return None
    tag, _, words = metric.removeprefix(prefix).rpartition(":")
    try:
        value = float(words)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        examples = f"{prefix}{example}, or {prefix}validation/elbo:{example}"
        raise UsageError(f"--metric: {metric!r} names no {number}; write {examples}")
    if not direction(tag or "test/elbo"):
        raise UsageError(f"--metric: {tag} has no better and worse, as {metric!r} needs and test/elbo has")
    return Derived(tag or "test/elbo", value)
