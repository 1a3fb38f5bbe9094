"""Where a head has no σ: the u at which log σ is not finite, though u is."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Real

from vaecli.vae.batches import gather, pad
from vaecli.vae.model import Model

BATCH = 500
UNDEFINED = tuple(f"log {scale} at u {side}" for scale in "στ" for side in ("< 0", "= 0", "> 0"))
"""What may be undefined, in words: the scale of the posterior, or that of the likelihood."""


def undefined(model: Model, x: Float[Array, "batch pixels"], weight: Float[Array, " batch"]) -> Bool[Array, " kinds"]:
    """Returns which of `UNDEFINED` there are, for the images of weight 1."""
    q, u = model.encode(x)
    missing = jnp.isfinite(u) & ~jnp.isfinite(q.log_scale) & (weight > 0)[:, None] & model.head.learned
    kinds = [(missing & side).any() for side in (u < 0, u == 0, u > 0)]
    if model.decoder_head is None:
        return jnp.stack([*kinds, *[jnp.zeros((), bool)] * 3])
    _, u, log_scale = model.decoder_scale(q.loc[None])
    missing = jnp.isfinite(u) & ~jnp.isfinite(log_scale) & (weight > 0)[None, :, None]
    return jnp.stack([*kinds, *((missing & side).any() for side in (u < 0, u == 0, u > 0))])


def undefined_on(model: Model, images: Real[Array, "images pixels"]) -> Bool[Array, " kinds"]:
    """Returns which of `UNDEFINED` there are for any of some images."""
    order = jnp.asarray(pad(np.arange(len(images)), BATCH))
    return lax.map(lambda index: undefined(model, *gather(images, index)), order).any(axis=0)
