"""The update of all parameters: one optimiser, with settings of its own for the scale head."""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from vaecli.vae.architecture import BLOCKS, DECODER_SCALE
from vaecli.vae.optimizers import Optimizer

if TYPE_CHECKING:
    import optax
    from optax import GradientTransformation, tree
else:
    from vaecli.vae.lazy import LazyModule

    # What a run needs first, its measurements, is compiled or loaded while Optax is imported.
    optax, tree, GradientTransformation = LazyModule("optax"), LazyModule("optax.tree"), Any


class Rates(NamedTuple):
    """The settings of one part of the parameters. They may be traced: runs that differ in them share one program."""

    lr: Float[Array, ""] | float
    eps: Float[Array, ""] | float
    weight_decay: Float[Array, ""] | float

    def at(self, factor: Float[Array, ""]) -> "Rates":
        """Returns the settings at a factor on the learning rate."""
        return self._replace(lr=self.lr * factor)


class OptimizerSpec(NamedTuple):
    """The part of an optimiser that is compiled in.

    Attributes:
      optimizer: the optimiser.
      decays: whether it decays weights.
      clips: whether it clips the gradient.
      decoder_scale: whether there is a block of the likelihood's scale, and whether it is `learned`, or `set` by a
        "gradient" that is its distance from where it belongs.
    """

    optimizer: Optimizer
    decays: bool = False
    clips: bool = False
    decoder_scale: Literal["none", "learned", "set"] = "none"


class BlockRates(NamedTuple):
    """The settings of a block of its own.

    Attributes:
      rates: its learning rate and the like.
      clip: the factor on its gradient within the norm that is clipped.
    """

    rates: Rates
    clip: Float[Array, ""] | float = 1.0


def optimizer(
    spec: OptimizerSpec,
    rates: Rates,
    head: BlockRates,
    clip_norm: Float[Array, ""],
    decoder_scale: BlockRates | None = None,
) -> GradientTransformation:
    """Returns the optimiser of all blocks.

    Args:
      spec: the part that is compiled in.
      rates: the settings of every block that has none of its own.
      head: the settings of the scale head.
      clip_norm: the greatest norm of the whole gradient, in nats per image over a unit of the parameters.
      decoder_scale: the settings of the likelihood's scale, where it is learned.
    """
    own = {"scale_head": head}
    if spec.decoder_scale != "none":
        assert decoder_scale is not None
        own |= {DECODER_SCALE: decoder_scale}
    parts: dict[Hashable, GradientTransformation] = {"rest": _part(spec, rates)}
    parts |= {block: _part(spec, of_block.rates) for block, of_block in own.items()}
    if spec.decoder_scale == "set":
        parts[DECODER_SCALE] = optax.scale(-1.0)
    chosen = optax.partition(parts, {block: block if block in own else "rest" for block in (*BLOCKS, *own)})
    if not spec.clips:
        return chosen
    return optax.chain(_clip(clip_norm, norm_factors(spec, head, decoder_scale)), chosen)


def _part(spec: OptimizerSpec, rates: Rates) -> GradientTransformation:
    scale = [spec.optimizer.scale(rates.eps)]
    decay = [optax.add_decayed_weights(rates.weight_decay)] if spec.decays else []
    direction = [*scale, *decay] if spec.optimizer.decouples else [*decay, *scale]
    return optax.chain(*direction, optax.scale_by_learning_rate(rates.lr))


NormFactors = Mapping[str, Float[Array, ""] | float | None]
"""The factors on the gradients of some blocks within the norm of the whole; None for what is no gradient."""


def norm_factors(spec: OptimizerSpec, head: BlockRates, decoder_scale: BlockRates | None) -> NormFactors:
    """Returns the factors within the norm that clips the gradient, or drops it."""
    if spec.decoder_scale == "none":
        return {"scale_head": head.clip}
    assert decoder_scale is not None
    return {"scale_head": head.clip, DECODER_SCALE: decoder_scale.clip if spec.decoder_scale == "learned" else None}


def measured_norm(gradient: Any, factors: NormFactors) -> Float[Array, ""]:
    """Returns the norm of the whole gradient, with those of some blocks times their factors."""
    counted = {block: of_block for block, of_block in gradient.items() if factors.get(block, 1.0) is not None}
    weighed = {
        block: jax.tree.map(lambda g, by=by: by * g, counted[block]) for block, by in factors.items() if by is not None
    }
    return tree.norm(counted | weighed)


def _clip(max_norm: Float[Array, ""], factors: NormFactors) -> GradientTransformation:
    """Scales the gradient down where its norm is above `max_norm`."""

    def clip(gradient: Any, params: Any) -> Any:
        shrink = jnp.minimum(1.0, max_norm / measured_norm(gradient, factors))
        return {
            block: of_block if factors.get(block, 1.0) is None else jax.tree.map(lambda g: shrink * g, of_block)
            for block, of_block in gradient.items()
        }

    return optax.stateless(clip)


def with_head_unit(opt_state: Any, factor: float, block: str = "scale_head") -> Any:
    """Returns the state of an optimiser that takes signs as it would be in another unit of a head's gradient.

    Args:
      opt_state: the state of `optimizer`.
      factor: the other unit over the present one, a power of two, so that no digit changes.
      block: the block of the head's parameters.
    """

    def convert(path: tuple[Any, ...], leaf: Any) -> Any:
        names = {str(getattr(key, "name", getattr(key, "key", ""))) for key in path}
        # What optax calls the momentum.
        return leaf / np.float32(factor) if {block, "mu"} <= names else leaf

    return jax.tree_util.tree_map_with_path(convert, opt_state)
