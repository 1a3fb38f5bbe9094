"""The command `vae`: finds the command, and turns every error into one line and an exit code."""

import io
import os
import sys
from collections.abc import Sequence

from vaecli.cli import flags, options
from vaecli.cli.command import Invocation
from vaecli.cli.commands import compare, evaluate, heads, match, probe, sweep, train, verify
from vaecli.cli.exit_codes import ExitCode
from vaecli.config import UsageError
from vaecli.config.errors import one_line
from vaecli.config.files import ConfigSource, read_config

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
        return _run(arguments or ["--help"])
    except UsageError as error:
        print(f"vae: {_printable(str(error))}", file=sys.stderr)
        return ExitCode.USAGE
    except BrokenPipeError:
        # Whoever read our output has left, so what is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:
        if "VAE_TRACEBACK" in os.environ or isinstance(error.__cause__, KeyboardInterrupt):
            raise
        text = _printable(one_line(error))
        print(f"vae: unexpected {text} (set VAE_TRACEBACK=1 to see where)", file=sys.stderr)
        return ExitCode.FAILED


def _printable(text: str) -> str:
    """Returns the text on one line, whatever a file name or a config put into it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _run(argv: Sequence[str]) -> int:
    if argv[0] in ("--version", "-V"):
        from importlib.metadata import version

        print(f"vae {version('vaecli')}")
        return ExitCode.DONE
    command = _COMMANDS.get(argv[0])
    # The flags take their defaults from the config file, so it is read before them.
    named = options.named_config(argv) if command and command.takes_config else None
    source = read_config(named, sweep=command.several_values) if command and named is not None else ConfigSource()
    own_options, settings = flags.parse(_COMMANDS, argv, source.config, _DESCRIPTION)
    return _COMMANDS[argv[0]].run(own_options, Invocation(settings, source, argv))
