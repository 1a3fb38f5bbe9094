"""`vae evaluate` on finished runs."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.data import write_data
from PIL import Image

from vaecli import Config, UsageError, train
from vaecli.analysis.evaluate import evaluate
from vaecli.cli.main import main
from vaecli.data import dataset, load


@pytest.fixture(scope="module")
def trained(small_data, tmp_path_factory):
    """A run with two latent dimensions and a validation split, whose last epoch, at so high a rate, is not its best."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "VALIDATION_SIZE", 30)
        config = Config(
            name="small",
            data_dir=str(small_data),
            validation=True,
            hidden=(12,),
            latent=2,
            epochs=9,
            batch_size=50,
            lr=0.3,
            grad_every=0,
        )
        yield config, train(config, runs=tmp_path_factory.mktemp("runs"))


def point(summary, epoch):
    lines = [json.loads(line) for line in Path(summary["path"], "metrics.jsonl").read_text().splitlines()]
    return lines[epoch]


def test_result_and_summary(trained):
    _, summary = trained
    found = evaluate(summary["path"], samples=80)
    assert found["nll"] <= -found["elbo"]
    assert 0 < found["nll_se"] < 1
    assert found["nll"] < found["nll_half"] < found["nll"] + 1
    assert found["nll_low"] < found["nll_high"] < found["nll"] + 4 * found["nll_se"]
    assert 0 <= found["few_effective"] <= 1
    assert 0 <= found["heavy_tailed"] <= 1
    last = point(summary, 9)
    assert found["kl"] == pytest.approx(last["test/kl"], rel=1e-5)
    assert sum(found["kl_per_latent"]) == pytest.approx(found["kl"], rel=1e-6)
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["kl"], abs=0.5)
    assert found["elbo"] == pytest.approx(last["test/elbo"], abs=2)
    assert found["sigma_min"] <= found["sigma_q05"] <= found["sigma_median"] <= found["sigma_q95"] <= found["sigma_max"]
    once = evaluate(summary["path"], samples=1)
    assert once["nll"] == pytest.approx(-once["elbo"], rel=1e-6)
    assert [once[name] for name in ("nll_se", "nll_half", "nll_low", "nll_high", "heavy_tailed")] == [None] * 5
    again = evaluate(summary["path"], samples=80)
    assert again == found
    written = json.loads(Path(summary["path"], "summary.json").read_text())
    assert [result["samples"] for result in written["evaluations"]] == [1, 80]
    assert written["evaluations"][1]["nll"] == found["nll"]
    assert {**written, "path": summary["path"]} == {**summary, "evaluations": written["evaluations"]}


def test_many_parts_are_one(trained, monkeypatch):
    """Calls of the device for two chunks at a time, against all chunks in one call."""
    from vaecli.analysis import evaluate as evaluation
    from vaecli.vae import importance
    from vaecli.vae.compiled import compiled

    monkeypatch.setattr(importance, "_FLOATS", 30 * 70 * 4)
    monkeypatch.setattr(evaluation, "_compiled", compiled)  # With these sizes, and for this test alone.
    steps = []

    def follow(numbers):
        steps.extend(numbers)
        return iter(numbers)

    whole = evaluate(trained[1]["path"], samples=39, follow=follow)
    monkeypatch.setattr(importance, "_CHUNKS", 2)
    parts = evaluate(trained[1]["path"], samples=39, follow=follow)
    rounded = {name: parts.pop(name) for name in ("nll_half", "nll_low", "nll_high") if parts[name] is not None}
    assert rounded == pytest.approx({name: whole.pop(name) for name in rounded}, rel=1e-12)
    assert parts == whole
    assert len(steps) == 1 + 5


def test_standard_error_and_bias():
    """Against their definition, from weights written out: of the log of a mean, to first order."""
    from vaecli.analysis.evaluate import _summarise
    from vaecli.analysis.sampling_error import WeightStream
    from vaecli.vae.importance import Importance, Weighing

    weights = np.random.default_rng(0).lognormal(sigma=0.7, size=(200, 6))
    effective = weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)
    nothing = np.ones((6, 2))
    weighing = Weighing(np.log(weights.mean(axis=0)), effective, np.log(weights).mean(axis=0), np.zeros(6))
    stream = WeightStream(6, 200)
    stream.add(np.log(weights).astype(np.float32))
    found = _summarise(Importance(weighing, nothing, nothing, nothing), stream.grouped(), 200)
    relative = weights.std(axis=0, ddof=1) / np.sqrt(200) / weights.mean(axis=0)
    assert found["nll_se"] == pytest.approx(np.sqrt((relative**2).sum()) / 6)
    assert found["nll_bias"] == pytest.approx((relative**2).mean() / 2)
    assert found["effective_samples"] == pytest.approx(np.median(effective))


def test_a_unit_is_active_above_a_hundredth(trained, monkeypatch):
    """With weights at which Var_x μ, over the images, lies just above it in one dimension, and just below in the other.

    After training at so high a rate, no hidden unit depends on the image any more.
    """
    from vaecli.analysis import evaluate as evaluation

    config, summary = trained
    rng, x, right = np.random.default_rng(0), load(config).test / 255.0, evaluation.restored_model

    def with_variances(*given):
        model = right(*given)
        first, kernel = rng.normal(size=(30, 12)), rng.normal(size=(12, 2))
        kernel *= np.sqrt([0.0102, 0.0098]) / (np.maximum(x @ first, 0) @ kernel).std(axis=0)
        encoder = {"layers": model.params["encoder"]["layers"] | {0: {"kernel": first, "bias": np.zeros(12)}}}
        heads = {"encoder": encoder, "mean_head": {"kernel": kernel, "bias": np.ones(2)}}
        heads = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), heads)
        return dataclasses.replace(model, params=model.params | heads)

    monkeypatch.setattr(evaluation, "restored_model", with_variances)
    assert evaluate(summary["path"], samples=1)["active_units"] == 1


def test_images_do_not_share_draws(trained, monkeypatch):
    """Of one image many times over, more batches have other draws than the first of them.

    Batches of as many images as the validation split has, whose program there is.
    """
    from vaecli.analysis import evaluate as evaluation

    right, counts = evaluation.training_data, [30, 60]

    def copies(*given):
        dataset = right(*given)
        return dataclasses.replace(dataset, test=np.repeat(dataset.test[:1], counts.pop(0), axis=0))

    monkeypatch.setattr(evaluation, "training_data", copies)
    monkeypatch.setattr(evaluation, "BATCH", 30)
    few, many = (evaluate(trained[1]["path"], samples=4) for _ in range(2))
    assert (few["images"], many["images"]) == (30, 60)
    assert abs(few["elbo"] - many["elbo"]) > 1e-3


def test_best_is_the_best_on_validation(trained):
    _, summary = trained
    values = [point(summary, epoch)["validation/elbo"] for epoch in range(10)]
    best = int(np.argmax(values))
    assert best < 9
    assert summary["best"]["epoch"] == best
    assert summary["best"]["validation/elbo"] == pytest.approx(values[best])
    found = evaluate(summary["path"], samples=1, checkpoint="best", split="validation")
    assert found["epoch"] == best
    assert found["images"] == 30
    assert found["kl"] == pytest.approx(point(summary, best)["validation/kl"], rel=1e-5)


def test_a_diverged_run_has_no_best(trained, tmp_path, monkeypatch):
    """σ² overflows before the first step; the program is that of the run that is complete."""
    monkeypatch.setattr(dataset, "VALIDATION_SIZE", 30)
    summary = train(dataclasses.replace(trained[0], init_std=1e25), runs=tmp_path)
    assert (summary["status"], summary["best"]) == ("diverged", None)


def test_no_choice_on_the_test_split(trained, tmp_path):
    # As many images as the other run is trained on without its validation split, so that it is the same program.
    data = write_data(tmp_path / "data", train=200)
    config = dataclasses.replace(trained[0], data_dir=str(data), validation=False, epochs=1, lr=1e-3)
    path = train(config, runs=tmp_path)["path"]
    assert json.loads(Path(path, "summary.json").read_text())["best"] is None
    with pytest.raises(
        UsageError, match=r"no best checkpoint: without --validation .* the test split is for the result"
    ):
        evaluate(path, checkpoint="best")
    with pytest.raises(UsageError, match="trained without --validation, on those images too"):
        evaluate(path, split="validation")
    with pytest.raises(UsageError, match="--samples: must lie between 1 and"):
        evaluate(path, samples=0)
    before = Path(path, "summary.json").read_bytes()
    Path(path, "config.toml").write_text(
        Path(path, "config.toml").read_text().replace("hidden = [\n    12", "hidden = [\n    13")
    )
    with pytest.raises(UsageError, match="was changed after the run"):
        evaluate(path, samples=1)
    assert Path(path, "summary.json").read_bytes() == before


def test_pictures(trained, tmp_path, capsys):
    config, summary = trained
    assert (
        main(["evaluate", summary["path"], "--samples", "2", "--images", str(tmp_path / "new" / "pictures"), "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    names = {Path(picture).name for picture in found["pictures"]}
    assert names == {f"{name}_epoch0009.png" for name in ("reconstructions", "samples", "grid", "sigma_by_latent")}
    for picture in found["pictures"]:
        own = Path(summary["path"], "pictures", Path(picture).name)
        np.testing.assert_array_equal(np.asarray(Image.open(picture)), np.asarray(Image.open(own)))
    sheet = np.asarray(Image.open(tmp_path / "new" / "pictures" / "reconstructions_epoch0009.png"))
    first = sheet[: 2 * 6 : 2, : 2 * 5 : 2]
    np.testing.assert_array_equal(first, load(config).test[0].reshape(6, 5))


def test_text_and_errors(trained, tmp_path, capsys):
    _, summary = trained
    assert main(["evaluate", summary["path"], "--samples", "3"]) == 0
    text, error = capsys.readouterr()
    for words in ("NLL", "sampling error", "active units", "KL per latent", "samples: 3", "needs 64 samples"):
        assert words in text
    assert error == "vae: the NLL has no interval: that takes 64 samples\n"
    for arguments, words in (
        ([], "a run is needed"),
        ([str(tmp_path)], "is not a run directory"),
        ([summary["path"], "--samples", "0"], "--samples"),
        ([summary["path"], "--split", "train"], "--split"),
        ([summary["path"], "--images", str(Path(summary["path"], "config.toml"))], "is a file"),
        ([summary["path"], "--images", str(Path(summary["path"], "checkpoint"))], "run's own directory"),
        ([summary["path"], "--images", "~nobody-of-this-name/x"], "--images"),
        ([summary["path"], "--images", "x" * 300], "--images"),
    ):
        assert main(["evaluate", *arguments]) == 2
        out, error = capsys.readouterr()
        assert out == ""
        assert words in error
        assert error.count("\n") == 1


def test_the_interval_and_the_warning_as_text():
    """A share of a thousandth is shown as such; where the NLL falls without slowing down, there is no lower end."""
    from vaecli.cli.commands.evaluate import _interval, _warning

    result = {"samples": 501, "nll": 95.1, "nll_half": 95.2, "nll_low": 94.0, "nll_high": 95.15}
    result |= {"nll_unreliable": True, "few_effective": 0.001, "heavy_tailed": 0.25}
    assert _interval(result) == "94.0000 to 95.1500 (unreliable); NLL 95.2000 at 250 samples"
    assert "0.1 % of the images have few effective samples, 25 % Pareto k̂ > 0.7" in _warning(result)
    assert _interval(result | {"nll_low": None}).startswith("below 95.1500 (unreliable)")
    assert _interval(result | {"nll_unreliable": False}) == "94.0000 to 95.1500; NLL 95.2000 at 250 samples"
    assert _warning(result | {"nll_unreliable": False}) == ""
    assert _warning(result | {"nll": None}) == "the NLL is not finite"


def test_a_run_on_the_importance_weighted_bound(trained, tmp_path):
    """IWAE with DReG: trained, logged, evaluated; all but training and its bound is the program of the other run."""
    weighted = {"objective": "iwae", "samples": 3, "estimator": "dreg"}
    config = dataclasses.replace(trained[0], validation=False, epochs=2, lr=1e-3, **weighted)
    summary = train(config, runs=tmp_path)
    assert summary["status"] == "complete"
    metrics = summary["metrics"]
    assert metrics["test/iwae"] > metrics["test/elbo"] - 1
    assert metrics["train/objective"] > metrics["train/elbo"]
    assert -evaluate(summary["path"], samples=50)["nll"] >= metrics["test/iwae"] - 1


# The bound of several draws of this likelihood, and its gradient statistics, take three times as long to compile.
@pytest.mark.parametrize(
    "own",
    [
        {"estimator": "stl", "grad_every": 0},
        pytest.param({"objective": "iwae", "samples": 3, "estimator": "dreg"}, marks=pytest.mark.long),
    ],
    ids=["elbo", "iwae, with gradient statistics"],
)
def test_every_kind_of_run(tmp_path, small_data, capsys, own):
    """Convolutions, and a likelihood of levels whose scale depends on z: trained, logged, evaluated."""
    config = Config(
        name="kinds",
        data_dir=str(small_data),
        channels=(2,),
        hidden=(),
        latent=2,
        epochs=2,
        batch_size=50,
        likelihood="discretised_logistic",
        decoder_scale="network",
        decoder_param="softplus_std",
        beta_warmup=3,
        decoder_bias="mean",
        weight_init="glorot",
        activation="tanh",
        grad_draws=2,
        grad_batches=2,
        **own,
    )
    summary = train(config, runs=tmp_path)
    assert summary["status"] == "complete"
    metrics = summary["metrics"]
    assert metrics["likelihood/sigma"] == pytest.approx(0.1, rel=0.3)
    assert metrics["safety/tau/min"] < metrics["likelihood/sigma"] < metrics["safety/tau/max"]
    assert metrics["test/bits_per_dim"] == pytest.approx(-metrics["test/elbo"] / 30 / np.log(2), rel=1e-6)
    assert main(["evaluate", summary["path"], "--samples", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(Path(summary["path"], "pictures").glob("tau_map_epoch0002.png"))
    assert found["nll_bits_per_dim"] == pytest.approx(found["nll"] / 30 / np.log(2), rel=1e-6)
    assert found["nll"] <= -found["elbo"]
    if config.objective == "iwae":
        assert metrics["test/iwae"] > metrics["test/elbo"] - 1
        assert {"grad/snr/decoder", "grad/snr/decoder_scale", "grad_se/decoder_fisher_ratio"} <= metrics.keys()
        # What is maximised: above the ELBO, whose KL counts in full.
        assert metrics["train/objective"] > metrics["train/elbo"]
        assert -found["nll"] >= metrics["test/iwae"] - 1
