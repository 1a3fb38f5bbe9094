"""Flipped bits and cut files, anywhere in the data and in a checkpoint: none is taken for what was written."""

import random
import shutil
from pathlib import Path

import pytest
from helpers.runs import cut

import vaecli.data.dataset
from vaecli import Config, UsageError
from vaecli.data import load
from vaecli.runs import checkpoint

MNIST = Path(vaecli.data.dataset.__file__).parent / "mnist"
DAMAGES = 50


def damage(path, rng):
    """Flips a bit of a file, or cuts it."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        data[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
        return f"bit of byte {at} of {path.name}"
    path.write_bytes(bytes(data[:at]))
    return f"{path.name} cut to {at} bytes"


def test_data(tmp_path, monkeypatch):
    """The files in the package, and their list of checksums."""
    monkeypatch.setattr(vaecli.data.dataset, "_EMBEDDED", tmp_path)
    rng = random.Random(0)
    names = [path.name for path in MNIST.iterdir() if path.suffix == ".gz"]
    shutil.copytree(MNIST, tmp_path, dirs_exist_ok=True)
    load(Config())
    for name in [*rng.choices(names, k=DAMAGES - 5), *["SHA256SUMS"] * 5]:
        damage(tmp_path / name, rng)
        with pytest.raises(UsageError, match=r"its SHA-256 is not|has no line|cannot be read"):
            load(Config())
        shutil.copy(MNIST / name, tmp_path)


def test_checkpoints(small, tmp_path):
    """The newest is refused, and the one before is offered; where the newest is asked for by name, it is refused."""
    (path,) = cut(Config(**small | {"epochs": 9}), tmp_path / "runs")
    kept = tmp_path / "kept"
    shutil.copytree(path / "checkpoint", kept)
    (newest, before), _ = checkpoint.snapshots(path)
    rng = random.Random(0)
    files = [file.relative_to(kept) for file in kept.rglob(f"*{newest.folder.name}*/*")]
    files.append(Path(f"{newest.folder.name}.sha256"))
    assert len(files) >= 4
    for name in rng.choices(files, k=DAMAGES):
        what = damage(path / "checkpoint" / name, rng)
        found, complaints = checkpoint.snapshots(path)
        assert found == [before], what
        assert [complaint.split(": ")[1] for complaint in complaints] == [
            "the checkpoint is damaged, its SHA-256 is not what was written"
        ], what
        with pytest.raises(UsageError, match="damaged"):
            checkpoint.snapshot(path, newest.step, newest.sha256)
        shutil.copy(kept / name, path / "checkpoint" / name)
    assert checkpoint.snapshots(path) == ([newest, before], [])
