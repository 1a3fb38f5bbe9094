"""The command `vae`: finds the command, and turns every error into one line and an exit code."""

import io
import os
import sys
from collections.abc import Sequence

from vaecli import environment
from vaecli.cli import flags, help, mistakes, options
from vaecli.cli.command import Example, Invocation
from vaecli.cli.commands import (
    compare,
    completion,
    docs,
    evaluate,
    explain,
    heads,
    list_runs,
    match,
    probe,
    sweep,
    train,
    verify,
)
from vaecli.cli.exit_codes import ExitCode
from vaecli.config import UsageError
from vaecli.config.errors import is_memory_shortage, one_line
from vaecli.config.files import ConfigSource, read_config
from vaecli.training import terminal

_DESCRIPTION = "Does it matter how a VAE parameterises the variance of its encoder? Train one, and see."
_EXAMPLES = (
    Example("vae train --param logstd", "one run"),
    Example("vae sweep --param logvar logstd --seeds 5", "ten runs"),
    Example("vae compare runs/mnist", "does it matter?"),
)
_GROUPS = {
    "Run": {"train": train.COMMAND, "sweep": sweep.COMMAND},
    "Look": {
        "list": list_runs.COMMAND,
        "compare": compare.COMMAND,
        "evaluate": evaluate.COMMAND,
        "probe": probe.COMMAND,
        "explain": explain.COMMAND,
    },
    "Check": {"heads": heads.COMMAND, "match": match.COMMAND, "verify": verify.COMMAND},
    "Help": {"docs": docs.COMMAND, "completion": completion.COMMAND},
}
COMMANDS = {name: command for group in _GROUPS.values() for name, command in group.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal that cannot show σ is no reason to stop.
    try:
        with terminal.checked_stdout():
            return _run(arguments or ["--help"])
    except UsageError as error:
        terminal.print_message(f"vae: {error}")
        return ExitCode.USAGE
    except terminal.ReaderLeftError:
        return ExitCode.READER_LEFT
    except Exception as error:
        if "VAE_TRACEBACK" in os.environ or isinstance(error.__cause__, KeyboardInterrupt):
            raise
        if is_memory_shortage(error):
            terminal.print_message("vae: memory ran out; ask for less at a time, or use a machine with more memory")
            return ExitCode.USAGE
        terminal.print_message(f"vae: unexpected {one_line(error)} (set VAE_TRACEBACK=1 to see where)")
        return ExitCode.FAILED


def _run(argv: Sequence[str]) -> int:
    if argv[0] in ("--version", "-V"):
        from importlib.metadata import version

        terminal.print_result(f"vae {version('vaecli')}")
        return ExitCode.DONE
    if argv[0] in ("help", *help.WORDS):
        about = [word for word in argv if word not in ("help", *help.WORDS)]
        argv = [*about, "--help-all" if "--help-all" in argv else "--help"]
    if argv[0] in help.WORDS:
        return _print_help(help.program_help(_DESCRIPTION, _GROUPS, _EXAMPLES))
    name, *words = argv
    if name not in COMMANDS:
        raise UsageError(mistakes.unknown_command(name, words, COMMANDS))
    command = COMMANDS[name]
    # The flags take their defaults from the config file, so it is read before them.
    named = options.named_config(words) if command.takes_config else None
    source = read_config(named, sweep=command.several_values) if named is not None else ConfigSource()
    if asked := set(words) & set(help.WORDS):
        return _print_help(help.command_help(name, command, source.config, every="--help-all" in asked))
    own_options, settings = flags.parse(name, command, words, source.config)
    for note in environment.notes():
        terminal.print_message(f"vae: {note}")
    return command.run(own_options, Invocation(settings, source, argv, COMMANDS))


def _print_help(text: str) -> int:
    terminal.print_lines(text)
    return ExitCode.DONE
