"""The distance of the posterior's σ, and of the likelihood's τ, from where its head, or float32, ends."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import Head
from vaecli.vae.likelihoods import ScaledLikelihood
from vaecli.vae.model import DecoderScale, Model
from vaecli.vae.posterior import Posterior, gain
from vaecli.vae.precision import Precision
from vaecli.vae.scale_score import scores

# Between them, σ is a normal float32 and σ² is finite.
_FLOAT32 = (float(np.log(np.finfo(np.float32).tiny)), float(np.log(np.finfo(np.float32).max)) / 2)
# σ is a normal float16; σ² is a float32 even then. The range of bfloat16 is float32's.
_FLOAT16 = (math.log(np.finfo(np.float16).tiny), math.log(np.finfo(np.float16).max))
# Between them, τ and 1/τ² are finite.
_OF_TAU = (-float(np.log(np.finfo(np.float32).max)) / 2, float(np.log(np.finfo(np.float32).max)))
QUANTILES = {"min": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1.0}


def safety(
    head: Head, bound: Bound, q: Posterior, u: Float[Array, "batch latent"], precision: Precision = "float32"
) -> Mapping[str, Float[Array, ""]]:
    """Returns statistics over all units but for their quantiles; a unit is one latent dimension of one image.

    * `safety/edge_distance`: the least distance of any log σ, in nats, to the nearest end of what the head after its
      bound can give and the head's precision can hold.
    * `safety/saturated`: the share of units within 0.01 nats of it, which is 1 % of σ.
    * `safety/zero_gradient`: the share of units whose gain d log σ / du is exactly 0.

    The statistics that need a u are left out where the head has none.
    """
    distance = _edge_distance(head, bound, q.log_scale, _FLOAT16 if precision == "float16" else _FLOAT32)
    scalars = {"safety/edge_distance": distance.min()}
    if head.learned:
        scalars["safety/saturated"] = (distance < 0.01).mean()
        scalars["safety/zero_gradient"] = (gain(head, bound, u) == 0).mean()
    return scalars


def tau_safety(model: Model, decoded: DecoderScale, x: Float[Array, "batch pixels"]) -> Mapping[str, Float[Array, ""]]:
    """Returns statistics over the τ of images, of which there are one, one for each pixel, or one for each of theirs.

    * `safety/tau_edge_distance`, `safety/tau_saturated` and `safety/tau_zero_gradient` are what `safety` has for σ; the
      last two are left out where no u is learned.
    * `safety/tau_calibration`: 1 + the mean of ∂ log p/∂ log τ over images and pixels, which is 1 where τ fits the
      residuals r: the mean of r²/τ² for a Gaussian, of |r|/τ for Laplace, of (ν+1) r²/(ντ² + r²) for Student's t.

    Args:
      model: the VAE, whose likelihood has a scale.
      decoded: what its decoder makes of one z for each image.
      x: the images.
    """
    program = model.program
    likelihood, bound = program.likelihood, program.decoder_bound
    assert isinstance(likelihood, ScaledLikelihood)
    head = model.decoder_head or likelihood.scale_head
    distance = _edge_distance(head, bound, decoded.log_scale, _OF_TAU)
    scalars = {"safety/tau_edge_distance": distance.min()}
    # Over pixels first, so that it is finite where log p is.
    scalars["safety/tau_calibration"] = (1 + scores(likelihood, decoded, x)).mean(axis=-1).mean()
    if program.optimizer.decoder_scale == "learned":
        scalars["safety/tau_saturated"] = (distance < 0.01).mean()
        scalars["safety/tau_zero_gradient"] = (gain(head, bound, decoded.u) == 0).mean()
    return scalars


def _edge_distance(
    head: Head, bound: Bound, log_scale: Float[Array, "*shape"], of_floats: tuple[float, float]
) -> Float[Array, "*shape"]:
    """Returns how far log scales are from the nearest end of head, bound and floats, in nats."""
    low, high = bound.limits(*head.limits)
    least, greatest = of_floats
    return jnp.minimum(log_scale - max(low, least), min(high, greatest) - log_scale)


def quantiles(name: str, values: np.ndarray) -> dict[str, float]:
    """Returns `safety/<name>/…`: the least, the greatest, the median, and the 5 % and 95 % quantiles of values.

    They are worked out on the host, with the digits of `jnp.quantile`, since sorts take long to compile.
    """
    ordered = np.sort(values.astype(np.float32), axis=None)  # A NaN comes last.
    place = np.asarray(list(QUANTILES.values()), np.float32) * np.float32(len(ordered) - 1)
    low, high = np.floor(place), np.ceil(place)
    upper = place - low
    with np.errstate(all="ignore"):
        below, above = ordered[low.astype(int)], ordered[high.astype(int)] * upper
        # As XLA has it compute, a processor rounds the sum, but not its first product.
        between = below.astype(np.float64) * (1 - upper) + above
    of_all = np.where(np.isnan(ordered[-1]), np.nan, between.astype(np.float32))
    return {f"safety/{name}/{label}": float(value) for label, value in zip(QUANTILES, of_all, strict=True)}
