"""No room on the disk, no permission, no memory, and damage that its checksums do not show."""

import errno
import hashlib
import json
import math
import os
import random
import shutil
from pathlib import Path

import jax
import pytest
from helpers.commands import flags_of
from helpers.runs import cut, same

from vaecli import Config, UsageError, train_seeds
from vaecli.analysis.evaluate import evaluate
from vaecli.cli.main import main
from vaecli.runs import checkpoint, files, lock
from vaecli.training.checkpoint_record import check_record
from vaecli.training.run_batch import RunBatch

RUN = Path("small/logvar/seed0")

SEEDS = 2
"""Of all runs here, so that one program trains them."""


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    return train_seeds(Config(**small), SEEDS, runs=tmp_path_factory.mktemp("whole"))


@pytest.fixture
def path(whole, tmp_path):
    shutil.copytree(Path(whole[0]["path"]).parents[2], tmp_path, dirs_exist_ok=True)
    return tmp_path / RUN


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def no_lock(monkeypatch):
    """As on a disk that can only be read."""

    def read_only(path, flags=os.O_RDONLY):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(lock, "open_regular", read_only)


def full(monkeypatch):
    """As on a disk that fills up while the run is evaluated."""

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", no_space)


def damaged(monkeypatch):
    """The summary is damaged meanwhile."""
    monkeypatch.setattr("vaecli.analysis.evaluate.read_summary", raising)


def raising(path):
    raise UsageError(f"{path}/summary.json: is damaged")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (no_lock, "cannot be written (Read-only file system)"),
        (full, "cannot be written (No space left on device)"),
        (damaged, "summary.json: is damaged"),
    ],
)
def test_a_result_that_cannot_be_stored_is_printed(path, capsys, monkeypatch, fault, reason):
    wanted = evaluate(path, samples=2)
    assert wanted.pop("stored")
    before = contents(path)
    fault(monkeypatch)
    assert main(["evaluate", str(path), "--samples", "2", "--json"]) == 0
    streams = capsys.readouterr()
    result = json.loads(streams.out)
    assert result.pop("stored") is False
    assert result == wanted
    warning, of_the_nll = [line for line in streams.err.splitlines() if line.startswith("vae: ")]
    assert warning.endswith(f"{reason}; the result is shown, and not stored")
    assert of_the_nll == "vae: the NLL has no interval: that takes 64 samples"
    assert contents(path) == before


MEMORY = [
    MemoryError("Unable to allocate 3.64 TiB"),
    jax.errors.JaxRuntimeError(
        "INTERNAL: Error dispatching computation: Out of memory allocating 4000000000000 bytes."
    ),
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4000000000000 bytes."),
]


@pytest.mark.parametrize("error", MEMORY)
@pytest.mark.parametrize("overwrite", [False, True])
def test_memory_that_runs_out_leaves_no_run_behind(small, whole, tmp_path, capsys, monkeypatch, error, overwrite):
    def initial_state(batch):
        raise error

    if overwrite:
        shutil.copytree(Path(whole[0]["path"]).parents[2], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(RunBatch, "initial_state", initial_state)
    argv = ["train", *flags_of(small), "--seeds", str(SEEDS), "--runs", str(tmp_path), *["--overwrite"] * overwrite]
    assert main(argv) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    named = f"--seeds {SEEDS}, --hidden 12, --latent 3, --batch-size 50"
    assert last == f"vae: memory ran out, with {named}; make them smaller, or use a machine with more memory"
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    assert list(tmp_path.rglob("seed*")) == []


def test_memory_that_runs_out_later_loses_no_checkpoint(small, whole, tmp_path, monkeypatch):
    measure = RunBatch.measure

    def sometimes(batch, epoch, *args, **kwargs):
        if epoch == 2:
            raise MemoryError
        return measure(batch, epoch, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(RunBatch, "measure", sometimes)
        with pytest.raises(UsageError, match="memory ran out"):
            train_seeds(Config(**small), SEEDS, runs=tmp_path)
    assert checkpoint.snapshots(tmp_path / RUN)[0]
    for again, undisturbed in zip(train_seeds(Config(**small), SEEDS, runs=tmp_path), whole, strict=True):
        same(again, undisturbed)


def test_memory_that_runs_out_elsewhere(path, capsys, monkeypatch):
    def weigh(*args):
        raise MemoryError

    monkeypatch.setattr("vaecli.analysis.evaluate._batches", weigh)
    assert main(["evaluate", str(path), "--samples", "7"]) == 2
    assert "memory ran out, with --samples 7, --hidden 12" in capsys.readouterr().err
    monkeypatch.setattr("vaecli.report.compare.compare", weigh)
    assert main(["compare", str(path)]) == 2
    assert capsys.readouterr().err.startswith("vae: memory ran out; ask for less")


def write_checksums(folder):
    """Makes a checkpoint's checksums those of its files; returns what the summary records of them."""
    text = checkpoint._checksums(folder)
    folder.with_name(f"{folder.name}.sha256").write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("flips", [5, pytest.param(25, marks=pytest.mark.long)])
def test_damage_with_checksums_of_its_own(path, capsys, flips):
    """Bits that flip in any file, and what is not JSON: one line or the same result, and never a traceback."""
    (folder,) = (path / "checkpoint").glob("step???????")
    rng = random.Random(0)
    kept = {file: file.read_bytes() for file in [*folder.iterdir(), path / "summary.json"] if file.is_file()}
    damages = [(folder / "record.json", text) for text in (b"", b"{", b"[]", b"{}", b"\xff", b"[" * 10**5)]
    arrays = folder / "arrays.npz"
    damages += [(arrays, data) for data in (b"", b"PK\x03\x04", b"\x93NUMPY", kept[arrays][:-9])]
    for _ in range(flips):
        file = rng.choice([file for file in kept if file.parent == folder])
        data = bytearray(kept[file])
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        damages.append((file, bytes(data)))
    codes = set()
    for file, data in damages:
        file.write_bytes(data)
        summary = json.loads(kept[path / "summary.json"]) | {"checkpoint_sha256": write_checksums(folder)}
        (path / "summary.json").write_text(json.dumps(summary))
        codes.add(main(["evaluate", str(path), "--samples", "2"]))
        err = capsys.readouterr().err
        assert "unexpected" not in err, (file.name, data[:50], err)
        for name, content in kept.items():
            name.write_bytes(content)
    assert codes == {0, 2}


def test_a_record_with_checksums_of_its_own(small, tmp_path):
    """A run goes on from no record that says what no run does."""
    path, _ = cut(Config(**small), tmp_path, SEEDS, after=1)
    (folder,) = (path / "checkpoint").glob("step???????")
    record = json.loads((folder / "record.json").read_text())
    check_record(record)
    for key in ("epoch", "pending", "ended", "unsound", "metrics", "sums", "best", "wall_time_s", "logs", "versions"):
        for value in ("text", [1], {"a": []}, math.inf, True if key != "pending" else 1):
            with pytest.raises(UsageError, match=f"its record has no usable '{key}'"):
                check_record(record | {key: value})
        with pytest.raises(UsageError, match=f"its record has no usable '{key}'"):
            check_record({name: value for name, value in record.items() if name != key})
    (folder / "record.json").write_text(json.dumps(record | {"sums": [[1]]}))
    write_checksums(folder)
    with pytest.raises(UsageError, match=r"is not a checkpoint of this version .its record has no usable 'sums'"):
        train_seeds(Config(**small), SEEDS, runs=tmp_path)


def test_a_disk_that_turns_read_only_between_lock_and_config(small, tmp_path, capsys, monkeypatch):
    """Nor does the lock's file go away then."""
    read_only = []

    def refuse(*args, **kwargs):
        read_only.append(None)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    unlink = Path.unlink

    def maybe(self, **kwargs):
        if read_only:
            refuse()
        unlink(self, **kwargs)

    monkeypatch.setattr("vaecli.runs.directory.write_atomically", refuse)
    monkeypatch.setattr(Path, "unlink", maybe)
    assert main(["train", *flags_of(small), "--runs", str(tmp_path)]) == 2
    assert "cannot be written (Read-only file system)" in capsys.readouterr().err
