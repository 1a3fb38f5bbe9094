"""The distance of the posterior's σ from where its head, or float32, ends."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import Head
from vaecli.vae.posterior import Posterior, gain
from vaecli.vae.precision import Precision

# Between them, σ is a normal float32 and σ² is finite.
_FLOAT32 = (float(np.log(np.finfo(np.float32).tiny)), float(np.log(np.finfo(np.float32).max)) / 2)
# σ is a normal float16; σ² is a float32 even then. The range of bfloat16 is float32's.
_FLOAT16 = (math.log(np.finfo(np.float16).tiny), math.log(np.finfo(np.float16).max))
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
    low, high = bound.limits(*head.limits)
    least, greatest = _FLOAT16 if precision == "float16" else _FLOAT32
    distance = jnp.minimum(q.log_scale - max(low, least), min(high, greatest) - q.log_scale)
    scalars = {"safety/edge_distance": distance.min()}
    if head.learned:
        scalars["safety/saturated"] = (distance < 0.01).mean()
        scalars["safety/zero_gradient"] = (gain(head, bound, u) == 0).mean()
    return scalars


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
