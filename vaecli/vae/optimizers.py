"""The optimiser, from Optax."""

import optax
from jax import Array
from jaxtyping import Float


def optimizer(lr: Float[Array, ""] | float) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015). `lr` may be traced: runs that differ in it share one compiled program."""
    return optax.adam(lr)
