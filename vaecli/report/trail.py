"""Why a run diverged, as typed values: the trail of its last steps, and the changes that were tried."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

ScaleAtFault = Literal["σ", "τ", ""]
"""The scale whose unit or pixel is followed; empty where neither is at fault."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Followed:
    """The unit, or pixel, that is followed.

    Attributes:
      scale: `σ` for a latent dimension of an image, `τ` for a pixel of one.
      split: of which images: `train`, `test`, `validation`, or `probe`.
      image: the number of the image within them.
      place: the number of the latent dimension or pixel, from 0 on.
      head: the name of the head.
      formula: its scale as an expression in u; empty for a head that says none.
    """

    scale: Literal["σ", "τ"]
    split: str
    image: int
    place: int
    head: str
    formula: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Breakdown:
    """The first number of the last step that is not finite, in the order of the computation.

    Attributes:
      quantity: the name of a field of `Anatomy`; `gradient`, `optimiser state`, `parameter`, `norm` for updates that
        are all dropped by their norm, or `unseen` where all numbers are finite when they are worked out by themselves.
      value: the number itself.
      block: the block of parameters, where there is one.
      count: how many numbers of that quantity are not finite.
      at_fault: the scale that is at fault.
      in_float32: whether the same step is finite with all of it in float32; None where that was not asked.
      singular: whether the head, after its bound, has no finite log σ or gain at `u`.
      u: the u of the followed unit or pixel; 0 where it is as near to 0 as rounding can tell.
    """

    quantity: str
    value: float
    block: str | None = None
    count: int = 0
    at_fault: ScaleAtFault = ""
    in_float32: bool | None = None
    singular: bool = False
    u: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrailRow:
    """The trail at the parameters before one step.

    Attributes:
      step: how many updates came before.
      loss: the loss of that step, in nats per image; None where no step was taken.
      gradient_norm: the norm of its gradient; None where no step was taken.
      values: the followed unit's or pixel's numbers, by name.
    """

    step: int
    loss: float | None
    gradient_norm: float | None
    values: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """How the trail was come by.

    Attributes:
      start: the step from which the run was trained again.
      identical: whether that led to the run's checkpoint, bit for bit.
      reproduced: whether it diverged as recorded: at the same step, and over the same quantity.
      cause: what it diverged over, in words; None where it did not.
      differs: what differs between this process and the one that trained the run.
    """

    start: int
    identical: bool
    reproduced: bool
    cause: str | None
    differs: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trail:
    """Why a run diverged.

    Attributes:
      path: the run.
      recorded: what the run has recorded, in words.
      recorded_quantity: the same as its summary has it.
      step: the step at which it diverged.
      followed: the unit or pixel that is followed.
      breakdown: what was not finite first.
      rows: the trail, the oldest first.
      ranges: the least and the greatest log σ, and log τ, that the run has used while it was well.
      images: how many training images an epoch has.
      origin: how the trail was come by.
      survivors: how many runs of the same variant are complete, and how many there are, in the folder beside it.
    """

    path: str
    recorded: str
    recorded_quantity: str
    step: int
    followed: Followed
    breakdown: Breakdown
    rows: Sequence[TrailRow]
    ranges: Mapping[str, tuple[float, float]]
    origin: Origin
    images: int
    survivors: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A change of a run's settings, and what became of it.

    Attributes:
      kind: the kind of change.
      settings: the settings that are other than the run's.
      outcome: `survived`, `diverged`, or `refused` for settings that do not go together.
      detail: where it diverged, or why it was refused.
      elbo: the last test ELBO, in nats per image.
      epochs: how many epochs it has trained.
      seeds: the seeds at which it was trained.
      in_reach: whether the run's own fault is still in reach: at its u, the head has no finite log σ or gain.
      path: the run directory of the first seed.
    """

    kind: str
    settings: Mapping[str, Any]
    outcome: Literal["survived", "diverged", "refused"]
    detail: str = ""
    elbo: float | None = None
    epochs: int = 0
    seeds: Sequence[int] = ()
    in_reach: bool | None = None
    path: str = ""


def to_json(value: Any) -> Any:
    """Returns a value as JSON has it; a number that is not finite is its name, since which one it is matters here."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return (
        to_json(dataclasses.asdict(value)) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
    )
