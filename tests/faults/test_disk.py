"""Disks that are full, or closed: one line, and once there is room the run goes on as if nothing had been."""

import contextlib
import resource
import subprocess
from pathlib import Path

import pytest
from helpers.commands import flags_of
from helpers.runs import same

from vaecli.cli.main import main
from vaecli.runs.directory import read_summary

RUN = Path("small/logvar/seed0")


@pytest.fixture(scope="module")
def argv(small):
    return ["train", *flags_of(small | {"epochs": 3})]


@pytest.fixture(scope="module")
def whole(argv, tmp_path_factory):
    """A run on a disk with room."""
    runs = tmp_path_factory.mktemp("whole")
    assert main([*argv, "--runs", str(runs)]) == 0
    return runs / RUN


def summary_of(path):
    return read_summary(path) | {"path": str(path)}


@contextlib.contextmanager
def largest_file(size):
    """No file may grow beyond so many bytes, as when a quota ends there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused(capsys):
    """The one line about a file that cannot be written."""
    streams = capsys.readouterr()
    assert not streams.out
    complaints = [line for line in streams.err.splitlines() if line.startswith("vae: ")]
    assert "Traceback" not in streams.err
    assert "cannot be written" in complaints[-1]
    assert "cannot be written" not in "".join(complaints[:-1])
    return complaints[-1]


def test_every_file_of_a_run_in_turn(argv, whole, tmp_path, capsys):
    """A limit just below the size of each: what is written before it, and that file, meets it."""
    sizes = {
        file.stat().st_size
        for file in whole.rglob("*")
        if file.is_file() and not {".lock", ".png"} & {file.name, file.suffix}
    }
    assert len(sizes) >= 6
    capsys.readouterr()
    for number, size in enumerate(sorted(sizes)):
        here = [*argv, "--runs", str(tmp_path / str(number))]
        with largest_file(size - 1):
            assert main(here) == 2, size
        refused(capsys)
        path = tmp_path / str(number) / RUN
        assert not path.exists() or not list(path.rglob("*tmp*")), size
        assert not (path / "summary.json").exists()
        assert main(here) == 0
        capsys.readouterr()
        same(summary_of(path), summary_of(whole))


@pytest.mark.parametrize(
    "shares",
    [
        pytest.param((0.02, 0.25, 0.6, 0.95), id="quick"),
        pytest.param((0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 0.95), id="long", marks=pytest.mark.long),
    ],
)
def test_a_full_and_a_closed_disk(argv, whole, tmp_path, capsys, shares):
    """A small file system with room for more and more of what a run needs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    try:
        needed = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file())
        ends = set()
        for share in shares:
            here = [*argv, "--runs", str(disk / f"runs{share}")]
            (disk / "filler").write_bytes(bytes(2**20 - 2**14 - int(needed * share) // 4096 * 4096))
            capsys.readouterr()
            code = main(here)
            if code == 2:
                refused(capsys)
            ends.add(code)
            (disk / "filler").unlink()
            assert main(here) == 0
            path = disk / f"runs{share}" / RUN
            if (path / "pictures").exists():
                same(summary_of(path), summary_of(whole))
            subprocess.run(["rm", "-r", str(disk / f"runs{share}")], check=True)
        assert 2 in ends
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        capsys.readouterr()
        assert main([*argv, "--runs", str(disk)]) == 2
        assert "Read-only file system" in refused(capsys)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
