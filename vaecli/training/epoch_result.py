"""What the device computes of an epoch and the host reads."""

from typing import NamedTuple

import numpy as np
from jax import Array

from vaecli.vae.evaluate import Measurement, Visuals
from vaecli.vae.gradients.statistics import BatchStatistics
from vaecli.vae.steps import Step, TrainState


class EpochResult(NamedTuple):
    """The results of an epoch, along a leading seed axis or of one run; None for what is not due.

    Attributes:
      finite: whether the state after the epoch is finite.
      steps: the outputs of its steps, (steps,); None before the first step, and where a run resumes.
      measurement: of the parameters at the end of the epoch; an epoch that has one is a log point.
      gradients: the statistics of the gradient there, (batches,).
      visuals: what pictures are drawn from.
      state: the state after the epoch, where there is a checkpoint or the best parameters are kept.
    """

    finite: Array | np.ndarray
    steps: Step | None = None
    measurement: Measurement | None = None
    gradients: BatchStatistics | None = None
    visuals: Visuals | None = None
    state: TrainState | None = None
