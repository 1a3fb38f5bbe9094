"""The optimisers, from Optax.

An optimiser is one entry in `OPTIMIZERS` and a name in the `Literal` of `Config.optimizer`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import optax
    from jax import Array
else:
    from vaecli.vae.lazy import LazyModule

    optax = LazyModule("optax")


class Optimizer(NamedTuple):
    """An optimiser, and the powers p by which settings follow a change of coordinates u = a u′ (vaecli.vae.matching).

    Attributes:
      scale: maps eps to the transformation that turns gradients into directions.
      lr_power: the p at which the learning rate of u′ is that of u over |a|ᵖ.
      eps_power: the p at which eps of u′ is that of u times |a|ᵖ; 1 beside a root or |g|, 2 inside a root.
      decouples: whether weight decay is decoupled from the gradient (Loshchilov & Hutter 2019); otherwise it is L2.
      takes_signs: whether the direction is a sign, of whatever the size is of what it is taken.
    """

    scale: "Callable[[Array | float], optax.GradientTransformation]"
    lr_power: int = 1
    eps_power: int = 0
    decouples: bool = False
    takes_signs: bool = False


SGD = Optimizer(lambda eps: optax.identity(), lr_power=2)

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD,
    "momentum": Optimizer(lambda eps: optax.trace(decay=0.9), lr_power=2),
    "adam": Optimizer(lambda eps: optax.scale_by_adam(eps=eps), eps_power=1),
    "adamw": Optimizer(lambda eps: optax.scale_by_adam(eps=eps), eps_power=1, decouples=True),
    # Optax adds eps to |g| before the greatest is taken: v = max(β₂ v, |g| + eps).
    "adamax": Optimizer(lambda eps: optax.scale_by_adamax(eps=eps), eps_power=1),
    "rmsprop": Optimizer(lambda eps: optax.scale_by_rms(decay=0.9, eps=eps), eps_power=2),
    # An accumulator that starts above 0 would be one more setting with a unit.
    "adagrad": Optimizer(lambda eps: optax.scale_by_rss(initial_accumulator_value=0.0, eps=eps), eps_power=2),
    "lion": Optimizer(lambda eps: optax.scale_by_lion(), decouples=True, takes_signs=True),
}
