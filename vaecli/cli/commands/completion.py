"""`vae completion SHELL`: the script with which a shell completes command lines of `vae`."""

import dataclasses
from typing import Annotated

import tyro

from vaecli.cli import shells
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.config import UsageError
from vaecli.config.validators import nearest
from vaecli.training.terminal import print_lines


@dataclasses.dataclass(frozen=True)
class CompletionOptions:
    """For which shell."""

    shell: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar="SHELL", help="bash, zsh, fish or tcsh.", help_behavior_hint="(required)"),
    ] = ""


def run(options: CompletionOptions, invocation: Invocation) -> int:
    """Prints the script."""
    if not options.shell:
        raise UsageError("a shell is needed, as in: vae completion bash")
    if options.shell not in shells.SCRIPTS:
        hint = f"{nearest(options.shell, shells.SCRIPTS)} (shells: {', '.join(shells.SCRIPTS)})"
        raise UsageError(f"no completion for the shell {options.shell!r}{hint}")
    print_lines(shells.SCRIPTS[options.shell](invocation.commands))
    return ExitCode.DONE


COMMAND = Command(
    summary="Print what lets a shell complete command lines.",
    description="Print the script with which a shell completes commands, flags, heads, configs and paths. Its first "
    "lines say where to save it.",
    options=CompletionOptions,
    run=run,
    examples=[
        Example("source <(vae completion bash)", "in this shell; 'zsh' in zsh"),
        Example("vae completion bash > ~/.local/share/bash-completion/completions/vae", "in every bash"),
        Example("vae completion fish > ~/.config/fish/completions/vae.fish", "in every fish"),
    ],
)
