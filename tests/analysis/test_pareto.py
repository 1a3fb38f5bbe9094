"""k̂ of the largest importance weights, against SciPy's distribution, closed-form tails and another program."""

import numpy as np
import pytest
from scipy import optimize, stats

from vaecli.analysis.pareto import generalised_pareto, tail_length, tail_shape


@pytest.mark.parametrize("k", [-0.5, -0.1, 0.2, 0.5, 0.7, 1.0, 1.5])
def test_the_fit_is_that_of_scipys_distribution(k):
    """Fifty samples of 1000 values: without bias, and as precise as the maximum of the likelihood would be."""
    samples = np.sort(stats.genpareto(k, scale=2.0).rvs((50, 1000), random_state=np.random.default_rng(1)), axis=1)
    fits = np.array([generalised_pareto(sample) for sample in samples])
    # The prior at ½ weighs as ten values.
    expected = (1000 * k + 5) / 1010
    # The maximum's standard deviation, for k > −½.
    sd = (1 + k) / np.sqrt(1000)
    assert fits[:, 0].mean() == pytest.approx(expected, abs=4 * sd / np.sqrt(50) + 0.005)
    assert fits[:, 0].std() < 1.4 * sd
    assert fits[:, 1].mean() == pytest.approx(2.0, rel=0.04)


def test_the_fit_is_near_the_maximum_of_the_likelihood():
    values = np.sort(stats.genpareto(0.6, scale=0.01).rvs(400, random_state=np.random.default_rng(2)))

    def loss(parameters):
        return stats.genpareto.nnlf((parameters[0], 0.0, np.exp(parameters[1])), values)

    maximum = optimize.minimize(loss, [0.5, np.log(0.01)], method="Nelder-Mead").x
    k, scale = generalised_pareto(values)
    assert (410 * k - 5) / 400 == pytest.approx(maximum[0], abs=0.02)
    assert scale == pytest.approx(np.exp(maximum[1]), rel=0.02)


@pytest.mark.parametrize(("scale", "k"), [(0.5, 0.75), (0.7, 0.51), (0.8, 0.36)])
def test_the_tail_of_a_gaussian_q_that_is_too_narrow(scale, k):
    """From N(0, s²) to N(0, 1): P(w > t) falls as t^(−1/k) with k = 1 − s², up to a logarithm."""
    epsilon = np.random.default_rng(3).normal(size=(40, 200_000))
    log_weights = (1 - scale**2) / 2 * epsilon**2
    kept = tail_length(log_weights.shape[1]) + 1
    shapes = tail_shape(np.partition(log_weights, -kept, axis=1)[:, -kept:])
    assert shapes.mean() == pytest.approx(k, abs=0.06)


def test_no_shape_without_a_tail():
    """Weights that are equal, and weights of which some are 0; the others' k̂ does not depend on their unit or order."""
    rng = np.random.default_rng(4)
    weights = rng.pareto(2, size=21) + 1
    rows = [np.zeros(21), np.where(np.arange(21) < 20, -np.inf, 0.0), np.log(weights), np.log(weights[::-1]) - 1e4]
    shapes = tail_shape(np.array(rows))
    assert np.isnan(shapes[:2]).all()
    assert np.isfinite(shapes[2])
    assert shapes[3] == pytest.approx(shapes[2], abs=1e-6)


def test_the_figures_of_another_program():
    """ArviZ 0.17.1, `psislw`, at the same log weights: those of a log-normal, and of a q of half the width."""
    rng = np.random.default_rng(5)
    arviz = {
        100: [
            [0.6987719769647964, 0.5134555562667122, 0.6427064814631115, 0.5881682350396287],
            [0.16644332708115686, 0.8346164052479615, 0.6012063691865858, 0.5768113469325908],
        ],
        5000: [
            [0.849459938574385, 0.5794592977236313, 0.7063992975144555, 0.7077061074873913],
            [0.5914778550806754, 0.8104256521763532, 0.5903582186455058, 0.7545985691968786],
        ],
    }
    for samples, expected in arviz.items():
        for log_weights, shapes in zip(
            (2 * rng.standard_normal((4, samples)), 0.375 * rng.standard_normal((4, samples)) ** 2),
            expected,
            strict=True,
        ):
            largest = np.sort(log_weights, axis=1)[:, -tail_length(samples) - 1 :]
            np.testing.assert_allclose(tail_shape(largest), shapes, rtol=1e-9)
