"""The likelihoods p(x|z).

A likelihood is one entry in `LIKELIHOODS` and a name in the `Literal` of `Config.likelihood`; its mathematics is in
`vaecli.vae.log_densities`. Where its scale τ comes from is no part of it: `Model.decoder_scale`.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from vaecli.vae.heads.table import Head

if TYPE_CHECKING:
    import jax.numpy as jnp
    from jax import Array, nn

    from vaecli.vae import log_densities
else:
    from vaecli.vae.lazy import LazyModule

    jnp, nn = LazyModule("jax.numpy"), LazyModule("jax.nn")
    log_densities = LazyModule("vaecli.vae.log_densities")


@runtime_checkable
class Likelihood(Protocol):
    """The likelihood of an image's pixels, given what the decoder puts out for each of them.

    It is compiled in, so it must be hashable, and equal likelihoods must compute the same.
    """

    @property
    def scale_head(self) -> Head | None:
        """The form of the head of its scale τ; None for a likelihood without one."""
        ...

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        """Returns log p(x|z), (samples, batch), in nats per image.

        Args:
          outputs: the decoder's outputs, (samples, batch, pixels).
          log_scale: the log τ, (), (1, 1, pixels) or (samples, batch, pixels); a likelihood without a scale ignores it.
          x: the pixels, in [0, 1], (batch, pixels).
        """
        ...

    def mean(self, outputs: "Array") -> "Array":
        """Returns the centre of each pixel's distribution: E[x|z], where it has one."""
        ...

    def outputs_at(self, mean: "Array") -> "Array":
        """Returns the decoder's outputs at which that centre is `mean`."""
        ...


@runtime_checkable
class ScaledLikelihood(Likelihood, Protocol):
    """A likelihood of pixels around the locations that the decoder puts out, with a scale τ."""

    @property
    def scale_head(self) -> Head:
        """The form of the head of τ."""
        ...

    @property
    def scale_facts(self) -> "log_densities.ScaleFacts":
        """The score of log τ, and the Fisher information about it that a pixel has."""
        ...

    @property
    def bounded_score(self) -> bool:
        """Whether ∂log p/∂log τ is bounded where τ goes to 0, as at pixels that never change."""
        ...

    def sample(self, key: "Array", outputs: "Array", log_scale: "Array") -> "Array":
        """Draws the pixels, one for each output."""
        ...


@runtime_checkable
class ClosedFormScale(ScaledLikelihood, Protocol):
    """A likelihood whose best τ is known from the residuals x − location."""

    def best_log_scale(self, residual: "Array", weight: "Array") -> "Array":
        """Returns the one log τ at which the mean log density of residuals is greatest.

        Args:
          residual: the residuals, (samples, batch, pixels).
          weight: the weight of each image, (1, batch, 1).
        """
        ...


@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """A likelihood of binary pixels, whose logits the decoder puts out.

    With grey pixels it is the cross-entropy of the tutorials, which is no log density.
    """

    scale_head: None = None

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        return log_densities.bernoulli(outputs, x[None]).sum(axis=-1)

    def mean(self, outputs: "Array") -> "Array":
        return nn.sigmoid(outputs)

    def outputs_at(self, mean: "Array") -> "Array":
        return log_densities.clipped_logit(mean)

    def sample(self, key: "Array", outputs: "Array") -> "Array":
        return log_densities.sample_bernoulli(key, outputs)


@dataclasses.dataclass(frozen=True)
class ContinuousBernoulli:
    """A likelihood of grey pixels, whose logits the decoder puts out: the cross-entropy, normalised on [0, 1]."""

    scale_head: None = None

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        return log_densities.continuous_bernoulli(outputs, x[None]).sum(axis=-1)

    def mean(self, outputs: "Array") -> "Array":
        return log_densities.continuous_bernoulli_mean(outputs)

    def outputs_at(self, mean: "Array") -> "Array":
        # A bias of −1000, at which a pixel is black, would hardly learn; these means have logits of ±80.
        return log_densities.continuous_bernoulli_logits(jnp.clip(mean, 0.0125, 0.9875))

    def sample(self, key: "Array", outputs: "Array") -> "Array":
        return log_densities.sample_continuous_bernoulli(key, outputs)


class _Located:
    """A likelihood whose centres are what the decoder puts out."""

    def mean(self, outputs: "Array") -> "Array":
        return outputs

    def outputs_at(self, mean: "Array") -> "Array":
        return mean


@dataclasses.dataclass(frozen=True)
class Gaussian(_Located):
    """A likelihood of real pixels around the means that the decoder puts out."""

    scale_head: Head
    bounded_score: bool = False

    @property
    def scale_facts(self) -> "log_densities.ScaleFacts":
        return log_densities.gaussian_scale()

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        return log_densities.gaussian(outputs, log_scale, x[None]).sum(axis=-1)

    def sample(self, key: "Array", outputs: "Array", log_scale: "Array") -> "Array":
        return log_densities.sample_gaussian(key, outputs, log_scale)

    def best_log_scale(self, residual: "Array", weight: "Array") -> "Array":
        # τ² is their mean square (Rybkin et al. 2021).
        return 0.5 * jnp.log(jnp.average(residual**2, weights=jnp.broadcast_to(weight, residual.shape)))


@dataclasses.dataclass(frozen=True)
class Laplace(_Located):
    """A likelihood of real pixels around the medians that the decoder puts out."""

    scale_head: Head
    bounded_score: bool = False

    @property
    def scale_facts(self) -> "log_densities.ScaleFacts":
        return log_densities.laplace_scale()

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        return log_densities.laplace(outputs, log_scale, x[None]).sum(axis=-1)

    def sample(self, key: "Array", outputs: "Array", log_scale: "Array") -> "Array":
        return log_densities.sample_laplace(key, outputs, log_scale)

    def best_log_scale(self, residual: "Array", weight: "Array") -> "Array":
        # τ is their mean size.
        return jnp.log(jnp.average(jnp.abs(residual), weights=jnp.broadcast_to(weight, residual.shape)))


@dataclasses.dataclass(frozen=True)
class Student(_Located):
    """A likelihood of real pixels around the locations that the decoder puts out, with the heavy tails of Student's t.

    Attributes:
      scale_head: the form of the head of τ.
      df: the degrees of freedom ν.
      bounded_score: true: the score of log τ lies between −1 and ν.
    """

    scale_head: Head
    df: float = 4.0
    bounded_score: bool = True

    @property
    def scale_facts(self) -> "log_densities.ScaleFacts":
        return log_densities.student_scale(self.df)

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        return log_densities.student(outputs, log_scale, x[None], self.df).sum(axis=-1)

    def sample(self, key: "Array", outputs: "Array", log_scale: "Array") -> "Array":
        return log_densities.sample_student(key, outputs, log_scale, self.df)


@dataclasses.dataclass(frozen=True)
class DiscretisedLogistic(_Located):
    """A likelihood of the 256 levels of a pixel: a logistic distribution around the decoder's output, cut into bins.

    It is a probability, so it has a number of bits per pixel. Its information is that of the logistic distribution
    itself, (3 + π²)/9, which holds where τ is wider than a bin.
    """

    scale_head: Head
    bounded_score: bool = True

    @property
    def scale_facts(self) -> "log_densities.ScaleFacts":
        return log_densities.logistic_scale()

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        return log_densities.discretised_logistic(outputs, log_scale, x[None]).sum(axis=-1)

    def mean(self, outputs: "Array") -> "Array":
        return jnp.clip(outputs, 0, 1)

    def sample(self, key: "Array", outputs: "Array", log_scale: "Array") -> "Array":
        return log_densities.sample_discretised_logistic(key, outputs, log_scale)


LIKELIHOODS: dict[str, Callable[[Head], Likelihood]] = {
    "bernoulli": lambda scale_head: Bernoulli(),
    "gaussian": Gaussian,
    "laplace": Laplace,
    "student": Student,
    "discretised_logistic": DiscretisedLogistic,
    "continuous_bernoulli": lambda scale_head: ContinuousBernoulli(),
}
"""Maps a name to what makes the likelihood from the form of the head that `Config.decoder_param` names."""
