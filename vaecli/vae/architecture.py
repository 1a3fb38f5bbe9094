"""The shape of a network, and the blocks of its parameters, without the modules that hold them."""

import dataclasses
import math
from typing import Any, Literal

from vaecli.config import ConfigError
from vaecli.vae.precision import Precision

KERNEL, STRIDE = 3, 2
"""The sides of a convolution's kernel, and the rows or columns from one of its windows to the next."""

BLOCKS = ("encoder", "mean_head", "scale_head", "decoder")
"""The blocks of parameters by which gradient statistics are reported."""

DECODER_SCALE = "decoder_scale"
"""One more block, of a likelihood whose scale has parameters."""

Granularity = Literal["none", "shared", "pixel", "network", "optimal"]
"""What a likelihood's scale depends on: it has no parameter; one number; one of each pixel; a function of z; or one
number that is not learned but worked out."""

Params = dict[str, Any]
"""The parameters: nested dictionaries of arrays, one sub-tree for each block."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a network, and its arithmetic; hashable, so that equal ones share compiled programs.

    Attributes:
      image: the numbers of rows and columns of an image.
      channels: the numbers of channels of the convolutions before the hidden layers; the decoder mirrors them.
      hidden: the widths of the encoder's hidden layers; the decoder mirrors them.
      activation: the name of the activation.
      weight_init: the name of the rule by which the weights are drawn.
      latent: the number of dimensions of z.
      scale_output: where the u besides the encoder's mean comes from: `network`; `free`, one number for each latent
        dimension; or `none`, for a head without u.
      decoder_scale: what the u depends on from which the likelihood's scale comes.
      precision: the precision of the factors of its products (`vaecli.vae.precision`).

    Raises:
      ConfigError: the images are too small for so many convolutions.
    """

    image: tuple[int, int]
    channels: tuple[int, ...] = ()
    hidden: tuple[int, ...]
    activation: str = "relu"
    weight_init: str = "torch"
    latent: int
    scale_output: Literal["none", "network", "free"] = "network"
    decoder_scale: Granularity = "none"
    precision: Precision = "float32"

    def __post_init__(self):
        if min(self.encoded) < 1:
            size = "x".join(map(str, self.image))
            raise ConfigError(
                "channels", f"images of {size} pixels are too small for {len(self.channels)} convolutions"
            )

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the blocks of parameters."""
        return BLOCKS if self.decoder_scale == "none" else (*BLOCKS, DECODER_SCALE)

    @property
    def pixels(self) -> int:
        """The number of pixels of an image, which is one row of the data."""
        return math.prod(self.image)

    @property
    def encoded(self) -> tuple[int, ...]:
        """The numbers of rows and columns after the encoder's convolutions, which are not padded."""
        sizes = self.image
        for _ in self.channels:
            sizes = tuple(map(convolved, sizes))
        return sizes

    @property
    def decoded(self) -> tuple[int, ...]:
        """The numbers of rows and columns before the decoder's transposed convolutions, each of which doubles them."""
        return tuple(math.ceil(size / STRIDE ** len(self.channels)) for size in self.image)


def convolved(size: int) -> int:
    """Returns the number of rows, or columns, that a convolution makes of so many."""
    return (size - KERNEL) // STRIDE + 1
