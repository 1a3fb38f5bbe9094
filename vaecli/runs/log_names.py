"""What the name of a run, or the path of its folder, says of its variant and its seed."""

import re
from collections.abc import Sequence

from vaecli.config import UsageError

_SEPARATORS = r"[/_.,\- ]"
_DEFAULTS = (
    re.compile(rf"(?P<variant>.+?){_SEPARATORS}+seed[_=\- ]?(?P<seed>\d{{1,20}})", re.IGNORECASE),
    re.compile(r"(?P<variant>.+)/(?:s[_=\-]?)?(?P<seed>\d{1,20})"),
)
_EXAMPLE = r"--runs-regex '(?P<variant>[^/]+)/seed(?P<seed>\d+)'"


def compiled(regex: str) -> re.Pattern[str]:
    """Returns a regular expression that the user gave.

    Raises:
      UsageError: it is not one, or has no group `variant`.
    """
    try:
        pattern = re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"--runs-regex: is no regular expression ({error})") from error
    if "variant" not in pattern.groupindex:
        raise UsageError(f"--runs-regex: needs a group for the variant, as in {_EXAMPLE}")
    return pattern


def says_both(name: str) -> bool:
    """Whether a name says variant and seed by itself."""
    return any(pattern.fullmatch(name) for pattern in _DEFAULTS)


def name_parts(names: Sequence[str], regex: str, source: str) -> dict[str, tuple[str, int | None]]:
    """Returns the variant and the seed of those names that have them; the seed is None where the expression has none.

    Args:
      names: the names, or paths.
      regex: a regular expression that is searched in each; empty for `variant/3`, `variant/seed3` and `variant_seed3`.
      source: where they come from.

    Raises:
      UsageError: none has them, the expression is not one, or a seed is not a number.
    """
    patterns = [compiled(regex)] if regex else _DEFAULTS
    parts: dict[str, tuple[str, int | None]] = {}
    for name in names:
        matches = (pattern.search(name) if regex else pattern.fullmatch(name) for pattern in patterns)
        if (match := next(filter(None, matches), None)) and match["variant"]:
            seed = match.groupdict().get("seed")
            if seed and not re.fullmatch(r"\d{1,20}", seed):
                raise UsageError(f"--runs-regex: the seed of {name} is {seed!r}, no whole number of at most 20 digits")
            parts[name] = match["variant"], int(seed) if seed else None
    if not parts:
        example = f"as in that of {names[0]!r}" if names else ""
        if regex:
            raise UsageError(f"--runs-regex: does not match the name of any run, {example}")
        raise UsageError(f"{source}: the names of the runs do not say variant and seed, {example}; {_EXAMPLE} does")
    return parts
