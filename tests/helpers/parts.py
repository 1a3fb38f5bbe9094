"""Differences made of counterfactuals whose values are known."""

import numpy as np

from vaecli import Config
from vaecli.report.model import Question, TrainedVariant
from vaecli.report.parts import Counterfactual, counterfactuals, take_apart
from vaecli.runs.collection import Outcome

OWN = {side: Counterfactual(side, False, "own", "own") for side in "ab"}
START, RATE, MATCHED, CONTROL = (
    Counterfactual("b", False, "own", "matched"),
    Counterfactual("b", False, "matched", "own"),
    Counterfactual("b", False, "matched", "matched"),
    Counterfactual("b", True, "matched", "matched"),
)


def variant(name, values, **settings):
    """A variant from its values by seed, None for a run that was lost."""
    config = Config(**settings)
    outcomes = {
        seed: Outcome(
            "", config, seed, *(("diverged", "loss is not finite") if value is None else ("complete", "")), 1,
            {} if value is None else {"test/elbo": value}, (), (), "cpu", (), ()
        )
        for seed, value in enumerate(values)
    }  # fmt: skip
    return TrainedVariant(name, {}, outcomes, {})


def study(values, controls=("b",)):
    """The runs of all counterfactuals from their values, (n,) each; those of a are the same unless they are given."""
    runs = {cell: variant(str(cell), of_cell) for cell, of_cell in values.items()}
    return {cell: runs[cell] if cell in runs else runs[OWN["a"]] for cell in counterfactuals(controls)}


def drawn(n=6, seed=0, spread=0.3):
    rng = np.random.default_rng(seed)
    shared = -105 + rng.normal(0, 1, n)
    cells = (OWN["a"], OWN["b"], START, RATE, MATCHED, CONTROL)
    # As float32 has them, so that sums are exact.
    return {
        cell: np.float32(shared - 0.4 * place + rng.normal(0, spread, n)).tolist() for place, cell in enumerate(cells)
    }


def taken(values, controls=("b",), **question):
    question = Question(**question)
    runs = study(values, controls)
    return take_apart("logvar", "natural", runs, dict.fromkeys(controls, "softplus_prec"), question, 0.5)
