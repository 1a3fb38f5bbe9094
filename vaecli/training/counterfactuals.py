"""The configs of the counterfactuals of two variants, and which configs have the same runs."""

import dataclasses
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import NamedTuple

from vaecli.config import SETTINGS, Config, ConfigError, UsageError
from vaecli.report.formatting import joined
from vaecli.report.model import TrainedVariant
from vaecli.report.parts import Counterfactual, Side, counterfactuals
from vaecli.training.train import checked
from vaecli.vae.heads.resolve import is_own
from vaecli.vae.heads.table import control_of
from vaecli.vae.matching import numbers
from vaecli.vae.resolve import DECODER_FIELDS, ENCODER_FIELDS, Scale, ScaleFields

_APART = {"seed", "pilot", "perturb", "name"}
_OUTCOME = [name for name, setting in SETTINGS.items() if setting.outcome and name not in _APART]


class Design(NamedTuple):
    """What a difference between two variants is made of.

    Attributes:
      fields: the settings of the scale in which the two differ.
      configs: the config of each counterfactual, with the seed 0.
      controls: the head of the control of each of the two that moves the mean, where there is one.
      uncontrolled: the names of those that move the mean and have none.
    """

    fields: ScaleFields
    configs: Mapping[Counterfactual, Config]
    controls: Mapping[Side, str]
    uncontrolled: Sequence[str]

    @property
    def vary(self) -> list[str]:
        """The settings in which the counterfactuals differ."""
        return [name for name in self.fields if len({getattr(config, name) for config in self.configs.values()}) > 1]

    @property
    def named(self) -> list[str]:
        """The settings that their directories name: start, rate, and all that are not at their defaults."""
        always, unnamed = {self.fields.param, self.fields.init, self.fields.lr}, {"param"}
        return [
            name
            for name in _OUTCOME
            if name not in unnamed
            and (
                name in always
                or any(getattr(config, name) != SETTINGS[name].default for config in self.configs.values())
            )
        ]


def design(a: TrainedVariant, b: TrainedVariant) -> Design:
    """Returns what the difference between two variants is made of.

    A matched start is the same for both: at the σ of the first of the two.

    Raises:
      UsageError: they differ in more than one head, its bound, its start and its rate, or cannot be matched.
    """
    fields = _fields(a, b)
    variants: dict[Side, TrainedVariant] = {"a": a, "b": b}
    controls: dict[Side, str] = {}
    uncontrolled = []
    for side, variant in variants.items():
        head = _scale(variant, fields).head
        if not head.learned:
            raise UsageError(f"{variant.name} has no output u, and so no start or rate that could be matched")
        if control := control_of(head):
            controls[side] = control.name
        elif head.couples_mean:
            uncontrolled.append(variant.name)
    start = {fields.init: "matched"} | {name: getattr(a.config, name) for name in (fields.std, fields.weight)}
    rate = {fields.lr: "matched", fields.eps: 1.0, fields.weight_decay: 1.0, fields.clip: 1.0}
    configs = {}
    for cell in counterfactuals(controls):
        changes = {**(start if cell.start == "matched" else {}), **(rate if cell.rate == "matched" else {})}
        changes |= {fields.param: controls[cell.side]} if cell.control else {}
        configs[cell] = _changed(variants[cell.side], changes)
    return Design(fields, configs, controls, uncontrolled)


def _fields(a: TrainedVariant, b: TrainedVariant) -> ScaleFields:
    """Returns the settings of the scale in which two variants differ, in its head, bound, start or rate.

    Raises:
      UsageError: they differ in nothing, or in something else, too.
    """
    differing = [name for name in _OUTCOME if getattr(a.config, name) != getattr(b.config, name)]
    if not differing:
        raise UsageError(f"{a.name} and {b.name} have the same settings, so nothing explains a difference")
    for fields in (ENCODER_FIELDS, DECODER_FIELDS):
        if set(differing) <= set(fields):
            return fields
    known = DECODER_FIELDS if differing[0] in DECODER_FIELDS else ENCODER_FIELDS
    others = [name for name in differing if name not in known]
    raise UsageError(
        f"{a.name} and {b.name} differ in {joined(others)}{', too' * (len(others) < len(differing))}; what can be "
        "explained is a difference of one head, its bound, its start and its rate"
    )


def _scale(variant: TrainedVariant, fields: ScaleFields) -> Scale:
    """Returns the settings of the scale in which a variant differs from another one."""
    resolved = checked(variant.config)
    scale = resolved.encoder if fields is ENCODER_FIELDS else resolved.decoder
    # A likelihood without a scale has all settings of one at their defaults, in which two variants do not differ.
    assert scale is not None
    return scale


def _changed(variant: TrainedVariant, changes: Mapping[str, object]) -> Config:
    """Returns the config of a variant with some changes.

    Raises:
      UsageError: it cannot be trained.
    """
    try:
        config = dataclasses.replace(variant.config, **changes)
        _key(config)
    except ConfigError as error:
        which = joined([f"{field}={value}" for field, value in changes.items()])
        raise UsageError(f"{variant.name}{f' with {which}' * bool(changes)}: {error.message}") from error
    return config


def run_key(config: Config, heads: Collection[str]) -> Hashable:
    """Returns what is equal for configs with the same runs, bit for bit; seeds and names apart.

    Args:
      config: the config.
      heads: the users' own heads that may be imported.

    Returns:
      The key; None where there is none, since a head is another one of a user's own, or cannot start so.
    """
    if any(is_own(name) and name not in heads for name in (config.param, config.decoder_param)):
        return None
    try:
        return _key(config)
    except ConfigError:
        return None


def _key(config: Config) -> Hashable:
    """Returns what `run_key` does.

    Raises:
      ConfigError: a head does not start there, or cannot be matched.
    """
    resolved = checked(config)
    # In float16 a gradient by u that is half as large may have fewer digits.
    rescaled = "float16" not in (config.precision, config.head_precision)
    scales = [scale for scale in (resolved.encoder, resolved.decoder) if scale]
    of_scales = {name for scale in scales for name in scale.fields}
    others = tuple(getattr(config, name) for name in _OUTCOME if name not in of_scales)
    heads = tuple((scale.bound, numbers(scale, resolved.optimizer, rescaled=rescaled)) for scale in scales)
    return others, heads
