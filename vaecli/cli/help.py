"""The help of the program and of its commands, wrapped at the width of the terminal."""

import itertools
import shutil
import textwrap
from collections.abc import Mapping, Sequence

from vaecli.cli.command import Command, Example
from vaecli.cli.reference import Reference, references
from vaecli.config import Config

WORDS = {"-h": "Help.", "--help": "Help, with the flags that people use.", "--help-all": "Help, with every flag."}
"""What asks for the help of a command, and what it gives."""

_COLUMN = 24
_NARROWEST, _WIDEST = 40, 120
_TITLES = {
    "": "The command",
    "run": "The run",
    "data": "Data",
    "model": "Model",
    "objective": "Objective",
    "train": "Optimisation",
    "log": "Records",
}
"""The titles of the sections of a config file; those of the options of a command itself come first."""


def program_help(description: str, groups: Mapping[str, Mapping[str, Command]], examples: Sequence[Example]) -> str:
    """Returns the help of the program: its commands, in groups that have titles."""
    blocks = [["usage: vae COMMAND …"], _wrapped(description)]
    for title, commands in groups.items():
        rows = (list_item(name, command.summary, column=14) for name, command in commands.items())
        blocks.append([f"{title}:", *itertools.chain.from_iterable(rows)])
    blocks.append(
        [
            "Flags:",
            *list_item("-h, --help", "This help. 'vae COMMAND --help' is that of a command.", column=17),
            *list_item("-V, --version", "The version.", column=17),
        ]
    )
    return _joined([*blocks, _examples(examples)])


def command_help(name: str, command: Command, base: Config, *, every: bool = False) -> str:
    """Returns the help of a command.

    Args:
      name: its name.
      command: the command.
      base: the config that gives its settings their defaults.
      every: whether it shows every flag with all that there is to say, and not only those that people use, in brief.
    """
    rows = references(command, base)
    arguments, flags = ([row for row in rows if bool(row.words) is wanted] for wanted in (False, True))
    shown = [row for row in flags if every or row.common]
    brief = len(shown) < len(flags)
    usage = " ".join(["usage: vae", name, *(row.metavar for row in arguments), "[FLAG …]"])
    blocks = [_wrapped(usage), _wrapped(command.description)]
    blocks.append([line for argument in arguments for line in list_item(argument.metavar, _text(argument))])
    sections = dict.fromkeys(row.section for row in shown)
    titled = [
        [f"{_TITLES[section]}:" if len(sections) > 1 else "Flags:"]
        + [line for row in shown if row.section == section for line in list_item(_left(row), _text(row, brief=brief))]
        for section in sections
    ]
    blocks += [list(itertools.chain.from_iterable(titled))] if brief else titled
    if brief:
        blocks.append(list_item("--help-all", f"All {len(flags)} flags, and all that there is to say of each."))
    return _joined([*blocks, _examples(command.examples)])


def _joined(blocks: Sequence[Sequence[str]]) -> str:
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _left(row: Reference) -> str:
    word = f"--[no-]{row.words[0][2:]}" if len(row.words) > 1 else row.words[0]
    return f"{word} {row.metavar}".rstrip()


def _text(row: Reference, *, brief: bool = False) -> str:
    """Returns what is said of an option, all or in brief, and its default."""
    doc = row.brief if brief else row.doc
    return f"{doc} ({row.remark})" if row.remark else doc


def _examples(examples: Sequence[Example]) -> list[str]:
    """Returns the lines of some examples, with what each does beside it, or above it where there is no room."""
    if not examples:
        return []
    column = max(len(example.command) for example in examples) + 4
    if column + max(len(example.does) for example in examples) <= _width():
        return ["Examples:", *(f"  {example.command:{column - 2}}{example.does}" for example in examples)]
    lines = ["Examples:"]
    for example in examples:
        lines += [*_wrapped(f"# {example.does}", indent="  "), f"  {example.command}"]
    return lines


def list_item(left: str, right: str, *, column: int = _COLUMN) -> list[str]:
    """Returns an entry of a list: its text begins in a column of its own, or further right if what it is, is long."""
    if _width() < column + 30:
        return [f"  {left}", *_wrapped(right, indent=" " * 6)]
    beginning = f"  {left}".ljust(column - 2) + "  "
    if len(beginning) > _width() - 20:
        return [f"  {left}", *_wrapped(right, indent=" " * column)]
    return textwrap.wrap(
        right,
        _width(),
        initial_indent=beginning,
        subsequent_indent=" " * column,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [beginning.rstrip()]


def _wrapped(text: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _width(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width() -> int:
    return min(max(_NARROWEST, shutil.get_terminal_size().columns), _WIDEST)
