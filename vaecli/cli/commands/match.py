"""`vae match A B`: the settings that make head B identical to head A, or why there are none."""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vaecli.cli import output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.options import JsonSwitch
from vaecli.config import SETTINGS, Config, ConfigError, UsageError
from vaecli.config.naming import flag
from vaecli.config.texts import minus
from vaecli.environment import require_default_jax
from vaecli.training.terminal import print_result

if TYPE_CHECKING:
    from vaecli.vae.matching import Match
    from vaecli.vae.resolve import Scale

_SHARED = ("optimizer", "lr", "eps", "weight_decay", "clip_norm", "skip_norm")
_OF_ENCODER = ("init_std", "bound", "head_gradient")
_OF_DECODER = (
    *("likelihood", "student_df", "decoder_scale", "no_maximum"),
    *("decoder_std", "decoder_bound", "decoder_gradient"),
)
_SETTINGS = (*_OF_ENCODER, *_OF_DECODER, *_SHARED)


@dataclasses.dataclass(frozen=True)
class MatchOptions:
    """Which heads are matched, and how the result is printed."""

    a: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar="A", help="The head to be like.", help_behavior_hint="(required)"),
    ] = ""
    b: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar="B", help="The head to set.", help_behavior_hint="(required)"),
    ] = ""
    of: Annotated[
        Literal["encoder", "decoder"],
        tyro.conf.arg(name="for", help="Whose heads: those of σ of q(z|x), or of the scale τ of the likelihood."),
    ] = "encoder"
    json: JsonSwitch = False


def run(options: MatchOptions, invocation: Invocation) -> int:
    """Matches two heads, and prints the settings."""
    if not options.b:
        raise UsageError("two heads are needed, as in: vae match logvar logstd")
    of_decoder = options.of == "decoder"
    settings: dict[str, Any] = dict(invocation.settings)
    for name in _OF_ENCODER if of_decoder else _OF_DECODER:
        if settings.get(name, SETTINGS[name].default) != SETTINGS[name].default:
            other = "encoder" if of_decoder else "decoder"
            raise UsageError(f"{flag(name)} has no part in a match of the {options.of}'s heads; use --for {other}")
    if of_decoder and settings.get("likelihood", "bernoulli") == "bernoulli":  # The default, which has no scale.
        settings["likelihood"] = "gaussian"
    from vaecli.vae.resolve import DECODER_FIELDS, ENCODER_FIELDS
    from vaecli.vae.validate import validate

    fields = DECODER_FIELDS if of_decoder else ENCODER_FIELDS
    try:
        settings_of: list[dict[str, Any]] = [settings | {fields.param: name} for name in (options.a, options.b)]
        a, b = (Config(**of_one) for of_one in settings_of)
        resolved, other = map(validate, (a, b))
        scales = (resolved.decoder, other.decoder) if of_decoder else (resolved.encoder, other.encoder)
        if scales[0] is None or scales[1] is None:
            raise UsageError(f"the likelihood {a.likelihood} has no scale, and so no head to match; use gaussian")
        # From here on jax is needed.
        require_default_jax()
        from vaecli.vae import matching

        start, natural = matching.unbounded_start(scales[0]), scales[0].natural
        heads = scales[0].head, scales[1].head
        match = matching.match(*heads, resolved.optimizer, start, decays=a.weight_decay > 0, natural=natural)
    except ConfigError as error:
        if error.field in ("param", "init", fields.init):
            raise UsageError(error.message) from None
        raise invocation.source.locate(error, invocation.settings) from None
    report = _report(a, (scales[0], scales[1]), match)
    if options.json:
        output.print_json(report)
    else:
        _print(a, (scales[0], scales[1]), report)
    return ExitCode.DONE


def _report(a: Config, scales: "tuple[Scale, Scale]", match: "Match") -> dict[str, Any]:
    """Returns what `--json` prints: the match, whether it is exact to the last bit, and the flags of the two runs.

    Args:
      a: the config of the head to be like.
      scales: its scale, and the other.
      match: their match.
    """
    one, other = scales
    fields = one.fields
    bit_for_bit = match.exact and one.head.form == other.head.form and math.frexp(abs(match.a))[0] == 0.5
    given = [name for name in _SETTINGS if getattr(a, name) != getattr(Config(), name) or name in ("optimizer", "lr")]
    shared = [word for name in given for word in (flag(name), _text(getattr(a, name)))]
    factors = {
        fields.weight: match.init_weight_factor,
        fields.lr: match.head_lr_factor,
        fields.eps: match.eps_factor,
        **({fields.weight_decay: match.weight_decay_factor} if a.weight_decay else {}),
        **({fields.clip: match.clip_factor} if a.clip_norm or a.skip_norm else {}),
    }
    needed = [word for name, factor in factors.items() if factor != 1 for word in (flag(name), _text(factor))]
    return {
        "bit_for_bit": bit_for_bit,
        **match._asdict(),
        "reference_flags": shlex.join([flag(fields.param), one.param, *shared]),
        "flags": shlex.join([flag(fields.param), other.param, *shared, *needed]),
        "note": _note(scales, match, bit_for_bit),
    }


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    # Ten digits are more than float32 holds; only a power of two is wanted to the last one.
    short = f"{value:.10g}"
    return repr(value) if abs(math.frexp(value)[0]) == 0.5 and float(short) != value else short


def _note(scales: "tuple[Scale, Scale]", match: "Match", bit_for_bit: bool) -> str:
    """Returns one sentence on what the match is worth."""
    one, other = scales
    same_form = one.head.form == other.head.form
    if not match.affine:
        coupled = one.head.couples_mean != other.head.couples_mean
        apart = f"u of {one.param} is not affine in u of {other.param}"
        symbol = "τ" if one.fields.param == "decoder_param" else "σ"
        return (
            f"no exact match: {'only one of the two couples the mean to σ' if coupled else apart}; "
            f"the factors equate the gains at {symbol} = {one.std:g} and are of first order elsewhere"
        )
    if not match.exact:
        return "no exact match: weight decay pulls the biases of the two heads to different σ, since c is not 0"
    if not bit_for_bit:
        reason = "a is not a power of two" if same_form else "the two heads are two compiled programs"
        return f"exact but for rounding: {reason}"
    range_of_gradients = "while gradients stay within float32 (1.2e-38 to 3.4e38)"
    return f"exact, bit for bit {range_of_gradients}: the two heads share one compiled program, and a is a power of two"


def _print(a: Config, scales: "tuple[Scale, Scale]", report: Mapping[str, Any]) -> None:
    """Prints the note, how the two outputs are related, the factors, and the two commands that train alike."""
    print_result(f"{report['note'][0].upper()}{report['note'][1:]}.")
    one, other = (scale.param for scale in scales)
    relation = "=" if report["affine"] else "≈"
    constants = minus(f"a = {report['a']:.7g} and c = {report['c']:.7g}")
    print_result(f"u of {one} {relation} a · u of {other} + c, with {constants}")
    print_result()
    rows = {
        "learning rate": (report["head_lr_factor"], a.lr),
        "eps": (report["eps_factor"], a.eps),
        "weight decay": (report["weight_decay_factor"], a.weight_decay),
        "gradient in the clipped norm": (report["clip_factor"], None),
        "initial weights": (report["init_weight_factor"], None),
    }
    print_result(f"{f'scale head of {other} over {one}':40}{'factor':>14}{'value':>14}")
    for what, (factor, value) in rows.items():
        numbers = f"{factor:14.7g}" + (f"{factor * value:14.7g}" if value is not None else "")
        print_result(f"  {what:38}{minus(numbers)}")
    print_result()
    for words in (report["reference_flags"], report["flags"]):
        print_result(f"  vae train {words}")


COMMAND = Command(
    summary="Print the settings that make two heads train alike.",
    description="Print the settings that make head B train exactly like head A, or to first order where none do.",
    options=MatchOptions,
    run=run,
    examples=[
        Example("vae match logvar logstd", "the flags for logstd"),
        Example("vae match logvar softplus_std --optimizer adamw --weight-decay 0.01", "with other settings"),
        Example(
            "vae match --for decoder logvar softplus_std --decoder-gradient natural", "heads of the likelihood's τ"
        ),
    ],
    settings=_SETTINGS,
)
