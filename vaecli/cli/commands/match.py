"""`vae match A B`: the settings that make head B identical to head A, or why there are none."""

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tyro

from vaecli.cli import flags
from vaecli.cli.options import DONE, Switch
from vaecli.config import Config, ConfigError, UsageError
from vaecli.config.files import Source
from vaecli.config.naming import flag

DESCRIPTION = "Print the settings that make head B train exactly like head A, or to first order where none do."
FIELDS = ("init_std", "bound", "optimizer", "lr", "eps", "weight_decay", "clip_norm")


@dataclasses.dataclass(frozen=True)
class Options:
    """Which heads, and in which form."""

    a: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar="A", help="The head to be like.", help_behavior_hint="(required)"),
    ] = ""
    b: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar="B", help="The head to set.", help_behavior_hint="(required)"),
    ] = ""
    json: Annotated[Switch, tyro.conf.arg(help="Print the match as JSON on stdout.")] = False


def run(instance: Any, source: Source, argv: Sequence[str]) -> int:
    """Matches, and prints the settings."""
    options: Options = instance.command
    settings = flags.settings(instance)
    if not options.b:
        raise UsageError("two heads are needed, as in: vae match logvar logstd")
    from vaecli.vae.resolve import resolve
    from vaecli.vae.validate import validate

    try:
        a, b = configs = [Config(**settings, param=name) for name in (options.a, options.b)]
        for config in configs:
            validate(dataclasses.replace(config, init="matched"))
        resolved = resolve(a)
        heads = resolved.head, resolve(b).head
        # From here on jax is needed.
        from vaecli.vae import matching

        found = matching.match(
            *heads, resolved.optimizer, matching.unbounded_start(resolved), decays=a.weight_decay > 0
        )
    except ConfigError as error:
        if error.field in ("param", "init"):
            raise UsageError(error.message) from None
        raise source.locate(error, settings) from None
    bit_for_bit = found.exact and heads[0].form == heads[1].form and math.frexp(abs(found.a))[0] == 0.5
    note = _note(a, b, heads, found, bit_for_bit)
    report = _report(a, b, {"bit_for_bit": bit_for_bit, **found._asdict()}, note)
    if options.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(a, b, report)
    return DONE


def _report(a: Config, b: Config, found: Mapping[str, Any], note: str) -> dict[str, Any]:
    """What `--json` prints."""
    given = [name for name in FIELDS if getattr(a, name) != getattr(Config(), name) or name in ("optimizer", "lr")]
    shared = [word for name in given for word in (flag(name), _text(getattr(a, name)))]
    factors = {"--init-weight": found["init_weight_factor"], "--head-lr": found["head_lr_factor"]}
    factors["--head-eps"] = found["eps_factor"]
    if a.weight_decay:
        factors["--head-weight-decay"] = found["weight_decay_factor"]
    if a.clip_norm:
        factors["--head-clip"] = found["clip_factor"]
    needed = [word for name, factor in factors.items() if factor != 1 for word in (name, _text(factor))]
    return {
        **found,
        "reference_flags": shlex.join(["--param", a.param, *shared]),
        "flags": shlex.join(["--param", b.param, *shared, *needed]),
        "note": note,
    }


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    # Ten digits are more than float32 holds; only a power of two is wanted to the last one.
    short = f"{value:.10g}"
    return repr(value) if abs(math.frexp(value)[0]) == 0.5 and float(short) != value else short


def _note(a: Config, b: Config, heads: Sequence[Any], found: Any, bit_for_bit: bool) -> str:
    """One sentence on what the match is worth."""
    if not found.affine:
        coupled = heads[0].couples_mean != heads[1].couples_mean
        apart = f"u of {a.param} is not affine in u of {b.param}"
        return (
            f"no exact match: {'only one of the two couples the mean to σ' if coupled else apart}; "
            f"the factors equate the gains at σ = {a.init_std:g} and are of first order elsewhere"
        )
    if not found.exact:
        return "no exact match: weight decay pulls the biases of the two heads to different σ, since c is not 0"
    if not bit_for_bit:
        why = "a is no power of two" if heads[0].form == heads[1].form else "the two heads are two compiled programs"
        return f"exact but for rounding: {why}"
    return "exact, bit for bit in float32: the two heads share one compiled program, and a is a power of two"


def _print(a: Config, b: Config, report: Mapping[str, Any]) -> None:
    print(f"{report['note'][0].upper()}{report['note'][1:]}.")
    relation = "=" if report["affine"] else "≈"
    print(f"u of {a.param} {relation} a · u of {b.param} + c, with a = {report['a']:.7g} and c = {report['c']:.7g}\n")
    rows = {
        "learning rate": (report["head_lr_factor"], a.lr),
        "eps": (report["eps_factor"], a.eps),
        "weight decay": (report["weight_decay_factor"], a.weight_decay),
        "gradient in the clipped norm": (report["clip_factor"], None),
        "initial weights": (report["init_weight_factor"], None),
    }
    print(f"{f'scale head of {b.param} over {a.param}':40}{'factor':>14}{'value':>14}")
    for what, (factor, value) in rows.items():
        print(f"  {what:38}{factor:14.7g}" + (f"{factor * value:14.7g}" if value is not None else ""))
    print(f"\n  vae train {report['reference_flags']}\n  vae train {report['flags']}")
