"""Command lines: they become settings, and back; and they complain in one line."""

import contextlib
import dataclasses
import io
import os
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro

from vaecli.config import SECTIONS, SETTINGS, Config, Setting, UsageError
from vaecli.config.naming import flag, text
from vaecli.config.validators import nearest


def setting_names(name: str, given: Collection[str]) -> Collection[str]:
    """The names of settings that an option was given.

    Raises:
      UsageError: there is no such setting.
    """
    names = [word.replace("-", "_") for word in given]
    for word in names:
        if word not in SETTINGS:
            raise UsageError(f"{flag(name)}: unknown setting {word!r}{nearest(word, SETTINGS)}")
    return names


def train_command(config: Config, seeds: Sequence[int], vary: Collection[str], runs: Path = Path("runs")) -> str:
    """The `vae train` that trains a config with some seeds, as a shell reads it; one each where there are gaps."""
    words = ["vae", "train"]
    for name, setting in SETTINGS.items():
        value = getattr(config, name)
        if name == "seed" or value == setting.default:
            continue
        if setting.type is bool:
            words.append(flag(name if value else f"no_{name}"))
        else:
            words += [flag(name), ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    words += ["--runs", str(runs)] if runs != Path("runs") else []
    words += ["--vary", *vary] if vary else []
    together = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    batches = [(seeds[0], len(seeds))] if together else [(seed, 1) for seed in seeds]
    return "; ".join(shlex.join([*words, "--seed", str(first), "--seeds", str(number)]) for first, number in batches)


def command(options: type, description: str, names: Collection[str], base: Config, *, lists: bool = False) -> type:
    """A command's flags as one dataclass for tyro: its own `options`, and some settings of a config.

    The attribute `command` of an instance holds the former, `settings(instance)` gives the latter; with `lists`, a
    tuple of values for each, or None where it was not given.
    """
    fields: list[Any] = [("command", options, dataclasses.field(default_factory=options))]
    for name in SECTIONS:
        if any(SETTINGS[setting].section == name for setting in names):
            section = _section(name, names, base, lists)
            fields.append((name, section, dataclasses.field(default_factory=section)))
    made = dataclasses.make_dataclass("Command", fields, frozen=True)
    made.__doc__ = description
    return made


def settings(instance: Any) -> dict[str, Any]:
    """The settings of a config that a command line ended with."""
    sections = (getattr(instance, section) for section in SECTIONS if hasattr(instance, section))
    return {name: value for section in sections for name, value in vars(section).items()}


def _section(name: str, names: Collection[str], base: Config, lists: bool) -> type:
    fields: list[Any] = []
    for setting in (SETTINGS[setting] for setting in names if SETTINGS[setting].section == name):
        if lists:
            hint = f"(default: {text(getattr(base, setting.name))})"
            marks = [tyro.conf.arg(help=setting.doc, help_behavior_hint=hint), _list_spec(setting)]
            fields.append((setting.name, Annotated[Any, *marks], dataclasses.field(default=None)))
            continue
        marks: list[Any] = [tyro.conf.arg(help=setting.doc)]
        if setting.type in _SPECS:
            marks.append(_SPECS[setting.type])
        fields.append(
            (setting.name, Annotated[setting.type, *marks], dataclasses.field(default=getattr(base, setting.name)))
        )
    made = dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)
    made.__doc__ = ""
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


def _spec(metavar: str, instance_from_str: Callable[[list[str]], Any], text: Callable[[Any], str]) -> Any:
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=instance_from_str,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [text(value)],
    )


def _list_spec(setting: Setting) -> Any:
    """One value or more of a setting; `Config` knows which ones it may take."""
    metavar = {bool: "BOOL", int: "INT", float: "FLOAT", str: "STR"}.get(setting.type)
    known = _SPECS.get(setting.type)
    choices = get_args(setting.type) if get_origin(setting.type) is Literal else None

    def value(word: str) -> Any:
        if known:
            return known.instance_from_str([word])
        if setting.type is bool:
            return {"true": True, "false": False}.get(word.lower(), word)
        return setting.type(word) if setting.type in (int, float) else word

    def values(words: list[str]) -> tuple[Any, ...]:
        if not words and setting.type is not bool:
            raise ValueError("needs a value, or several")
        return tuple(map(value, words)) or (True,)

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{known.metavar if known else metavar or '|'.join(choices or ())} …",
        instance_from_str=values,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [],
        choices=choices,
    )


# Types that tyro reads otherwise, or of which it complains at length.
_SPECS = {
    tuple[int, ...]: _spec("INT,INT,…", _widths, lambda value: ",".join(map(str, value))),
    SETTINGS["head_lr"].type: _spec("native|matched|FLOAT", _number_or_word, str),
}


def parse(commands: Mapping[str, Callable[..., Any]], argv: Sequence[str], description: str) -> Any:
    """Parses a command line into an instance of the command that it names.

    Raises:
      UsageError: it does not parse.
      SystemExit: it asked for help or for a completion script, which has been printed.
    """
    if not argv[0].startswith("-") and argv[0] not in commands:
        raise UsageError(f"unknown command {argv[0]!r}{nearest(argv[0], commands)} (commands: {', '.join(commands)})")
    asks = any(arg in ("-h", "--help") or arg.startswith("--tyro-") for arg in argv)
    if argv[0].startswith("-") and not asks:
        raise UsageError(f"{argv[0]}: options go behind the command, as in: vae {next(iter(commands))} {argv[0]}")
    # tyro wraps what it prints at the width of the terminal: help must stay legible, and an error must stay one line.
    width = max(50, shutil.get_terminal_size().columns) if asks else 10_000
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), _columns(width):
            return tyro.extras.subcommand_cli_from_dict(
                dict(commands),
                prog="vae",
                description=description,
                args=argv,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(_one_line(complaint.getvalue(), commands, argv)) from None
    except (AssertionError, OSError) as error:
        if not asks or isinstance(error, BrokenPipeError):
            raise
        raise UsageError(f"no completion script: {error or 'the shells are bash, zsh and tcsh'}") from error


@contextlib.contextmanager
def _columns(width: int) -> Iterator[None]:
    """Sets the width at which tyro wraps what it prints."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _one_line(box: str, commands: Mapping[str, Callable[..., Any]], argv: Sequence[str]) -> str:
    """The message in the box that tyro draws around an error."""
    # A title, then the message, between frames and rules that are drawn in ASCII where the output is.
    lines = [line for raw in box.splitlines() if (line := raw.strip(" │╭╮╰╯─")) and set(line) != {"-"}]
    message = lines[1] if len(lines) > 1 else " ".join(lines)
    message = re.sub(r"^Error parsing (--\S+): ", r"\1: ", message)
    message = re.sub(r"invalid literal for int\(\) with base 10: ", "must be a whole number, got ", message)
    message = re.sub(r"could not convert string to float: ", "must be a number, got ", message)
    message = re.sub(
        r"no type matching {None}\|(INT|FLOAT) could be instantiated from \[(.*)\]\.",
        lambda found: f"must be a {'whole ' if found[1] == 'INT' else ''}number, got {found[2]}",
        message,
    )
    unrecognized = r"Unrecognized (?:or misplaced )?options:\s*([^\s,]+)"
    if (match := re.match(unrecognized, " ".join(lines[1:]))) and argv[0] in commands:
        word = match[1]
        if not word.startswith("-"):
            return f"unexpected {word!r} (vae {argv[0]} --help lists the options)"
        fields = dataclasses.fields(commands[argv[0]])  # pyright: ignore[reportArgumentType]
        known = [flag(f.name) for field in fields for f in dataclasses.fields(field.type)]  # pyright: ignore
        return f"unknown option {word}{nearest(word, known)} (vae {argv[0]} --help lists them)"
    return message
