"""What the table of likelihoods gives."""

import math

import jax.numpy as jnp
import pytest

from vaecli.vae.heads.table import LOGVAR
from vaecli.vae.likelihoods import LIKELIHOODS, ScaledLikelihood

# E(score²) of a standard variable: of a Gaussian, Laplace, Student's t with ν = 4, logistic.
INFORMATION = {"gaussian": 2.0, "laplace": 1.0, "student": 8 / 7, "discretised_logistic": (3 + math.pi**2) / 9}


def test_a_likelihood_with_a_scale_knows_its_score_and_information():
    scaled = {name: made for name, make in LIKELIHOODS.items() if isinstance(made := make(LOGVAR), ScaledLikelihood)}
    assert scaled.keys() == INFORMATION.keys()
    for name, likelihood in scaled.items():
        assert likelihood.scale_facts.information == pytest.approx(INFORMATION[name], rel=1e-12)
        assert float(likelihood.scale_facts.score(jnp.float32(0))) == -1
