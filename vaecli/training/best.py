"""The best parameters of a run so far."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vaecli.vae.architecture import Params


class BestParameters:
    """The parameters at the log point with the greatest bound on the validation split.

    Attributes:
      params: them, as NumPy arrays; None before the first such log point.
      record: its `epoch`, and the `value` of its bound in nats per image, as a checkpoint records them.
    """

    def __init__(self) -> None:
        self.params: Params | None = None
        self.record: Mapping[str, Any] | None = None

    def restore(self, params: Params, record: Mapping[str, Any]) -> None:
        """Takes what a checkpoint kept."""
        self.params, self.record = params, record

    def offer(self, epoch: int, value: float, params: Params) -> None:
        """Keeps the parameters of a log point if its bound is greater than every one before."""
        if self.record is None or value > self.record["value"]:
            # Copied, because a view would keep the parameters of all seeds.
            self.params = jax.tree.map(np.array, params)
            self.record = {"epoch": epoch, "value": value}
