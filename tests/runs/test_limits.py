"""What cannot be made or opened is said before anything is."""

import os
import resource
from pathlib import Path

import pytest

from vaecli import Config, UsageError
from vaecli.cli.main import main
from vaecli.runs.limits import allow_open_files, check_paths
from vaecli.sweep.grid import SweepPlan, expand, outcomes
from vaecli.training.train import train


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_exists_or_can_be_made():
    Path("there/mnist").mkdir(parents=True)
    Path("link").symlink_to("there")
    name = "é" * 127  # 254 bytes
    check_paths([Path(f"{runs}/mnist/{name}/seed0") for runs in ("there", "link", "new")])


@pytest.mark.parametrize("link", ["runs", "runs/mnist", "runs/mnist/logvar", "runs/mnist/logvar/seed1"])
def test_a_link_that_leads_nowhere(link):
    Path(link).parent.mkdir(parents=True, exist_ok=True)
    Path(link).symlink_to("/purged/runs")
    with pytest.raises(UsageError, match=f"^{link}: is a link to /purged/runs, which does not exist; make that folder"):
        check_paths([Path("runs/mnist/logvar/seed0"), Path("runs/mnist/logvar/seed1")])


def test_what_is_no_folder():
    Path("runs").write_text("")
    with pytest.raises(UsageError, match=r"^runs: cannot be written \(it is a file, where a folder is needed\)"):
        check_paths([Path("runs/mnist")])
    Path("loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"^loop: cannot be written \("):
        check_paths([Path("loop/mnist")])


def test_names_are_counted_in_bytes():
    for name, size in (("x" * 256, 256), ("é" * 128, 256)):
        with pytest.raises(UsageError, match=f"at most 255 bytes here, .* has {size}; use shorter names") as raised:
            check_paths([Path("runs") / name / "seed0"])
        assert len(str(raised.value)) < 300


@pytest.mark.parametrize("exists", [False, True])
def test_whole_paths(exists):
    """Shorter than the limit by what a run puts in."""
    long = Path(*["x" * 200] * 19)
    if exists:
        for _ in range(19):
            os.mkdir("x" * 200)
            os.chdir("x" * 200)
        long = Path()
    with pytest.raises(UsageError, match="the path of a run has at most 3840 bytes here"):
        check_paths([long / "runs" / "mnist" / "logvar" / "seed0"])


def test_everything_that_trains_asks_first(capsys, small):
    """In Python, on the command line, with a list of runs only, and on a cluster."""
    Path("runs").symlink_to("purged")
    with pytest.raises(UsageError, match="which does not exist"):
        train(Config(**small))
    with pytest.raises(UsageError, match="which does not exist"):
        outcomes(expand(small, SweepPlan(2), Path("runs")))
    flags = ["--data-dir", small["data_dir"], "--batch-size", "50"]
    deep = ["--hidden", "5", ",".join(["400"] * 70)]
    for words in (
        ["train", *flags],
        ["sweep", *flags, "--dry-run"],
        ["sweep", *flags, "--commands"],
        ["sweep", *flags, "--launcher", "ray"],
        ["train", *flags, "--runs", "new", "--vary", "hidden", *deep[::2]],
        ["sweep", *flags, "--runs", "new", *deep, "--dry-run"],
        ["sweep", *flags, "--runs", "new", *deep, "--launcher", "ray"],
    ):
        assert main(words) == 2
        streams = capsys.readouterr()
        assert streams.out == ""
        assert streams.err.count("\n") == 1
        assert "which does not exist" in streams.err or "at most 255 bytes" in streams.err
    assert not Path("new").exists()


def test_open_files():
    """The limit is raised as far as is needed, if it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        allow_open_files(1)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, hard)
        allow_open_files(50)
        assert 190 < resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 300
        with pytest.raises(UsageError, match=r"--seeds: 1000000000 runs that train together open .* train fewer seeds"):
            allow_open_files(10**9)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
