"""The command `vae`: finds the command, and turns every error into one line and an exit code."""

import io
import os
import sys
from collections.abc import Sequence

from vaecli import environment
from vaecli.cli import flags, options
from vaecli.cli.command import Invocation
from vaecli.cli.commands import compare, evaluate, heads, match, probe, sweep, train, verify
from vaecli.cli.exit_codes import ExitCode
from vaecli.config import UsageError
from vaecli.config.errors import is_memory_shortage, one_line
from vaecli.config.files import ConfigSource, read_config
from vaecli.training import terminal

_DESCRIPTION = (
    "Does it matter how a VAE parameterises the variance of its encoder? Train one, and see.\n\n"
    "'vae COMMAND --help' explains a command, 'vae --version' prints the version."
)
_COMMANDS = {
    "train": train.COMMAND,
    "sweep": sweep.COMMAND,
    "compare": compare.COMMAND,
    "evaluate": evaluate.COMMAND,
    "probe": probe.COMMAND,
    "heads": heads.COMMAND,
    "match": match.COMMAND,
    "verify": verify.COMMAND,
}


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
    command = _COMMANDS.get(argv[0])
    # The flags take their defaults from the config file, so it is read before them.
    named = options.named_config(argv) if command and command.takes_config else None
    source = read_config(named, sweep=command.several_values) if command and named is not None else ConfigSource()
    own_options, settings = flags.parse(_COMMANDS, argv, source.config, _DESCRIPTION)
    for note in environment.notes():
        terminal.print_message(f"vae: {note}")
    return _COMMANDS[argv[0]].run(own_options, Invocation(settings, source, argv))
