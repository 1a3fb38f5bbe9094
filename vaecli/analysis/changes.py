"""The changes of a run's settings that are tried on a run that diverged, from the smallest to the largest.

Of two changes the smaller is the one that leaves more of the run as it was. In this order:

| kind | what it touches |
|---|---|
| `limit` | updates that `--skip-norm` would drop; only of a run that drops them all |
| `bound` | σ (or τ) outside the range that the run has used while it was well; then inside it |
| `precision` | in how many bits numbers are held |
| `clipping` | gradients larger than twice the usual one |
| `start` | where the scale starts |
| `rate` | how fast the scale learns, then how fast everything does |
| `head` | what u stands for: a smooth head of the same quantity, then `logvar`, then `softplus_std` |

Within a kind the numbers change by less first. What cannot act on the scale that is at fault is left out.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vaecli.config import Config, ConfigError
from vaecli.report.trail import Trail, TrailRow
from vaecli.vae.resolve import DECODER_FIELDS, Resolved, Scale, ScaleFields
from vaecli.vae.validate import validate

KINDS = ("limit", "bound", "precision", "clipping", "start", "rate", "head")
"""The kinds of changes, the smallest first."""

_FACTORS = (0.5, 0.25, 0.1)
_OF_THE_SAME = {"σ": "softplus_std", "±σ": "softplus_std", "±√σ": "softplus_std", "σ²": "softplus_var"}
"""The smooth head of what another one's u stands for."""


class Change(NamedTuple):
    """A change of some settings, and its kind."""

    kind: str
    settings: Mapping[str, Any]


def changes(resolved: Resolved, trail: Trail, steps_per_epoch: int) -> Sequence[Change]:
    """Returns the changes that may help a run, the smallest first; none is what the run has anyway.

    Args:
      resolved: the run's config.
      trail: why it diverged.
      steps_per_epoch: how many updates an epoch has.
    """
    config, at_fault = resolved.config, trail.breakdown.at_fault
    scale = {"σ": resolved.encoder, "τ": resolved.decoder, "": None}[at_fault]
    listed = [
        *_limits(config, trail),
        *_bounds(scale, trail),
        *_precisions(config),
        *_clippings(config, trail),
        *_starts(scale, trail),
        *_rates(config, scale, trail, steps_per_epoch),
        *_heads(resolved, scale),
    ]
    kept: dict[str, Change] = {}
    for change in listed:
        differ = {name: value for name, value in change.settings.items() if getattr(config, name) != value}
        if differ:
            kept.setdefault(str(sorted(differ.items())), Change(change.kind, differ))
    return list(kept.values())


def changed(config: Config, change: Change) -> tuple[Resolved | None, str]:
    """Returns the config with a change, resolved; or None, and why its settings do not go together."""
    try:
        return validate(dataclasses.replace(config, **change.settings)), ""
    except ConfigError as error:
        return None, str(error)


def _limits(config: Config, trail: Trail) -> Iterator[Change]:
    if trail.breakdown.quantity == "norm":
        yield Change("limit", {"skip_norm": _rounded(2 * max(norms(trail.rows)))})
        yield Change("limit", {"skip_norm": 0.0, "clip_norm": config.skip_norm})


def _bounds(scale: Scale | None, trail: Trail) -> Iterator[Change]:
    between = trail.ranges.get(trail.breakdown.at_fault)
    if scale is None or not scale.head.learned or between is None:
        return
    least, greatest = between
    outside = math.floor(2 * (least - math.log(2))) / 2, math.ceil(2 * (greatest + math.log(2))) / 2
    # The run starts inside, too.
    start = math.log(scale.std)
    inside = (
        min(math.ceil(least + (greatest - least) / 4), math.ceil(start) - 1),
        max(math.floor(greatest), math.floor(start) + 1),
    )
    name = scale.fields.bound
    yield Change("bound", {name: f"clip:{outside[0]:g},{outside[1]:g}"})
    yield Change("bound", {name: f"floor:{_rounded(math.exp(outside[0])):g}"})
    yield Change("bound", {name: f"sigmoid:{inside[0]:g},{inside[1]:g}"})


def _precisions(config: Config) -> Iterator[Change]:
    if config.precision == config.head_precision == "float32":
        return
    if config.precision == "float16" and config.decoder_scale != "optimal":
        yield Change("precision", {"loss_scale": "dynamic"})
    yield Change("precision", {"head_precision": "float32"})
    if config.precision == "float16":
        yield Change("precision", {"precision": "bfloat16"})
    yield Change("precision", {"precision": "float32", "head_precision": "float32", "loss_scale": "off"})


def _clippings(config: Config, trail: Trail) -> Iterator[Change]:
    # Without the step that spoilt the run; of a run that did not come further, a common choice.
    usual = sorted(norms(trail.rows[:-1]))
    norm = 2 * usual[len(usual) // 2] if usual else 1.0
    if config.clip_norm:
        norm = min(norm, config.clip_norm / 2)
    if norm > 0:
        yield Change("clipping", {"clip_norm": _rounded(norm)})


def _starts(scale: Scale | None, trail: Trail) -> Iterator[Change]:
    if scale is None:
        return
    fields = scale.fields
    if scale.init == "native":
        yield Change("start", {fields.init: "centred"})
    # Away from where it broke.
    values = [row.values.get("log_sigma", row.values.get("log_tau", math.nan)) for row in trail.rows]
    logs = [value for value in values if not math.isnan(value)]
    narrow = not logs or logs[-1] < math.log(scale.std)
    for factor in (2.0, 10.0):
        std = _rounded(scale.std * factor if narrow else scale.std / factor)
        yield Change("start", {fields.init: "centred" if scale.init == "native" else scale.init, fields.std: std})


def _rates(config: Config, scale: Scale | None, trail: Trail, steps_per_epoch: int) -> Iterator[Change]:
    if trail.step < steps_per_epoch and not config.lr_warmup:
        yield Change("rate", {"lr_warmup": steps_per_epoch})
    if scale is not None and scale.head.learned and scale.lr != "matched":
        lr = 1.0 if isinstance(scale.lr, str) else scale.lr
        for factor in _FACTORS:
            yield Change("rate", {scale.fields.lr: lr * factor})
    for factor in _FACTORS:
        yield Change("rate", {"lr": _rounded(config.lr * factor)})


def _heads(resolved: Resolved, scale: Scale | None) -> Iterator[Change]:
    """Yields other heads: of the scale at fault or, where neither is, of the encoder's σ."""
    scale = scale or resolved.encoder
    fields: ScaleFields = scale.fields
    if not scale.head.learned or (fields is DECODER_FIELDS and resolved.config.decoder_scale == "optimal"):
        return
    smooth = "softplus_prec" if scale.head.quantity.startswith("1/σ²") else _OF_THE_SAME.get(scale.head.quantity)
    for name in filter(None, (smooth, "logvar", "softplus_std")):
        yield Change("head", {fields.param: name})


def norms(rows: Sequence[TrailRow]) -> Sequence[float]:
    """Returns the norms of the gradients of some steps that are finite."""
    given = [row.gradient_norm for row in rows]
    return [norm for norm in given if norm is not None and math.isfinite(norm)]


def _rounded(value: float) -> float:
    """Returns a number with two significant digits."""
    return float(f"{value:.1e}")
