"""Matched exponential heads are one run: not nearly, but bit for bit."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.optimisation import shipped_programs

import vaecli.training.pack
from vaecli import Config, train
from vaecli.cli.main import main
from vaecli.vae import build
from vaecli.vae.batches import epoch_order
from vaecli.vae.compiled import compiled_steps
from vaecli.vae.resolve import resolve
from vaecli.vae.schedules import schedule_values

RATES = {
    "sgd": 1e-3,
    "momentum": 1e-4,
    "adam": 1e-3,
    "rmsprop": 1e-3,
    "lion": 1e-4,
    "adamw": 1e-3,
    "adamax": 1e-3,
    "adagrad": 1e-2,
}


def elbos(runs, **changes):
    """Test ELBO at every log point."""
    return logged(train(Config(**{**changes, "grad_every": 0}), runs=runs, overwrite=True))


def logged(summary):
    assert summary["status"] == "complete"
    lines = Path(summary["path"], "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["test/elbo"] for line in lines]


@pytest.fixture(scope="module", autouse=True)
def read_once():
    """Unpacking and checking MNIST takes as long as an epoch of these small networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vaecli.training.pack, "load", functools.cache(vaecli.training.pack.load))
        yield


EVERYTHING = {"weight_decay": 0.1, "clip_norm": 0.3, "bound": "tanh:2", "skip_norm": 1e30}
"""Settings that are matched like the rate; so that one program of each optimiser serves all tests of small runs."""


@pytest.fixture(scope="module")
def small(small):
    """Without hidden layers, so that there is less to compile."""
    return small | {"hidden": ()} | EVERYTHING


@pytest.fixture
def shipped():
    with shipped_programs():
        yield


MATCHED = {"init": "matched", "head_lr": "matched"}


MATCHED_HEADS = [{"param": "logvar"}, *({"param": name, **MATCHED} for name in ("logstd", "logprec"))]


def test_matched_runs_are_one_at_every_step():
    """As a user's process trains, for ten epochs; one part in a thousand of the rate is another run.

    All are of one program, since to optimise one takes longer than any other test here.
    """
    size, images, epochs = (6, 5), np.random.default_rng(0).integers(0, 256, (230, 30)).astype(np.uint8), range(10)

    def terms(of_head):
        """Both terms of the ELBO of a run at each of its steps."""
        config = Config(**of_head, optimizer="adam", lr=1e-2, hidden=(12,), latent=3, batch_size=50)
        program, operands = build.program(resolve(config), size), build.operands([resolve(config)])
        state = compiled_steps(program, vectorise=False).init(operands, np.zeros(30, np.float32))
        order = np.concatenate([epoch_order(0, epoch, len(images), config.batch_size) for epoch in epochs])
        schedule = schedule_values([config], 1, len(order))
        steps = trained(program)(operands, images, state, order[None], schedule, np.array([len(order)], np.int32))[1]
        assert np.isfinite(steps.sums).all()
        return np.stack(steps.sums)

    @functools.cache
    def trained(program):
        with shipped_programs():
            return compiled_steps(program, vectorise=False).train_chunk

    logvar, *others = (terms(of_head) for of_head in MATCHED_HEADS)
    for other in others:
        np.testing.assert_array_equal(other, logvar)
    beside = terms({"param": "logstd", "init": "matched", "head_lr": 1.001 * 0.5})
    assert (beside[..., -1] != logvar[..., -1]).all()


# Every other optimiser is matched on fewer and smaller images, by the tests below.
@pytest.mark.long
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "momentum", "rmsprop", "lion"])
def test_matched_runs_are_one_run(tmp_path, shipped, optimizer):
    """At every log point, on all of MNIST, as a user's process computes."""
    shared = {"optimizer": optimizer, "lr": RATES[optimizer], "hidden": (32,), "epochs": 2}
    logvar = elbos(tmp_path, param="logvar", **shared)
    assert len(set(logvar)) == 3
    for name in ("logstd", "logprec"):
        assert elbos(tmp_path, param=name, **MATCHED, **shared) == logvar
    if optimizer in ("sgd", "adam"):
        # One part in a thousand of the rate is another run.
        rate = {"sgd": 0.25, "adam": 0.5}[optimizer] * 1.001
        assert elbos(tmp_path, param="logstd", init="matched", head_lr=rate, **shared)[1:] != logvar[1:]


@pytest.mark.parametrize(("optimizer", "right"), [pytest.param("sgd", 0.25, marks=pytest.mark.long), ("adam", 0.5)])
def test_beside_a_match_is_another_run(tmp_path, small, optimizer, right):
    """One part in a hundred of the rate makes one, and so does the other start."""
    shared = small | {"optimizer": optimizer, "lr": 1e-1 if optimizer == "sgd" else 1e-2}
    logvar = elbos(tmp_path, param="logvar", **shared)
    assert elbos(tmp_path, param="logstd", init="matched", head_lr=1.01 * right, **shared)[1:] != logvar[1:]
    assert elbos(tmp_path, param="logstd", head_lr="matched", **shared) != logvar


@pytest.mark.parametrize(
    "optimizer",
    [
        "adamax",
        # In test_matched_scales.py, by `vae verify`, or with the flags that `vae match` prints for them, below.
        *(pytest.param(name, marks=pytest.mark.long) for name in ("sgd", "momentum", "rmsprop", "adamw", "adagrad")),
    ],
)
def test_decay_clipping_eps_and_bound_are_matched_too(tmp_path, small, optimizer):
    shared = small | {"optimizer": optimizer, "lr": RATES[optimizer], "eps": 1e-2}
    logvar = elbos(tmp_path, param="logvar", **shared)
    for name in ("logstd", "logprec"):
        assert elbos(tmp_path, param=name, **MATCHED, **shared) == logvar


@pytest.mark.parametrize(
    ("products", "head", "optimizer"),
    [
        ("bfloat16", "bfloat16", "adam"),
        pytest.param("bfloat16", "float32", "adamw", marks=pytest.mark.long),
        pytest.param("float32", "bfloat16", "sgd", marks=pytest.mark.long),
        pytest.param("bfloat16", "bfloat16", "lion", marks=pytest.mark.long),
    ],
)
def test_matched_runs_are_one_run_in_bfloat16(tmp_path, small, products, head, optimizer):
    """A power of two changes no mantissa, and the range of bfloat16 is float32's."""
    shared = small | {"optimizer": optimizer, "lr": RATES[optimizer], "precision": products, "head_precision": head}
    logvar = elbos(tmp_path, param="logvar", **shared)
    for name in ("logstd", "logprec"):
        assert elbos(tmp_path, param=name, **MATCHED, **shared) == logvar
    assert elbos(tmp_path, param="logvar", **{**shared, "precision": "float32", "head_precision": "float32"}) != logvar


def test_matched_heads_skip_the_same_updates(tmp_path, small):
    """By a norm in which the head's gradient has its factor, and that some updates are above."""
    shared = small | {"skip_norm": 2.3}
    seen = [train(Config(**{**shared, **of_head}), runs=tmp_path) for of_head in MATCHED_HEADS]
    counts = [summary["skipped_by_norm"] for summary in seen]
    assert 0 < counts[0] < seen[0]["steps"]
    assert len(set(counts)) == 1
    assert logged(seen[0]) == logged(seen[1]) == logged(seen[2])


@pytest.mark.parametrize(("optimizer", "decay"), [("adam", 4.0), pytest.param("adamw", 2.0, marks=pytest.mark.long)])
def test_each_factor_matters(tmp_path, small, optimizer, decay):
    """A match without one of its factors is not a match."""
    shared = small | {"optimizer": optimizer, "lr": RATES[optimizer], "eps": 1e-2}
    logvar = elbos(tmp_path, param="logvar", **shared)
    factors = {"head_lr": 0.5, "head_eps": 2.0, "head_weight_decay": decay, "head_clip": 0.5, "init_weight": 0.5}
    assert elbos(tmp_path, param="logstd", **factors, **shared) == logvar
    for field in factors:
        assert elbos(tmp_path, param="logstd", **{**factors, field: 1.0}, **shared) != logvar, field


@pytest.mark.parametrize(
    ("a", "b", "optimizer", "own"),
    [
        ("logstd", "logprec", "adamax", ""),
        pytest.param("logstd", "logprec", "momentum", "", marks=pytest.mark.long),
        ("logprec", "logvar", "adam", ""),
        pytest.param("logvar", "logstd", "lion", "", marks=pytest.mark.long),
        ("logvar", "logstd", "adagrad", "--head-gradient natural"),
        pytest.param("logvar", "logstd", "rmsprop", "--head-gradient natural", marks=pytest.mark.long),
        ("logprec", "logstd", "rmsprop", "--for decoder --decoder-gradient natural --decoder-std 0.3"),
        pytest.param(
            "logprec",
            "logstd",
            "adamw",
            "--for decoder --decoder-gradient natural --decoder-std 0.3",
            marks=pytest.mark.long,
        ),
        pytest.param("logstd", "logvar", "sgd", "--for decoder --decoder-bound soft:-4,1", marks=pytest.mark.long),
    ],
)
def test_pasted_flags_of_match(capsys, monkeypatch, tmp_path, small_data, a, b, optimizer, own):
    """Whatever `vae match` prints is what makes B the run that A is."""
    monkeypatch.chdir(tmp_path)
    rates = {"optimizer": optimizer, "lr": RATES[optimizer], "eps": 1e-3} | EVERYTHING
    if "decoder" in own:
        del rates["bound"]  # It is on the encoder's σ.
    rates = [word for name, value in rates.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    own = own.split() or ["--init-std", "0.5"]
    assert main(["match", a, b, *rates, *own, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["exact"]
    assert "bit for bit" in found["note"]
    assert ("--decoder-lr" in found["flags"]) == ("decoder" in own)
    size = ["--data-dir", str(small_data), "--hidden", "", "--latent", "3", "--epochs", "2", "--batch-size", "50"]
    seen = []
    for name, flags in (("a", found["reference_flags"]), ("b", found["flags"])):
        assert main(["train", *flags.split(), *size, "--name", name, "--grad-every", "0", "--json"]) == 0
        seen.append(logged(json.loads(capsys.readouterr().out)[0]))
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 3
