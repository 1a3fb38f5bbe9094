"""What the gradient statistics of a log point are called."""

import jax
import numpy as np
from helpers.programs import built, config, schedule_values

from vaecli.vae.build import state_like
from vaecli.vae.gradients.statistics import estimates, gradient_statistics
from vaecli.vae.model import Model


def test_the_gradients_of_a_likelihood_whose_scale_is_learned_have_their_tags():
    """By the shapes of its statistics alone: no number is worked out."""
    program, operands = built(config(likelihood="laplace", decoder_scale="network"), (3, 4))
    model = Model(program, operands, state_like(program, operands).params)
    shapes = jax.eval_shape(gradient_statistics, model, np.zeros((2, 8, 12), np.uint8), schedule_values())
    found = estimates(jax.tree.map(lambda leaf: np.ones(leaf.shape), shapes), 8, learned=True)
    assert {"grad/snr/decoder", "grad/snr/decoder_scale", "grad_se/decoder_fisher_ratio"} <= found.keys()
