"""Checks of types and ranges, each of which returns what is wrong with a value in one line, or None."""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Literal, Union, get_args, get_origin

_LONGEST_TEXT = 4096
"""Characters: no path is longer."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `", did you mean 'x'?"` for the known name closest to `name`, or an empty string."""
    # A name of megabytes is near nothing, and to find that out would take minutes.
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5) if len(name) <= _LONGEST_TEXT else []
    return f", did you mean {close[0]!r}?" if close else ""


Validator = Callable[[Any], str | None]


def between(low: float, high: float) -> Validator:
    return lambda value: None if low <= value <= high else f"must lie between {low} and {high}, got {value}"


def from_one_to(high: int) -> Validator:
    return between(1, high)


def up_to(high: int) -> Validator:
    return between(0, high)


def positive(value: float) -> str | None:
    # What float32 holds: a smaller number would be 0 there, and a larger one infinite.
    return None if 1.2e-38 <= value <= 3.4e38 else f"must be a positive number between 1.2e-38 and 3.4e38, got {value}"


def not_negative(value: float) -> str | None:
    return None if value == 0 else positive(value) and f"must be 0, or between 1.2e-38 and 3.4e38, got {value}"


def finite(value: float) -> str | None:
    return None if abs(value) <= 3.4e38 else f"must be a number between -3.4e38 and 3.4e38, got {value}"


def head_lr(value: float | str) -> str | None:
    return None if isinstance(value, str) else not_negative(value)


def loss_scale(value: float | str) -> str | None:
    return None if isinstance(value, str) else positive(value)


def seed(value: int) -> str | None:
    return None if 0 <= value < 2**32 else f"must lie between 0 and 2**32 - 1, got {value}"


def widths(value: tuple[int, ...]) -> str | None:
    if all(1 <= width <= 10**6 for width in value):
        return None
    return f"every width must lie between 1 and 1000000, got {','.join(map(str, value))}"


def draws(value: int) -> str | None:
    if 2 <= value <= 10**6:
        return None
    off = " (grad_every 0 turns the statistics off)" if value == 0 else ""
    return f"must lie between 2 and 1000000, since a variance needs two draws, got {value}{off}"


def name(value: str) -> str | None:
    # The name becomes a folder: one path component that no shell or page has to quote.
    if not value or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        return None
    return f"must be up to 100 letters, digits, '.', '_' or '-', starting with a letter or digit, got {value!r}"


def wrong_type(value: Any, expected: Any) -> str | None:
    """Returns what is wrong with the type of `value`, or None."""
    # Most settings are such numbers, and a large sweep makes thousands of configs.
    if type(value) is expected and expected is not str:
        return None
    origin = get_origin(expected)
    if origin is Union:
        complaints = [wrong_type(value, part) for part in get_args(expected)]
        return None if None in complaints else f"must be a number, or {str(complaints[-1]).removeprefix('must be ')}"
    if origin is Literal:
        choices = get_args(expected)
        if value in choices:
            return None
        hint = nearest(value, choices) if isinstance(value, str) else ""
        return f"must be one of {', '.join(choices)}, got {value!r}{hint}"
    if origin is tuple:
        fits = isinstance(value, tuple) and all(wrong_type(item, int) is None for item in value)
        return None if fits else f"must be a list of whole numbers, got {value!r}"
    if expected is bool:
        return None if isinstance(value, bool) else f"must be true or false, got {value!r}"
    if expected is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
        return None if fits else f"must be a whole number, got {value!r}"
    if expected is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return None if fits else f"must be a number, got {value!r}"
    return unusable_text(value) if isinstance(value, expected) else f"must be text, got {value!r}"


def unusable_text(value: str) -> str | None:
    """Returns what is wrong with a text that a UTF-8 file cannot hold or a path cannot contain, or None."""
    if len(value) > _LONGEST_TEXT:
        return f"must be text of at most {_LONGEST_TEXT} characters, got {len(value)}"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        return f"must be text without control characters, in UTF-8, got {value!r}"
    return None
