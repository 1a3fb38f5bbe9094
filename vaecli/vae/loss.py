"""The loss of a batch: −objective averaged over its images."""

from typing import NamedTuple

from jax import Array
from jaxtyping import Float

from vaecli.vae.model import EncoderOutputs, Model
from vaecli.vae.terms import objective_terms


class StepSums(NamedTuple):
    """The sums over the images of a step, in nats: reconstruction − kl is their ELBO, objective what was maximised."""

    reconstruction: Float[Array, ""]
    kl: Float[Array, ""]
    objective: Float[Array, ""]


def loss(
    model: Model,
    x: Float[Array, "batch pixels"],
    weight: Float[Array, " batch"],
    epsilon: Float[Array, "samples batch latent"],
    shift: EncoderOutputs | None = None,
) -> tuple[Float[Array, ""], StepSums]:
    """Returns −objective averaged over the images of weight 1, in nats per image, and its terms summed over them.

    Args:
      model: the VAE.
      x: the pixels of the images, in [0, 1].
      weight: the weight of each image: 1, or 0 for padding.
      epsilon: the standard normal draws.
      shift: the shift that is added to the encoder's outputs, as in `Model.encode`.
    """
    q, _ = model.encode(x, shift)
    terms = objective_terms(model.program.objective, q, model.log_likelihood(x, weight), epsilon, model.operands.beta)
    per_image = StepSums(terms.reconstruction, terms.kl.sum(axis=-1), terms.value)
    sums = StepSums(*((values * weight).sum() for values in per_image))
    return -sums.objective / weight.sum(), sums
