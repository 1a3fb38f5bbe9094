"""What a log point is given: the parameters of each seed, and the place in the schedules."""

import jax.numpy as jnp
import numpy as np

from vaecli import Config
from vaecli.data import load
from vaecli.training.run_batch import RunBatch
from vaecli.vae.resolve import resolve
from vaecli.vae.steps import TrainState


def test_gradient_statistics_have_the_last_steps_schedule(small):
    """At the end of an epoch they have the β of its last step; before the first one, that of the first step."""
    config = Config(**small | {"beta_warmup": 100, "grad_every": 1})
    batch = RunBatch([resolve(config)], load(config))
    nothing = {"finite": lambda state: True, "measure": lambda *given: None}
    batch._compiled = batch._compiled._replace(**nothing, gradient_statistics=lambda model, probe, schedule: schedule)
    state = TrainState({}, (), jnp.zeros(1, jnp.int32))
    for epoch, step in ((0, 0), (1, 4), (2, 9)):
        chunk = batch.chunk(max(epoch, 1), state)
        schedule = batch.measure(epoch, chunk, state, None, last=False).gradients
        np.testing.assert_allclose(schedule.beta, [step / 100], rtol=1e-6)
