"""What the host remembers of a run at a checkpoint, and whether a run can go on from it."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from vaecli.config import Config, UsageError
from vaecli.config.toml import values_from_toml
from vaecli.environment import Environment
from vaecli.runs.journal import Marks


class CheckpointRecord(TypedDict):
    """What the host remembers of a run at a checkpoint, as its `record.json` has it.

    Attributes:
      epoch: passes over the training images so far.
      pending: whether the log point of this epoch has yet to be written.
      ended: the cause of a divergence after which no step follows.
      unsound: the first number of the last log point that was not finite.
      metrics: the scalars of the last log point.
      sums: the sums of the losses since then, as `Totals` has them.
      skipped_updates: how many updates were left out.
      skipped_by_norm: how many of them by their norm; an earlier version left none out for that, and recorded nothing.
      skipped_in_a_row: how many of the last ones, all by their norm.
      best: the epoch and the value of the best parameters.
      wall_time_s: how long the run has trained, in seconds.
      logs: where each log file ended.
      config: the run's, in TOML.
      data_sha256: the checksums of the data.
      versions: the versions of what trained it.
      environment: what else its last digits depend on; a run that an earlier version began has none.
      head_unit: what the scale head's gradient is divided by before the optimiser receives it; an earlier version did
        not divide it, and recorded none.
      decoder_scale_unit: the same for the likelihood's scale.
    """

    epoch: int
    pending: bool
    ended: Mapping[str, Any] | None
    unsound: Mapping[str, Any] | None
    metrics: Mapping[str, float | None]
    sums: list[list[float]]
    skipped_updates: int
    skipped_by_norm: int
    skipped_in_a_row: int
    best: Mapping[str, Any] | None
    wall_time_s: float
    logs: Marks
    config: str
    data_sha256: Mapping[str, str]
    versions: Mapping[str, str]
    environment: Environment
    head_unit: float
    decoder_scale_unit: float


def check_record(record: Mapping[str, Any]) -> None:
    """Checks that what a checkpoint recorded is what a run can go on from.

    Raises:
      UsageError: it is not; the message names the entry.
    """

    def number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf

    def count(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63

    def texts(value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())

    def cause(value: Any) -> bool:
        return value is None or (isinstance(value, dict) and value.keys() == {"quantity", "block", "step"})

    def sums(value: Any) -> bool:
        return isinstance(value, list) and len(value) == 4 and all(map(number, value))

    def best(value: Any) -> bool:
        return value is None or (isinstance(value, dict) and count(value.get("epoch")) and number(value.get("value")))

    def mark(value: Any) -> bool:
        return isinstance(value, dict) and count(value.get("bytes")) and isinstance(value.get("sha256"), str)

    fits: Mapping[str, Callable[[Any], bool]] = {
        "epoch": count,
        "pending": lambda value: isinstance(value, bool),
        "ended": cause,
        "unsound": cause,
        "metrics": lambda value: isinstance(value, dict) and all(v is None or number(v) for v in value.values()),
        "sums": lambda value: isinstance(value, list) and all(map(sums, value)),
        "skipped_updates": count,
        "skipped_by_norm": count,
        "skipped_in_a_row": count,
        "best": best,
        "wall_time_s": number,
        "logs": lambda value: isinstance(value, dict) and all(map(mark, value.values())),
        "data_sha256": texts,
        "versions": texts,
        "environment": lambda value: isinstance(value, dict),
        "head_unit": lambda value: number(value) and value > 0,
        "decoder_scale_unit": lambda value: number(value) and value > 0,
    }
    record = {
        "environment": {},
        "head_unit": 1.0,
        "decoder_scale_unit": 1.0,
        "skipped_by_norm": 0,
        "skipped_in_a_row": 0,
        **record,
    }
    for name, is_right in fits.items():
        if name not in record or not is_right(record[name]):
            raise UsageError(f"its record has no usable {name!r}")


def recorded_config(record: Mapping[str, Any]) -> Config:
    """Returns the config in a checkpoint's record.

    Raises:
      UsageError: there is none.
    """
    text = record.get("config")
    if not isinstance(text, str):
        raise UsageError("its record has no usable 'config'")
    return Config(**values_from_toml(text))
