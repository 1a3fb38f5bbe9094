"""A value whose gradient is multiplied on its way back."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


@jax.custom_vjp
def scale_gradient(x: Float[Array, "*shape"], factor: Float[Array, "..."]) -> Float[Array, "*shape"]:
    """Returns x, whose gradient is multiplied by a factor of a shape that broadcasts to it; the factor has none."""
    return x


scale_gradient.defvjp(
    lambda x, factor: (x, factor), lambda factor, gradient: (factor * gradient, jnp.zeros_like(factor))
)


@jax.custom_vjp
def split_gradient(
    x: Float[Array, "*shape"], again: Float[Array, "*shape"], factor: Float[Array, "..."]
) -> Float[Array, "*shape"]:
    """Returns x, of which `again` is the same value by another path: that one's gradient is multiplied by a factor."""
    return x


split_gradient.defvjp(
    lambda x, again, factor: (x, factor),
    lambda factor, gradient: (gradient, factor * gradient, jnp.zeros_like(factor)),
)


@jax.custom_vjp
def replaced(parameter: Float[Array, ""], value: Float[Array, ""]) -> Float[Array, ""]:
    """Returns a value in the place of a parameter, whose gradient is then parameter − value, whatever the loss.

    So a step of −1 times that gradient sets the parameter to the value.
    """
    return value


replaced.defvjp(
    lambda parameter, value: (value, parameter - value), lambda distance, _: (distance, jnp.zeros_like(distance))
)
