"""Runs share a compiled program where theirs differ in nothing that it reads."""

import functools

import jax
import numpy as np
import pytest

from vaecli import Config
from vaecli.vae import build, compiled, steps
from vaecli.vae.compiled import compiled_steps
from vaecli.vae.resolve import resolve

MEAN = np.linspace(0.1, 0.9, 784, dtype=np.float32)


def built(**changes):
    resolved = resolve(Config(**{"hidden": (12,), "latent": 3, **changes}))
    return build.program(resolved, (28, 28)), build.operands([resolved])


@pytest.mark.parametrize(
    ("changes", "params", "state"),
    [
        ({"param": "std", "bound": "tanh:3", "objective": "iwae", "samples": 3, "grad_draws": 3}, True, True),
        ({"binarisation": "dynamic", "on_nonfinite": "skip", "head_gradient": "natural"}, True, True),
        ({"optimizer": "rmsprop"}, True, False),
        ({"weight_decay": 0.1, "optimizer": "adamw"}, True, False),
        ({"precision": "float16", "loss_scale": "dynamic"}, False, False),
        ({"likelihood": "gaussian", "decoder_scale": "shared"}, False, False),
        ({"decoder_bias": "mean"}, False, True),
        ({"activation": "tanh"}, False, False),
    ],
)
def test_what_a_run_starts_from_is_shared_where_it_is_the_same(changes, params, state):
    """The text of a shared program is that of the run's own."""
    program, operands = built(**changes)
    run, default = compiled_steps(program, vectorise=False), compiled_steps(built()[0], vectorise=False)
    assert (run.initial_params is default.initial_params) == params
    assert (run.initial_state is default.initial_state) == state

    def is_own(shared, function, axes, *arguments):
        own = compiled.compiled(compiled.over_seeds(functools.partial(function, program), axes, False))
        return shared.lower(*arguments).as_text() == own.lower(*arguments).as_text()

    assert is_own(run.initial_params, steps.initial_params, (0, None), operands, MEAN)
    started = jax.eval_shape(run.initial_params, operands, MEAN)
    assert is_own(run.initial_state, steps.initial_state, (0, 0), operands, started)
