"""`vae explain A B DIR…`: what a difference between two variants is made of."""

from vaecli.cli.command import Invocation
from vaecli.cli.explain_options import ExplainOptions
from vaecli.config import UsageError


def run(options: ExplainOptions, invocation: Invocation) -> int:
    """Explains a difference."""
    raise UsageError("needs a version in which this is complete")
