"""The likelihoods p(x|z).

A likelihood is one entry in `LIKELIHOODS` and a name in the `Literal` of `Config.likelihood`; its mathematics is in
`vaecli.vae.log_densities`.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from vaecli.vae.heads.table import Head

if TYPE_CHECKING:
    from jax import Array, nn

    from vaecli.vae import log_densities
else:
    from vaecli.vae.lazy import LazyModule

    nn, log_densities = LazyModule("jax.nn"), LazyModule("vaecli.vae.log_densities")


@runtime_checkable
class Likelihood(Protocol):
    """The likelihood of an image's pixels, given what the decoder puts out for each of them.

    It is compiled in, so it must be hashable, and equal likelihoods must compute the same.
    """

    @property
    def scale_head(self) -> Head | None:
        """The form of the head of its scale τ, a number that all pixels share; None for a likelihood without one."""
        ...

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        """Returns log p(x|z), (samples, batch), in nats per image.

        Args:
          outputs: the decoder's outputs, (samples, batch, pixels).
          log_scale: the log τ, (); a likelihood without a scale ignores it.
          x: the pixels, in [0, 1], (batch, pixels).
        """
        ...

    def mean(self, outputs: "Array") -> "Array":
        """Returns E[x|z] of each pixel."""
        ...

    def outputs_at(self, mean: "Array") -> "Array":
        """Returns the decoder's outputs at which E[x|z] is `mean`."""
        ...


@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """A likelihood of binary pixels, whose logits the decoder puts out.

    With grey pixels it is the cross-entropy of the tutorials.
    """

    scale_head: None = None

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        return log_densities.bernoulli_log_prob(outputs, x)

    def mean(self, outputs: "Array") -> "Array":
        return nn.sigmoid(outputs)

    def outputs_at(self, mean: "Array") -> "Array":
        return log_densities.clipped_logit(mean)


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A likelihood of real pixels around the means that the decoder puts out, with one standard deviation τ for all."""

    scale_head: Head

    def log_prob(self, outputs: "Array", log_scale: "Array", x: "Array") -> "Array":
        return log_densities.gaussian_log_prob(outputs, log_scale, x)

    def mean(self, outputs: "Array") -> "Array":
        return outputs

    def outputs_at(self, mean: "Array") -> "Array":
        return mean


LIKELIHOODS: dict[str, Callable[[Head], Likelihood]] = {
    "bernoulli": lambda scale_head: Bernoulli(),
    "gaussian": Gaussian,
}
"""Maps a name to what makes the likelihood from the form of the head that `Config.decoder_param` names."""
