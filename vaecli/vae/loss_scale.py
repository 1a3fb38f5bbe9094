"""The factor on the loss in its gradient, which keeps the gradients of a narrow type from falling out of its range."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from vaecli.config import Config

FIRST, LEAST, GREATEST = 2.0**16, 1.0, 2.0**64
"""Where a dynamic factor starts, and its limits: a scaled loss is a float32."""

GOOD_STEPS = 2000
"""The number of good steps after which a dynamic factor doubles."""


class LossScale(NamedTuple):
    """A dynamic factor, as a training state has it (Micikevicius et al. 2018).

    Attributes:
      factor: the factor, a power of two.
      good_steps: the number of steps since it last changed.
    """

    factor: Float[Array, ""]
    good_steps: Int[Array, ""]

    def after(self, overflowed: Bool[Array, ""]) -> "LossScale":
        """Returns the factor for the next step: half, where the gradient overflowed; twice, after enough good steps."""
        good = jnp.where(overflowed, 0, self.good_steps + 1)
        doubles = good >= GOOD_STEPS
        factor = jnp.where(overflowed, self.factor / 2, jnp.where(doubles, 2 * self.factor, self.factor))
        return LossScale(jnp.clip(factor, LEAST, GREATEST), jnp.where(doubles, 0, good))


def first_loss_scale(config: Config) -> float:
    """Returns a config's factor at its first step; 1 where it has none."""
    if isinstance(config.loss_scale, str):
        return FIRST if config.loss_scale == "dynamic" else 1.0
    return config.loss_scale


def scaled_grad(
    function: Callable[..., tuple[Array, Any]], factor: Array | None, argnums: int | tuple[int, ...] = 0
) -> Callable[..., tuple[Any, Any]]:
    """Returns the gradient of a loss that also returns other values; `factor` goes in and, in float32, out again.

    Without one it is that of `jax.grad`. A power of two changes no digit, unless something over- or underflows.
    """
    if factor is None:
        return jax.grad(function, argnums, has_aux=True)

    def scaled(*args: Any) -> tuple[Array, Any]:
        loss, others = function(*args)
        return factor * loss, others

    def gradient(*args: Any) -> tuple[Any, Any]:
        of_scaled, others = jax.grad(scaled, argnums, has_aux=True)(*args)
        return jax.tree.map(lambda g: g / factor, of_scaled), others

    return gradient
