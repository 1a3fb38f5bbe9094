"""`vae explain RUN`: why a run diverged, and the smallest change that survives."""

from vaecli.cli.command import Invocation
from vaecli.cli.explain_options import ExplainOptions
from vaecli.config import UsageError


def run(options: ExplainOptions, invocation: Invocation) -> int:
    """Explains a run."""
    raise UsageError("needs a version in which this is complete")
