"""The measurements of a log point, and the arrays that its pictures are drawn from."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Key, Real

from vaecli.vae.batches import Stream, gather, pad, stream
from vaecli.vae.importance import chunk, weigh
from vaecli.vae.likelihoods import DiscretisedLogistic
from vaecli.vae.log_densities import LEVELS
from vaecli.vae.model import Model, Program
from vaecli.vae.objectives import ObjectiveSpec
from vaecli.vae.safety import safety, tau_safety
from vaecli.vae.terms import objective_terms

EVALUATION_BATCH = 500
SPLITS = ("test", "validation")


class Evaluation(NamedTuple):
    """The means over a split.

    Attributes:
      reconstruction: the mean of E_q[log p(x|z)], from one draw of z for each image, in nats per image.
      kl_per_latent: the closed-form KL of each latent dimension, in nats per image.
      iwae: the importance-weighted bound of as many draws as in training, in nats per image; 0 where training is on the
        ELBO.
    """

    reconstruction: Float[Array, ""]
    kl_per_latent: Float[Array, " latent"]
    iwae: Float[Array, ""]


class Measurement(NamedTuple):
    """The values that a log point records about the parameters.

    Attributes:
      scalars: the scalars by tag.
      histograms: the values to count by tag, of any shape.
    """

    scalars: Mapping[str, Float[Array, ""]]
    histograms: Mapping[str, Float[Array, "..."]]


class Visuals(NamedTuple):
    """The arrays that pictures are drawn from.

    Attributes:
      reconstructions: the means of p(x|z) at z = μ.
      decoded: the means of p(x|z) at the z that were given.
      scale: the σ of q(z|x).
      likelihood_scale: the τ of the pixels, one map of them or, where it depends on z, one for each picture, at z = μ;
        None where all pixels have one.
    """

    reconstructions: Float[Array, "pictures pixels"]
    decoded: Float[Array, "points pixels"]
    scale: Float[Array, "pictures latent"]
    likelihood_scale: Float[Array, "maps pixels"] | None = None


def evaluate(
    model: Model,
    images: Real[Array, "images pixels"],
    key: Key[Array, ""],
    weights_key: Key[Array, ""],
) -> Evaluation:
    """Returns the ELBO's terms over a split, with one draw of ε from `key` for each image, and the bound of training.

    The importance-weighted bound, with draws from `weights_key`, is measured where training is on it.
    """
    architecture, spec = model.program.architecture, model.program.objective
    weighted = spec.objective.tag == "iwae"
    order = jnp.asarray(pad(np.arange(len(images)), EVALUATION_BATCH))
    epsilon = jax.random.normal(key, (*order.shape, architecture.latent), jnp.float32)

    def batch(total, inputs):
        index, eps, number = inputs
        x, weight = gather(images, index)
        q, _ = model.encode(x)
        log_likelihood = model.log_likelihood(x)
        elbo = objective_terms(ObjectiveSpec(), q, log_likelihood, eps[None])
        iwae = jnp.zeros_like(weight)
        if weighted:
            samples, at_once = jnp.asarray(spec.samples, jnp.int32), chunk(architecture, len(x))
            iwae = weigh(q, log_likelihood, jax.random.fold_in(weights_key, number), samples, at_once).log_mean
        sums = Evaluation(
            (elbo.reconstruction * weight).sum(), (elbo.kl * weight[:, None]).sum(axis=0), (iwae * weight).sum()
        )
        return jax.tree.map(jnp.add, total, sums), None

    zero = jnp.zeros((), jnp.float32)
    zeros = Evaluation(zero, jnp.zeros(architecture.latent, jnp.float32), zero)
    total, _ = lax.scan(batch, zeros, (order, epsilon, jnp.arange(len(order))))
    return jax.tree.map(lambda sum_: sum_ / len(images), total)


def image_elbos(model: Model, pixels: Float[Array, "images pixels"], key: Key[Array, ""]) -> Float[Array, " images"]:
    """Returns the ELBO of each image, in nats, with one draw of ε: that of `evaluate` for the same key and order."""
    order = jnp.asarray(pad(np.arange(len(pixels)), EVALUATION_BATCH))
    draws = jax.random.normal(key, (*order.shape, model.program.architecture.latent), jnp.float32)

    def batch(inputs):
        index, eps = inputs
        x = pixels[jnp.maximum(index, 0)]
        q, _ = model.encode(x)
        return objective_terms(ObjectiveSpec(), q, model.log_likelihood(x), eps[None]).value

    return lax.map(batch, (order, draws)).reshape(-1)[: len(pixels)]


def measure(
    model: Model,
    splits: Mapping[str, Real[Array, "images pixels"]],
    probe: Real[Array, "probe pixels"],
) -> Measurement:
    """Evaluates the splits, and the posterior on the probe batch.

    Args:
      model: the VAE to measure.
      splits: the images of `test`, and of `validation` where one is held out.
      probe: the fixed batch of the safety statistics and of the histograms of σ and u.
    """
    scalars, histograms = {}, {}
    for split, images in splits.items():
        # The draws depend only on the seed and the split: every epoch meets the same ε.
        key, weights_key = (
            jax.random.fold_in(stream(model.operands.key, purpose), SPLITS.index(split))
            for purpose in (Stream.EVALUATION, Stream.IMPORTANCE)
        )
        means = evaluate(model, images, key, weights_key)
        kl = means.kl_per_latent.sum()
        scalars[f"{split}/elbo"] = means.reconstruction - kl
        scalars[f"{split}/reconstruction"] = means.reconstruction
        scalars[f"{split}/kl"] = kl
        if (of_levels := levels_bits(model.program)) is not None:
            scalars[f"{split}/bits_per_dim"] = of_levels - scalars[f"{split}/elbo"] / nats_of_bits(model.program)
        if model.program.objective.objective.tag == "iwae":
            scalars[f"{split}/iwae"] = means.iwae
        if split == "test":
            histograms["posterior/kl_per_latent"] = means.kl_per_latent

    x, _ = gather(probe, jnp.arange(len(probe)))
    q, u = model.encode(x)
    scalars |= safety(model.head, model.program.bound, q, u, model.program.head_precision)
    histograms |= {"posterior/sigma": q.scale} | ({"posterior/u": u} if model.head.learned else {})
    if model.program.likelihood.scale_head is not None:
        epsilon = jax.random.normal(stream(model.operands.key, Stream.CALIBRATION), q.loc.shape, jnp.float32)
        decoded = model.decoder_scale((q.loc + q.scale * epsilon)[None])
        scalars["likelihood/sigma"] = jnp.exp(decoded.log_scale.mean())
        scalars |= tau_safety(model, decoded, x)
        learned = model.program.optimizer.decoder_scale == "learned"
        histograms |= {"likelihood/tau": jnp.exp(decoded.log_scale)} | ({"likelihood/u": decoded.u} if learned else {})
    if model.program.loss_scale == "dynamic":
        scalars["train/loss_scale"] = model.operands.loss_scale
    return Measurement(scalars, histograms)


def levels_bits(program: Program) -> float | None:
    """Returns what is added to −log p in bits per pixel to give those of a pixel's level; None where they have none.

    It is 0 for a likelihood of the levels. A density of uniformly dequantised pixels, which are 1/256 apart, bounds
    their mass by Jensen's inequality (Theis et al. 2016).
    """
    if isinstance(program.likelihood, DiscretisedLogistic):
        return 0.0
    return math.log2(LEVELS) if program.redraws == "uniform" else None


def nats_of_bits(program: Program) -> float:
    """Returns how many nats per image are one bit per pixel."""
    return program.architecture.pixels * math.log(2)


def visuals(
    model: Model,
    images: Real[Array, "pictures pixels"],
    z: Float[Array, "points latent"],
) -> Visuals:
    """Reconstructs images, and decodes points of the latent space."""
    x, _ = gather(images, jnp.arange(len(images)))
    q, _ = model.encode(x)
    means = model.mean(jnp.concatenate([q.loc, z])[None])[0]
    maps = None
    if model.program.architecture.decoder_scale in ("pixel", "network"):
        maps = jnp.exp(model.decoder_scale(q.loc[None]).log_scale[0])
    return Visuals(means[: len(x)], means[len(x) :], q.scale, maps)
