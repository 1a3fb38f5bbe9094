"""What a command line that is wrong was probably meant to be, in one line."""

import contextlib
import itertools
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vaecli.cli.command import Command
from vaecli.cli.help import WORDS
from vaecli.cli.reference import Reference, references
from vaecli.config import Config, UsageError
from vaecli.config.files import config_names
from vaecli.config.naming import flag
from vaecli.config.validators import nearest
from vaecli.vae.heads.table import HEADS

_COMMANDS_ELSEWHERE = {
    "train": ("run", "fit", "resume", "continue", "replay"),
    "sweep": ("grid", "search", "tune"),
    "list": ("ls", "runs", "show", "status", "info"),
    "compare": ("report", "plot", "diff", "summary"),
    "evaluate": ("test", "nll", "sample", "reconstruct"),
    "explain": ("why", "debug", "diagnose"),
    "heads": ("params", "parameterisations"),
    "verify": ("check", "selftest"),
    "docs": ("man", "manual", "doc"),
}
"""What the commands are called in other programs."""

_FLAGS_ELSEWHERE = {
    "--param": ("head", "heads", "variance", "parameterisation", "parameterization"),
    "--lr": ("learning-rate", "rate", "step-size"),
    "--epochs": ("n-epochs", "num-epochs", "max-epochs"),
    "--batch-size": ("batch", "bs", "batchsize"),
    "--latent": ("latent-dim", "latent-size", "z-dim", "zdim", "dim"),
    "--hidden": ("layers", "width", "hidden-dim", "hidden-size"),
    "--data-dir": ("data", "dataset", "data-path"),
    "--beta": ("kl-weight", "kl-beta"),
    "--optimizer": ("optim", "opt"),
    "--runs": ("out", "output", "out-dir", "output-dir", "logdir", "log-dir", "run-dir", "dir"),
    "--overwrite": ("force", "restart"),
    "--seeds": ("n-seeds", "num-seeds", "repeats"),
    "--jobs": ("workers", "processes", "parallel"),
}
"""What the flags are called in other programs, without their dashes."""

_ARGUMENTS_ELSEWHERE = ("run", "runs", "path", "dir", "dirs", "folder", "head", "heads", "topic", "shell")
"""As what the arguments that have no flag are sometimes given."""


def unknown_command(word: str, rest: Sequence[str], commands: Mapping[str, Command]) -> str:
    """Returns the complaint about a first word that is no command.

    Args:
      word: it.
      rest: the words after it.
      commands: the commands by their names.
    """
    if word.startswith("--tyro-"):
        return f"unknown option {word} (vae completion --help says how shells complete)"
    if word.startswith("-"):
        given = word.partition("=")[0]
        rows = {name: references(command, Config()) for name, command in commands.items()}
        having = [name for name in commands if given in _by_word(rows[name])]
        # A word besides, other than the value of the flag, goes to a command that takes one.
        takes = having and "=" not in word and _by_word(rows[having[0]])[given].metavar
        besides = any(map(_is_value, rest[1:] if takes else rest))
        having.sort(key=lambda name: besides and all(row.words for row in rows[name]))
        if not having:
            return f"unknown option {given}{nearest(given, ['--help', '--version'])} (vae --help lists the commands)"
        named = next((later for later in rest if later in commands), having[0])
        words = [named, word, *(later for later in rest if later != named)]
        return f"{given}: options go after the command, as in: {shlex.join(['vae', *words])}"
    if word == "version":
        return "unknown command 'version'; the version is printed by: vae --version"
    if word == "tensorboard":
        return "unknown command 'tensorboard', which is a program of its own: tensorboard --logdir runs"
    meant = _meant(word, _COMMANDS_ELSEWHERE)
    near = f", did you mean {meant!r}?" if meant else nearest(word.lower(), commands)
    return f"unknown command {word!r}{near} (commands: {', '.join(commands)})"


def unknown_word(word: str, name: str, command: Command, argv: Sequence[str]) -> str:
    """Returns the complaint about a word that a command does not know.

    Args:
      word: it.
      name: the name of the command.
      command: the command.
      argv: the words after the command.
    """
    rows = references(command, Config())
    # A word processor makes one dash of two hyphens.
    if not word.startswith(("-", "–", "—")):
        return f"unexpected {word!r}{_about_value(word, name, rows, argv)} (vae {name} --help lists the flags)"
    given, _, value = word.partition("=")
    bare = given.lower().replace("_", "-").strip("-–—")
    known = list(_by_word(rows))
    if "--" in argv and given.replace("_", "-") in known:
        return f"{given}: options go before '--'"
    arguments = [row.metavar for row in rows if not row.words]
    if arguments and bare in _ARGUMENTS_ELSEWHERE:
        following = [value] if value else list(itertools.takewhile(_is_value, argv[argv.index(word) + 1 :]))
        as_in = shlex.join(["vae", name, *following]) if following else command.examples[0].command
        return f"unknown option {given}; {arguments[0]} goes without a flag, as in: {as_in}"
    if bare == "version":
        return f"unknown option {given}; the version is printed by: vae --version"
    if bare.startswith("tyro-"):
        return f"unknown option {given} (vae completion --help says how shells complete)"
    meant = _meant(bare, _FLAGS_ELSEWHERE)
    near = (
        f", did you mean {meant!r}?"
        if meant in known
        else nearest(bare, [word.strip("-") for word in (*known, *WORDS) if word.startswith("--")])
    )
    near = near.replace("mean '", "mean '--").replace("'----", "'--")
    return f"unknown option {given}{near} (vae {name} --help-all lists them)"


def with_several(complaint: str, name: str, command: Command, argv: Sequence[str]) -> str:
    """Returns a complaint, with a hint where a flag was given several values as one.

    Args:
      complaint: what is wrong.
      name: the name of the command.
      command: the command.
      argv: the words after it.
    """
    flag_complained_of = match[1] if (match := re.match(r"(--[\w-]+): ", complaint)) else ""
    for row, values in _given(references(command, Config()), argv):
        if row and flag_complained_of and flag_complained_of not in row.words:
            continue
        parts = [part for value in values for part in _split(value)]
        if row and len(parts) > len(values) and all(parts) and _takes_one(row):
            return re.sub(r", did you mean '[^']*'\?$", "", complaint) + _instead(name, row, parts)
    return complaint


def check_names(name: str, command: Command, argv: Sequence[str]) -> None:
    """Refuses several names in one word where each is a word of its own, and heads where there are to be folders.

    Args:
      name: the name of the command.
      command: the command.
      argv: the words after it.

    Raises:
      UsageError: there are some.
    """
    if not any(_split(word)[1:] or word in HEADS for word in argv):
        return
    rows = references(command, Config())
    arguments = [row for row in rows if not row.words]
    for row, values in _given(rows, argv):
        kinds = [given.metavar.strip("[]").removesuffix(" …") for given in ([row] if row else arguments)]
        for value in values:
            if (
                not row
                and kinds
                and kinds[0] in ("DIR", "DIR|FILE", "RUN", "RUNS")
                and value in HEADS
                and not Path(value).exists()
            ):
                raise UsageError(f"{value!r} is a head, and no folder; as in: {command.examples[0].command}")
            parts = _split(value)
            if parts[1:] and all(parts) and kinds and kinds[0] in ("HEAD", "SETTING", "A"):
                where = f"{row.words[0]}: " if row else ""
                hint = _instead(name, row, parts) if row else f"; heads have blanks between: {shlex.join(parts)}"
                raise UsageError(f"{where}{value!r} is not one name{hint}")


def before_arguments(argv: Sequence[str]) -> Sequence[str]:
    """Returns the words before `--`, after which all are arguments."""
    return list(itertools.takewhile(lambda word: word != "--", argv))


def check_switches(name: str, command: Command, argv: Sequence[str]) -> None:
    """Refuses a switch with a value behind an equals sign, which tyro would take for a word of its own.

    Args:
      name: the name of the command.
      command: the command.
      argv: the words after it.

    Raises:
      UsageError: there is one.
    """
    joined = [word.split("=", 1) for word in before_arguments(argv) if "=" in word]
    if not joined:
        return
    by_word = _by_word(references(command, Config()))
    for given, value in joined:
        row = by_word.get(given.replace("_", "-"))
        if row and not row.metavar:
            raise UsageError(f"unexpected {value!r}: {_without_value(row)} (vae {name} --help lists the flags)")


def _without_value(row: Reference) -> str:
    return f"{' and '.join(row.words)} {'take' if row.words[1:] else 'takes'} no value"


def _about_value(word: str, name: str, rows: Sequence[Reference], argv: Sequence[str]) -> str:
    """Returns what was probably meant by a word without a dash that is one too many."""
    for row, values in _given(rows, argv):
        if row and word in values:
            if not row.metavar:
                return f": {_without_value(row)}"
            if values.index(word) and not row.several:
                return _instead(name, row, values)
    free = list(itertools.takewhile(_is_value, argv))
    by_word = _by_word(rows)
    setting, equals, value = word.partition("=")
    if flag(setting) in by_word:
        return f", did you mean '{flag(setting)}{' ' * bool(equals)}{value}'?"
    if "--param" in by_word and word in HEADS:
        heads = [word for word in free if word in HEADS] or [word]
        return f"; a head is given by its flag: vae {'sweep' if heads[1:] else name} --param {shlex.join(heads)}"
    if "--config" in by_word and (config := _config(word)):
        return f"; a config is given by its flag: {shlex.join(['vae', name, '--config', config])}"
    arguments = [row.metavar for row in rows if not row.words]
    return f"; it takes {' and '.join(arguments)}, and no more" if arguments else ""


def _instead(name: str, row: Reference, values: Sequence[str]) -> str:
    """Returns how several values of one flag are given."""
    together = shlex.join(values)
    if row.words[0] in ("--seeds", "--seed") and all(value.isdecimal() for value in values):
        first = min(map(int, values))
        return f"; --seeds is how many there are, from --seed on: --seed {first} --seeds {len(set(values))}"
    if row.several:
        return f"; several values have blanks between: {row.words[0]} {together}"
    if "," in row.metavar:
        return f"; several values have commas between: {row.words[0]} {','.join(values)}"
    if row.section and _takes_one(row):
        return f"; several values are for a sweep: vae sweep {row.words[0]} {together}"
    return f"; {row.words[0]} takes one value"


def _split(value: str) -> list[str]:
    """Returns the parts of a value between commas or blanks; some shells do not split what a variable holds."""
    return re.split(r"\s*,\s*|\s+", value.strip())


def _takes_one(row: Reference) -> bool:
    """Returns whether a word of this flag is one value, in which a comma is out of place."""
    kinds = row.metavar.removesuffix(" …").split("|")
    return "," not in row.metavar and not {"TEXT", "DIR", "FILE", "BOUND", "RUN"} & set(kinds)


def _config(word: str) -> str:
    """Returns the config that a word names: a file, a bare name, or that of a run's directory; nothing otherwise."""
    with contextlib.suppress(OSError, ValueError):
        path = Path(word)
        if (path.suffix == ".toml" and path.is_file()) or word in config_names(sweep=True):
            return word
        if (path / "config.toml").is_file():
            return str(path / "config.toml")
    return ""


def _given(rows: Sequence[Reference], argv: Sequence[str]) -> Sequence[tuple[Reference | None, list[str]]]:
    """Returns the flags of a command line, each with the words that follow it; None for what is no flag."""
    by_word = _by_word(rows)
    given: list[tuple[Reference | None, list[str]]] = [(None, [])]
    for word in argv:
        if _is_value(word):
            given[-1][1].append(word)
        else:
            name, equals, value = word.partition("=")
            given.append((by_word.get(name.replace("_", "-")), [value] if equals else []))
    return given


def _is_value(word: str) -> bool:
    return not re.match(r"-[^\d.]", word)


def _by_word(rows: Iterable[Reference]) -> Mapping[str, Reference]:
    return {word: row for row in rows for word in row.words}


def _meant(word: str, elsewhere: Mapping[str, Sequence[str]]) -> str:
    """Returns what is known here by another name; nothing where it is not."""
    return next((name for name, others in elsewhere.items() if word.lower() in others), "")
