"""Runs of several variants in one batch: each is the run alone, and what is wrong with one ends no other."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from helpers.runs import Listener, same, stopping

from vaecli import Config, UsageError, train_runs
from vaecli.runs import checkpoint
from vaecli.runs.checkpoint import snapshots
from vaecli.runs.directory import claim
from vaecli.training import recorder, run_files
from vaecli.training.pack import Member, Place, train_pack
from vaecli.training.run_batch import RunBatch
from vaecli.training.train import checked
from vaecli.vae import compiled

pytestmark = pytest.mark.usefixtures("as_batched")

VARY = ["lr"]
CHANGES = ({"param": "logvar"}, {"param": "logstd", "lr": 0.01, "beta": 2.0}, {"param": "logprec", "lr": 0.003})
SEEDS = (0, 4)


@pytest.fixture(scope="module")
def variants(small):
    """The runs of three variants that share a program, two seeds each; without hidden layers, to compile less."""
    config = Config(**small | {"hidden": (), "epochs": 3})
    changed = [dataclasses.replace(config, **change) for change in CHANGES]
    return [[checked(dataclasses.replace(variant, seed=seed)) for seed in SEEDS] for variant in changed]


@pytest.fixture(scope="module")
def alone(variants, tmp_path_factory):
    """The summaries of these runs, each trained alone."""
    runs = tmp_path_factory.mktemp("alone")
    return [[train_runs([run.config], runs=runs, vary=VARY)[0] for run in variant] for variant in variants]


def three(of_variants):
    """Of what there is for each of these runs, that for three of two variants: so many train at a time in all tests."""
    return [of_variants[0], of_variants[1][:1]]


def other_three(of_variants):
    return [of_variants[1][1:], of_variants[2]]


def packed(variants, runs, **how):
    """The ending of each variant, trained in one pack, and what the observers saw."""
    listeners = [Listener() for _ in variants]
    members = [Member(variant, listener) for variant, listener in zip(variants, listeners, strict=True)]
    endings = dict(train_pack(members, Place(runs, VARY), **how))
    assert sorted(endings) == list(range(len(variants)))
    return [endings[number] for number in range(len(variants))], listeners


def all_same(endings, alone):
    for ending, summaries in zip(endings, alone, strict=True):
        for one, other in zip(ending, summaries, strict=True):
            same(one, other)


def test_a_run_of_a_pack_is_the_run_alone(variants, alone, tmp_path):
    """Bit for bit, since on a CPU the runs take turns; and every observer sees the mean of its own variant."""
    for part in (three, other_three):
        endings, listeners = packed(part(variants), tmp_path)
        all_same(endings, part(alone))
        for listener, summaries in zip(listeners, part(alone), strict=True):
            assert listener.epochs == [0, 1, 2, 3]
            mean = sum(summary["metrics"]["test/elbo"] for summary in summaries) / len(summaries)
            assert listener.elbos[-1] == pytest.approx(mean, rel=1e-6)
        again, listeners = packed(part(variants), tmp_path)
        assert again == endings
        assert not any(listener.epochs for listener in listeners)


def full(patch, broken):
    """Lets the disk be full when one run has its log point of the second epoch."""
    write = run_files.RunFiles.write_log_point

    def failing(files, step, epoch, *values):
        with run_files.usage_error_if_unwritable(files._path):
            if files._path == broken and epoch == 2:
                raise OSError(28, os.strerror(28))
        write(files, step, epoch, *values)

    patch.setattr(run_files.RunFiles, "write_log_point", failing)


@pytest.fixture
def one_program(monkeypatch):
    """Lets runs be one batched program, as on a GPU. No run alone has its bits, so that it may be compiled cheaply."""
    options = {name: value for name, value in compiled.compiler_options().items() if not name.startswith("xla_backend")}
    monkeypatch.setattr(compiled, "compiler_options", lambda: options)
    init = RunBatch.__init__
    monkeypatch.setattr(RunBatch, "__init__", lambda *args, vectorise: init(*args, vectorise=True))


@pytest.mark.usefixtures("one_program")
def test_a_pack_as_one_batched_program(variants, alone, tmp_path, monkeypatch):
    """As on a GPU: the numbers are those of the run alone up to rounding, and several threads write.

    One run diverges meanwhile, and another one cannot be written.
    """
    wild = dataclasses.replace(variants[0][1], config=dataclasses.replace(variants[0][1].config, lr=1e30))
    broken = tmp_path / "small/logprec,lr=0.003/seed4"
    full(monkeypatch, broken)
    endings, _ = packed([[variants[0][0], wild], *variants[1:]], tmp_path)
    assert endings[0][1]["first_non_finite"]["step"] <= 2
    assert str(endings[2]).startswith(f"{broken}: cannot be written")
    whole = json.loads((broken.parent / "seed0/summary.json").read_text())
    for one, other in zip([endings[0][0], *endings[1], whole], [alone[0][0], *alone[1], alone[2][0]], strict=True):
        assert one["status"] == "complete"
        for tag, value in other["metrics"].items():
            assert one["metrics"][tag] == pytest.approx(value, rel=1e-5), tag


@pytest.mark.usefixtures("one_program")
def test_checkpoints_of_one_program_take_a_share_of_the_time(variants, tmp_path, monkeypatch):
    """The next one waits until it is due by the time, but for that of the end; a kill costs the epochs since then."""
    monkeypatch.setattr(recorder, "_CHECKPOINTS_SHARE", 1e-9)
    whole, _ = packed(variants, tmp_path / "whole")
    seen = []

    class Killing(Listener):
        def epoch(self, epoch, elbo, images_per_second):
            found, _ = snapshots(tmp_path / "small/logprec,lr=0.003/seed4")
            seen.append([snapshot.step // 5 for snapshot in found])
            if epoch == 2:
                raise KeyboardInterrupt

    members = [Member(variant, Killing()) for variant in variants]
    with pytest.raises(KeyboardInterrupt):
        list(train_pack(members, Place(tmp_path, VARY)))
    assert seen[0] == []
    assert seen[-1] == [1]
    endings, listeners = packed(variants, tmp_path)
    all_same(endings, whole)
    assert any("going on after epoch 1" in note for listener in listeners for note in listener.notes)


def test_stopped_and_gone_on_with_others_that_are_ahead(variants, alone, tmp_path):
    """Three runs are complete, two were stopped after two epochs, and one begins: all end as they do alone.

    So as many train at a time as in other tests, with the programs of these.
    """
    for run in (variants[0][0], *variants[2]):
        train_runs([run.config], runs=tmp_path, vary=VARY)
    for run in variants[1]:
        train_runs([run.config], runs=tmp_path, vary=VARY, stopped=stopping(2))
    endings, _ = packed(variants, tmp_path, stopped=stopping(2))
    statuses = [[summary["status"] for summary in ending] for ending in endings]
    assert statuses == [["complete", "interrupted"], ["interrupted"] * 2, ["complete"] * 2]
    endings, listeners = packed(variants, tmp_path)
    all_same(endings, alone)
    assert any("going on after epoch 2" in note for listener in listeners for note in listener.notes)


def test_runs_of_different_epochs_resume_together_at_one(variants, alone, tmp_path, monkeypatch):
    """After a kill between two checkpoints of a batch one run is an epoch behind, and the others go back there.

    That this is another environment is noted once for all.
    """
    stopped, _ = packed(three(variants), tmp_path, stopped=stopping(2))
    paths = [Path(summary["path"]) for ending in stopped for summary in ending]
    for path in paths:
        (path / "summary.json").unlink()
    checkpoint._remove(paths[1], "step0000010")
    monkeypatch.setenv("PJRT_NPROC", "77")
    endings, listeners = packed(three(variants), tmp_path)
    all_same(endings, three(alone))
    assert {summary["environment"]["threads"] for ending in endings for summary in ending} == {77}
    (note, of_environment), other_notes = (listener.notes for listener in listeners)
    assert f"{paths[0]} and 2 others: going on after epoch 1" in note
    assert ", now 77; its last digits may differ" in of_environment
    assert not other_notes


def test_a_variant_that_cannot_be_trained_ends_no_other(variants, alone, tmp_path):
    """The run of one is held by another process; what lies in the place of another is no run.

    The one between them has a third seed, so that three runs train, as where memory runs out.
    """
    further = checked(dataclasses.replace(variants[1][0].config, seed=7))
    expected = [*alone[1], *train_runs([further.config], runs=tmp_path / "alone", vary=VARY)]
    runs = [tmp_path / "small" / name for name in ("logvar,lr=0.001/seed0", "logprec,lr=0.003/seed4")]
    runs[1].mkdir(parents=True)
    (runs[1] / "config.toml").write_text("nonsense")
    held = claim(runs[0])
    try:
        endings, listeners = packed([variants[0], [*variants[1], further], variants[2]], tmp_path)
    finally:
        held.release()
    assert [type(ending) for ending in endings] == [UsageError, list, UsageError]
    assert "another process is working on this run" in str(endings[0])
    assert "--overwrite" in str(endings[2])
    all_same(endings[1:2], [expected])
    assert [listener.epochs for listener in listeners] == [[], [0, 1, 2, 3], []]
    assert not (runs[0].parent / "seed4").exists()
    claim(runs[1].parent / "seed0").release()


def test_a_disk_that_fails_one_run_ends_no_other(variants, alone, tmp_path, monkeypatch):
    """The others of its variant go on, too; what it has is kept, and it goes on once it can."""
    broken = tmp_path / "small/logstd,lr=0.01/seed0"
    with monkeypatch.context() as patch:
        full(patch, broken)
        endings, listeners = packed([variants[0][:1], variants[1]], tmp_path)
    assert str(endings[1]).startswith(f"{broken}: cannot be written (No space left on device)")
    all_same(endings[:1], [alone[0][:1]])
    assert listeners[1].epochs == [0, 1, 2, 3]
    assert (broken.parent / "seed4" / "summary.json").exists()
    assert not (broken / "summary.json").exists()
    endings, listeners = packed([variants[0][:1], variants[1]], tmp_path)
    all_same(endings, [alone[0][:1], alone[1]])
    assert any("going on after epoch 1" in note for note in listeners[1].notes)


def test_one_diverges_while_others_go_on(variants, alone, tmp_path):
    lost = [
        dataclasses.replace(run, config=dataclasses.replace(run.config, lr=1e30, optimizer="adam"))
        for run in variants[0]
    ]
    endings, listeners = packed([lost, variants[1][:1]], tmp_path)
    assert [summary["status"] for summary in endings[0]] == ["diverged"] * 2
    all_same(endings[1:], [alone[1][:1]])
    assert listeners[0].epochs == [0, 1]


def test_memory_that_runs_out_halves_the_pack(variants, alone, tmp_path, monkeypatch):
    """Once there are checkpoints, which the halves go on from."""
    measure, sizes = RunBatch.measure, []

    def scarce(batch, epoch, *args, **kwargs):
        sizes.append(len(batch._configs))
        if epoch == 2 and sizes[-1] > 1:
            raise MemoryError
        return measure(batch, epoch, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(RunBatch, "measure", scarce)
        endings, listeners = packed(three(variants), tmp_path, halve=True)
    all_same(endings, three(alone))
    assert "memory ran out with 3 runs at a time; going on with 1" in listeners[0].notes
    assert set(sizes) == {3, 1}
    shutil.rmtree(tmp_path / "small")
    monkeypatch.setattr(RunBatch, "measure", scarce)
    endings, _ = packed(three(variants), tmp_path)
    assert {str(ending) for ending in endings} == {
        "memory ran out, with --pack 3, --hidden '', --latent 3, --batch-size 50; make them smaller, or use a "
        "machine with more memory"
    }


def test_runs_of_any_settings_from_python(variants, alone, tmp_path):
    """Those that share a program are one batch; two runs need two directories."""
    configs = [run.config for variant in variants for run in variant]
    other = dataclasses.replace(configs[0], epochs=1)
    listener = Listener()
    given = [configs[0], other, *configs[2:4]]
    summaries = train_runs(given, runs=tmp_path, vary=["lr", "epochs"], observer=listener)
    assert listener.epochs == [0, 1, 2, 3, 0, 1]
    assert [Path(summary["path"]).parent.name for summary in summaries] == [
        "logvar,epochs=3,lr=0.001",
        "logvar,epochs=1,lr=0.001",
        "logstd,epochs=3,lr=0.01",
        "logstd,epochs=3,lr=0.01",
    ]
    same(summaries[0], alone[0][0])
    same(summaries[2], alone[1][0])
    same(summaries[3], alone[1][1])
    with pytest.raises(UsageError, match="would hold two of the runs; name what they differ in with vary"):
        train_runs([configs[0], dataclasses.replace(configs[0], lr=0.5)], runs=tmp_path)
