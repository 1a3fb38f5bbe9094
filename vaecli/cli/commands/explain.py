"""`vae explain RUN`, why a run diverged; `vae explain A B DIR…`, what a difference between two variants is made of."""

from vaecli.cli import explain_difference, explain_run
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.explain_options import FORMS, OF_DIFFERENCE, OF_RUN, ExplainOptions
from vaecli.config import UsageError
from vaecli.config.naming import flag


def run(options: ExplainOptions, invocation: Invocation) -> int:
    """Explains a run that diverged, or a difference between two variants."""
    if len(options.words) in (0, 2):
        needed = "the folder of their runs is" if options.words else "a run, or two variants and their folder are"
        raise UsageError(f"{needed} needed: {FORMS}")
    of_run = len(options.words) == 1
    for name in OF_DIFFERENCE if of_run else OF_RUN:
        if getattr(options, name) not in (None, False):
            form = "A B DIR …" if of_run else "RUN"
            raise UsageError(f"{flag(name)} belongs to vae explain {form}: {FORMS}")
    if of_run:
        return explain_run.run(options, invocation)
    return explain_difference.run(options, invocation)


COMMAND = Command(
    summary="Say why a run diverged, or what a difference is made of.",
    description="Of a run that diverged: the trail of its last steps, what overflowed, and the smallest change with "
    "which it survives, trained again. Of a difference between two variants: how much of it is their start, their rate "
    "and their shape.",
    options=ExplainOptions,
    run=run,
    examples=[
        Example("vae explain runs/mnist/abs_std/seed3 --no-train", "why it diverged"),
        Example("vae explain runs/mnist/abs_std/seed3 --yes", "and which change survives"),
        Example("vae explain logvar natural runs/headline", "what natural's difference is made of"),
    ],
)
