"""The TOML of a config file: how a config is written, which settings and grids a text gives, how two configs differ."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import tomli_w

from vaecli.config import SECTIONS, SETTINGS, Config, UsageError
from vaecli.config.sequential import SequentialPlan, with_tuples
from vaecli.config.study import Study, study_from_tables
from vaecli.config.validators import nearest

_LONGEST, _MOST_DOTS = 2**18, 1000
"""Characters of a text, and dots in a line of it: `tomllib` takes seconds for a key of ten thousand parts."""

_DEEPEST = 6
"""A text has tables, of which one is a list of tables, whose values may be lists of lists of numbers."""

_LONGEST_NUMBER = 2**13
"""Bits; Python prints no number of more than 4300 decimal digits, which is a little more."""


def to_toml(config: Config) -> str:
    """Returns a config as TOML, with every setting written out; `values_from_toml` reads it back."""
    tables: dict[str, dict[str, Any]] = {}
    for name, setting in SETTINGS.items():
        value = getattr(config, name)
        tables.setdefault(setting.section, {})[name] = list(value) if isinstance(value, tuple) else value
    return tomli_w.dumps(tables)


def values_from_toml(text: str) -> dict[str, Any]:
    """Reads the settings that a TOML text gives, flat, by the names of `Config`'s fields.

    Raises:
      UsageError: the text is not TOML, or has a section or key that is not one of a setting.
      ConfigError: a value has the wrong type or lies outside its range.
    """
    return _values(_tables(text))


PackLimit = int | Literal["auto"]
"""The most runs of several variants that train together; `auto` is what an accelerator holds, and none on a CPU."""


def pack_limit(given: Any, where: str) -> PackLimit:
    """Returns a limit as a flag or a file gives it.

    Args:
      given: what was given.
      where: the flag or the key, for the message.

    Raises:
      UsageError: it is neither `auto` nor a number of runs.
    """
    if given == "auto":
        return "auto"
    digits = isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 9
    number = int(given) if digits else given
    if type(number) is not int or not 1 <= number <= 100_000:
        raise UsageError(f"{where}: must be auto, or a whole number from 1 to 100000, got {given!r}")
    return number


_SWEEP_KEYS = "seeds", "chaos_floor", "pilot_seeds", "pack", "until_decided"
LOOK_KEYS = "looks", "margin", "alpha", "spending", "reference", "metric"
"""Fields of `SequentialPlan` that a file or flags may give."""


class SweepPlan(NamedTuple):
    """What a sweep varies. The default is one run.

    Attributes:
      seeds: the number of seeds of each combination.
      chaos_floor: whether each run has a perturbed twin.
      grids: for each grid, the values of each field; a sweep is all combinations of the first, then of the second, …
      pilot_seeds: the number of pilots of each seed, which choose its learning rate; with 0, every rate is trained.
      pack: the most runs of several variants that train together.
      until_decided: whether it stops when every variant is decided, at a look of `looks`.
      looks: values of `SequentialPlan` by name, as far as they are given.
      study: the conditions and heads, if it is a study; it has no grids then.
    """

    seeds: int = 1
    chaos_floor: bool = False
    grids: Sequence[Mapping[str, Sequence[Any]]] = ()
    pilot_seeds: int = 0
    pack: PackLimit = "auto"
    until_decided: bool = False
    looks: Mapping[str, Any] = MappingProxyType({})
    study: Study | None = None


def sweep_from_toml(text: str) -> tuple[dict[str, Any], SweepPlan]:
    """Reads a sweep: the settings that all its runs share, as `values_from_toml` does, and what it varies.

    `[sweep]` may hold `seeds`, `chaos_floor`, `pilot_seeds` and `pack`, and `until_decided` with what a plan of looks
    says; each `[[grid]]` has fields of `Config` with the list of their values. A study has no grids, but `[study]` and
    `[[condition]]`.

    Raises:
      UsageError: as `values_from_toml`, or the plan is not one.
      ConfigError: as `values_from_toml`.
    """
    tables = _tables(text)
    sweep, grids = tables.pop("sweep", {}), tables.pop("grid", [])
    study = _study(tables, sweep, grids)
    if not isinstance(sweep, dict) or sweep.keys() - {*_SWEEP_KEYS, *LOOK_KEYS}:
        known = ", ".join(map(repr, [*_SWEEP_KEYS, *LOOK_KEYS]))
        raise UsageError(f"[sweep] may hold only {known}; what varies goes in a [[grid]]")
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise UsageError("a grid is written [[grid]], with two brackets")
    looks = {name: sweep.pop(name) for name in LOOK_KEYS if name in sweep}
    plan = SweepPlan(**sweep, grids=[_grid(grid) for grid in grids], looks=_looks(looks), study=study)
    for name in ("seeds", "pilot_seeds"):
        if type(getattr(plan, name)) is not int:
            raise UsageError(f"[sweep] {name} must be a whole number")
    for name in ("chaos_floor", "until_decided"):
        if not isinstance(getattr(plan, name), bool):
            raise UsageError(f"[sweep] {name} must be true or false")
    pack_limit(plan.pack, "[sweep] pack")
    return _values(tables), plan


def _study(tables: dict[str, Any], sweep: Any, grids: Any) -> Study | None:
    """Takes the tables of a study from those of a text, and reads them; returns None where there are none.

    Raises:
      UsageError: they are not those of a study, or there is what does not go with one.
    """
    if not tables.keys() & {"study", "condition"}:
        return None
    study = study_from_tables(tables.pop("study", {}), tables.pop("condition", []))
    if grids:
        raise UsageError("[[grid]] does not go with [[condition]]: what varies within a condition is the head")
    if isinstance(sweep, dict):
        for name in ("seeds", "pilot_seeds"):
            if name in sweep:
                raise UsageError(f"[sweep] {name} does not go with [[condition]], which takes its seeds from looks")
    return study


def _looks(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what a file says of a plan of looks.

    Raises:
      UsageError: a value is wrong.
    """
    values = with_tuples(given)
    try:
        SequentialPlan(**values)
    except UsageError as error:
        raise UsageError(f"[sweep] {str(error).removeprefix('--')}") from None
    return values


def _grid(table: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
    grid = {}
    for key, values in table.items():
        if key not in SETTINGS:
            raise UsageError(f"unknown key '{key}' in [[grid]]{nearest(key, SETTINGS)}")
        if not isinstance(values, list) or not values:
            raise UsageError(f"[[grid]] {key}: must be a list of values, got {values!r}")
        grid[key] = [tuple(value) if isinstance(value, list) else value for value in values]
    return grid


def _tables(text: str) -> dict[str, Any]:
    """Parses a text, unless it is what no config is and takes Python minutes to parse, or cannot be printed.

    Raises:
      UsageError: it is such a text, or not TOML.
    """
    if len(text) > _LONGEST or any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
        raise UsageError(f"not a config: has more than {_LONGEST} characters, or than {_MOST_DOTS} dots in a line")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not valid TOML: {error}") from error
    values: list[Any] = [tables]
    for _ in range(_DEEPEST):
        values = [inner for value in values for inner in _inner(value)]
    if values:
        raise UsageError("not a config: its values are nested too deep")
    return tables


def _inner(value: Any) -> Iterable[Any]:
    """Returns the values in a table or a list.

    Raises:
      UsageError: it is a number that is too long to be printed.
    """
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        raise UsageError(f"not a config: a number in it has {value.bit_length()} bits")
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _values(tables: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if section in ("sweep", "grid", "study", "condition"):
            raise UsageError("holds a sweep of several settings; run it with: vae sweep --config")
        if section not in SECTIONS or not isinstance(table, dict):
            if section in SETTINGS:
                raise UsageError(f"key '{section}' belongs in the section [{SETTINGS[section].section}]")
            if section in SECTIONS:
                raise UsageError(f"'{section}' is a section, as in [{section}], not a key")
            what = f"section [{section}]" if isinstance(table, dict) else f"key '{section}'"
            raise UsageError(f"unknown {what}{nearest(section, SECTIONS)}")
        for key, value in table.items():
            if key not in SETTINGS:
                raise UsageError(f"unknown key '{key}' in [{section}]{nearest(key, SETTINGS)}")
            if SETTINGS[key].section != section:
                raise UsageError(f"key '{key}' belongs in the section [{SETTINGS[key].section}], not in [{section}]")
            values[key] = tuple(value) if isinstance(value, list) else value
    Config(**values)
    return values


def differences(one: Config, other: Config) -> Sequence[str]:
    """Returns `field is a there and b here` for each setting that decides a run and in which two configs differ."""
    pairs = ((name, getattr(one, name), getattr(other, name)) for name in SETTINGS if SETTINGS[name].outcome)
    return [f"{name} is {a!r} there and {b!r} here" for name, a, b in pairs if a != b]
