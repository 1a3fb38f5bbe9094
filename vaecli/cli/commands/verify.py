"""`vae verify`: the program held against exact answers."""

import dataclasses
import math
import sys

from vaecli.cli import output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.options import JsonSwitch
from vaecli.environment import require_default_jax
from vaecli.training.terminal import print_result


@dataclasses.dataclass(frozen=True)
class VerifyOptions:
    """How the result is printed."""

    json: JsonSwitch = False


def run(options: VerifyOptions, invocation: Invocation) -> int:
    """Runs the checks, and prints each as it is done."""
    require_default_jax()
    from vaecli.verify import checks

    done = []
    if not options.json:
        print_result(f"{'check':64}{'error':>10}{'bound':>10}")
    for check in checks():
        done.append(check)
        if not options.json:
            outcome = "ok" if check.ok else "FAILS"
            print_result(f"{check.name:64}{check.error:10.1e}{check.bound:10.1e}  {outcome}")
            sys.stdout.flush()
    failed = sum(not check.ok for check in done)
    if options.json:
        rows = [
            {**check._asdict(), "error": check.error if math.isfinite(check.error) else None, "ok": check.ok}
            for check in done
        ]
        output.print_json({"checks": rows, "ok": not failed})
    else:
        print_result(f"{len(done)} checks, {failed or 'none'} failed")
    return ExitCode.FAILED if failed else ExitCode.DONE


COMMAND = Command(
    summary="Check this program against exact answers.",
    description="Check this program, on this machine, against models whose answers are known exactly.",
    options=VerifyOptions,
    run=run,
    examples=[
        Example("vae verify", "takes a minute or two"),
        Example("vae verify --json", "for a program"),
    ],
)
