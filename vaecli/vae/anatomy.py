"""What a step computes on its way from the images to the gradient: every value of every unit and pixel.

Training keeps none of these numbers; they are for a run that has diverged, to see which of them was not finite first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Real, UInt8

from vaecli.vae.batches import Stream, gather, pad, stream
from vaecli.vae.evaluate import EVALUATION_BATCH, SPLITS
from vaecli.vae.heads.bounds import NO_BOUND
from vaecli.vae.likelihoods import ClosedFormScale
from vaecli.vae.loss import loss
from vaecli.vae.loss_scale import scaled_grad
from vaecli.vae.model import EncoderOutputs, Model, Operands, Program
from vaecli.vae.posterior import gain
from vaecli.vae.schedules import ScheduleValues
from vaecli.vae.steps import TrainState, step_images
from vaecli.vae.terms import objective_terms


class Inputs(NamedTuple):
    """What a step sees besides the parameters: the images, their weights, and the draws."""

    x: Float[Array, "batch pixels"]
    weight: Float[Array, " batch"]
    epsilon: Float[Array, "samples batch latent"]


class Anatomy(NamedTuple):
    """The values of a step, in the order in which they are computed.

    Those from `u` to `kl` are of the units, (batch, latent) or (samples, batch, latent); those from `outputs` to
    `log_prob` are of the pixels, (samples, batch, pixels). The derivatives are those of the loss of one image, as the
    program has them after its loss scale is taken off.

    Attributes:
      u: the encoder's output for the head; log σ itself for a head that is not learned.
      log_scale: log σ.
      scale: σ.
      loc: μ.
      z: the draws.
      kl: the KL's term, in nats.
      outputs: the decoder's outputs: logits or locations.
      decoder_u: the decoder's output for the head of τ; log τ itself for a head that is not learned.
      log_tau: log τ; of a likelihood without τ it is a number that nothing uses.
      tau: τ itself, which only a log point records.
      log_prob: the log density of the pixel, in nats.
      objective: what is maximised, of each image.
      by_outputs: the derivative by `outputs`.
      by_log_tau: the derivative by log τ.
      by_decoder_u: the derivative by `decoder_u`.
      by_z: the derivative by z of the image's log p(x|z), with the sign of the loss.
      by_loc: the derivative by the encoder's first output.
      by_u: the derivative by u.
      gain: the gain γ = d log σ/du.
      decoder_gain: the gain of the head of τ.
    """

    u: Float[Array, "batch latent"]
    log_scale: Float[Array, "batch latent"]
    scale: Float[Array, "batch latent"]
    loc: Float[Array, "batch latent"]
    z: Float[Array, "samples batch latent"]
    kl: Float[Array, "batch latent"]
    outputs: Float[Array, "samples batch pixels"]
    decoder_u: Float[Array, "samples batch pixels"]
    log_tau: Float[Array, "samples batch pixels"]
    tau: Float[Array, "samples batch pixels"]
    log_prob: Float[Array, "samples batch pixels"]
    objective: Float[Array, " batch"]
    by_outputs: Float[Array, "samples batch pixels"]
    by_log_tau: Float[Array, "samples batch pixels"]
    by_decoder_u: Float[Array, "samples batch pixels"]
    by_z: Float[Array, "samples batch latent"]
    by_loc: Float[Array, "batch latent"]
    by_u: Float[Array, "batch latent"]
    gain: Float[Array, "batch latent"]
    decoder_gain: Float[Array, "samples batch pixels"]


def step_inputs(
    program: Program, operands: Operands, images: UInt8[Array, "images pixels"], state: TrainState, index: Array
) -> Inputs:
    """Returns what a step of training sees on the images at `index`, as `steps.step_gradient` draws it."""
    x, weight = step_images(program, operands, images, state, index)
    key = jax.random.fold_in(stream(operands.key, Stream.EPSILON), state.step)
    shape = (program.objective.samples, len(index), program.architecture.latent)
    return Inputs(x, weight, jax.random.normal(key, shape, jnp.float32))


def step_anatomy(
    program: Program, operands: Operands, state: TrainState, inputs: Inputs, schedule: ScheduleValues
) -> Anatomy:
    """Returns the values of a step at a state's parameters."""
    factor = state.loss_scale.factor if state.loss_scale else operands.loss_scale
    return anatomy(Model(program, operands.at(schedule)._replace(loss_scale=factor), state.params), inputs)


def evaluation_inputs(
    operands: Operands, images: Real[Array, "images pixels"], latent: int, split: str
) -> list[Inputs]:
    """Returns what `evaluate.measure` sees of a split, one batch after the other."""
    key = jax.random.fold_in(stream(operands.key, Stream.EVALUATION), SPLITS.index(split))
    order = jnp.asarray(pad(np.arange(len(images)), EVALUATION_BATCH))
    epsilon = jax.random.normal(key, (*order.shape, latent), jnp.float32)
    return [Inputs(*gather(images, index), draws[None]) for index, draws in zip(order, epsilon, strict=True)]


def probe_inputs(operands: Operands, images: Real[Array, "images pixels"], latent: int) -> Inputs:
    """Returns what `evaluate.measure` sees of the probe batch."""
    x, weight = gather(images, jnp.arange(len(images)))
    key = stream(operands.key, Stream.CALIBRATION)
    return Inputs(x, weight, jax.random.normal(key, (1, len(images), latent), jnp.float32))


def anatomy(model: Model, inputs: Inputs) -> Anatomy:
    """Returns the values that the loss of some images, and its gradient, come from."""
    x, weight, epsilon = inputs
    program = model.program
    q, u = model.encode(x)
    z = q.loc[None] + q.scale[None] * epsilon
    terms = objective_terms(program.objective, q, model.log_likelihood(x, weight), epsilon, model.operands.beta)
    outputs, decoder_u, log_tau = _decoded(model, inputs, z)
    pixels = jnp.broadcast_to(x[None], outputs.shape)
    factor = None if program.loss_scale == "off" else model.operands.loss_scale
    shift = EncoderOutputs(jnp.zeros_like(u), jnp.zeros_like(u))

    def by_encoder(shift):
        return loss(model, x, weight, epsilon, shift)

    def by_decoder(outputs, log_tau):
        return -_per_pixel(model, outputs, log_tau, pixels).mean(axis=0).sum(), None

    def by_draws(z):
        return -model.log_likelihood(x, weight)(z).mean(axis=0).sum(), None

    by_shift, _ = scaled_grad(by_encoder, factor)(shift)
    (by_outputs, by_log_tau), _ = scaled_grad(by_decoder, factor, argnums=(0, 1))(outputs, log_tau)
    by_z, _ = scaled_grad(by_draws, factor)(z)
    head = model.decoder_head
    bound = program.decoder_bound if head else NO_BOUND
    decoder_gain = gain(head, bound, decoder_u) if head else jnp.zeros_like(decoder_u)
    images = weight.sum()
    return Anatomy(
        *(u, q.log_scale, q.scale, q.loc, z, terms.kl),
        *(outputs, decoder_u, log_tau, jnp.exp(log_tau)),
        *(_per_pixel(model, outputs, log_tau, pixels), terms.value),
        *(by_outputs, by_log_tau, by_log_tau * decoder_gain, by_z),
        *(images * by_shift.mean, images * by_shift.u),
        gain(model.head, program.bound, u) if model.head.learned else jnp.zeros_like(u),
        decoder_gain,
    )


def _decoded(model: Model, inputs: Inputs, z: Array) -> tuple[Array, Array, Array]:
    """Returns the decoder's outputs, u and log τ of every pixel, as the likelihood receives them in training."""
    likelihood = model.program.likelihood
    if likelihood.scale_head is None:
        outputs = model.decode(z)
        none = jnp.zeros_like(outputs)
        return outputs, none, none
    outputs, u, log_tau = model.decoder_scale(z)
    if model.program.architecture.decoder_scale == "optimal":
        assert isinstance(likelihood, ClosedFormScale)
        log_tau = u = likelihood.best_log_scale(inputs.x[None] - outputs, inputs.weight[None, :, None])
    return outputs, jnp.broadcast_to(u, outputs.shape), jnp.broadcast_to(log_tau, outputs.shape)


def _per_pixel(model: Model, outputs: Array, log_tau: Array, x: Array) -> Array:
    """Returns the log density of each pixel: a likelihood adds up those of an image, so each is an image here."""
    samples = len(outputs)
    flat_outputs, flat_log_tau = (part.reshape(samples, -1, 1) for part in (outputs, log_tau))
    # The pixels are the same for every draw.
    log_prob = model.program.likelihood.log_prob(flat_outputs, flat_log_tau, x[0].reshape(-1, 1))
    return log_prob.reshape(outputs.shape)
