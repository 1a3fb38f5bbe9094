"""Whole runs: the files they leave, read back by independent readers."""

import dataclasses
import inspect
import itertools
import json
import os
import tomllib
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from helpers.programs import built
from helpers.runs import Listener, stopping
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vaecli import Config, UsageError, train, train_seeds
from vaecli.data import load
from vaecli.runs import checkpoint
from vaecli.runs.directory import claim, divergence
from vaecli.training import run_record
from vaecli.vae import build


@pytest.fixture(scope="module")
def small(small):
    """Without hidden layers, as the runs below, with whose programs a run alone is one."""
    return small | {"hidden": ()}


@pytest.fixture(scope="module")
def finished(small_data, tmp_path_factory):
    """Two seeds of one small run, with a validation-free data set of 230 images in batches of 50: 5 steps an epoch.

    Without hidden layers, since gradient statistics are compiled for it.
    """
    config = Config(
        name="small", data_dir=str(small_data), hidden=(), latent=3, epochs=2, batch_size=50, grad_batches=1, seed=3
    )
    runs = tmp_path_factory.mktemp("runs")
    listener = Listener()
    summaries = train_seeds(config, 2, runs=runs, observer=listener)
    return config, runs, summaries, listener


def lines(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_directory(finished):
    _, runs, summaries, listener = finished
    for k, summary in enumerate(summaries):
        path = runs / "small" / "logvar" / f"seed{3 + k}"
        assert summary["path"] == str(path)
        names = {entry.name for entry in path.iterdir()}
        events = {name for name in names if name.startswith("events.out.tfevents")}
        assert len(events) == 1
        assert names - events == {"config.toml", "metrics.jsonl", "summary.json", "checkpoint", "pictures", ".lock"}
        tables = tomllib.loads((path / "config.toml").read_text())
        assert tables["run"] == {"name": "small", "seed": 3 + k, "pilot": 0}
        written = json.loads((path / "summary.json").read_text())
        assert written == {key: value for key, value in summary.items() if key != "path"}
        assert written["status"] == "complete"
        assert (written["epochs"], written["steps"]) == (2, 10)
        assert {"jax", "flax", "optax", "vaecli", "python"} <= set(written["versions"])
        assert written["data"]["train"] == {
            "images": 230,
            "least": 0,
            "greatest": 245,
            "mean": pytest.approx(62.6672464),
        }
        assert set(written["data_sha256"]) == {"train-images", "train-labels", "t10k-images", "t10k-labels"}
        assert [line["step"] for line in lines(path)] == [0, 5, 10]
        assert [line["epoch"] for line in lines(path)] == [0, 1, 2]
        last = lines(path)[-1]
        assert written["metrics"] == {tag: value for tag, value in last.items() if tag not in ("step", "epoch")}
    assert listener.epochs == [0, 1, 2]
    assert listener.elbos[-1] == pytest.approx(np.mean([s["metrics"]["test/elbo"] for s in summaries]))


def test_tensorboards_own_reader_sees_the_same(finished):
    _, _, summaries, _ = finished
    path = summaries[0]["path"]
    events = EventAccumulator(path, size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0})
    events.Reload()
    written = lines(Path(path))
    tags = {tag for line in written for tag, value in line.items() if value is not None} - {"step", "epoch"}
    tags = {tag for tag in tags if not tag.startswith(("grad_se/", "safety/u/"))}
    assert set(events.Tags()["scalars"]) == tags
    for tag in tags:
        seen = {event.step: event.value for event in events.Scalars(tag)}
        assert seen == {line["step"]: pytest.approx(line[tag], rel=1e-6) for line in written if tag in line}, tag
    assert {
        "train/elbo",
        "test/elbo",
        "test/reconstruction",
        "test/kl",
        "grad/snr/scale_head",
        "grad/variance/decoder",
    } <= tags
    assert set(events.Tags()["histograms"]) == {"posterior/sigma", "posterior/u", "posterior/kl_per_latent"}
    for tag in events.Tags()["histograms"]:
        assert [event.step for event in events.Histograms(tag)] == [0, 5, 10]
    sigma = events.Histograms("posterior/sigma")[-1].histogram_value
    assert sigma.num == 50 * 3
    assert sigma.min > 0
    kl = events.Histograms("posterior/kl_per_latent")[-1].histogram_value
    assert kl.sum == pytest.approx(written[-1]["test/kl"], rel=1e-5)
    assert set(events.Tags()["images"]) == {"test/reconstructions", "prior/samples", "posterior/sigma_by_latent"}
    image = events.Images("prior/samples")[0]
    # 8 rows, 16 columns, twice as large.
    assert (image.step, image.height, image.width) == (10, 2 * 8 * 6, 2 * 16 * 5)
    assert {"_hparams_/experiment", "_hparams_/session_end_info", "custom_scalars__config__"} <= set(
        events.summary_metadata
    )
    assert "config/text_summary" in events.Tags()["tensors"]


def test_terms_add_up(finished):
    for line in lines(Path(finished[2][1]["path"])):
        for split in ("train", "test"):
            if f"{split}/elbo" in line:
                total = line[f"{split}/reconstruction"] - line[f"{split}/kl"]
                assert line[f"{split}/elbo"] == pytest.approx(total, rel=1e-6)
                assert line[f"{split}/kl"] > 0


def test_checkpoint_holds_the_final_state(small, tmp_path):
    """The parameters that are read back give the test KL that was logged, computed here in NumPy."""
    config = Config(**small)
    summary = train(config, runs=tmp_path)
    like = build.state_like(*built(config, (6, 5)))._asdict()
    found = checkpoint.snapshot(Path(summary["path"]), 10, summary["checkpoint_sha256"])
    state = checkpoint.restore(found, like)
    assert int(state["step"]) == 10
    p = state["params"]
    x = load(config).test / 255.0
    loc = x @ p["mean_head"]["kernel"] + p["mean_head"]["bias"]
    logvar = x @ p["scale_head"]["kernel"] + p["scale_head"]["bias"]
    kl = 0.5 * (loc**2 + np.exp(logvar) - 1 - logvar).sum(1).mean()
    assert summary["metrics"]["test/kl"] == pytest.approx(kl, rel=1e-5)


def test_same_command_same_bits(finished, tmp_path):
    config, _, summaries, _ = finished

    again = train_seeds(config, 2, runs=tmp_path)
    for old, new in zip(summaries, again, strict=True):
        assert (Path(new["path"]) / "metrics.jsonl").read_bytes() == (Path(old["path"]) / "metrics.jsonl").read_bytes()


def test_a_seed_of_a_batch_is_the_solo_run(finished, tmp_path):
    config, _, summaries, _ = finished

    solo = train(dataclasses.replace(config, seed=4), runs=tmp_path)
    assert solo["metrics"].keys() == summaries[1]["metrics"].keys()
    for tag, value in summaries[1]["metrics"].items():
        assert solo["metrics"][tag] == (None if value is None else pytest.approx(value, rel=1e-5)), tag


def test_a_finished_run_is_not_trained_again(finished):
    config, runs, summaries, _ = finished

    before = {path: path.stat().st_mtime_ns for path in Path(summaries[0]["path"]).rglob("*")}
    listener = Listener()
    assert train(config, runs=runs, observer=listener) == summaries[0]
    assert listener.epochs == []
    assert before == {path: path.stat().st_mtime_ns for path in Path(summaries[0]["path"]).rglob("*")}


def test_another_config_is_refused(finished):
    config, runs, _, _ = finished

    with pytest.raises(UsageError, match=r"lr is 0.001 there and 0.01 here.*--name.*--overwrite"):
        train(dataclasses.replace(config, lr=0.01), runs=runs)


def test_overwrite_starts_anew(small, tmp_path):
    config = Config(**small)
    train(config, runs=tmp_path)

    shorter = dataclasses.replace(config, epochs=1)
    summary = train(shorter, runs=tmp_path, overwrite=True)

    path = Path(summary["path"])
    assert len(lines(path)) == 2
    assert len(list(path.glob("events*"))) == 1


def test_a_damaged_summary_is_refused(small, tmp_path):
    config = Config(**small)
    train(config, runs=tmp_path)
    (tmp_path / "small/logvar/seed0/summary.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        train(config, runs=tmp_path)


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_folders_are_left_alone(small, tmp_path, overwrite):
    path = tmp_path / "small/logvar/seed0"
    path.mkdir(parents=True)
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a run directory"):
        train(Config(**small), runs=tmp_path, overwrite=overwrite)
    assert [entry.name for entry in path.iterdir()] == ["thesis.txt"]


def test_run_on_other_data_is_not_called_mnist(small, small_data, tmp_path):
    path = tmp_path / small_data.name / "logvar/seed0"
    path.mkdir(parents=True)
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=rf"^{path}: exists but is not a run directory"):
        train(Config(**small | {"name": ""}), runs=tmp_path)


def test_data_are_checked_before_the_directory(small, tmp_path):
    path = tmp_path / "small/logvar/seed0"
    path.mkdir(parents=True)
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="nowhere: cannot be read as a data folder"):
        train(Config(**small | {"data_dir": str(tmp_path / "nowhere")}), runs=tmp_path)
    with pytest.raises(UsageError, match="batch_size: 1000 is more than the 230 training images"):
        train(Config(**small | {"batch_size": 1000}), runs=tmp_path)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_in_progress_is_refused(small, tmp_path, started, overwrite):
    held = claim(tmp_path / "small/logvar/seed0")
    if started:
        held.start(Config(**small))
    try:
        with pytest.raises(UsageError, match=rf"another process .*process {os.getpid()} on "):
            train(Config(**small), runs=tmp_path, overwrite=overwrite)
    finally:
        held.release()
    assert (tmp_path / "small/logvar/seed0").exists() == started


def test_a_picture_that_fails_loses_no_run(small, tmp_path, monkeypatch):
    from vaecli.training import images

    listener = Listener()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images, "save", full)
    summary = train(Config(**small), runs=tmp_path, observer=listener)
    assert summary["status"] == "complete"
    assert (Path(summary["path"]) / "checkpoint" / "step0000010").is_dir()
    assert listener.notes == [f"{summary['path']}: no pictures ([Errno 28] No space left on device)"]


def test_a_picture_that_fails_loses_no_other(small, tmp_path, monkeypatch):
    from vaecli.training import images

    def broken(*_):
        raise RuntimeError("no font\nwas there")

    listener = Listener()
    monkeypatch.setattr(images, "_heat_map", broken)
    summary = train(Config(**small), runs=tmp_path, observer=listener)
    pictures = sorted(path.name for path in (Path(summary["path"]) / "pictures").iterdir())
    assert pictures == ["reconstructions_epoch0002.png", "samples_epoch0002.png"]
    reason = "no picture posterior/sigma_by_latent (RuntimeError: no font was there)"
    assert listener.notes == [f"{summary['path']}: {reason}"]


def test_pictures_do_not_follow_a_style():
    from vaecli.training import images

    scale = np.linspace(0.1, 2, 30).reshape(10, 3).astype(np.float32)
    draw = inspect.unwrap(images._heat_map)
    plain = draw(scale)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 30, "text.usetex": True}):
        assert (draw(scale) == plain).all()


def test_stopping_in_the_last_epoch_is_no_interruption(small, tmp_path):
    assert train_seeds(Config(**small), 1, runs=tmp_path, stopped=stopping(2))[0]["status"] == "complete"


def test_stopping_leaves_a_record(small, tmp_path):
    summary = train_seeds(Config(**small | {"epochs": 50}), 1, runs=tmp_path, stopped=stopping(1))[0]
    assert (summary["status"], summary["epochs"], summary["steps"]) == ("interrupted", 1, 5)


def test_points_within_an_epoch_change_nothing_else(small, tmp_path):
    """230 images in batches of 50: two points of two steps in each epoch, and one of the last step."""
    plain = Path(train(Config(**small), runs=tmp_path)["path"])
    assert not (plain / "steps.jsonl").exists()
    path = Path(train(Config(**small | {"name": "steps", "log_steps": 2}), runs=tmp_path)["path"])
    assert (path / "metrics.jsonl").read_bytes() == (plain / "metrics.jsonl").read_bytes()
    points = [json.loads(line) for line in (path / "steps.jsonl").read_text().splitlines()]
    assert [point["step"] for point in points] == [2, 4, 5, 7, 9, 10]
    for epoch, line in enumerate(lines(path)[1:]):
        of_epoch = points[3 * epoch : 3 * epoch + 3]
        for term in ("elbo", "reconstruction", "kl"):
            # 100, 100 and 30 images.
            mean = np.average([point[f"train_steps/{term}"] for point in of_epoch], weights=[100, 100, 30])
            assert line[f"train/{term}"] == pytest.approx(mean, rel=1e-9)
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    for term in ("elbo", "reconstruction", "kl"):
        seen = {event.step: event.value for event in events.Scalars(f"train_steps/{term}")}
        assert seen == {point["step"]: pytest.approx(point[f"train_steps/{term}"], rel=1e-6) for point in points}
    assert set(json.loads((path / "summary.json").read_text())["metrics"]) == set(lines(path)[-1]) - {"step", "epoch"}
    # They decide nothing, so another number of them is no other run.
    again = train(Config(**small | {"name": "steps", "log_steps": 3}), runs=tmp_path)
    assert (again["status"], len((path / "steps.jsonl").read_text().splitlines())) == ("complete", 6)


def test_log_points_apart(small, tmp_path):
    """Every second epoch, and the last; the means of training are over the epochs since the log point before."""
    config = Config(**small | {"epochs": 5, "grad_every": 1, "grad_batches": 1})
    every = lines(Path(train(config, runs=tmp_path)["path"]))
    listener = Listener()
    apart = dataclasses.replace(config, name="apart", log_every=2, picture_every=2)
    path = Path(train(apart, runs=tmp_path, observer=listener)["path"])
    found = lines(path)
    assert [line["epoch"] for line in found] == [0, 2, 4, 5]
    measured = [elbo is not None for elbo in listener.elbos]
    assert list(itertools.compress(listener.epochs, measured)) == [0, 2, 4, 5]
    assert len(measured) == 6
    for line in found:
        same = every[line["epoch"]]
        assert {tag: value for tag, value in line.items() if not tag.startswith("train/")} == {
            tag: value for tag, value in same.items() if not tag.startswith("train/")
        }
    for line, epochs in zip(found[1:], ([1, 2], [3, 4], [5]), strict=True):
        for term in ("elbo", "reconstruction", "kl"):
            mean = np.mean([every[epoch][f"train/{term}"] for epoch in epochs])
            assert line[f"train/{term}"] == pytest.approx(mean, rel=1e-6)
    drawn = {picture.name for picture in (path / "pictures").iterdir()}
    assert drawn == {
        f"{name}_epoch{epoch:04d}.png"
        for name in ("reconstructions", "samples", "sigma_by_latent")
        for epoch in (2, 4, 5)
    }


def test_a_stop_between_log_points_is_one(small, tmp_path):
    summary = train_seeds(Config(**small | {"epochs": 50, "log_every": 20}), 1, runs=tmp_path, stopped=stopping(3))[0]
    assert (summary["status"], summary["epochs"]) == ("interrupted", 3)
    assert [line["epoch"] for line in lines(Path(summary["path"]))] == [0, 3]


def test_the_objective_is_logged_where_it_is_not_the_elbo(small, tmp_path):
    """β = 0 leaves the reconstruction alone; a warm-up that is not over in time leaves less of the KL than all."""
    plain = train(Config(**small | {"epochs": 1}), runs=tmp_path)["metrics"]
    assert "train/objective" not in plain
    none = train(Config(**small | {"epochs": 1, "beta": 0.0, "name": "none"}), runs=tmp_path)["metrics"]
    assert none["train/objective"] == pytest.approx(none["train/reconstruction"], rel=1e-6)
    part = train(Config(**small | {"epochs": 1, "beta_warmup": 1000, "name": "part"}), runs=tmp_path)["metrics"]
    assert part["train/elbo"] < part["train/objective"] < part["train/reconstruction"]


@pytest.mark.parametrize("how", ["threshold", "dynamic", "fixed"])
def test_binarised_runs(small, tmp_path, how):
    summary = train(Config(**small | {"binarisation": how, "epochs": 1}), runs=tmp_path)
    assert summary["status"] == "complete"


def test_no_hidden_layers(finished, tmp_path, monkeypatch):
    """A linear encoder and decoder: its trunk is a block without parameters, so without noise and without a ratio."""
    sizes, right = set(), run_record.estimates
    monkeypatch.setattr(run_record, "estimates", lambda *given, **named: sizes.add(given[1]) or right(*given, **named))
    summary = train(finished[0], runs=tmp_path)
    assert summary["status"] == "complete"
    assert summary["metrics"]["grad/variance/encoder"] == 0
    assert summary["metrics"]["grad/snr/encoder"] is None
    assert sizes == {50}  # A batch, and not one of the few probe batches.


def test_an_unwritable_runs_folder(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be (written|read).*"):
        train(Config(**small), runs=tmp_path / "file")
    assert (tmp_path / "file").read_text() == ""


def test_a_perturbed_twin_starts_a_bias_away(small, tmp_path):
    """By the arrays of the checkpoint, without learning: every update is skipped, as in the test below."""
    still = small | {"optimizer": "sgd", "epochs": 1, "skip_norm": 1e-6}
    arrays = []
    for perturb in (0.0, 0.25):
        path = Path(train(Config(**still, perturb=perturb), runs=tmp_path)["path"])
        with np.load(next(path.glob("checkpoint/*/arrays.npz")), allow_pickle=False) as file:
            arrays.append(dict(file))
    for name in arrays[0]:
        moved = np.asarray(arrays[1][name], np.float64) - arrays[0][name]
        if name == "params/mean_head/bias":
            np.testing.assert_allclose(moved, [0.25, 0, 0], atol=1e-7)
        else:
            np.testing.assert_array_equal(moved, 0)


def test_a_run_that_skips_every_update_has_diverged(small, tmp_path, monkeypatch):
    """Its parameters stay, and so does the gradient: it ends after an epoch, or with its last one, and says why."""
    config = Config(**small | {"optimizer": "sgd", "epochs": 3, "skip_norm": 1e-6, "log_every": 2})
    summary = train(config, runs=tmp_path)
    assert (summary["status"], summary["epochs"], summary["skipped_by_norm"]) == ("diverged", 3, 15)
    assert summary["first_non_finite"] == {"quantity": "no update", "block": None, "step": 15}
    assert divergence(summary) == "no update is made any more at step 15: the gradient's norm stays above --skip-norm"
    assert train(config, runs=tmp_path) == summary
    log = [json.loads(line) for line in (Path(summary["path"]) / "metrics.jsonl").read_text().splitlines()]
    assert [(line["train/skipped"], line["train/skipped_by_norm"]) for line in log] == [(0, 0), (10, 10), (15, 15)]
    assert log[0]["test/elbo"] == log[-1]["test/elbo"]
    monkeypatch.setattr("vaecli.training.run_record._LONG_WITHOUT", 6)
    early = train(dataclasses.replace(config, name="early"), runs=tmp_path)
    assert (early["status"], early["epochs"], early["steps"]) == ("diverged", 2, 10)
    # Stopped within, it counts on from its checkpoint.
    resumed = dataclasses.replace(config, name="resumed")
    assert train_seeds(resumed, 1, runs=tmp_path, stopped=stopping(1))[0]["status"] == "interrupted"
    assert train(resumed, runs=tmp_path)["first_non_finite"] == early["first_non_finite"]
