"""Runs that were cut off resume, bit for bit; one that cannot resume says why."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from helpers.data import write_data
from helpers.runs import Listener, cut, same, stopping

import vaecli.data.dataset
from vaecli import Config, UsageError, train, train_seeds
from vaecli.analysis.evaluate import evaluate
from vaecli.cli.commands.train import _print_summaries
from vaecli.runs import checkpoint
from vaecli.runs.directory import claim
from vaecli.runs.provenance import versions
from vaecli.training.progress import Silent


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Log points, statistics, pictures and checkpoints that fall on different epochs, with a validation split.

    Without hidden layers, so that there is less to compile.
    """
    data = write_data(tmp_path_factory.mktemp("data"), train=260)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vaecli.data.dataset, "VALIDATION_SIZE", 30)
        yield Config(
            name="small",
            data_dir=str(data),
            validation=True,
            hidden=(),
            latent=3,
            epochs=7,
            batch_size=50,
            log_every=2,
            grad_every=4,
            grad_batches=1,
            picture_every=4,
            log_steps=2,
            lr_warmup=12,
        )


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """Two seeds that nobody stopped, each trained alone, as all runs below are.

    Those that go on together, and that a run has the same bits in a batch and alone, are seen in test_pack.py.
    """
    runs = tmp_path_factory.mktemp("whole")
    return [train(dataclasses.replace(config, seed=seed), runs=runs) for seed in (0, 1)]


@pytest.fixture(scope="module")
def cut_off(config, tmp_path_factory):
    """The folder of a run that was killed after its fourth epoch; not to be changed, but to be copied."""
    runs = tmp_path_factory.mktemp("cut")
    cut(config, runs)
    return runs


def copied(runs, folder):
    """Copies the run of the first seed into another folder; returns its directory."""
    place = Path("small", "logvar", "seed0")
    return shutil.copytree(runs / place, folder / place)


def test_dynamic_loss_scale_resumes_where_it_was(config, tmp_path, monkeypatch):
    """It has doubled and halved by then; both numbers that it has are in the checkpoint."""
    # So large, and the gradient so large by β, that float32 overflows; float16 takes three times as long to compile.
    monkeypatch.setattr("vaecli.vae.loss_scale.FIRST", 2.0**126)
    monkeypatch.setattr("vaecli.vae.loss_scale.GREATEST", 2.0**126)
    monkeypatch.setattr("vaecli.vae.loss_scale.GOOD_STEPS", 9)
    scaled = dataclasses.replace(config, loss_scale="dynamic", grad_every=0, beta=100.0)
    unstopped = train(scaled, runs=tmp_path / "whole")
    log = [json.loads(line) for line in Path(unstopped["path"], "metrics.jsonl").read_text().splitlines()]
    factors = [point["train/loss_scale"] for point in log]
    assert factors[0] == 2.0**126
    assert min(factors) < factors[-1] < 2.0**126
    assert 0 < log[-1]["train/skipped"] == unstopped["skipped_updates"] < 35
    train_seeds(scaled, 1, runs=tmp_path / "stopped", stopped=stopping(3))
    same(train(scaled, runs=tmp_path / "stopped"), unstopped)


def test_the_best_so_far_is_kept(config, tmp_path):
    """Its parameters are in the checkpoint; the learning rate is so large that the best is not the last."""
    config = dataclasses.replace(config, lr=10.0)
    whole = train(config, runs=tmp_path / "whole")
    assert whole["best"]["epoch"] < 4
    for after in (3, 2):
        train_seeds(config, 1, runs=tmp_path / "cut", stopped=stopping(after))
    same(train(config, runs=tmp_path / "cut"), whole)


def test_the_best_of_a_stopped_run_is_that_of_its_checkpoint(config, tmp_path):
    """Its σ is so small that one draw an image says nearly what thousands do."""
    config = dataclasses.replace(config, init_std=0.01)
    (stopped,) = train_seeds(config, 1, runs=tmp_path, stopped=stopping(3))
    found = checkpoint.snapshot(Path(stopped["path"]), stopped["steps"], stopped["checkpoint_sha256"])
    assert stopped["best"] == {"epoch": found.record["best"]["epoch"], "validation/elbo": found.record["best"]["value"]}
    evaluated = evaluate(stopped["path"], samples=3000, split="validation", checkpoint="best")
    assert evaluated["epoch"] == stopped["best"]["epoch"]
    assert evaluated["elbo"] == pytest.approx(stopped["best"]["validation/elbo"], abs=0.02)


@pytest.mark.parametrize("stops", [[1], pytest.param([3], marks=pytest.mark.long), [4, 1], [0, 2, 1, 1]])
def test_stopped_and_resumed(config, whole, tmp_path, stops):
    """Stopped between log points, at one, before the first epoch, and again and again."""
    for after in stops:
        (stopped,) = train_seeds(config, 1, runs=tmp_path, stopped=stopping(after))
        assert stopped["status"] == "interrupted"
        log = (Path(stopped["path"]) / "metrics.jsonl").read_text().splitlines()
        assert json.loads(log[-1])["epoch"] == stopped["epochs"]
    listener = Listener()
    ended = train(config, runs=tmp_path, observer=listener)
    same(ended, whole[0])
    assert ended["wall_time_s"] > sum(stops) * 1e-4
    (note,) = listener.notes
    assert f"seed0: going on after epoch {sum(stops)}" in note
    assert min(listener.epochs) in (sum(stops), sum(stops) + 1)


@pytest.mark.parametrize(
    ("changes", "quantity"),
    [
        ({"lr": 1e30}, "train/"),
        pytest.param({"lr": 100.0, "optimizer": "sgd"}, "t", marks=pytest.mark.long),
        ({"lr": 100.0, "optimizer": "sgd", "on_nonfinite": "skip"}, "test/kl"),
    ],
)
def test_killed_between_divergence_and_summary(config, tmp_path, changes, quantity):
    """A step after which a number was not finite is neither trained again nor passed over."""
    config = dataclasses.replace(config, **changes)
    summary = train(config, runs=tmp_path)
    assert summary["status"] == "diverged"
    assert summary["first_non_finite"]["quantity"].startswith(quantity)
    # Within an epoch, what came before the step; of 5 steps the last is by itself.
    points = (Path(summary["path"]) / "steps.jsonl").read_text().splitlines()
    ends = [step for step in range(1, 36) if step % 5 in (0, 2, 4) and step <= summary["first_non_finite"]["step"]]
    assert [json.loads(point)["step"] for point in points] == ends
    (Path(summary["path"]) / "summary.json").unlink()
    again = train(config, runs=tmp_path)
    same(again, summary)
    assert again == {**summary, "wall_time_s": again["wall_time_s"], "images_per_second": again["images_per_second"]}


def test_a_stop_at_a_log_point_without_numbers(config, tmp_path, capsys):
    """Under skip such a run goes on; what is printed of it, and its summary, are in order."""
    config = dataclasses.replace(config, lr=100.0, optimizer="sgd", on_nonfinite="skip")
    stopped = train_seeds(config, 1, runs=tmp_path, stopped=stopping(4))
    _print_summaries(stopped)
    assert "interrupted after 4 epochs, test ELBO not finite" in capsys.readouterr().out
    assert train(config, runs=tmp_path)["status"] == "diverged"


def test_killed_after_a_checkpoint(config, whole, cut_off, tmp_path):
    """What was logged after the last checkpoint is cut off."""
    path = copied(cut_off, tmp_path)
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 25, "epoch": 5')
    (events,) = path.glob("events*")
    with events.open("ab") as file:
        file.write(events.read_bytes()[-50:])
    (path / ".summary.json.x.vae-tmp").write_text("{")
    (path / "checkpoint" / "step0000025.orbax-checkpoint-tmp-1").mkdir()
    (path / "checkpoint" / "step0000025").mkdir()
    same(train(config, runs=tmp_path), whole[0])


def test_killed_before_its_summary(config, whole, tmp_path):
    """All epochs are there; what is left is to write the summary, without training."""
    shutil.copytree(Path(whole[0]["path"]).parents[2], tmp_path, dirs_exist_ok=True)
    (tmp_path / "small/logvar/seed0/summary.json").unlink()
    listener = Listener()
    same(train(config, runs=tmp_path, observer=listener), whole[0])
    assert listener.epochs == []


def test_killed_before_its_first_checkpoint(config, whole, tmp_path):
    (path,) = cut(config, tmp_path, after=2)
    shutil.rmtree(path / "checkpoint")
    same(train(config, runs=tmp_path), whole[0])
    assert len(list(path.glob("events*"))) == 1


@pytest.mark.parametrize("left", [[], [".config.toml.x.vae-tmp"], [".lock", ".summary.json.x.vae-tmp"]])
def test_killed_before_its_config(config, whole, tmp_path, left):
    path = tmp_path / "small/logvar/seed0"
    path.mkdir(parents=True)
    for name in left:
        (path / name).write_text("")
    same(train(config, runs=tmp_path), whole[0])


def test_new_seeds_beside_unfinished_ones(config, whole, cut_off, tmp_path):
    copied(cut_off, tmp_path)
    for one, other in zip(train_seeds(config, 2, runs=tmp_path), whole, strict=True):
        same(one, other)


def flip(path, at=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["arrays.npz", "record.json", "_CHECKPOINT_METADATA", "../step0000020.sha256"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(config, whole, cut_off, tmp_path, name):
    path = copied(cut_off, tmp_path)
    flip(path / "checkpoint/step0000020" / name)
    listener = Listener()
    same(train(config, runs=tmp_path, observer=listener), whole[0])
    assert "step0000020: the checkpoint is damaged" in listener.notes[0]
    assert "after epoch 3" in listener.notes[1]


def test_no_checkpoint_is_left(config, whole, cut_off, tmp_path):
    path = copied(cut_off, tmp_path)
    for file in path.glob("checkpoint/*/arrays.npz"):
        file.write_bytes(file.read_bytes()[:-1])
    before = sorted(file for file in path.rglob("*"))
    with pytest.raises(UsageError, match=r"step0000020: the checkpoint is damaged.*--overwrite starts the run anew"):
        train(config, runs=tmp_path)
    assert before == sorted(file for file in path.rglob("*"))
    same(train(config, runs=tmp_path, overwrite=True), whole[0])


@pytest.mark.parametrize("name", ["metrics.jsonl", "events*"])
def test_a_log_that_lost_its_beginning(config, cut_off, tmp_path, name):
    path = copied(cut_off, tmp_path)
    (log,) = path.glob(name)
    flip(log, at=20)
    with pytest.raises(UsageError, match=r"is not what it was at step 20; no other checkpoint is left"):
        train(config, runs=tmp_path)


def test_other_settings(config, cut_off, tmp_path):
    path = copied(cut_off, tmp_path)
    with pytest.raises(UsageError, match=r"holds another config \(lr is 0.001 there and 0.1 here"):
        train(dataclasses.replace(config, lr=0.1), runs=tmp_path)
    text = (path / "config.toml").read_text()
    (path / "config.toml").write_text(text.replace("lr = 0.001", "lr = 0.1"))
    with pytest.raises(
        UsageError, match=r"config.toml: was changed after the run began \(lr is 0.001 there and 0.1 here"
    ):
        train(dataclasses.replace(config, lr=0.1), runs=tmp_path)
    (path / "config.toml").write_text(text)
    # How often it is saved changes no result.
    assert train(dataclasses.replace(config, checkpoint_every=0), runs=tmp_path)["status"] == "complete"


def test_other_data(config, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(config.data_dir, folder)
    config = dataclasses.replace(config, data_dir=str(folder))
    cut(config, tmp_path)
    flip(folder / "t10k-images-idx3-ubyte")
    with pytest.raises(UsageError, match=r"the data are no longer what the run began with; --overwrite"):
        train(config, runs=tmp_path)
    folder.rename(tmp_path / "moved")
    config = dataclasses.replace(config, data_dir=str(tmp_path / "moved"))
    places = rf"with \(in {folder}, now {tmp_path / 'moved'}\); --overwrite it"
    with pytest.raises(UsageError, match=places):
        train(config, runs=tmp_path)


def test_data_in_another_place(config, whole, cut_off, tmp_path):
    """They are known by their content: of the images, since nothing uses labels."""
    moved, link = tmp_path / "moved", tmp_path / "link"
    shutil.copytree(config.data_dir, moved, ignore=shutil.ignore_patterns("*labels*"))
    link.symlink_to(moved)
    path = copied(cut_off, tmp_path)
    listener = Listener()
    ended = train(dataclasses.replace(config, data_dir=f"{link}/"), runs=tmp_path, observer=listener)
    same(ended, whole[0])
    assert listener.notes == [f"{path}: going on after epoch 4"]
    assert set(ended["data_sha256"]) == {"train-images", "t10k-images"}
    assert f'data_dir = "{moved}"' in (path / "config.toml").read_text()
    # A run that is complete is so wherever its data lie.
    assert train(config, runs=tmp_path) == ended
    flip(moved / "t10k-images-idx3-ubyte")
    other = shutil.copytree(moved, tmp_path / "other")
    with pytest.raises(UsageError, match=rf"holds a run on other data \(in {moved}, not {other}\); choose another"):
        train(dataclasses.replace(config, data_dir=str(other)), runs=tmp_path)
    # Where nothing says that they are others, they are not read.
    assert train(dataclasses.replace(config, data_dir=str(moved)), runs=tmp_path) == ended


def test_other_versions_are_noted(config, cut_off, tmp_path, monkeypatch):
    copied(cut_off, tmp_path)
    from vaecli.training import resume

    monkeypatch.setattr(resume, "versions", lambda: {**versions(), "jax": "0.99"})
    listener = Listener()
    train(config, runs=tmp_path, observer=listener)
    assert "began with jax 0." in listener.notes[1]
    assert ", now 0.99; its last digits may differ" in listener.notes[1]


def test_another_environment_is_noted(config, whole, cut_off, tmp_path, monkeypatch):
    """XLA has read its own variables long before."""
    path = copied(cut_off, tmp_path)
    (record,) = (path / "checkpoint/step0000015").glob("record.json")
    assert json.loads(record.read_text())["environment"]["device"] == "cpu"
    monkeypatch.setenv("PJRT_NPROC", "77")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    listener = Listener()
    ended = train(config, runs=tmp_path, observer=listener)
    assert ", now 77, NVIDIA_TF32_OVERRIDE unset, now 1; its last digits may differ" in listener.notes[1]
    assert len(listener.notes) == 2
    same(ended, whole[0])
    assert ended["environment"]["threads"] == 77
    assert whole[0]["environment"]["threads"] != 77


def test_checkpoints_apart(config, tmp_path):
    """There is one every third epoch; the last two stay while a run is under way, and one when it is over."""
    apart = dataclasses.replace(config, checkpoint_every=3)
    seen = []

    class Looking(Silent):
        def epoch(self, epoch, elbo, images_per_second):
            found, _ = checkpoint.snapshots(tmp_path / "small/logvar/seed0")
            seen.append([snapshot.step // 5 for snapshot in found])

    train(apart, runs=tmp_path, observer=Looking())
    assert seen == [[], [], [], [3], [3], [3], [6, 3], [7, 6]]
    found, _ = checkpoint.snapshots(tmp_path / "small/logvar/seed0")
    assert [snapshot.step for snapshot in found] == [35]


def test_a_lock_of_the_dead_is_taken_over(config, tmp_path):
    path = tmp_path / "small/logvar/seed0"
    path.mkdir(parents=True)
    (path / ".lock").write_text("process 1 on elsewhere\n")
    held = claim(path)
    with pytest.raises(UsageError, match=r"another process .*\(process \d+ on "):
        claim(path)
    held.release()


class KilledError(Exception):
    """What ends a run as a kill would."""


class Dying(Silent):
    """Ends a run as a kill would, once an epoch is written with its checkpoint."""

    def __init__(self, epoch):
        self._last = epoch

    def epoch(self, epoch, elbo, images_per_second):
        if epoch == self._last:
            raise KilledError


def test_runs_that_do_not_share_their_next_step(config, whole, tmp_path):
    """One has the log point of their epoch and one does not; and one starts beside one that stopped at its start."""
    train_seeds(config, 1, runs=tmp_path, stopped=stopping(2))
    with pytest.raises(KilledError):
        train(dataclasses.replace(config, seed=1), runs=tmp_path, observer=Dying(2))
    for one, other in zip(train_seeds(config, 2, runs=tmp_path), whole, strict=True):
        same(one, other)
    train_seeds(config, 1, runs=tmp_path / "start", stopped=stopping(0))
    for one, other in zip(train_seeds(config, 2, runs=tmp_path / "start"), whole, strict=True):
        same(one, other)


def test_no_run_goes_back_farther_than_its_interval(config, whole, tmp_path):
    apart = dataclasses.replace(config, checkpoint_every=0)
    for after in (1, 4):
        train_seeds(apart, 1, runs=tmp_path, stopped=stopping(after))
    train_seeds(dataclasses.replace(apart, seed=1), 1, runs=tmp_path, stopped=stopping(1))
    listener = Listener()
    for one, other in zip(train_seeds(apart, 2, runs=tmp_path, observer=listener), whole, strict=True):
        same(one, other)
    assert [note.rsplit(maxsplit=1)[1] for note in listener.notes] == ["1", "5"]


def test_after_a_stop_no_other_group_begins(config, tmp_path):
    train_seeds(config, 1, runs=tmp_path, stopped=stopping(4))
    first, second = train_seeds(config, 2, runs=tmp_path, stopped=stopping(1))
    assert (first["status"], second["status"]) == ("interrupted", "interrupted")
    assert {first["epochs"], second["epochs"]} == {0, 1}


def test_points_within_epochs_may_begin_and_end_when_a_run_goes_on(config, whole, tmp_path):
    """They are no part of what a run is; each session writes its own, and the log has each once."""
    for after, log_steps in ((2, 0), (2, 2), (1, 0), (9, 2)):
        changed = dataclasses.replace(config, log_steps=log_steps)
        (summary,) = train_seeds(changed, 1, runs=tmp_path, stopped=stopping(after))
    path, other = Path(summary["path"]), Path(whole[0]["path"])
    assert (path / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    points, all_points = ((one / "steps.jsonl").read_text().splitlines() for one in (path, other))
    assert points == [line for line in all_points if json.loads(line)["step"] in (*range(11, 21), *range(26, 36))]


def rewritten(path, change):
    """Changes the record of a run's newest checkpoint, as somebody does who knows how to write checksums."""
    (newest, _), _ = checkpoint.snapshots(path)
    record = json.loads((newest.folder / "record.json").read_text())
    change(record)
    (newest.folder / "record.json").write_text(json.dumps(record))
    newest.folder.with_name(f"{newest.folder.name}.sha256").write_text(checkpoint._checksums(newest.folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["logs"].update({"../../../../victim": record["logs"]["metrics.jsonl"]}),
        lambda record: record["logs"].update({"events.out.tfevents./../../../../../victim": {}}),
        lambda record: record.pop("logs"),
        lambda record: record.pop("pending"),
        lambda record: record.update(config="[run]\nname = 3"),
        lambda record: record.update(config="[run]\nnothing = 3"),
        lambda record: record.update(config=3),
    ],
)
def test_a_foreign_checkpoint_is_refused(config, cut_off, tmp_path, change):
    (tmp_path / "victim").write_text("mine")
    path = copied(cut_off, tmp_path / "runs")
    rewritten(path, change)
    with pytest.raises(UsageError, match="is not a checkpoint of this version"):
        train(config, runs=tmp_path / "runs")
    assert (tmp_path / "victim").read_text() == "mine"


def test_strangers_beside_checkpoints_stay(config, whole, cut_off, tmp_path):
    path = copied(cut_off, tmp_path)
    for name in ("step", ".sha256", "step00000", "notes.txt", "step0000035x"):
        (path / "checkpoint" / name).write_text("mine")
    train(config, runs=tmp_path)
    (found,), _ = checkpoint.snapshots(path)
    assert found.step == 35
    assert len(list((path / "checkpoint").iterdir())) == 2 + 5


def test_lost_checksums_are_not_a_fresh_start(config, cut_off, tmp_path):
    path = copied(cut_off, tmp_path)
    for sums in path.glob("checkpoint/*.sha256"):
        sums.unlink()
    with pytest.raises(UsageError, match=r"checksums of its checkpoints are gone \(step0000020.sha256\)"):
        train(config, runs=tmp_path)
    assert len(list((path / "checkpoint").iterdir())) == 2


@pytest.mark.parametrize("name", ["checkpoint", "pictures"])
def test_a_file_where_a_folder_belongs(config, cut_off, tmp_path, name):
    path = copied(cut_off, tmp_path)
    shutil.rmtree(path / name, ignore_errors=True)
    (path / name).write_text("")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=rf"{name}: is a file where a run has a folder; move it away"):
            train(config, runs=tmp_path, overwrite=overwrite)
