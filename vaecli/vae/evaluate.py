"""What is measured at a log point, and what its pictures are drawn from."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Key, UInt8

from vaecli.vae.batches import Stream, gather, pad, stream
from vaecli.vae.importance import chunk, weigh
from vaecli.vae.networks import Params, network
from vaecli.vae.objective import Objective, objective_terms
from vaecli.vae.safety import safety
from vaecli.vae.steps import Operands, Program, decoder_log_scale, encode, head_of, log_likelihood

EVALUATION_BATCH = 500
SPLITS = ("test", "validation")


class Evaluation(NamedTuple):
    """Means over a split.

    Attributes:
      reconstruction: E_q[log p(x|z)], one draw of z for each image, nats per image.
      kl_per_latent: closed-form KL of each latent dimension, nats per image.
      iwae: the importance-weighted bound of as many draws as in training, nats per image; 0 where that is on the ELBO.
    """

    reconstruction: Float[Array, ""]
    kl_per_latent: Float[Array, " latent"]
    iwae: Float[Array, ""]


class Measurement(NamedTuple):
    """Everything that a log point records about the parameters.

    Attributes:
      scalars: by tag.
      histograms: by tag; the values to count, any shape.
    """

    scalars: Mapping[str, Float[Array, ""]]
    histograms: Mapping[str, Float[Array, "..."]]


class Visuals(NamedTuple):
    """What pictures are drawn from.

    Attributes:
      reconstructions: means of p(x|z) at z = μ.
      decoded: means of p(x|z) at the z that were given.
      scale: σ of q(z|x).
    """

    reconstructions: Float[Array, "pictures pixels"]
    decoded: Float[Array, "points pixels"]
    scale: Float[Array, "pictures latent"]


def evaluate(
    program: Program,
    operands: Operands,
    params: Params,
    images: UInt8[Array, "images pixels"],
    key: Key[Array, ""],
    weights_key: Key[Array, ""],
) -> Evaluation:
    """The ELBO's terms over a split, with one draw of ε from `key` for each image; and the bound of training."""
    vae = network(program.architecture, params)
    weighted = program.objective.bound == "iwae"
    order = jnp.asarray(pad(np.arange(len(images)), EVALUATION_BATCH))
    epsilon = jax.random.normal(key, (*order.shape, program.architecture.latent), jnp.float32)

    def batch(total, inputs):
        index, eps, number = inputs
        x, weight = gather(images, index)
        q, _ = encode(program, operands, vae, x)
        log_prob = log_likelihood(program, operands, vae, x)
        elbo = objective_terms(Objective(), q, log_prob, eps[None])
        iwae = jnp.zeros_like(weight)
        if weighted:
            samples, at_once = jnp.asarray(program.objective.samples, jnp.int32), chunk(program.architecture, len(x))
            iwae = weigh(q, log_prob, jax.random.fold_in(weights_key, number), samples, at_once).log_mean
        sums = Evaluation(
            (elbo.reconstruction * weight).sum(), (elbo.kl * weight[:, None]).sum(axis=0), (iwae * weight).sum()
        )
        return jax.tree.map(jnp.add, total, sums), None

    nothing = jnp.zeros((), jnp.float32)
    zero = Evaluation(nothing, jnp.zeros(program.architecture.latent, jnp.float32), nothing)
    total, _ = lax.scan(batch, zero, (order, epsilon, jnp.arange(len(order))))
    return jax.tree.map(lambda sum_: sum_ / len(images), total)


def measure(
    program: Program,
    operands: Operands,
    params: Params,
    splits: Mapping[str, UInt8[Array, "images pixels"]],
    probe: UInt8[Array, "probe pixels"],
) -> Measurement:
    """Evaluates the splits, and the posterior on the probe batch.

    Args:
      program: what is compiled in.
      operands: what it receives.
      params: the parameters to measure.
      splits: the images of `test`, and of `validation` where one is held out.
      probe: the fixed batch of the safety statistics and of the histograms of σ and u.
    """
    scalars, histograms = {}, {}
    for split, images in splits.items():
        # The draws depend on the seed and the split alone: every epoch meets the same ε.
        key, weights_key = (
            jax.random.fold_in(stream(operands.key, purpose), SPLITS.index(split))
            for purpose in (Stream.EVALUATION, Stream.IMPORTANCE)
        )
        found = evaluate(program, operands, params, images, key, weights_key)
        kl = found.kl_per_latent.sum()
        scalars[f"{split}/elbo"] = found.reconstruction - kl
        scalars[f"{split}/reconstruction"] = found.reconstruction
        scalars[f"{split}/kl"] = kl
        if program.objective.bound == "iwae":
            scalars[f"{split}/iwae"] = found.iwae
        if split == "test":
            histograms["posterior/kl_per_latent"] = found.kl_per_latent

    vae = network(program.architecture, params)
    x, _ = gather(probe, jnp.arange(len(probe)))
    q, u = encode(program, operands, vae, x)
    scalars |= safety(head_of(program, operands), program.bound, q, u)
    histograms |= {"posterior/sigma": q.scale} | ({"posterior/u": u} if program.head.learned else {})
    if program.likelihood.head is not None:
        scalars["likelihood/sigma"] = jnp.exp(decoder_log_scale(program, operands, vae))
    return Measurement(scalars, histograms)


def visuals(
    program: Program,
    operands: Operands,
    params: Params,
    images: UInt8[Array, "pictures pixels"],
    z: Float[Array, "points latent"],
) -> Visuals:
    """Reconstructs images, and decodes points of the latent space."""
    vae = network(program.architecture, params)
    x, _ = gather(images, jnp.arange(len(images)))
    q, _ = encode(program, operands, vae, x)
    means = program.likelihood.mean(vae.decode(jnp.concatenate([q.loc, z])[None])[0])
    return Visuals(means[: len(x)], means[len(x) :], q.scale)
