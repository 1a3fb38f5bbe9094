"""The names in a config become objects in one place; new ones are added from outside."""

import ast
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import vaecli
from vaecli import Config, train
from vaecli.analysis.evaluate import evaluate
from vaecli.analysis.restore import resolved_config, restored_model, training_data
from vaecli.config import SETTINGS, schema
from vaecli.runs.reading import open_run
from vaecli.vae.likelihoods import LIKELIHOODS
from vaecli.vae.objectives import OBJECTIVES, Objective
from vaecli.vae.resolve import resolve

SCALE, ALPHA = 0.2, 0.5


@dataclasses.dataclass(frozen=True)
class Laplace:
    """Pixels around the decoder's outputs, with a fixed scale b: log p(x|z) = −Σ_j |x_j − m_j|/b − log 2b."""

    scale_head: None = None

    def log_prob(self, outputs, log_scale, x):
        return -(jnp.abs(x[None] - outputs) / SCALE + jnp.log(2 * SCALE)).sum(axis=-1)

    def mean(self, outputs):
        return outputs

    def outputs_at(self, mean):
        return mean


def renyi(log_weights):
    """The bound of Li & Turner (2016), between the ELBO (α = 1) and the importance-weighted one (α = 0)."""
    return (jax.nn.logsumexp((1 - ALPHA) * log_weights, axis=0) - jnp.log(len(log_weights))) / (1 - ALPHA)


@pytest.fixture
def extended(monkeypatch):
    """A likelihood and an objective from outside: one entry each in its table, and its name in the `Literal`."""
    monkeypatch.setitem(LIKELIHOODS, "laplace", lambda scale_head: Laplace())
    monkeypatch.setitem(OBJECTIVES, "renyi", Objective(value=renyi))
    names = {"likelihood": "laplace", "objective": "renyi"}
    types = {name: Literal[(*get_args(SETTINGS[name].type), new)] for name, new in names.items()}
    wider = {name: dataclasses.replace(SETTINGS[name], type=types[name]) for name in names}
    monkeypatch.setattr(schema, "SETTINGS", {**SETTINGS, **wider})


def test_a_likelihood_and_an_objective_from_outside_train(extended, small, tmp_path):
    """They are trained with and evaluated; the likelihood is SciPy's, and the objective lies above the ELBO."""
    changes = {"likelihood": "laplace", "objective": "renyi", "samples": 4, "decoder_bias": "mean"}
    summary = train(Config(**{**small, "hidden": (), **changes}), runs=tmp_path)
    metrics = summary["metrics"]
    assert summary["status"] == "complete"
    assert metrics["train/objective"] > metrics["train/elbo"]
    assert "likelihood/sigma" not in metrics

    run = open_run(Path(summary["path"]))
    data = training_data(run)
    model = restored_model(run, resolved_config(run), data, "last")
    x, z = data.test[:5] / 255, np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    log_likelihood = model.log_likelihood(jnp.asarray(x, jnp.float32))(jnp.asarray(z))
    exact = stats.laplace(np.asarray(model.decode(jnp.asarray(z)), np.float64), SCALE).logpdf(x).sum(axis=-1)
    np.testing.assert_allclose(log_likelihood, exact, rtol=1e-5)

    assert evaluate(summary["path"], samples=20)["nll"] < -metrics["test/elbo"] + 1


def test_names_are_looked_up_in_one_place():
    """Only `resolve` indexes the tables, and `resolve_head` that of the heads; `verify/` names what it checks."""
    root, tables = Path(vaecli.__file__).parent, {"HEADS", "LIKELIHOODS", "OBJECTIVES", "OPTIMIZERS"}
    lookups = Counter()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in tables:
                lookups[str(path.relative_to(root)), node.value.id] += 1
    del lookups["vae/heads/table.py", "HEADS"]  # It names the head that the others are matched to.
    assert {key: count for key, count in lookups.items() if not key[0].startswith("verify/")} == {
        ("vae/heads/resolve.py", "HEADS"): 1,
        ("vae/resolve.py", "LIKELIHOODS"): 1,
        ("vae/resolve.py", "OBJECTIVES"): 1,
        ("vae/resolve.py", "OPTIMIZERS"): 1,
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "analytic"),
        ({"kl": "mc"}, "mc"),
        ({"estimator": "stl"}, "stl"),
        ({"estimator": "dreg"}, "dreg"),
        ({"objective": "iwae", "samples": 5}, "mc"),
        ({"objective": "iwae", "estimator": "stl"}, "stl"),
        ({"objective": "iwae", "samples": 5, "estimator": "dreg"}, "dreg"),
        ({"samples": 5}, "analytic"),
    ],
)
def test_the_estimator_that_the_settings_choose(settings, expected):
    assert resolve(Config(**settings)).objective.estimator == expected
