"""The score of a likelihood's scale, ∂ log p/∂ log τ of each pixel: where it is 0 on average, τ is calibrated."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from vaecli.vae.likelihoods import ScaledLikelihood
from vaecli.vae.model import DecoderScale, Model


def scores(
    likelihood: ScaledLikelihood, decoded: DecoderScale, x: Float[Array, "batch pixels"]
) -> Float[Array, "samples batch pixels"]:
    """Returns ∂ log p/∂ log τ of each pixel, also where several pixels share a τ."""
    log_scale = jnp.broadcast_to(decoded.log_scale, decoded.outputs.shape)
    return jax.grad(lambda log_scale: likelihood.log_prob(decoded.outputs, log_scale, x).sum())(log_scale)


def squared_score(
    model: Model, x: Float[Array, "batch pixels"], epsilon: Float[Array, "samples batch latent"]
) -> Float[Array, " batch"]:
    """Returns the mean square of the score over pixels and draws of z, divided by the Fisher information."""
    likelihood = model.program.likelihood
    assert isinstance(likelihood, ScaledLikelihood)
    q, _ = model.encode(x)
    found = scores(likelihood, model.decoder_scale(q.loc[None] + q.scale[None] * epsilon), x)
    return (found**2).mean(axis=(0, 2)) / likelihood.scale_facts.information
