"""Running totals of the training steps."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vaecli.vae.steps import Step


class Skips(NamedTuple):
    """The updates that were left out since the start of a run.

    Attributes:
      updates: how many.
      by_norm: how many of them since the norm of their gradient was above the limit.
      in_a_row: how many of the last ones, all for that reason.
    """

    updates: int = 0
    by_norm: int = 0
    in_a_row: int = 0

    def after(self, steps: Step) -> "Skips":
        """Returns the numbers after the steps of an epoch."""
        updates = self.updates + int(np.sum(steps.skipped))
        if steps.above_norm is None:
            return self._replace(updates=updates)
        above = np.asarray(steps.above_norm)
        others = np.flatnonzero(~above)
        in_a_row = len(above) - 1 - int(others[-1]) if others.size else self.in_a_row + len(above)
        return Skips(updates, self.by_norm + int(above.sum()), in_a_row)


class Totals:
    """The losses of the steps since the last log point, and the updates skipped since the start of the run.

    Attributes:
      sums: for each epoch since the last log point, the sums of its loss terms over images, and how many images.
      skips: the updates that were left out.
    """

    def __init__(self, images: int, batch_size: int, sums: list[list[float]], skips: Skips):
        """Starts from the totals of a checkpoint.

        Args:
          images: how many there are in an epoch.
          batch_size: how many there are in each of its steps but the last.
          sums: as above.
          skips: as above.
        """
        self._images, self._batch_size = images, batch_size
        self.sums, self.skips = sums, skips

    def within_epoch(self, steps: Step, every: int) -> Iterator[tuple[int, tuple[float, float, float]]]:
        """Yields the means of ELBO, reconstruction and KL over the images of every so many steps of an epoch, in nats.

        Each comes with the number of steps up to its end; the last is of fewer where they do not come out even.
        """
        terms, counted, sizes = self._by_step(steps)
        for start in range(0, len(sizes), every):
            span = slice(start, start + every)
            images = sizes[span][counted[span]].sum()
            sums = terms[:, span][:, counted[span]].sum(axis=1)
            reconstruction, kl, _ = (float(total / images) if images else math.nan for total in sums)
            yield min(start + every, len(sizes)), (reconstruction - kl, reconstruction, kl)

    def _by_step(self, steps: Step) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the sums of the loss terms of each step, whether it counts, and how many images it has."""
        terms = np.array(steps.sums, np.float64)
        # The loss of a skipped update need not be finite.
        counted = np.asarray(np.isfinite(terms).all(axis=0))
        sizes = np.full(terms.shape[1], self._batch_size)
        sizes[-1] = self._images - sizes[:-1].sum()
        return terms, counted, sizes

    def add(self, steps: Step) -> None:
        """Adds the steps of an epoch."""
        terms, counted, sizes = self._by_step(steps)
        self.sums.append([*terms[:, counted].sum(axis=1).tolist(), int(sizes[counted].sum())])
        self.skips = self.skips.after(steps)

    def means(self) -> Sequence[float]:
        """Returns the means of reconstruction, KL and objective over the images since the last log point, in nats."""
        *totals, images = np.sum(self.sums, axis=0)
        return [float(total / images) if images else math.nan for total in totals]

    def clear(self) -> None:
        """Starts the next mean, after a log point."""
        self.sums = []
