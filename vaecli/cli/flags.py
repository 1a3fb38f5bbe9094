"""Settings as flags: how a command line becomes settings, and settings become a command line again."""

import dataclasses
import itertools
import shlex
import types
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro

from vaecli.cli import mistakes, tyro_errors
from vaecli.cli.command import Command
from vaecli.cli.reference import flag_name
from vaecli.config import SECTIONS, SETTINGS, Config, Setting, UsageError
from vaecli.config.naming import flag
from vaecli.config.validators import nearest
from vaecli.runs.names import default_name


def setting_names(option: str, words: Iterable[str]) -> Sequence[str]:
    """Returns the names of the settings that an option was given.

    Raises:
      UsageError: there is no such setting.
    """
    names = [word.replace("-", "_") for word in words]
    for name in names:
        if name not in SETTINGS:
            raise UsageError(f"{flag(option)}: unknown setting {name!r}{nearest(name, SETTINGS)}")
    return names


def train_command(config: Config, seeds: Sequence[int], vary: Collection[str], runs: Path = Path("runs")) -> str:
    """Returns the `vae train` of a config and some seeds, as a shell reads it; where there are gaps, one for each."""
    words = ["vae", "train"]
    for name, setting in SETTINGS.items():
        value = getattr(config, name)
        if name == "seed" or value == setting.default or (name == "name" and value == default_name([config.data_dir])):
            continue
        if setting.type is bool:
            words.append(flag(name if value else f"no_{name}"))
        else:
            words += [flag(name), as_word(value)]
    words += ["--runs", str(runs)] if runs != Path("runs") else []
    words += ["--vary", *vary] if vary else []
    consecutive = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    batches = [(seeds[0], len(seeds))] if consecutive else [(seed, 1) for seed in seeds]
    return "; ".join(shlex.join([*words, "--seed", str(first), "--seeds", str(number)]) for first, number in batches)


def as_word(value: Any) -> str:
    """Returns the value of a setting as a flag takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def parse(name: str, command: Command, argv: Sequence[str], base: Config) -> tuple[Any, Any]:
    """Parses the words after a command into its options and its settings.

    Args:
      name: the name of the command.
      command: the command.
      argv: the words.
      base: the config whose values the flags have unless they are given.

    Returns:
      an instance of the command's `options`, and the settings that it takes, by name. Where it takes several values,
      these are tuples, or None for a flag that was not given.

    Raises:
      UsageError: it does not parse.
    """
    try:
        instance = tyro_errors.parse(_flags_of(command, base, _names_given(argv)), argv, f"vae {name}")
    except tyro_errors.UnknownWordError as error:
        raise UsageError(mistakes.unknown_word(error.word, name, command, argv)) from None
    except UsageError as error:
        raise UsageError(mistakes.with_several(str(error), name, command, argv)) from None
    mistakes.check_names(name, command, argv)
    settings: dict[str, Any] = {}
    for section in SECTIONS:
        own = [name for name in command.settings if SETTINGS[name].section == section]
        settings |= {name: None if command.several_values else getattr(base, name) for name in own}
        settings |= vars(getattr(instance, section)) if hasattr(instance, section) else {}
    return command.options(**vars(instance.command)), settings


def _names_given(argv: Sequence[str]) -> Collection[str]:
    """Returns the names of the flags among some words, as fields have them; there may be others that are none."""
    words = itertools.takewhile(lambda word: word != "--", argv)  # After that all are arguments.
    parts = [part for word in words for part in word.split("=") if part.startswith("--")]
    names = {part.removeprefix("--").replace("-", "_") for part in parts}
    return names | {name.removeprefix("no_") for name in names}


def _flags_of(command: Command, base: Config, given: Collection[str]) -> type:
    """Returns a command's arguments and those of its flags that are given as one dataclass for tyro.

    The field `command` holds its own options; for each section of which it takes settings, another one holds those.
    With all flags, tyro would take a tenth of a second to make its parser before anything else is done. For the same
    reason a type that it would import a package to check is `object`, or without its None.
    """
    names = {None, *given}  # The arguments, which have no flag, are always there.
    own = [field for field in dataclasses.fields(command.options) if flag_name(field, field.type) in names]
    groups = {"command": _made("Options", map(_own, own))}
    for name in SECTIONS:
        settings = [SETTINGS[s] for s in command.settings if SETTINGS[s].section == name and s in given]
        if settings:
            groups[name] = _made(name, [_of_setting(setting, base, command.several_values) for setting in settings])
    return _made("Flags", [(name, group, dataclasses.field(default_factory=group)) for name, group in groups.items()])


def _own(field: dataclasses.Field[Any]) -> tuple[str, Any, Any]:
    """Returns an argument or an option of a command itself as a field for tyro."""
    kind, *marks = get_args(field.type) if get_origin(field.type) is Annotated else [field.type]
    default = dataclasses.field(default=field.default)
    if kind in _SPECS:
        kind, marks = object, [*marks, _SPECS[kind]]
    elif isinstance(kind, types.UnionType) or get_origin(kind) is Union:
        # That of something or None, which is its default, and it is given.
        kind, default = get_args(kind)[0], dataclasses.field()
    return field.name, Annotated[(kind, *marks)] if marks else kind, default


def _of_setting(setting: Setting, base: Config, several_values: bool) -> tuple[str, Any, Any]:
    """Returns a setting as a field for tyro."""
    spec = _several(setting) if several_values else _SPECS.get(setting.type)
    kind = Annotated[object, spec] if spec else setting.type
    return setting.name, kind, dataclasses.field(default=None if several_values else getattr(base, setting.name))


def _made(name: str, fields: Iterable[tuple[str, Any, Any]]) -> type:
    """Returns a dataclass of which tyro knows that it has no source.

    Otherwise tyro reads a whole module for each of its fields, to look for a comment on it.
    """
    made = dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)
    made.__doc__ = ""
    made.__module__ = "builtins"
    return made


def _widths(words: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in words[0].split(",") if width.strip())
    except ValueError:
        raise ValueError(f"must be whole numbers with commas between, got {words[0]!r}") from None


def _number_or_word(words: list[str]) -> float | str:
    try:
        return float(words[0])
    except ValueError:
        return words[0]  # `Config` knows which words there are.


def _spec(instance_from_str: Callable[[list[str]], Any], text: Callable[[Any], str]) -> Any:
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="VALUE",
        instance_from_str=instance_from_str,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [text(value)],
    )


def _several(setting: Setting) -> Any:
    """Returns how tyro reads one value or more of a setting; `Config` knows which ones it may take."""
    spec = _SPECS.get(setting.type)
    choices = get_args(setting.type) if get_origin(setting.type) is Literal else None

    def value(word: str) -> Any:
        if spec:
            return spec.instance_from_str([word])
        if setting.type is bool:
            return {"true": True, "false": False}.get(word.lower(), word)
        return setting.type(word) if setting.type in (int, float) else word

    def values(words: list[str]) -> tuple[Any, ...]:
        if not words and setting.type is not bool:
            raise ValueError("needs a value, or several")
        return tuple(map(value, words)) or (True,)

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="VALUE …",
        instance_from_str=values,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [],
        choices=choices,
    )


# Types that tyro reads otherwise, or complains about at length.
_SPECS = {
    tuple[str, ...]: tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="TEXT …",
        instance_from_str=tuple,
        is_instance=lambda value: True,
        str_from_instance=list,
    ),
    tuple[int, ...]: _spec(_widths, lambda value: ",".join(map(str, value))),
    **{SETTINGS[name].type: _spec(_number_or_word, str) for name in ("head_lr", "loss_scale")},
}
