"""Settings as flags: how a command line becomes settings, and settings become a command line again."""

import dataclasses
import shlex
import types
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro

from vaecli.cli import mistakes, tyro_errors
from vaecli.cli.command import Command
from vaecli.cli.reference import option_words
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
    mistakes.check_switches(name, command, argv)
    try:
        instance = tyro_errors.parse(_flags_of(command, base, _words_given(argv)), argv, f"vae {name}")
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


def _words_given(argv: Sequence[str]) -> Set[str]:
    """Returns the words among some that may be flags, with dashes and without values."""
    words = mistakes.before_arguments(argv)
    return {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}


def _flags_of(command: Command, base: Config, given: Set[str]) -> type:
    """Returns one dataclass for tyro, with a command's arguments and those of its flags that are given.

    The field `command` holds its own options; each section of which a setting is given has another field. With all
    flags, tyro would spend a tenth of a second on its parser before anything else is done. To check a union or a tuple
    it would also import a package, so such a field is declared as `object`, or without its None.
    """
    own: list[Any] = []
    for field in dataclasses.fields(command.options):
        words = option_words(field, field.type)
        if not words or not given.isdisjoint(words):
            own.append(_own(field))
    groups = {"command": _made("Options", own)}
    for section in SECTIONS:
        settings = [
            _of_setting(SETTINGS[name], base, command.several_values)
            for name in command.settings
            if SETTINGS[name].section == section and not given.isdisjoint((flag(name), flag(f"no_{name}")))
        ]
        if settings:
            groups[section] = _made(section, settings)
    return _made("Flags", [(name, group, dataclasses.field(default_factory=group)) for name, group in groups.items()])


def _own(field: dataclasses.Field[Any]) -> tuple[str, Any, Any]:
    """Returns an argument or an option of a command itself as a field for tyro."""
    kind, *marks = get_args(field.type) if get_origin(field.type) is Annotated else [field.type]
    default = dataclasses.field(default=field.default)
    if kind in _SPECS:
        kind, marks = object, [*marks, _SPECS[kind]]
    elif get_origin(kind) in (types.UnionType, Union):
        # An optional value. Its default is not needed, since of such options only those come here that are given.
        (kind,) = set(get_args(kind)) - {types.NoneType}
        default = dataclasses.field()
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


# Types that tyro reads otherwise, complains about at length, or imports a package to check.
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
