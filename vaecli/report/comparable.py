"""What makes two runs comparable: the settings that a metric is defined by, the units that belong to a head, and the
settings in which a variant differs from its reference though nobody asked about them.

`docs/metrics.md` defines the metrics; a metric whose definition depends on a setting has a row here.
"""

import collections
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vaecli.config import Config
from vaecli.config.naming import text
from vaecli.config.schema import WITHOUT_SCALE
from vaecli.report.formatting import count, first_four
from vaecli.report.model import Variant
from vaecli.vae.gradient_rules import parse_gradient_rule
from vaecli.vae.heads.table import HEADS


class DefiningSetting(NamedTuple):
    """A setting that some metrics are defined by.

    Attributes:
      field: the setting.
      metrics: the tags of the metrics, which the expression matches as a whole.
      part: the part of a config that counts: runs are comparable where it is equal, or None for one of them.
    """

    field: str
    metrics: str
    part: Callable[[Config], Any]


_DENSITY = r"(.*/)?(elbo|reconstruction|iwae|objective|nll|bits_per_dim)"
_TAU = r"likelihood/sigma|safety/tau/.*"
_SQUARED_NATS = r"grad(_se)?/(variance|signal|scale_variance)/.*|grad(_se)?/fisher_ratio"
_OF_WEIGHTS = r"grad(_se)?/(variance|signal)/.*|grad(_se)?/scale_variance/weights"
_OF_SCALE_HEAD = r"grad(_se)?/(variance|signal)/scale_head|grad(_se)?/scale_variance/weights"
_OF_DECODER_SCALE = r"grad(_se)?/(variance|signal)/decoder_scale"


def _of_iwae(config: Config) -> int | None:
    return config.samples if config.objective == "iwae" else None


def _measure(config: Config) -> str:
    """What log p is: a cross-entropy, no log density of grey pixels; a level's mass; or a density of real pixels."""
    masses = {"bernoulli": "cross-entropy", "discretised_logistic": "mass"}
    return masses.get(config.likelihood, "density")


def _has_scale(config: Config) -> bool:
    return config.likelihood not in WITHOUT_SCALE


def _has_head(config: Config) -> bool:
    """Whether the likelihood has a scale that a head gives."""
    return _has_scale(config) and config.decoder_scale != "optimal" and config.decoder_param != "fixed"


def _fixed(config: Config) -> bool | None:
    return config.decoder_param == "fixed" if _has_scale(config) else None


def _fixed_scale(config: Config) -> float | None:
    return config.decoder_std if config.decoder_param == "fixed" else None


def _student_df(config: Config) -> float | None:
    return config.student_df if config.likelihood == "student" else None


def _optimal(config: Config) -> bool | None:
    """Whether τ is fitted to each batch, in training."""
    return config.decoder_scale == "optimal" if _has_scale(config) else None


def _rule(config: Config) -> str | None:
    if not _has_scale(config):
        return None
    kind, beta = parse_gradient_rule(config.decoder_gradient)
    return kind if kind != "beta" else f"beta:{beta:g}" if beta else "nll"


def _rule_of_the_rest(config: Config) -> str | None:
    """The rule as other blocks meet it, to which `natural` does nothing."""
    rule = _rule(config)
    return "nll" if rule == "natural" else rule


def _epochs_averaged(config: Config) -> str:
    """The epochs since the log point before the last one."""
    return f"(the last {count((config.epochs - 1) % config.log_every + 1, 'epoch')})"


_DEFINITIONS = (
    DefiningSetting("data_transpose", r".*", lambda config: config.data_transpose),
    # What is measured at a log point has the pixels of `fixed` under `dynamic`, too; only training steps draw anew.
    DefiningSetting("binarisation", r"train/.*", lambda config: config.binarisation),
    DefiningSetting("binarisation", r".*", lambda config: config.binarisation.replace("dynamic", "fixed")),
    # Log densities of the same pixels are one quantity, whatever the model.
    DefiningSetting("likelihood", _DENSITY, _measure),
    DefiningSetting("likelihood", f"{_SQUARED_NATS}|{_TAU}", lambda config: config.likelihood),
    DefiningSetting("student_df", f"{_SQUARED_NATS}|{_TAU}", _student_df),
    # A scale that is learned is part of the model, wherever it starts; one that is not is part of the density.
    DefiningSetting("decoder_param", f"{_DENSITY}|{_SQUARED_NATS}|{_TAU}", _fixed),
    DefiningSetting("decoder_std", f"{_DENSITY}|{_SQUARED_NATS}|{_TAU}", _fixed_scale),
    DefiningSetting("decoder_scale", f"train/(elbo|reconstruction|objective)|{_SQUARED_NATS}", _optimal),
    DefiningSetting("decoder_scale", _OF_DECODER_SCALE, lambda config: config.decoder_scale),
    DefiningSetting("decoder_gradient", f"(?!{_OF_DECODER_SCALE})({_SQUARED_NATS})", _rule_of_the_rest),
    DefiningSetting("decoder_gradient", _OF_DECODER_SCALE, _rule),
    DefiningSetting("head_gradient", _OF_SCALE_HEAD, lambda config: config.head_gradient),
    DefiningSetting("encoder_scale", _OF_SCALE_HEAD, lambda config: config.encoder_scale),
    DefiningSetting("objective", f"train/objective|{_SQUARED_NATS}", lambda config: config.objective),
    DefiningSetting("beta", f"train/objective|{_SQUARED_NATS}", lambda config: config.beta),
    DefiningSetting("beta_warmup", r"train/objective", lambda config: config.beta_warmup),
    DefiningSetting("samples", f".*/iwae|train/objective|{_SQUARED_NATS}", _of_iwae),
    DefiningSetting("validation", r"train/.*|validation/.*", lambda config: config.validation),
    DefiningSetting("log_every", r"train/(?!skipped|loss_scale).*", _epochs_averaged),
    # A batch's gradient has a variance that falls with its size, and a signal of its own; an extreme grows with it.
    DefiningSetting(
        "batch_size",
        rf"{_OF_WEIGHTS}|grad(_se)?/snr/.*|safety/.*/(min|max)|safety/edge_distance",
        lambda config: config.batch_size,
    ),
    # The squared norm of a gradient is that of its parameters.
    *(
        DefiningSetting(field, _OF_WEIGHTS, lambda config, field=field: getattr(config, field))
        for field in ("channels", "hidden", "latent")
    ),
    *(
        DefiningSetting(field, r"grad_se/.*", lambda config, field=field: getattr(config, field))
        for field in ("grad_draws", "grad_batches")
    ),
)


def several_quantities(metric: str, configs: Collection[Config]) -> list[str]:
    """Says by which settings, with which values, a metric is not the same quantity for all of some runs."""
    fields: dict[str, str] = {}
    for definition in _DEFINITIONS:
        if re.fullmatch(definition.metrics, metric):
            parts = {definition.part(config) for config in configs} - {None}
            if len(parts) > 1:
                values = {
                    getattr(config, definition.field) for config in configs if definition.part(config) is not None
                }
                fields[definition.field] = listed(map(text, _sorted(values if len(values) > 1 else parts)))
    differing = "; ".join(f"{field} {values}" for field, values in fields.items())
    return [f"{metric} is not the same quantity for all of these runs: {differing}"] if fields else []


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def no_density(metric: str, configs: Iterable[Config]) -> list[str]:
    """Says that a metric is made of the cross-entropy of grey pixels, if it is."""
    if not re.fullmatch(_DENSITY, metric):
        return []
    if not any(config.likelihood == "bernoulli" and config.binarisation == "grey" for config in configs):
        return []
    return [
        f"{metric} under a Bernoulli likelihood of grey pixels is made of their cross-entropy, which is no log density "
        "(Loaiza-Ganem & Cunningham 2019); --likelihood continuous_bernoulli has one"
    ]


class HeadUnit(NamedTuple):
    """Metrics whose unit, or whose weighting, belongs to a head.

    Attributes:
      metrics: their tags, which the expression matches as a whole.
      heads: which of some heads do not share the unit: maps their names to those that differ.
      reason: what the unit is.
      instead: the metric that is comparable.
    """

    metrics: str
    heads: Callable[[Collection[str]], bool]
    reason: str
    instead: str


def _several(heads: Collection[str]) -> bool:
    return len(set(heads)) > 1


def several_forms(heads: Collection[str]) -> bool:
    """Returns whether some heads differ by more than a constant factor on u."""
    forms = {head.form for name, head in HEADS.items() if name in heads}
    return len(forms) + len(set(heads) - HEADS.keys()) > 1


def _some_couple_the_mean(heads: Collection[str]) -> bool:
    couple = [name for name, head in HEADS.items() if head.couples_mean and name in heads]
    return 0 < len(couple) < len(set(heads))


_OWN_U = "is in units of u, of which every head has its own"
_HEAD_UNITS = (
    HeadUnit(
        r"grad(_se)?/variance/scale_head|grad(_se)?/scale_variance/(raw|weights)",
        _several,
        _OWN_U,
        "grad/scale_variance/log_sigma",
    ),
    HeadUnit(r"grad(_se)?/signal/scale_head", _several, _OWN_U, "grad/unit_snr"),
    HeadUnit(r"safety/u/.*", _several, _OWN_U, "safety/sigma/…"),
    HeadUnit(
        r"grad(_se)?/noise_scale", _several, "adds a part in units of u to the others", "grad/noise_scale/<block>"
    ),
    HeadUnit(
        r"grad(_se)?/(snr|epsilon_fraction|noise_scale)/scale_head",
        several_forms,
        "weighs the units by the head's gain",
        "grad/unit_snr",
    ),
    HeadUnit(
        r"grad(_se)?/(variance|signal)/mean_head",
        _some_couple_the_mean,
        "is in units of η₁ under natural, and of μ under the others",
        "grad/snr/mean_head",
    ),
    HeadUnit(
        r"grad(_se)?/(scale_variance/(log_sigma|sigma)|unit_snr)",
        _some_couple_the_mean,
        "is at fixed η₁ under natural, and at fixed μ under the others",
        "grad/fisher_ratio",
    ),
)


_DECODER_U = "is in units of the decoder's u, of which every --decoder-param has its own"
_DECODER_HEAD_UNITS = (
    HeadUnit(_OF_DECODER_SCALE, _several, _DECODER_U, "grad/snr/decoder_scale"),
    HeadUnit(r"safety/decoder_u/.*", _several, _DECODER_U, "safety/tau/…"),
    HeadUnit(
        r"grad(_se)?/noise_scale",
        _several,
        "adds a part in units of the decoder's u to the others",
        "grad/noise_scale/<block>",
    ),
    HeadUnit(
        r"grad(_se)?/(snr|epsilon_fraction|noise_scale)/decoder_scale",
        several_forms,
        "weighs the pixels by the gain of the decoder's head, unless they share one τ",
        "grad/decoder_fisher_ratio",
    ),
)


def head_units(metric: str, configs: Collection[Config]) -> list[str]:
    """Says that a metric is in units that belong to a head, where heads differ, and which metric is comparable."""
    of_encoder = {config.param for config in configs} - {"fixed"}
    of_decoder = {config.decoder_param for config in configs if _has_head(config)}
    return [
        f"{metric} {unit.reason}; {unit.instead} is comparable across heads"
        for units, heads in ((_HEAD_UNITS, of_encoder), (_DECODER_HEAD_UNITS, of_decoder))
        for unit in units
        if re.fullmatch(unit.metrics, metric) and unit.heads(heads)
    ]


def confounders(
    variants: Sequence[Variant], partners: Mapping[str, Variant | None], asked: Collection[str]
) -> dict[str, list[str]]:
    """Returns by name, for each variant that differs from its reference in settings nobody asked about, which they are.

    Args:
      variants: all of them.
      partners: for each that is not a reference, by name, the one that it is compared with.
      asked: the fields in which the two are meant to differ.
    """
    differing = {}
    for variant in variants:
        if reference := partners.get(variant.name):
            fields = [
                field
                for field, value in variant.values.items()
                if field not in asked and field != "name" and value != reference.values[field]
            ]
            if fields:
                differing[variant.name] = fields
    return differing


def confounded(differing: Mapping[str, Sequence[str]], partners: Mapping[str, Variant | None]) -> list[str]:
    """Says which variants differ from their references in settings nobody asked about: a line for each set of these."""
    by_fields: dict[tuple[str, ...], list[str]] = collections.defaultdict(list)
    for name, fields in differing.items():
        by_fields[tuple(fields)].append(name)
    warnings = []
    for fields, names in by_fields.items():
        pairs = [f"{name} against {partner.name}" for name in names[:3] if (partner := partners[name])]
        more = ", …" * (len(names) > len(pairs))
        named = f"{count(len(names), 'variant')} compared with a reference that differs in {listed(fields)}, too"
        warnings.append(f"{named}, which may be what makes the difference: {', '.join(pairs)}{more}")
    return warnings


def listed(values: Iterable[str]) -> str:
    """Joins names or values, as many as a line holds."""
    return first_four([value if len(value) <= 40 else f"{value[:40]} …" for value in values])
