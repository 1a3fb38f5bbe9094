"""A VAE as one value: what is compiled in, what the compiled program receives, and the parameters."""

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Key

from vaecli.vae.architecture import Architecture, Params
from vaecli.vae.batches import Redraw
from vaecli.vae.gradient_rules import NLL, GradientRule, natural_factor
from vaecli.vae.heads.bounds import NO_BOUND, Bound
from vaecli.vae.heads.table import LOGVAR, Head
from vaecli.vae.lazy import LazyModule
from vaecli.vae.likelihoods import Bernoulli, ClosedFormScale, Likelihood, ScaledLikelihood
from vaecli.vae.objectives import ObjectiveSpec
from vaecli.vae.optimizers import SGD
from vaecli.vae.posterior import Posterior, bounded_log_scale, posterior
from vaecli.vae.precision import Precision, held, rounded
from vaecli.vae.scaled_gradient import replaced, scale_gradient
from vaecli.vae.schedules import ScheduleValues
from vaecli.vae.terms import LogLikelihood
from vaecli.vae.updates import OptimizerSpec, Rates

_networks = LazyModule("vaecli.vae.networks")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """The part of a run that is compiled in. Runs with equal programs share one executable.

    Attributes:
      architecture: the network's shape.
      head: the variance head's form, without its slope.
      bound: the bound on σ.
      likelihood: the likelihood p(x|z), with its head's form.
      mean_bias: whether the decoder's last bias starts at the mean training image.
      objective: the objective that is maximised, and how its gradient is estimated.
      optimizer: the optimiser, and what of its settings is compiled in.
      redraws: how each step draws the pixels of its images.
      skips: whether an update that is not finite is dropped.
      grad_draws: the number of draws of ε for the gradient statistics of a batch.
      decoder_bound: the bound on the likelihood's scale.
      decoder_gradient: the rule by which that scale is learned.
      natural_head: whether the gradient by the encoder's u is divided by the information 2γ² about it.
      head_precision: the precision in which u, log σ and σ are held.
      loss_scale: whether the loss is multiplied in its gradient: `off`, by a `fixed` number, or by a `dynamic` one.
      skips_by_norm: whether an update is dropped whose gradient's norm is above a limit.
    """

    architecture: Architecture
    head: Head
    bound: Bound
    likelihood: Likelihood
    mean_bias: bool
    objective: ObjectiveSpec
    optimizer: OptimizerSpec
    redraws: Redraw
    skips: bool
    grad_draws: int
    decoder_bound: Bound = NO_BOUND
    decoder_gradient: GradientRule = NLL
    natural_head: bool = False
    head_precision: Precision = "float32"
    loss_scale: Literal["off", "fixed", "dynamic"] = "off"
    skips_by_norm: bool = False

    def of_models(self) -> "Program":
        """Returns the program with one optimiser in place of any: the part that a model reads, and its start.

        What is compiled from it is compiled once for runs that differ only in how their parameters are updated.
        """
        none = OptimizerSpec(SGD, decoder_scale=self.optimizer.decoder_scale)
        return dataclasses.replace(self, optimizer=none, skips=False, skips_by_norm=False)

    def of_start(self) -> "Program":
        """Returns the program that has only what the first parameters follow from; all else has a fixed value."""
        return Program(
            architecture=self.architecture,
            head=LOGVAR.form,
            bound=NO_BOUND,
            likelihood=self.likelihood if self.mean_bias else Bernoulli(),
            mean_bias=self.mean_bias,
            objective=ObjectiveSpec(),
            optimizer=OptimizerSpec(SGD),
            redraws="none",
            skips=False,
            grad_draws=2,
        )

    def of_state(self) -> "Program":
        """Returns the program that has only what the first state follows from, besides the parameters.

        That is the optimiser, and whether the factor on the loss is dynamic; all else has a fixed value.
        """
        plain = dataclasses.replace(self, mean_bias=False).of_start()
        return dataclasses.replace(plain, optimizer=self.optimizer, loss_scale=self.loss_scale)


class Operands(NamedTuple):
    """The values that a program receives at run time, besides its state and data; all are scalars.

    Attributes:
      key: the key from which every draw comes.
      slope: the slope of the head, log σ = f(slope · u).
      start_weight: the factor on the scale head's drawn weights.
      start_bias: the scale head's first bias; log σ itself, before its bound, for a head that is not learned.
      perturb: the number that is added to one bias of the mean head at the start.
      decoder_scale_slope: the slope of the head of the likelihood's scale τ.
      decoder_scale_weight: the factor on that head's drawn weights, where it has any.
      decoder_scale_start: its first bias; log τ itself for a head that is not learned.
      beta: the factor on the KL.
      rates: the optimiser's settings for every block that has none of its own.
      head_rates: the settings for the scale head, whose gradient is in `head_unit`.
      decoder_scale_rates: the settings for the likelihood's scale, whose gradient is in `decoder_scale_unit`.
      clip_norm: the greatest norm of the gradient, if the program clips it.
      head_clip: the factor on the scale head's gradient within that norm.
      decoder_scale_clip: the factor on the gradient of the likelihood's scale within it.
      head_unit: what the scale head's gradient is divided by before an optimiser that takes signs receives it, a power
        of two.
      decoder_scale_unit: the same for the likelihood's scale.
      loss_scale: the factor on the loss in its gradient, where the program has one.
      skip_norm: the norm of the gradient above which an update is dropped, if the program drops any for that.
    """

    key: Key[Array, ""]
    slope: Float[Array, ""]
    start_weight: Float[Array, ""]
    start_bias: Float[Array, ""]
    perturb: Float[Array, ""]
    decoder_scale_slope: Float[Array, ""]
    decoder_scale_weight: Float[Array, ""]
    decoder_scale_start: Float[Array, ""]
    beta: Float[Array, ""]
    rates: Rates
    head_rates: Rates
    decoder_scale_rates: Rates
    clip_norm: Float[Array, ""]
    head_clip: Float[Array, ""]
    decoder_scale_clip: Float[Array, ""]
    head_unit: Float[Array, ""]
    decoder_scale_unit: Float[Array, ""]
    loss_scale: Float[Array, ""]
    skip_norm: Float[Array, ""]

    def at(self, schedule: ScheduleValues) -> "Operands":
        """Returns the operands of one step, whose place in the schedules has these factors."""
        return self._replace(
            beta=self.beta * schedule.beta,
            rates=self.rates.at(schedule.lr),
            head_rates=self.head_rates.at(schedule.lr),
            decoder_scale_rates=self.decoder_scale_rates.at(schedule.lr),
        )


class EncoderOutputs(NamedTuple):
    """The outputs of the encoder for each unit: the mean (η₁ under a head that couples it), and u."""

    mean: Float[Array, "batch latent"]
    u: Float[Array, "batch latent"]


class DecoderScale(NamedTuple):
    """The outputs of the decoder for a likelihood with a scale.

    Attributes:
      outputs: the location of each pixel.
      u: what its head receives, (), (1, 1, pixels) or (samples, batch, pixels); log τ itself if it is not learned.
      log_scale: the log τ, of the same shape.
    """

    outputs: Float[Array, "samples batch pixels"]
    u: Float[Array, "..."]
    log_scale: Float[Array, "..."]


@functools.partial(jax.tree_util.register_dataclass, data_fields=("operands", "params"), meta_fields=("program",))
@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A VAE at one set of parameters: q(z|x) and p(x|z) as functions.

    It is a pytree; its program is compiled in.

    Attributes:
      program: the part that is compiled in.
      operands: the values that the program receives.
      params: the parameters.
    """

    program: Program
    operands: Operands
    params: Params

    @functools.cached_property
    def network(self) -> Any:
        """The `vaecli.vae.networks.VAE` that holds the parameters."""
        return _networks.network(self.program.architecture, self.params)

    @property
    def head(self) -> Head:
        """The variance head, with its slope."""
        return dataclasses.replace(self.program.head, slope=self.operands.slope)

    def encode(
        self, x: Float[Array, "batch pixels"], shift: EncoderOutputs | None = None
    ) -> tuple[Posterior, Float[Array, "batch latent"]]:
        """Returns q(z|x), and the u from which its σ comes, as held (log σ itself for a head that is not learned).

        A `shift` is added to the encoder's outputs: derivatives by them are derivatives by it, at 0.
        """

        def natural(u: Array) -> Array:
            at = held(u, self.program.head_precision)
            return natural_factor(self.head, self.program.bound, at, 2.0)

        mean, u = self.network.encode(x, natural if self.program.natural_head else None)
        u = jnp.full_like(mean, self.operands.start_bias) if u is None else u
        if shift is not None:
            mean, u = mean + shift.mean, u + shift.u
        u = held(u, self.program.head_precision)
        return posterior(self.head, self.program.bound, mean, u, self.program.head_precision), u

    def features(self, x: Float[Array, "batch pixels"]) -> Float[Array, "batch features"]:
        """Returns what the scale head's product receives; nothing for a free σ, which has only a bias."""
        features = rounded(self.network.encoder(x), self.program.architecture.precision)
        return features[:, :0] if self.program.architecture.scale_output == "free" else features

    def decode(self, z: Float[Array, "samples batch latent"]) -> Float[Array, "samples batch pixels"]:
        """Returns what the decoder puts out at z for each pixel: the likelihood's logits or means."""
        return self.network.decode(z)

    def mean(self, z: Float[Array, "samples batch latent"]) -> Float[Array, "samples batch pixels"]:
        """Returns E[x|z] of each pixel."""
        return self.program.likelihood.mean(self.decode(z))

    @property
    def decoder_head(self) -> Head | None:
        """The head of the likelihood's scale, with its slope; None where that scale has none that is learned."""
        head = self.program.likelihood.scale_head
        if head is None or self.program.architecture.decoder_scale == "none":
            return None
        return dataclasses.replace(head, slope=self.operands.decoder_scale_slope)

    def decoder_scale(self, z: Float[Array, "samples batch latent"]) -> DecoderScale:
        """Returns the likelihood's locations at z, and its scale; a likelihood without a scale is refused."""
        head, apart = self.decoder_head, self.program.decoder_gradient.kind == "faithful"
        if head is None:
            return DecoderScale(self.decode(z), *[self.operands.decoder_scale_start] * 2)
        factor = None
        if self.program.decoder_gradient.kind == "natural":
            likelihood = self.program.likelihood
            assert isinstance(likelihood, ScaledLikelihood)
            information = likelihood.scale_facts.information
            factor = functools.partial(natural_factor, head, self.program.decoder_bound, information=information)
        outputs, u = self.network.decode_with_scale(z, apart=apart, factor=factor)
        return DecoderScale(outputs, u, bounded_log_scale(head, self.program.decoder_bound, u))

    def log_likelihood(
        self, x: Float[Array, "batch pixels"], weight: Float[Array, " batch"] | None = None
    ) -> LogLikelihood:
        """Returns the function z ↦ log p(x|z), (samples, batch), in nats per image.

        With the weights of the images it is that of training, in which a scale in closed form is that of these images.
        Its gradient is by the program's rule (`vaecli.vae.gradient_rules`).
        """
        likelihood = self.program.likelihood
        if likelihood.scale_head is None:
            return lambda z: likelihood.log_prob(self.decode(z), self.operands.decoder_scale_start, x)
        return lambda z: self._scaled_log_prob(z, x, weight)

    def _scaled_log_prob(
        self, z: Float[Array, "samples batch latent"], x: Float[Array, "batch pixels"], weight: Array | None
    ) -> Float[Array, "samples batch"]:
        likelihood, rule = self.program.likelihood, self.program.decoder_gradient
        outputs, _, log_scale = self.decoder_scale(z)
        if self.program.architecture.decoder_scale == "optimal" and weight is not None:
            assert isinstance(likelihood, ClosedFormScale)
            best = likelihood.best_log_scale(x[None] - outputs, weight[None, :, None])
            log_scale = replaced(log_scale, lax.stop_gradient(best))
        match rule.kind:
            case "beta":
                factor = lax.stop_gradient(jnp.exp(2 * rule.beta * log_scale))
                outputs, log_scale = scale_gradient(outputs, factor), scale_gradient(log_scale, factor)
            case "faithful":
                squares = -0.5 * ((x[None] - outputs) ** 2).sum(axis=-1)
                of_scale = likelihood.log_prob(lax.stop_gradient(outputs), log_scale, x)
                # The squares add nothing but their gradient.
                return of_scale + (squares - lax.stop_gradient(squares))
        return likelihood.log_prob(outputs, log_scale, x)
