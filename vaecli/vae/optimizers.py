"""The optimisers, from Optax, with settings of its own for the scale head."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from vaecli.vae.networks import BLOCKS


class Rates(NamedTuple):
    """The settings of one part of the parameters. They may be traced: runs that differ in them share one program."""

    lr: Float[Array, ""] | float
    eps: Float[Array, ""] | float
    weight_decay: Float[Array, ""] | float


class Optimizer(NamedTuple):
    """An optimiser, and the powers p by which settings follow a change of coordinates u = a u′ (vaecli.vae.matching).

    Attributes:
      scale: eps ↦ what turns gradients into directions.
      lr_power: the learning rate of u′ is that of u over |a|ᵖ.
      eps_power: eps of u′ is that of u times |a|ᵖ; 1 beside a root, 2 inside it.
      decouples: whether weight decay is decoupled from the gradient (Loshchilov & Hutter 2019); else it is L2.
    """

    scale: Callable[[Float[Array, ""] | float], optax.GradientTransformation]
    lr_power: int = 1
    eps_power: int = 0
    decouples: bool = False

    @property
    def weight_decay_power(self) -> int:
        """The weight decay of u′ is that of u times |a|ᵖ."""
        return self.lr_power if self.decouples else 2


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(lambda eps: optax.identity(), lr_power=2),
    "momentum": Optimizer(lambda eps: optax.trace(decay=0.9), lr_power=2),
    "adam": Optimizer(lambda eps: optax.scale_by_adam(eps=eps), eps_power=1),
    "adamw": Optimizer(lambda eps: optax.scale_by_adam(eps=eps), eps_power=1, decouples=True),
    "rmsprop": Optimizer(lambda eps: optax.scale_by_rms(decay=0.9, eps=eps), eps_power=2),
    # An accumulator that starts above 0 would be one more setting with a unit.
    "adagrad": Optimizer(lambda eps: optax.scale_by_rss(initial_accumulator_value=0.0, eps=eps), eps_power=2),
    "lion": Optimizer(lambda eps: optax.scale_by_lion(), decouples=True),
}


class Recipe(NamedTuple):
    """What is compiled in of an optimiser: its name, and whether it decays weights and clips the gradient's norm."""

    name: str
    decays: bool
    clips: bool


def optimizer(
    recipe: Recipe, rates: Rates, head_rates: Rates, clip_norm: Float[Array, ""], head_clip: Float[Array, ""]
) -> optax.GradientTransformation:
    """The optimiser of all blocks.

    Args:
      recipe: what is compiled in.
      rates: of every block but the scale head.
      head_rates: of the scale head.
      clip_norm: the greatest norm of the whole gradient, in nats per image over a unit of the parameters.
      head_clip: the factor on the scale head's gradient within that norm.
    """
    parts = optax.partition(
        {"rest": _part(recipe, rates), "scale_head": _part(recipe, head_rates)},
        {block: "scale_head" if block == "scale_head" else "rest" for block in BLOCKS},
    )
    return optax.chain(_clip(clip_norm, head_clip), parts) if recipe.clips else parts


def _part(recipe: Recipe, rates: Rates) -> optax.GradientTransformation:
    chosen = OPTIMIZERS[recipe.name]
    scale = [chosen.scale(rates.eps)]
    decay = [optax.add_decayed_weights(rates.weight_decay)] if recipe.decays else []
    direction = [*scale, *decay] if chosen.decouples else [*decay, *scale]
    return optax.chain(*direction, optax.scale_by_learning_rate(rates.lr))


def _clip(max_norm: Float[Array, ""], head_clip: Float[Array, ""]) -> optax.GradientTransformation:
    """Scales the gradient down where its norm, the scale head's part times `head_clip`, is above `max_norm`."""

    def clip(gradient: Any, params: Any) -> Any:
        measured = gradient | {"scale_head": jax.tree.map(lambda g: head_clip * g, gradient["scale_head"])}
        shrink = jnp.minimum(1.0, max_norm / optax.tree.norm(measured))
        return jax.tree.map(lambda g: shrink * g, gradient)

    return optax.stateless(clip)
