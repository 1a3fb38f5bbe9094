"""The data of a run that is opened again: known by their content, wherever they lie."""

import shutil

import pytest

from vaecli import Config, UsageError
from vaecli.analysis.restore import training_data
from vaecli.cli.main import main
from vaecli.data import read
from vaecli.runs.reading import Run


@pytest.fixture
def run(small_data, tmp_path):
    """A run as far as its data go, which lay in a folder that is gone."""
    config = Config(data_dir=str(tmp_path / "gone"), batch_size=50)
    return Run(tmp_path / "run", config, {"data_sha256": dict(read(str(small_data)).sha256)})


def test_data_that_moved(run, small_data, tmp_path):
    with pytest.raises(
        UsageError, match=r"gone: cannot be read as a data folder \(No such .*\); --data-dir says where"
    ):
        training_data(run)
    assert len(training_data(run, small_data, grad_batches=3).probe) == 3
    bare = shutil.copytree(small_data, tmp_path / "bare", ignore=shutil.ignore_patterns("*labels*"))
    assert len(training_data(run, bare).test) == 70
    assert len(training_data(run, str(small_data)).test) == 70


def test_other_data(run):
    with pytest.raises(UsageError, match="run: was trained on other data than those in this package; --data-dir says"):
        training_data(run, "")


def test_commands_take_the_place_of_the_data(trained_path, small_data, tmp_path, capsys):
    for words in (["evaluate", "--samples", "2"], ["probe", "--draws", "2", "--batches", "1", "--heads", "logvar"]):
        assert main([words[0], str(trained_path), *words[1:]]) == 2
        assert "--data-dir says where" in capsys.readouterr().err
        assert main([words[0], str(trained_path), *words[1:], "--data-dir", str(small_data)]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(trained_path), "--data-dir", "~nobody-of-this-name/x"]) == 2
    assert capsys.readouterr().err.startswith("vae: --data-dir: ~nobody")
    (tmp_path / "gone").symlink_to("purged")
    words = ["--data-dir", str(small_data), "--images", str(tmp_path / "gone")]
    assert main(["evaluate", str(trained_path), *words]) == 2
    assert capsys.readouterr().err.startswith(f"vae: {tmp_path / 'gone'}: is a link to purged, which does not exist")


@pytest.fixture
def trained_path(small, tmp_path):
    """The directory of a run whose data have moved since."""
    from vaecli import train

    path = train(Config(**small | {"epochs": 1}), runs=tmp_path)["path"]
    config = tmp_path / "small/logvar/seed0/config.toml"
    config.write_text(config.read_text().replace(small["data_dir"], str(tmp_path / "away")))
    return path
