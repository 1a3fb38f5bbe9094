"""What is measured at a log point."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Key, UInt8

from vaecli.vae.batches import Stream, gather, pad, stream
from vaecli.vae.networks import Params, network
from vaecli.vae.objective import elbo_terms
from vaecli.vae.safety import safety
from vaecli.vae.steps import Operands, Program, encode, head_of, log_likelihood

EVALUATION_BATCH = 500
PICTURES = 16
SPLITS = ("test", "validation")


class Evaluation(NamedTuple):
    """Means over a split.

    Attributes:
      reconstruction: E_q[log p(x|z)], one draw of z for each image, nats per image.
      kl_per_latent: closed-form KL of each latent dimension, nats per image.
    """

    reconstruction: Float[Array, ""]
    kl_per_latent: Float[Array, " latent"]


class Measurement(NamedTuple):
    """Everything that a log point records about the parameters.

    Attributes:
      scalars: by tag.
      histograms: by tag; the values to count, any shape.
      reconstructions: means of p(x|z) at z = μ for the first test images, in [0, 1].
    """

    scalars: Mapping[str, Float[Array, ""]]
    histograms: Mapping[str, Float[Array, "..."]]
    reconstructions: Float[Array, "pictures pixels"]


def evaluate(
    program: Program,
    operands: Operands,
    params: Params,
    images: UInt8[Array, "images pixels"],
    key: Key[Array, ""],
) -> Evaluation:
    """The ELBO's terms over a split, with one draw of ε from `key` for each image."""
    vae = network(program.architecture, params)
    order = jnp.asarray(pad(np.arange(len(images)), EVALUATION_BATCH))
    epsilon = jax.random.normal(key, (*order.shape, program.architecture.latent), jnp.float32)

    def batch(total, inputs):
        index, eps = inputs
        x, weight = gather(images, index)
        reconstruction, kl = elbo_terms(encode(program, operands, vae, x)[0], log_likelihood(vae, x), eps)
        sums = Evaluation((reconstruction * weight).sum(), (kl * weight[:, None]).sum(axis=0))
        return jax.tree.map(jnp.add, total, sums), None

    zero = Evaluation(jnp.zeros((), jnp.float32), jnp.zeros(program.architecture.latent, jnp.float32))
    total, _ = lax.scan(batch, zero, (order, epsilon))
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
        key = jax.random.fold_in(stream(operands.key, Stream.EVALUATION), SPLITS.index(split))
        terms = evaluate(program, operands, params, images, key)
        kl = terms.kl_per_latent.sum()
        scalars[f"{split}/elbo"] = terms.reconstruction - kl
        scalars[f"{split}/reconstruction"] = terms.reconstruction
        scalars[f"{split}/kl"] = kl
        if split == "test":
            histograms["posterior/kl_per_latent"] = terms.kl_per_latent

    vae = network(program.architecture, params)
    x, _ = gather(probe, jnp.arange(len(probe)))
    q, u = encode(program, operands, vae, x)
    scalars |= safety(head_of(program, operands), program.bound, q, u)
    histograms |= {"posterior/sigma": q.scale} | ({"posterior/u": u} if program.head.learned else {})

    pictures = gather(splits["test"], jnp.arange(min(PICTURES, len(splits["test"]))))[0]
    reconstructions = jax.nn.sigmoid(vae.decode(encode(program, operands, vae, pictures)[0].loc))
    return Measurement(scalars, histograms, reconstructions)
