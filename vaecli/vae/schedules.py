"""The factors on the learning rate and on the KL, which change from step to step; worked out on the host."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float

from vaecli.config import Config

_STAGES = 8


class ScheduleValues(NamedTuple):
    """The factors that change from step to step.

    Attributes:
      lr: the factor on every learning rate.
      beta: the factor on the KL.
    """

    lr: Float[Array, "*steps"]
    beta: Float[Array, "*steps"]


def lr_factor(schedule: str, progress: float) -> float:
    """Returns the factor on the learning rate where `progress`, in [0, 1), of the steps are done.

    `burda2016`: 10^(−i/7) in stage i = 0 … 7, which lasts 3^i of 3^0 + … + 3^7 = 3280 parts (Burda et al. 2016).
    """
    if schedule == "constant":
        return 1.0
    # Stage i begins at (3^i − 1)/2; a part is 1e-9 wider, since progress is rounded.
    part = progress * (3**_STAGES - 1) / 2 + 1e-9
    return 10 ** (-math.floor(math.log(2 * part + 1, 3) + 1e-12) / (_STAGES - 1))


def schedule_values(configs: Sequence[Config], epoch: int, steps: int) -> ScheduleValues:
    """Returns the factors at each step of an epoch, (configs, steps) each, float32.

    With a warm-up of W steps the factor on the KL is min(1, t/W) at step t = 0, 1, … of the whole run, and that on the
    learning rates is multiplied by min(1, (t + 1)/W): a step at the rate 0 would be none.

    Args:
      configs: the configs of runs that share a program.
      epoch: the number of the epoch, from 1 on.
      steps: the number of steps in an epoch.
    """
    schedules = [(c.lr_schedule, c.lr_warmup, c.epochs, c.beta_warmup) for c in configs]
    factors = {schedule: _factors(*schedule, epoch, steps) for schedule in dict.fromkeys(schedules)}
    return ScheduleValues(*np.stack([factors[schedule] for schedule in schedules], axis=1))


def _factors(
    lr_schedule: str, lr_warmup: int, epochs: int, beta_warmup: int, epoch: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the factors on the learning rate and on the KL, (steps,) each, float32."""
    done = np.arange((epoch - 1) * steps, epoch * steps)
    lr = np.array([lr_factor(lr_schedule, step / (epochs * steps)) for step in done])
    lr = np.minimum(1.0, (done + 1) / lr_warmup) * lr if lr_warmup else lr
    beta = np.minimum(1.0, done / beta_warmup) if beta_warmup else np.ones(steps)
    return np.asarray(lr, np.float32), beta.astype(np.float32)
