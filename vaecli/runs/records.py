"""The JSON files of a run, which anybody may have written: read strictly, and every type that is relied on checked."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]

_LONGEST_INT = 18
"""Digits: what has more does not fit 64 bits."""

_FLOAT32 = 3.5e38
"""A result is a float32: sums of what is larger overflow."""


class DamagedError(ValueError):
    """A file is not what a run writes; the message says where it differs."""


def summary(text: str) -> dict[str, Any]:
    """Reads a `summary.json`.

    Raises:
      DamagedError: it is not one.
    """
    record = _object(text)
    _require(record, _SUMMARY)
    status = record["status"]
    if status == "complete":
        _require(record["metrics"], dict.fromkeys(("test/elbo", "test/reconstruction", "test/kl"), _result))
    if status == "diverged":
        _require(record, {"first_non_finite": _mapping(_CAUSE)})
    _require(record, {key: check for key, check in _SUMMARY_OPTIONAL.items() if key in record})
    return record


def log_point(line: str) -> dict[str, Any]:
    """Reads a line of `metrics.jsonl`.

    Raises:
      DamagedError: it is not one.
    """
    point = _object(line)
    _require(point, {"epoch": _whole})
    _require(point, dict.fromkeys(point, _number_or_null))
    return point


def _object(text: str) -> dict[str, Any]:
    """Parses an object; NaN, an infinity and a number that is as good as one are null, as a run writes them.

    Raises:
      DamagedError: it is not an object, or gives a key twice.
    """
    try:
        value = json.loads(
            text,
            parse_constant=lambda word: None,
            parse_float=_finite_or_none,
            parse_int=_short_or_none,
            object_pairs_hook=_without_repeated_keys,
        )
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # Half of a character outside the BMP: no file can hold it.
    except DamagedError:
        raise
    except (ValueError, RecursionError) as error:
        raise DamagedError("it is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise DamagedError("it is not an object")
    return value


def _finite_or_none(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _short_or_none(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_INT else None


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise DamagedError("it gives a key twice")
    return value


def _require(record: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    for key, check in checks.items():
        if not check(record.get(key)):
            raise DamagedError(f"{key} is missing or of the wrong kind")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _result(value: Any) -> bool:
    return _number(value) and abs(value) <= _FLOAT32


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


_number_or_null = _or_null(_number)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dict_of(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _mapping(checks: Mapping[str, Check]) -> Check:
    """Returns what checks an object with these fields, of which none may be missing unless it may be null."""
    return lambda value: isinstance(value, dict) and all(check(value.get(key)) for key, check in checks.items())


_CAUSE = {"quantity": _text, "block": _or_null(_text), "step": _whole}
_SUMMARY = {
    "status": lambda value: value in ("complete", "diverged", "interrupted"),
    "epochs": _whole,
    "steps": _whole,
    "metrics": _dict_of(_number_or_null),
    "data_sha256": _dict_of(_text),
}
_SUMMARY_OPTIONAL = {
    "best": _or_null(_mapping({"epoch": _whole})),
    "evaluations": _list_of(lambda value: isinstance(value, dict)),
    "versions": _dict_of(_text),
    "environment": _or_null(_dict_of(lambda value: True)),
    "device": _text,
    "git_commit": _or_null(_text),
    "checkpoint_sha256": _text,
    "skipped_updates": _whole,
    "skipped_by_norm": _whole,
}
