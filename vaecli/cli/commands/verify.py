"""`vae verify`: the program against exact answers."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from vaecli.cli.options import DONE, UNEXPECTED, Switch
from vaecli.config.files import Source

DESCRIPTION = "Check this program, on this machine, against models whose answers are known exactly."
FIELDS = ()


@dataclasses.dataclass(frozen=True)
class Options:
    """In which form."""

    json: Annotated[Switch, tyro.conf.arg(help="Print the checks as JSON on stdout.")] = False


def run(instance: Any, source: Source, argv: Sequence[str]) -> int:
    """Runs the checks, and prints each as it is done."""
    from vaecli.verify import checks

    options: Options = instance.command
    done = []
    if not options.json:
        print(f"{'check':64}{'error':>10}{'bound':>10}")
    for check in checks():
        done.append(check)
        if not options.json:
            print(f"{check.name:64}{check.error:10.1e}{check.bound:10.1e}  {'ok' if check.ok else 'FAILS'}", flush=True)
    failed = sum(not check.ok for check in done)
    if options.json:
        # JSON knows no NaN and no infinity.
        rows = [
            {**check._asdict(), "error": check.error if math.isfinite(check.error) else None, "ok": check.ok}
            for check in done
        ]
        print(json.dumps({"checks": rows, "ok": not failed}, indent=2, allow_nan=False))
    else:
        print(f"{len(done)} checks, {failed or 'none'} failed")
    return UNEXPECTED if failed else DONE
