"""What makes a command of `vae`, and what it is called with."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vaecli.config.files import ConfigSource


@dataclasses.dataclass(frozen=True)
class Invocation:
    """What a command line gives a command besides the command's own options.

    Attributes:
      settings: the values of the settings that the command takes as flags. Where it takes several values of each, they
        are a tuple, or None for a flag that was not given.
      source: the config from which the flags took their defaults.
      argv: the words of the command line after `vae`.
      commands: all commands by their names.
    """

    settings: Mapping[str, Any]
    source: ConfigSource
    argv: Sequence[str]
    commands: "Mapping[str, Command]"


class Example(NamedTuple):
    """A command line, and what it does in a few words."""

    command: str
    does: str


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: one module of `commands`, and one entry in the table of `main`.

    Attributes:
      summary: what it does, in one line for the list of commands.
      description: what it does, for its own help.
      options: the dataclass of its own options. With a field `config`, it starts from a config file.
      run: what carries it out, from its options and the rest of the command line; returns the exit code.
      examples: for the end of its help.
      settings: the fields of `Config` that it takes as flags.
      several_values: whether each of these flags takes several values, and a config file may be that of a sweep.
    """

    summary: str
    description: str
    options: type
    run: Callable[[Any, Invocation], int]
    examples: Sequence[Example]
    settings: tuple[str, ...] = ()
    several_values: bool = False

    @property
    def takes_config(self) -> bool:
        """Whether `--config` is one of its options."""
        return any(field.name == "config" for field in dataclasses.fields(self.options))
