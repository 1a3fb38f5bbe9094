"""`vae verify`, and the oracles behind it."""

import functools
import json

import jax
import numpy as np
import pytest
from helpers.optimisation import OPTIMISED, shipped_programs
from scipy import stats

import vaecli.verify
from vaecli.cli.main import main
from vaecli.vae.gradients import statistics
from vaecli.vae.heads.table import HEADS
from vaecli.verify import estimators, exact, oracles, training
from vaecli.verify.check import Check, compare
from vaecli.verify.oracles import LinearGaussian

MODEL = LinearGaussian(np.array([[1.0, 0.4], [-0.3, 0.9], [0.2, 0.5]]), np.array([0.1, -0.2, 0.4]), 0.7)
X, LOC, SCALE = np.array([0.5, -1.0, 0.8]), np.array([0.3, -0.4]), np.array([0.6, 0.8])


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.long)], ids=["cheap", "as shipped"])
def programs(request, monkeypatch):
    """All programs as a user's process compiles them; or only the one that computes long, on a fifth of its runs.

    Then halves of two sizes, which take longest, are left to the tests of estimators below, and matched runs by Adam to
    tests/training/test_null_control.py.
    """
    if request.param:
        with shipped_programs():
            yield
    else:
        monkeypatch.setattr(training, "compiled", functools.partial(jax.jit, compiler_options=OPTIMISED))
        monkeypatch.setattr(training, "_SGD_RUNS", 4_000)
        monkeypatch.setattr(estimators, "_SIZES", estimators._SIZES[:1])
        monkeypatch.setattr(training, "_RATES", {"sgd": training._RATES["sgd"]})
        yield


def test_verify(capsys, programs):
    assert main(["verify", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert all(set(check) == {"name", "error", "bound", "ok"} for check in found["checks"])
    names = [check["name"] for check in found["checks"]]
    assert len(set(names)) == len(names) > 50
    exact_ones = [check for check in found["checks"] if check["name"].startswith(("ELBO", "gradient", "expectation"))]
    assert max(check["error"] for check in exact_ones) <= 1e-12
    assert {check["bound"] for check in exact_ones} == {1e-12}
    null = [check for check in found["checks"] if check["name"].startswith("null control")]
    assert [check["error"] for check in null] == [0.0] * (len(training._RATES) + 1)
    kinds = ("evaluation: ", "training: ", "dynamic pixels: ", "keys ", "weights at the start: ", "order of batches: ")
    kinds += ("student: ", "discretised_logistic: ", "continuous_bernoulli: ", "linear decoder, pixel tau, natural: ")
    kinds += ("rounding to bfloat16", "rounding to float16", "products in bfloat16", "products in float16")
    assert all(any(name.startswith(kind) for name in names) for kind in kinds)


def test_every_head_has_its_oracle():
    assert set(oracles.GAINS) == set(HEADS)


def test_one_failure_is_exit_1(capsys, monkeypatch):
    monkeypatch.setattr(vaecli.verify, "checks", lambda: iter([Check("a", 0.0, 1e-12), Check("b", np.nan, 1.0)]))
    assert main(["verify", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert [(check["error"], check["ok"]) for check in found["checks"]] == [(0.0, True), (None, False)]
    assert main(["verify"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("ok")
    assert lines[2].endswith("FAILS")
    assert lines[-1] == "2 checks, 1 failed"


def mutated_signal(mean, covariance, draws, right=statistics.block_statistics):
    """The plain square of the mean."""
    found = right(mean, covariance, draws)
    return found._replace(signal=found.signal + found.variance / draws)


def mutated_split(halves, sizes, right=statistics.split):
    """Halves of unequal size as if they were equal."""
    return right(halves, (1,) * len(sizes))


def mutated_sensitivity(*args, right=estimators.sensitivity):
    at = right(*args)
    return at._replace(gain=1.01 * at.gain)


def mutated_units(mean, variance, units, draws, right=statistics.unit_statistics):
    found = right(mean, variance, units, draws)
    return found._replace(weights=found.weights * units.weight.sum() / 2)


OF_BLOCKS = {what: {f"{what}, mean_head", f"{what}, scale_head"} for what in ("signal", "variance", "noise")}


# In pairs of which each is noticed elsewhere: one of the blocks and one of the units.
@pytest.mark.parametrize(
    ("mutations", "told"),
    [
        (
            [(statistics, "block_statistics", mutated_signal), (estimators, "sensitivity", mutated_sensitivity)],
            OF_BLOCKS["signal"] | {f"units, {what}" for what in ("signal", "log_sigma", "sigma", "fisher_ratio")},
        ),
        (
            [(statistics, "split", mutated_split), (statistics, "unit_statistics", mutated_units)],
            {"units, weights"}.union(*OF_BLOCKS.values()),
        ),
    ],
    ids=["signal and sensitivity", "split and weights"],
)
def test_a_wrong_estimator_fails(monkeypatch, mutations, told):
    for where, name, mutated in mutations:
        monkeypatch.setattr(where, name, mutated)
    with jax.enable_x64(True):
        found, exact_values = estimators._on_grid(1, 2, 3), estimators.expected(estimators.three_images(1), 3)
    apart = {
        f"{what}, {block}"
        for block, values in exact_values.blocks.items()
        for what, value in values._asdict().items()
        if abs(getattr(found.blocks[block], what) / value - 1) > 1e-12
    }
    for what, value in exact_values.units._asdict().items():
        if abs(getattr(found.units, what) / value - 1) > 1e-12:
            apart.add(f"units, {what}")
    assert apart == told


def test_what_is_logged_of_exact_statistics():
    """By closed forms of either, for halves of one size and of two."""
    for latent, _, batch in estimators._SIZES:
        population = estimators.three_images(latent)
        twice = jax.tree.map(lambda leaf: np.full(2, leaf), estimators.expected(population, batch))
        tags = estimators.estimates(twice, batch, learned=True)
        for tag, value in estimators.logged(population, batch).items():
            assert tags[tag] == pytest.approx(value, rel=1e-12), tag


def test_a_wrong_objective_fails(monkeypatch):
    """A KL whose gradient misses one part in a million."""
    right = exact.objective_terms

    def off(objective, q, log_likelihood, epsilon):
        return right(objective, q, log_likelihood, epsilon, 1 + 1e-6)

    monkeypatch.setattr(exact, "objective_terms", off)
    monkeypatch.setattr(exact, "LEARNED", {})
    for program in (exact._elbos, exact._gradients):
        program.clear_cache()
    with jax.enable_x64(True):
        assert not any(check.ok for check in exact.elbo())
        # The closed form of the KL brings no noise, be it right or wrong.
        passed = {check.name for check in exact.gradients() if check.ok}
    assert passed == {"gradient by mu and sigma, analytic: covariance"}
    for program in (exact._elbos, exact._gradients):
        program.clear_cache()


def test_compare_takes_the_worst():
    assert compare("a", [([1.0, 2.0], [1.0, 2.0]), ([3.0], [2.0])]).error == 0.5
    assert compare("a", [([1e-3], [0.0])]).error == 1e-3
    assert not compare("a", [([np.nan], [1.0])]).ok


# The oracles themselves, by a third route ---------------------------------------------------------------------------


def test_evidence_and_elbo():
    covariance = MODEL.weights @ MODEL.weights.T + 0.49 * np.eye(3)
    assert MODEL.log_evidence(X) == pytest.approx(stats.multivariate_normal(MODEL.offset, covariance).logpdf(X))
    z = LOC + SCALE * np.random.default_rng(0).normal(size=(200_000, 2))
    log_joint = stats.norm(z @ MODEL.weights.T + MODEL.offset, 0.7).logpdf(X).sum(axis=1) + stats.norm.logpdf(z).sum(
        axis=1
    )
    values = log_joint - stats.norm(LOC, SCALE).logpdf(z).sum(axis=1)
    assert abs(values.mean() - MODEL.elbo(LOC, SCALE, X)) < 4 * stats.sem(values)
    best = MODEL.elbo(*MODEL.optimum(X), X)
    assert MODEL.log_evidence(X) - best == pytest.approx(MODEL.gap)
    for change in np.random.default_rng(1).normal(scale=0.05, size=(50, 2, 2)):
        loc, scale = MODEL.optimum(X)
        assert MODEL.elbo(loc + change[0], scale * np.exp(change[1]), X) < best


@pytest.mark.parametrize("estimator", ["analytic", "mc", "stl"])
def test_gradient_moments(estimator):
    """By differences of the integrand at a million draws."""
    # The draws lie along the last axis, along which numpy is several times as fast.
    epsilon = np.ascontiguousarray(np.random.default_rng(2).normal(size=(300_000, 2)).T)

    def integrand(loc, scale):
        loc, scale = loc[:, None], scale[:, None]
        z = loc + scale * epsilon
        value = -(((X - MODEL.offset)[:, None] - MODEL.weights @ z) ** 2).sum(axis=0) / (2 * 0.49)
        if estimator == "analytic":
            return value - 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale)).sum()
        at = (loc, scale) if estimator == "mc" else (LOC[:, None], SCALE[:, None])
        return value - (z**2).sum(axis=0) / 2 + (((z - at[0]) / at[1]) ** 2 / 2 + np.log(at[1])).sum(axis=0)

    step, columns = 1e-5, []
    for which in range(2):
        for j in range(2):
            up, down = [LOC.copy(), SCALE.copy()], [LOC.copy(), SCALE.copy()]
            up[which][j] += step
            down[which][j] -= step
            columns.append((integrand(*up) - integrand(*down)) / (2 * step))
    gradients, draws = np.stack(columns), epsilon.shape[1]
    mean, covariance = MODEL.gradient_moments(estimator, LOC, SCALE, X)
    assert (np.abs(gradients.mean(axis=1) - mean) < 4 * gradients.std(axis=1) / np.sqrt(draws) + 1e-8).all()
    centred = gradients - mean[:, None]
    products = centred[:, None] * centred[None]
    errors = 4.5 * products.std(axis=2) / np.sqrt(draws) + 1e-8
    assert (np.abs(products.mean(axis=2) - covariance) < errors).all()


def test_maximum_likelihood():
    images = np.random.default_rng(3).normal(size=(60, 4)) @ np.random.default_rng(4).normal(size=(4, 4))
    model = oracles.maximum_likelihood(images, 2)

    def total(model):
        return sum(model.log_evidence(x) for x in images)

    best = total(model)
    rng = np.random.default_rng(5)
    for _ in range(30):
        other = LinearGaussian(
            model.weights + 0.02 * rng.normal(size=(4, 2)),
            model.offset + 0.02 * rng.normal(size=4),
            model.noise * np.exp(0.02 * rng.normal()),
        )
        assert total(other) < best


def test_gauss_hermite_is_exact_to_its_degree():
    points, weights = oracles.gauss_hermite(2, nodes=3)
    assert points.shape == (9, 2)
    assert weights @ (points[:, 0] ** 4 * points[:, 1] ** 2) == pytest.approx(3, rel=1e-14)
    assert weights @ points[:, 0] ** 6 != pytest.approx(15, rel=1e-3)
