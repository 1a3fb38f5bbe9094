"""The streams of random keys: each purpose draws from its own."""

import jax
import jax.numpy as jnp
import pytest
from helpers.programs import BATCH, IMAGES, MEAN, PIXELS, drawn_params, operands, program, schedule_values

from vaecli.vae import evaluate, steps
from vaecli.vae.batches import Stream
from vaecli.vae.gradients import statistics
from vaecli.vae.model import Model


@pytest.fixture
def purposes(monkeypatch):
    """The purposes for which keys are taken, in turn, while a function is traced."""
    seen = []
    for module in (steps, evaluate, statistics):
        right = module.stream
        monkeypatch.setattr(
            module, "stream", lambda key, purpose, right=right: seen.append(purpose) or right(key, purpose)
        )
    return seen


def test_each_purpose_has_its_own_stream(purposes):
    dynamic, given = program(binarisation="dynamic", objective="iwae", samples=2), operands()
    images = jnp.zeros((IMAGES, PIXELS), jnp.uint8)

    def run():
        params = steps.initial_params(dynamic, given, MEAN)
        assert purposes == [Stream.WEIGHTS]
        state = steps.initial_state(dynamic, given, params)
        steps.train_step(dynamic, given, images, state, jnp.arange(BATCH), schedule_values())
        assert purposes[1:] == [Stream.PIXELS, Stream.EPSILON]
        model = Model(dynamic, given, drawn_params(dynamic.architecture, jax.random.key(0)))
        evaluate.measure(model, {"test": images}, images[:BATCH])
        assert purposes[3:] == [Stream.EVALUATION, Stream.IMPORTANCE]
        statistics.gradient_statistics(model, images[None, :BATCH], schedule_values())
        assert purposes[5:] == [Stream.GRADIENTS]

    jax.eval_shape(run)
