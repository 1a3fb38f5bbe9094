from pathlib import Path

import pytest

from vaecli.cli import options
from vaecli.cli.main import COMMANDS
from vaecli.config import UsageError


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], None),
        (["train"], None),
        (["train", "--config", "a"], "a"),
        (["train", "--config=a"], "a"),
        (["train", "--config="], ""),
        (["train", "--config", "a", "--lr", "1", "--config", "b"], "b"),
        (["train", "--config=a", "--config"], "a"),
        (["train", "--config"], None),
        (["train", "--configs", "a"], None),
    ],
)
def test_the_config_is_the_one_that_the_parser_takes_too(argv, named):
    assert options.named_config(argv) == named


def test_two_commands_start_from_a_config_file():
    assert [name for name, command in COMMANDS.items() if command.takes_config] == ["train", "sweep"]


def test_files_to_write_are_checked_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    assert options.output_file("--csv", "") is None
    assert options.output_file("--csv", "new.csv") == Path("new.csv")
    assert options.output_file("--plot", "new.PNG", options.PICTURES) == Path("new.PNG")
    for text, message in (
        ("new.gif", "--plot: must name a .png or .svg file, got 'new.gif'"),
        ("no/such.png", r"--plot: no/such.png cannot be written \(no such folder\)"),
        ("file/a.png", r"--plot: file/a.png cannot be written \(no such folder\)"),
        ("x" * 300 + ".png", "--plot: x+.png: .*too long"),
        ("~nobody-here/a.png", "--plot: ~nobody-here/a.png: "),
    ):
        with pytest.raises(UsageError, match=message):
            options.output_file("--plot", text, options.PICTURES)
    with pytest.raises(UsageError, match=r"--csv: folder cannot be written \(is a folder\)"):
        options.output_file("--csv", "folder")


def test_two_options_may_not_name_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options.check_different({"--csv": Path("a"), "--plot": Path("b"), "--html": None, "--csv-runs": None})
    with pytest.raises(UsageError, match="--csv and --html name the same file"):
        options.check_different({"--csv": Path("a"), "--plot": Path("b"), "--html": tmp_path / "b" / ".." / "a"})


def test_nothing_is_written_among_the_files_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert options.outside_run("--csv", Path("runs/mnist/a.csv"), "runs/mnist/logvar/seed0")
    with pytest.raises(UsageError, match=r"--csv: .* lies in the run's own directory"):
        options.outside_run("--csv", tmp_path / "runs" / "logvar" / "seed0" / "a.csv", "runs/logvar/seed0")
