"""The update of all parameters: one optimiser, with settings of its own for the scale head."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float

from vaecli.vae.networks import BLOCKS
from vaecli.vae.optimizers import Optimizer


class Rates(NamedTuple):
    """The settings of one part of the parameters. They may be traced: runs that differ in them share one program."""

    lr: Float[Array, ""] | float
    eps: Float[Array, ""] | float
    weight_decay: Float[Array, ""] | float


class OptimizerSpec(NamedTuple):
    """The part of an optimiser that is compiled in: which one, and whether it decays weights and clips the gradient."""

    optimizer: Optimizer
    decays: bool = False
    clips: bool = False


def optimizer(
    spec: OptimizerSpec,
    rates: Rates,
    head_rates: Rates,
    clip_norm: Float[Array, ""],
    head_clip: Float[Array, ""],
) -> optax.GradientTransformation:
    """Returns the optimiser of all blocks.

    Args:
      spec: the part that is compiled in.
      rates: the settings of every block but the scale head.
      head_rates: the settings of the scale head.
      clip_norm: the greatest norm of the whole gradient, in nats per image over a unit of the parameters.
      head_clip: the factor on the scale head's gradient within that norm.
    """
    parts = optax.partition(
        {"rest": _part(spec, rates), "scale_head": _part(spec, head_rates)},
        {block: "scale_head" if block == "scale_head" else "rest" for block in BLOCKS},
    )
    return optax.chain(_clip(clip_norm, head_clip), parts) if spec.clips else parts


def _part(spec: OptimizerSpec, rates: Rates) -> optax.GradientTransformation:
    scale = [spec.optimizer.scale(rates.eps)]
    decay = [optax.add_decayed_weights(rates.weight_decay)] if spec.decays else []
    direction = [*scale, *decay] if spec.optimizer.decouples else [*decay, *scale]
    return optax.chain(*direction, optax.scale_by_learning_rate(rates.lr))


def _clip(max_norm: Float[Array, ""], head_clip: Float[Array, ""]) -> optax.GradientTransformation:
    """Scales the gradient down where its norm, the scale head's part times `head_clip`, is above `max_norm`."""

    def clip(gradient: Any, params: Any) -> Any:
        measured = gradient | {"scale_head": jax.tree.map(lambda g: head_clip * g, gradient["scale_head"])}
        shrink = jnp.minimum(1.0, max_norm / optax.tree.norm(measured))
        return jax.tree.map(lambda g: shrink * g, gradient)

    return optax.stateless(clip)


def with_head_unit(opt_state: Any, factor: float) -> Any:
    """Returns the state of an optimiser that takes signs as it would be in another unit of the scale head's gradient.

    Args:
      opt_state: the state of `optimizer`.
      factor: the other unit over the present one, a power of two, so that no digit changes.
    """

    def convert(path: tuple[Any, ...], leaf: Any) -> Any:
        names = {str(getattr(key, "name", getattr(key, "key", ""))) for key in path}
        # What optax calls the momentum.
        return leaf / np.float32(factor) if {"scale_head", "mu"} <= names else leaf

    return jax.tree_util.tree_map_with_path(convert, opt_state)
