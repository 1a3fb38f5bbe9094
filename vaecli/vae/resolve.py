"""The one place where the names in a config become objects; no other code looks a name up."""

import dataclasses

from vaecli.config import Config, ConfigError
from vaecli.vae.heads.bounds import Bound, parse_bound
from vaecli.vae.heads.resolve import resolve_head
from vaecli.vae.heads.table import Head
from vaecli.vae.likelihoods import LIKELIHOODS, Likelihood
from vaecli.vae.objectives import OBJECTIVES, Estimator, Objective, ObjectiveSpec
from vaecli.vae.optimizers import OPTIMIZERS, Optimizer


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A config, and the objects that its names stand for.

    Attributes:
      config: the config itself.
      head: the variance head of the encoder.
      bound: the bound on its σ.
      decoder_head: the head of the likelihood's scale τ; None where the likelihood has none.
      likelihood: the likelihood p(x|z), with the form of that head.
      objective: the objective that is maximised, and how its gradient is estimated.
      optimizer: the optimiser.
    """

    config: Config
    head: Head
    bound: Bound
    decoder_head: Head | None
    likelihood: Likelihood
    objective: ObjectiveSpec
    optimizer: Optimizer


def resolve(config: Config) -> Resolved:
    """Returns a config with the objects that its names stand for; needs no jax, unless a head is the user's own.

    Raises:
      ConfigError: there is no such head or bound, or the decoder's head would move the mean.
    """
    decoder_head = _decoder_head(config)
    likelihood, objective = LIKELIHOODS[config.likelihood](decoder_head.form), OBJECTIVES[config.objective]
    return Resolved(
        config=config,
        head=resolve_head(config.param),
        bound=parse_bound(config.bound),
        decoder_head=None if likelihood.scale_head is None else decoder_head,
        likelihood=likelihood,
        objective=ObjectiveSpec(objective, _estimator(config, objective), config.samples),
        optimizer=OPTIMIZERS[config.optimizer],
    )


def _decoder_head(config: Config) -> Head:
    try:
        head = resolve_head(config.decoder_param)
    except ConfigError as error:
        raise ConfigError("decoder_param", error.message) from error
    if head.couples_mean:
        raise ConfigError("decoder_param", f"{config.decoder_param} also moves the mean; the decoder has its own")
    return head


def _estimator(config: Config, objective: Objective) -> Estimator:
    """Returns the estimator of the KL and of the gradient; `auto` is the closed form where there is a choice."""
    if config.estimator != "reparam":
        return config.estimator
    return "analytic" if config.kl != "mc" and objective.is_elbo else "mc"
