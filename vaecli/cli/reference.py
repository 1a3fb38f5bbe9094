"""What the flags and arguments of a command are: its help, and what a shell completes, are made from this."""

import dataclasses
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from vaecli.cli.command import Command
from vaecli.config import SETTINGS, Config, Setting
from vaecli.config.naming import flag, text

(_POSITIONAL,) = typing.get_args(tyro.conf.Positional[int])[1:]
(_WITHOUT_TWIN,) = typing.get_args(tyro.conf.FlagCreatePairsOff[bool])[1:]
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "DIR", tuple[int, ...]: "INT,INT,…"}


class Uncommon:
    """Marks an option of a command that only `--help-all` shows, as in `Annotated[bool, Uncommon()]`."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """A flag or an argument of a command.

    Attributes:
      words: how it is given, such as `--lr`, or `--validation` and `--no-validation`; empty for an argument.
      metavar: what it takes, such as HEAD, DIR or `adam|sgd`; empty for a switch.
      doc: what it is.
      remark: its default in words, or what else stands in brackets behind; empty where there is nothing to say.
      section: the section of a config file to which it belongs; empty for an option of the command itself.
      common: whether `--help` shows it.
      several: whether it takes several values, with blanks between.
    """

    words: Sequence[str]
    metavar: str
    doc: str
    remark: str = ""
    section: str = ""
    common: bool = True
    several: bool = False

    @property
    def brief(self) -> str:
        """The first sentence of `doc`."""
        first = re.split(r"(?<!et al)\. ", self.doc)[0]
        return first if first.endswith((".", "…")) else f"{first}."


def references(command: Command, base: Config) -> Sequence[Reference]:
    """Returns the arguments and flags of a command, its own options first.

    Args:
      command: the command.
      base: the config that gives its settings their defaults.
    """
    hints = typing.get_type_hints(command.options, include_extras=True)
    own = [_own(field, hints[field.name]) for field in dataclasses.fields(command.options)]
    settings = [_setting(SETTINGS[name], base, several=command.several_values) for name in command.settings]
    return [*own, *settings]


def option_words(field: dataclasses.Field[Any], hint: Any) -> Sequence[str]:
    """Returns how an option of a command is given, by its annotation; nothing for an argument, which has no flag."""
    kind, *marks = typing.get_args(hint) if hasattr(hint, "__metadata__") else [hint]
    if _POSITIONAL in marks:
        return ()
    name = next((mark.name for mark in marks if getattr(mark, "name", None)), field.name)
    return _words(name, kind, twin=_WITHOUT_TWIN not in marks)


def _own(field: dataclasses.Field[Any], hint: Any) -> Reference:
    """Returns an option of the command itself, as its annotation describes it."""
    kind, *marks = typing.get_args(hint) if hasattr(hint, "__metadata__") else [hint]
    described = next((mark for mark in marks if hasattr(mark, "help_behavior_hint")), None)
    doc, metavar, remark = (getattr(described, name, None) for name in ("help", "metavar", "help_behavior_hint"))
    if metavar is None:
        metavar = _metavar(kind)
    if remark is None:
        unset = field.default is False or field.default in ("", (), None)
        remark = "" if unset else f"default: {_in_words(field.default)}"
    return Reference(
        option_words(field, hint),
        metavar,
        doc or "",
        remark.strip("()"),
        common=not any(isinstance(mark, Uncommon) for mark in marks),
        several=typing.get_origin(kind) is tuple and kind not in _METAVARS,
    )


def _setting(setting: Setting, base: Config, *, several: bool) -> Reference:
    """Returns the flag of a setting, with the default that a config gives it."""
    metavar = setting.metavar or _metavar(setting.type)
    if several:
        metavar = f"{metavar or 'true|false'} …"
    words = [flag(setting.name)] if several else _words(setting.name, setting.type)
    default = getattr(base, setting.name)
    remark = f"default: {_in_words(default, setting.unset)}"
    return Reference(words, metavar, setting.doc, remark, setting.section, setting.common, several)


def _words(name: str, kind: Any, *, twin: bool = True) -> Sequence[str]:
    return [flag(name), flag(f"no_{name}")] if kind is bool and twin else [flag(name)]


def _metavar(kind: Any) -> str:
    if kind is bool:
        return ""
    if typing.get_origin(kind) is Literal:
        return "|".join(typing.get_args(kind))
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return _metavar(typing.get_args(kind)[0])
    return _METAVARS.get(kind, "TEXT")


def _in_words(value: Any, unset: str = "") -> str:
    """Returns a default as its help gives it: as it would be written on a command line, or in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in ("", ()):
        return unset or "none"
    return ",".join(map(str, value)) if isinstance(value, tuple) else text(value)
