"""The one place where the names in a config become objects; no other code looks a name up."""

import dataclasses
from typing import NamedTuple

from vaecli.config import Config, ConfigError
from vaecli.vae.gradient_rules import GradientRule, parse_gradient_rule
from vaecli.vae.heads.bounds import Bound, parse_bound
from vaecli.vae.heads.resolve import resolve_head
from vaecli.vae.heads.table import Head
from vaecli.vae.likelihoods import LIKELIHOODS, Likelihood, Student
from vaecli.vae.objectives import OBJECTIVES, Estimator, Objective, ObjectiveSpec
from vaecli.vae.optimizers import OPTIMIZERS, Optimizer


class ScaleFields(NamedTuple):
    """The names of the settings of a scale, by what they are in a `Scale`."""

    param: str
    bound: str
    init: str
    std: str
    weight: str
    lr: str
    eps: str
    weight_decay: str
    clip: str

    @property
    def symbol(self) -> str:
        """The symbol of the scale itself."""
        return "τ" if self.param == "decoder_param" else "σ"


ENCODER_FIELDS = ScaleFields(
    *("param", "bound", "init", "init_std", "init_weight"),
    *("head_lr", "head_eps", "head_weight_decay", "head_clip"),
)
DECODER_FIELDS = ScaleFields(
    *("decoder_param", "decoder_bound", "decoder_init", "decoder_std", "decoder_init_weight"),
    *("decoder_lr", "decoder_eps", "decoder_weight_decay", "decoder_clip"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """The settings of a standard deviation that a head gives: the encoder's σ, or the likelihood's τ.

    Attributes:
      fields: what they are called.
      param: the name of the head.
      head: the head.
      bound: the bound on what it gives.
      init: how it starts: `native`, `centred` or `matched`.
      std: the σ at a centred or matched start.
      weight: the factor on the drawn weights.
      lr: the learning rate as a multiple of the others', `native` or `matched`.
      eps: the factor on the optimiser's eps.
      weight_decay: the factor on the weight decay.
      clip: the factor on the gradient within the norm that is clipped.
      natural: whether its gradient by u is divided by the information about u.
    """

    fields: ScaleFields
    param: str
    head: Head
    bound: Bound
    init: str
    std: float
    weight: float
    lr: float | str
    eps: float
    weight_decay: float
    clip: float
    natural: bool


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A config, and the objects that its names stand for.

    Attributes:
      config: the config itself.
      encoder: the settings of the encoder's σ.
      decoder: the settings of the likelihood's scale τ; None where the likelihood has none.
      likelihood: the likelihood p(x|z), with the form of that head.
      decoder_gradient: the rule by which that scale is learned.
      objective: the objective that is maximised, and how its gradient is estimated.
      optimizer: the optimiser.
    """

    config: Config
    encoder: Scale
    decoder: Scale | None
    likelihood: Likelihood
    decoder_gradient: GradientRule
    objective: ObjectiveSpec
    optimizer: Optimizer

    @property
    def head(self) -> Head:
        """The variance head of the encoder."""
        return self.encoder.head

    @property
    def bound(self) -> Bound:
        """The bound on its σ."""
        return self.encoder.bound

    @property
    def decoder_head(self) -> Head | None:
        """The head of the likelihood's scale τ; None where the likelihood has none."""
        return self.decoder.head if self.decoder else None


def resolve(config: Config) -> Resolved:
    """Returns a config with the objects that its names stand for; needs no jax, unless a head is the user's own.

    Raises:
      ConfigError: there is no such head, bound or rule, or the decoder's head would move the mean.
    """
    rule = parse_gradient_rule(config.decoder_gradient)
    decoder = _decoder_scale(config, rule)
    likelihood, objective = LIKELIHOODS[config.likelihood](decoder.head.form), OBJECTIVES[config.objective]
    if isinstance(likelihood, Student):
        likelihood = dataclasses.replace(likelihood, df=config.student_df)
    return Resolved(
        config=config,
        encoder=_encoder_scale(config),
        decoder=None if likelihood.scale_head is None else decoder,
        likelihood=likelihood,
        decoder_gradient=rule,
        objective=ObjectiveSpec(objective, _estimator(config, objective), config.samples),
        optimizer=OPTIMIZERS[config.optimizer],
    )


def _encoder_scale(config: Config) -> Scale:
    scale = _scale(config, ENCODER_FIELDS, config.param, natural=config.head_gradient == "natural")
    if scale.natural and scale.head.couples_mean:
        raise ConfigError("head_gradient", f"natural is not for {config.param}, whose u also moves the mean; use plain")
    return scale


def _decoder_scale(config: Config, rule: GradientRule) -> Scale:
    # What is worked out is log τ itself.
    param = "logstd" if config.decoder_scale == "optimal" else config.decoder_param
    scale = _scale(config, DECODER_FIELDS, param, natural=rule.kind == "natural")
    if scale.head.couples_mean:
        raise ConfigError("decoder_param", f"{param} also moves the mean; the decoder has its own")
    return scale


def _scale(config: Config, fields: ScaleFields, param: str, *, natural: bool) -> Scale:
    values = {name: getattr(config, field) for name, field in fields._asdict().items()} | {"param": param}
    try:
        head, bound = resolve_head(param), parse_bound(values["bound"])
    except ConfigError as error:
        raise ConfigError(getattr(fields, error.field), error.message) from error
    return Scale(**{**values, "bound": bound}, fields=fields, head=head, natural=natural)


def _estimator(config: Config, objective: Objective) -> Estimator:
    """Returns the estimator of the KL and of the gradient; `auto` is the closed form where there is a choice."""
    if config.estimator != "reparam":
        return config.estimator
    return "analytic" if config.kl != "mc" and objective.is_elbo else "mc"
