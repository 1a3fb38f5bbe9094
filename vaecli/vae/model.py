"""A VAE as one value: what is compiled in, what the compiled program receives, and the parameters."""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import Head
from vaecli.vae.likelihoods import Likelihood
from vaecli.vae.networks import VAE, Architecture, Params, network
from vaecli.vae.objectives import ObjectiveSpec
from vaecli.vae.posterior import Posterior, posterior
from vaecli.vae.precision import Precision, held, rounded
from vaecli.vae.schedules import ScheduleValues
from vaecli.vae.terms import LogLikelihood
from vaecli.vae.updates import OptimizerSpec, Rates


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
      dynamic: whether each step draws its binary pixels anew.
      skips: whether an update that is not finite is dropped.
      grad_draws: the number of draws of ε for the gradient statistics of a batch.
      head_precision: the precision in which u, log σ and σ are held.
      loss_scale: whether the loss is multiplied in its gradient: `off`, by a `fixed` number, or by a `dynamic` one.
    """

    architecture: Architecture
    head: Head
    bound: Bound
    likelihood: Likelihood
    mean_bias: bool
    objective: ObjectiveSpec
    optimizer: OptimizerSpec
    dynamic: bool
    skips: bool
    grad_draws: int
    head_precision: Precision = "float32"
    loss_scale: Literal["off", "fixed", "dynamic"] = "off"


class Operands(NamedTuple):
    """The values that a program receives at run time, besides its state and data; all are scalars.

    Attributes:
      key: the key from which every draw comes.
      slope: the slope of the head, log σ = f(slope · u).
      start_weight: the factor on the scale head's drawn weights.
      start_bias: the scale head's first bias; log σ itself, before its bound, for a head that is not learned.
      perturb: the number that is added to one bias of the mean head at the start.
      decoder_scale_slope: the slope of the head of the likelihood's scale τ.
      decoder_scale_start: the first u of that head; log τ itself for a head that is not learned.
      beta: the factor on the KL.
      rates: the optimiser's settings for every block but the scale head.
      head_rates: the settings for the scale head, whose gradient is in `head_unit`.
      clip_norm: the greatest norm of the gradient, if the program clips it.
      head_clip: the factor on the scale head's gradient within that norm.
      head_unit: what the scale head's gradient is divided by before an optimiser that takes signs receives it, a power
        of two.
      loss_scale: the factor on the loss in its gradient, where the program has one.
    """

    key: Key[Array, ""]
    slope: Float[Array, ""]
    start_weight: Float[Array, ""]
    start_bias: Float[Array, ""]
    perturb: Float[Array, ""]
    decoder_scale_slope: Float[Array, ""]
    decoder_scale_start: Float[Array, ""]
    beta: Float[Array, ""]
    rates: Rates
    head_rates: Rates
    clip_norm: Float[Array, ""]
    head_clip: Float[Array, ""]
    head_unit: Float[Array, ""]
    loss_scale: Float[Array, ""]

    def at(self, schedule: ScheduleValues) -> "Operands":
        """Returns the operands of one step, whose place in the schedules has these factors."""
        return self._replace(
            beta=self.beta * schedule.beta,
            rates=self.rates._replace(lr=self.rates.lr * schedule.lr),
            head_rates=self.head_rates._replace(lr=self.head_rates.lr * schedule.lr),
        )


class EncoderOutputs(NamedTuple):
    """The outputs of the encoder for each unit: the mean (η₁ under a head that couples it), and u."""

    mean: Float[Array, "batch latent"]
    u: Float[Array, "batch latent"]


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
    def network(self) -> VAE:
        """The module that holds the parameters."""
        return network(self.program.architecture, self.params)

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
        mean, u = self.network.encode(x)
        u = jnp.full_like(mean, self.operands.start_bias) if u is None else u
        if shift is not None:
            mean, u = mean + shift.mean, u + shift.u
        u = held(u, self.program.head_precision)
        return posterior(self.head, self.program.bound, mean, u, self.program.head_precision), u

    def features(self, x: Float[Array, "batch pixels"]) -> Float[Array, "batch features"]:
        """Returns what the encoder's two heads receive, as their product has it."""
        return rounded(self.network.encoder(x), self.program.architecture.precision)

    def decode(self, z: Float[Array, "samples batch latent"]) -> Float[Array, "samples batch pixels"]:
        """Returns what the decoder puts out at z for each pixel: the likelihood's logits or means."""
        return self.network.decode(z)

    def mean(self, z: Float[Array, "samples batch latent"]) -> Float[Array, "samples batch pixels"]:
        """Returns E[x|z] of each pixel."""
        return self.program.likelihood.mean(self.decode(z))

    @property
    def decoder_log_scale(self) -> Float[Array, ""]:
        """The log τ of the likelihood's scale; without meaning where the likelihood has none."""
        head = self.program.likelihood.scale_head
        if head is None or not head.learned:
            return self.operands.decoder_scale_start
        slope = self.operands.decoder_scale_slope
        return dataclasses.replace(head, slope=slope).log_scale(self.network.decoder.u[...])

    def log_likelihood(self, x: Float[Array, "batch pixels"]) -> LogLikelihood:
        """Returns the function z ↦ log p(x|z), (samples, batch), in nats per image."""
        log_scale = self.decoder_log_scale
        return lambda z: self.program.likelihood.log_prob(self.decode(z), log_scale, x)
