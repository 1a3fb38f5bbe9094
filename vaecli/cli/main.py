"""The command `vae`: finds the command, and turns every error into one line and an exit code."""

import io
import os
import sys
from collections.abc import Sequence

from vaecli.cli import flags
from vaecli.cli.commands import compare, evaluate, heads, match, probe, sweep, train, verify
from vaecli.cli.options import DONE, UNEXPECTED, USAGE
from vaecli.config import UsageError
from vaecli.config.errors import one_line
from vaecli.config.files import read_source

_DESCRIPTION = (
    "Does it matter how a VAE parameterises the variance of its encoder? Train one, and see.\n\n"
    "'vae COMMAND --help' explains a command, 'vae --version' names the version."
)
_COMMANDS = {
    "train": train,
    "sweep": sweep,
    "compare": compare,
    "evaluate": evaluate,
    "probe": probe,
    "heads": heads,
    "match": match,
    "verify": verify,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal without σ is no reason to stop.
    try:
        return _run(arguments or ["--help"])
    except UsageError as error:
        print(f"vae: {_printable(str(error))}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        # Whoever read our output has left; what is still buffered for them goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNEXPECTED
    except Exception as error:
        if "VAE_TRACEBACK" in os.environ or isinstance(error.__cause__, KeyboardInterrupt):
            raise
        text = _printable(one_line(error))
        print(f"vae: unexpected {text} (set VAE_TRACEBACK=1 to see where)", file=sys.stderr)
        return UNEXPECTED


def _printable(text: str) -> str:
    """The text on one line, whatever a file name or a config put into it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _run(argv: Sequence[str]) -> int:
    if argv[0] in ("--version", "-V"):
        from importlib.metadata import version

        print(f"vae {version('vaecli')}")
        return DONE
    # Two commands take a config file; the defaults of their flags come from there.
    source = read_source(argv if argv[0] in ("train", "sweep") else [], sweep=argv[0] == "sweep")
    types = {
        name: flags.command(module.Options, module.DESCRIPTION, module.FIELDS, source.config, lists=module is sweep)
        for name, module in _COMMANDS.items()
    }
    instance = flags.parse(types, argv, _DESCRIPTION)
    return _COMMANDS[argv[0]].run(instance, source, argv)
