"""A trained run from Python: what it records, and its model as functions of arrays."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import Listener, same

from vaecli import Config, Head, Images, UsageError, load_run, train
from vaecli.data import read


@pytest.fixture(scope="module")
def images(small_data):
    given = read(str(small_data))
    return Images(train=given.train, test=given.test, name="blobs")


@pytest.fixture(scope="module")
def config(small):
    settings = {"data_transpose": True, "binarisation": "dynamic", "batch_size": 50, "likelihood": "bernoulli"}
    return Config(param=Head(f=lambda u: u / 2 + 0.1), **small | settings | {"data_dir": "", "name": ""})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def summary(config, images, runs):
    return train(config, data=images, runs=runs)


@pytest.fixture(scope="module")
def run(summary):
    return load_run(summary["path"])


def test_run_on_arrays_is_recorded(config, summary, runs, images):
    assert summary["path"] == f"{runs}/blobs/{config.param.replace('@', '_')}/seed0"
    assert summary["data_sha256"] == images.raw.sha256
    assert summary["data"]["height"] == 5


def test_record(run, summary, config, images):
    assert {**run.summary, "path": summary["path"]} == summary
    assert run.config.param == config.param
    assert run.config.data_dir == images.data_dir
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert run.metrics["epoch"].tolist() == [0, 1, 2]
    assert np.asarray(run.metrics["test/kl"]).tolist() == [line["test/kl"] for line in lines]
    assert np.isnan(np.asarray(run.metrics["train/elbo"])).tolist() == [True, False, False]
    assert str(summary["epochs"]) in repr(run)


def test_metrics_without_pandas(summary, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    metrics = load_run(summary["path"]).metrics
    assert isinstance(metrics, dict)
    assert metrics["epoch"].tolist() == [0, 1, 2]
    assert "test/elbo" in metrics


def test_elbo_of_the_test_images_is_that_of_the_log(run, images, small_data, summary):
    elbos = run.elbo(images.test)
    assert elbos.shape == (70,)
    assert elbos.mean() == pytest.approx(summary["metrics"]["test/elbo"], abs=1e-5)
    np.testing.assert_array_equal(run.elbo(data_dir=small_data), elbos)
    np.testing.assert_array_equal(run.elbo(images.test.reshape(70, -1)), elbos)
    # 100 draws: closed-form KL, and the mean log likelihood from the decoder's means.
    many = run.elbo(images.test, samples=100)
    assert many.mean() == pytest.approx(elbos.mean(), abs=0.2)
    x = (images.test[:1].transpose(0, 2, 1) > 127).astype(float)
    q = run.encode(x)
    z = q.mean + q.std * np.random.default_rng(0).standard_normal((20000, 3))
    means = run.decode(z)
    log_p = (x * np.log(means) + (1 - x) * np.log1p(-means)).sum((1, 2))
    kl = 0.5 * (q.mean**2 + q.std**2 - 1 - 2 * np.log(q.std)).sum()
    # 2100 draws for one image, in the program of all test images: it is seen 70 times, each with draws of its own.
    assert run.elbo(np.repeat(x, 70, axis=0), samples=30).mean() == pytest.approx(log_p.mean() - kl, abs=0.05)


def test_arrays_in_and_out(run, images):
    q = run.encode(images.test)
    assert q.mean.shape == q.std.shape == (70, 3)
    one = run.encode(images.test[0])
    assert one.mean.shape == (1, 3)
    assert run.decode(q.mean).shape == (70, 5, 6)
    assert run.decode(np.zeros(3)).shape == (1, 5, 6)
    samples = run.sample(3, seed=1)
    assert samples.shape == (3, 5, 6)
    assert 0 <= samples.min() < samples.max() <= 1
    np.testing.assert_array_equal(samples, run.sample(3, seed=1))
    assert (samples != run.sample(3)).any()
    # More images than are computed at a time, and each as if it were alone.
    many = run.encode(np.tile(images.test.transpose(0, 2, 1) / 255, (20, 1, 1)))
    np.testing.assert_allclose(many.mean[:70], many.mean[-70:], rtol=1e-5, atol=1e-6)
    with np.load(next(run.path.glob("checkpoint/step*/arrays.npz"))) as arrays:
        assert {f"params/{name}" for name in run.params} == {name for name in arrays if name.startswith("params/")}
        np.testing.assert_array_equal(run.params["mean_head/bias"], arrays["params/mean_head/bias"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.elbo(), "was trained on arrays, so elbo needs its images"),
        (
            lambda run: run.encode(np.zeros((2, 5, 6), np.uint8)),
            r"x: has the shape \(2, 5, 6\), where \(images, 6, 5\)",
        ),
        (lambda run: run.encode(np.zeros((2, 6, 5))), r"x: has the shape \(2, 6, 5\), where \(images, 5, 6\)"),
        (lambda run: run.encode(np.zeros((0, 5, 6))), "x: has the shape"),
        (lambda run: run.encode(np.full((2, 5, 6), 7.0)), "do not lie between 0 and 1; where 255 is white, give uint8"),
        (lambda run: run.encode(np.full((2, 5, 6), np.nan)), "do not lie between 0 and 1"),
        (lambda run: run.encode(np.full((2, 5, 6), 7)), "x: holds int64; give uint8"),
        (lambda run: run.encode("x"), "x: must be an array of numbers"),
        (lambda run: run.encode([[1], [1, 2]]), "x: is not an array"),
        (lambda run: run.decode(np.zeros((2, 4))), r"z: has the shape \(2, 4\), where \(points, 3\) is needed"),
        (lambda run: run.decode([[np.inf] * 3]), "z: holds numbers that are not finite"),
        (lambda run: run.sample(0), "n: must be a whole number between 1 and"),
        (lambda run: run.sample(2.0), "n: must be a whole number"),
        (lambda run: run.sample(2, seed=-1), "seed: must be a whole number between 0 and"),
        (lambda run: run.elbo(np.zeros((1, 5, 6)), samples=0), "samples: must be a whole number"),
        (lambda run: load_run(run.path / "config.toml"), "is a file and not a run directory"),
        (lambda run: load_run(run.path.parent), "is not a run directory, it has no config.toml; one of those in it is"),
        (lambda run: load_run(run.path / "nowhere"), "nowhere: does not exist"),
        (lambda run: load_run(3), "load_run: a path is needed"),
        (lambda run: load_run(run.path, checkpoint="best"), "has no best checkpoint"),
        (lambda run: load_run(run.path, checkpoint="first"), "checkpoint: must be one of last, best, got 'first'"),
        (lambda run: load_run(run.path, param=Head(f=lambda u: u)), r"was trained with param head@\w+, and not with"),
    ],
)
def test_wrong_arguments(run, call, message):
    with pytest.raises(UsageError, match=message) as raised:
        call(run)
    assert "\n" not in str(raised.value)


def test_runs_that_cannot_be_opened(summary, tmp_path):
    for damage, message in (
        (lambda path: (path / "summary.json").unlink(), "holds an unfinished run, it has no summary.json yet"),
        (lambda path: (path / "summary.json").write_text("{"), "summary.json: is damaged"),
        (lambda path: next(path.glob("checkpoint/*/arrays.npz")).write_text("x"), "the checkpoint is damaged"),
        (lambda path: shutil.rmtree(path / "checkpoint"), "has no checkpoint of step 10"),
    ):
        path = tmp_path / message[:20].replace(" ", "")
        shutil.copytree(summary["path"], path)
        damage(path)
        with pytest.raises(UsageError, match=message):
            load_run(path)


def test_interrupt_leaves_a_run_that_goes_on(config, summary, images, tmp_path):
    class Interrupting(Listener):
        def epoch(self, epoch, elbo, images_per_second):
            super().epoch(epoch, elbo, images_per_second)
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, data=images, runs=tmp_path, observer=Interrupting())
    with pytest.raises(UsageError, match="holds an unfinished run"):
        load_run(tmp_path / Path(*Path(summary["path"]).parts[-3:]))
    listener = Listener()
    same(train(config, data=images, runs=tmp_path, observer=listener), summary)
    assert listener.epochs[-1] == 2
    assert "going on after epoch 1" in listener.notes[0]


def test_run_on_arrays_and_on_their_folder_are_one(config, summary, images, runs, tmp_path):
    assert train(config, data=images, runs=runs) == summary
    images.save(tmp_path / "blobs")
    from_files = Config(**{**vars(config), "data_dir": str(tmp_path / "blobs"), "name": "blobs"})
    assert train(from_files, runs=runs) == summary
    others = Images(train=images.train[::-1], test=images.test, name="blobs")
    with pytest.raises(UsageError, match="holds a run on other data"):
        train(config, data=others, runs=runs)
    with pytest.raises(UsageError, match=r"arrays:\w+: these images were arrays of a Python program"):
        train(load_run(summary["path"]).config, runs=tmp_path)


def test_train_refuses_what_is_not_a_config_or_data(config, images, tmp_path):
    for arguments, message in (
        (({"param": "logvar"}, images), "config: must be a vaecli.Config, .* got dict"),
        ((config, images.train), r"data: must be vaecli.Images\(train=…, test=…\), got ndarray"),
        ((Config(data_dir="x"), images), "data_dir: x: has no place beside data=Images"),
    ):
        with pytest.raises(UsageError, match=message):
            train(arguments[0], data=arguments[1], runs=tmp_path)
    assert not list(tmp_path.iterdir())
