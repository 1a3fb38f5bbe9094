"""The encoder and decoder, as Flax NNX modules that hold parameters and nothing else."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Key

BLOCKS = ("encoder", "mean_head", "scale_head", "decoder")
"""The blocks of parameters by which gradient statistics are reported."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a network; hashable, so that equal shapes share compiled programs.

    Attributes:
      pixels: width of an image row.
      hidden: widths of the encoder's hidden layers; the decoder mirrors them.
      latent: dimensions of z.
      scale_output: whether the encoder has an output u beside the mean.
    """

    pixels: int
    hidden: tuple[int, ...]
    latent: int
    scale_output: bool = True


class VAE(nnx.Module):
    """An MLP encoder q(z|x) and an MLP decoder p(x|z), ReLU between layers.

    Its four attributes are the blocks; `encoder` is the trunk before the two heads.
    """

    def __init__(self, architecture: Architecture, *, rngs: nnx.Rngs):
        hidden, latent = architecture.hidden, architecture.latent
        trunk = (architecture.pixels, *hidden)
        self.encoder = _mlp(trunk, rngs=rngs, final_relu=True)
        self.mean_head = _linear(trunk[-1], latent, rngs=rngs)
        self.scale_head = _linear(trunk[-1], latent, rngs=rngs) if architecture.scale_output else None
        self.decoder = _mlp((latent, *reversed(hidden), architecture.pixels), rngs=rngs, final_relu=False)

    def encode(
        self, x: Float[Array, "batch pixels"]
    ) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"] | None]:
        """The encoder's outputs: the mean, and the head's unconstrained input u where there is one."""
        mean, scale = self.mean_head, self.scale_head
        if scale is None:
            return mean(self.encoder(x)), None
        # The heads are two blocks, but one matrix product: two narrow ones cost a CPU 3 % of a training step.
        assert mean.bias is not None
        assert scale.bias is not None
        kernel = jnp.concatenate([mean.kernel[...], scale.kernel[...]], axis=1)
        bias = jnp.concatenate([mean.bias[...], scale.bias[...]])
        loc, u = jnp.split(self.encoder(x) @ kernel + bias[None], 2, axis=1)
        return loc, u

    def decode(self, z: Float[Array, "batch latent"]) -> Float[Array, "batch pixels"]:
        """The logits of p(x|z)."""
        return self.decoder(z)


def _linear(fan_in: int, fan_out: int, *, rngs: nnx.Rngs) -> nnx.Linear:
    """A dense layer that starts as PyTorch's does: weights and biases uniform on ±1/√fan_in."""

    def uniform(key, shape, dtype):
        return jax.random.uniform(key, shape, dtype, -(fan_in**-0.5), fan_in**-0.5)

    return nnx.Linear(fan_in, fan_out, kernel_init=uniform, bias_init=uniform, rngs=rngs)


def _mlp(widths: Sequence[int], *, rngs: nnx.Rngs, final_relu: bool) -> nnx.Sequential:
    layers = []
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        layers.append(_linear(fan_in, fan_out, rngs=rngs))
        if final_relu or index < len(widths) - 2:
            layers.append(nnx.relu)
    return nnx.Sequential(*layers)


Params = dict[str, Any]
"""Nested dictionaries of arrays, one sub-tree for each block."""


@functools.cache
def _graph(architecture: Architecture) -> nnx.GraphDef[VAE]:
    abstract = nnx.eval_shape(lambda: VAE(architecture, rngs=nnx.Rngs(0)))
    return nnx.split(abstract)[0]


def init_params(architecture: Architecture, key: Key[Array, ""]) -> Params:
    """Draws the weights of a network; those of its other blocks are the same with and without a scale output."""
    drawn = VAE(dataclasses.replace(architecture, scale_output=True), rngs=nnx.Rngs(key))
    params = nnx.to_pure_dict(nnx.split(drawn)[1])
    if not architecture.scale_output:
        del params["scale_head"]
    # An encoder without hidden layers has no parameters, nor has a scale head without output; both are blocks still.
    return {block: params.get(block, {}) for block in BLOCKS}


def network(architecture: Architecture, params: Params) -> VAE:
    """The module that holds `params`: made inside each traced function, never kept."""
    return nnx.merge(_graph(architecture), params)
