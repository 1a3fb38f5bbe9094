"""Config files: a config as TOML, the settings that a TOML text gives, and how two configs differ."""

import tomllib
from collections.abc import Sequence
from typing import Any

import tomli_w

from vaecli.checks import nearest
from vaecli.config import SECTIONS, SETTINGS, Config, UsageError


def to_toml(config: Config) -> str:
    """Returns a config as TOML, every setting written out; `values_from_toml` reads it back."""
    tables: dict[str, dict[str, Any]] = {}
    for name, setting in SETTINGS.items():
        value = getattr(config, name)
        tables.setdefault(setting.section, {})[name] = list(value) if isinstance(value, tuple) else value
    return tomli_w.dumps(tables)


def values_from_toml(text: str) -> dict[str, Any]:
    """Reads the settings that a TOML text gives, flat, by the names of `Config`'s fields.

    Raises:
      UsageError: the text is no TOML, or has a section or key that no setting has.
      ConfigError: a value has the wrong type or lies outside its range.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not valid TOML: {error}") from error
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if section not in SECTIONS or not isinstance(table, dict):
            if section in SETTINGS:
                raise UsageError(f"key '{section}' belongs in the section [{SETTINGS[section].section}]")
            if section in SECTIONS:
                raise UsageError(f"'{section}' is a section, as in [{section}], and no key")
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
