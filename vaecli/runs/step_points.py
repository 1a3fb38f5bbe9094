"""Points within an epoch: what training had every few steps."""

from collections.abc import Mapping
from typing import NamedTuple


class StepPoint(NamedTuple):
    """What training had since the point before it.

    Attributes:
      step: how many updates of the parameters there had been at its end.
      scalars: the means by tag; NaN where no step had a finite loss.
    """

    step: int
    scalars: Mapping[str, float]
