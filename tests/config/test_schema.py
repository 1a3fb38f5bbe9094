import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecli.config import SETTINGS, Config, ConfigError, UsageError
from vaecli.config.toml import differences, to_toml, values_from_toml
from vaecli.vae import build

CONFIGS = Path(__file__).parents[2] / "configs"

configs = st.builds(
    Config,
    name=st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True),
    seed=st.integers(0, 2**32 - 1),
    data_dir=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30),
    binarisation=st.sampled_from(["grey", "threshold", "dynamic", "fixed"]),
    validation=st.booleans(),
    param=st.sampled_from(["logvar", "logstd"]),
    hidden=st.lists(st.integers(1, 1000), max_size=4).map(tuple),
    latent=st.integers(1, 1000),
    epochs=st.integers(1, 1000),
    batch_size=st.integers(1, 1000),
    lr=st.floats(1e-12, 1e3),
    grad_every=st.integers(0, 100),
    grad_draws=st.integers(2, 100),
    grad_batches=st.integers(1, 100),
)


@given(configs)
def test_toml_reads_back_what_was_written(config):
    assert Config(**values_from_toml(to_toml(config))) == config


@given(configs)
def test_toml_is_what_the_standard_library_reads(config):
    tables = tomllib.loads(to_toml(config))
    flat = {key: value for table in tables.values() for key, value in table.items()}
    lists = {name: list(getattr(config, name)) for name in ("hidden", "channels")}
    assert flat == {**dataclasses.asdict(config), **lists}


def test_default_config_file_holds_the_defaults():
    assert Config(**values_from_toml((CONFIGS / "mnist.toml").read_text())) == Config()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configs_are_records(path):
    text = path.read_text()
    Config(**values_from_toml(text))
    head = text.split("[")[0]
    assert "vae train" in head
    assert "Wall time" in head
    assert "Expected" in head


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train]\nepoch = 3", ["'epoch'", "[train]", "'epochs'"]),
        ("[trian]\nepochs = 3", ["[trian]", "'train'"]),
        ("epochs = 3", ["'epochs'", "[train]"]),
        ("[model]\nepochs = 3", ["'epochs'", "[train]", "[model]"]),
        ("[train]\nepochs = '3'", ["epochs", "whole number", "'3'"]),
        ("[train]\nepochs = 3.5", ["epochs", "whole number"]),
        ("[train]\nepochs = true", ["epochs", "whole number"]),
        ("[train]\nlr = 'fast'", ["lr", "number"]),
        ("[train]\nlr = nan", ["lr", "positive"]),
        ("[train]\nlr = inf", ["lr", "positive"]),
        ("[train]\nlr = 0", ["lr", "positive"]),
        ("[train]\nbatch_size = 0", ["batch_size", "between 1"]),
        ("[train]\nbatch_size = -5", ["batch_size", "-5"]),
        ("[model]\nlatent = 0", ["latent", "between 1"]),
        ("[model]\nhidden = [400, 0]", ["hidden", "0"]),
        ("[model]\nhidden = 400", ["hidden", "list"]),
        ("[model]\nhidden = ['a']", ["hidden", "list"]),
        ("[model]\nparam = 3", ["param", "text"]),
        ("[data]\nbinarisation = 'gray'", ["binarisation", "'grey'"]),
        ("[data]\nvalidation = 1", ["validation", "true or false"]),
        ("[log]\ngrad_draws = 1", ["grad_draws", "two draws"]),
        ("[run]\nname = '../up'", ["name", "letters"]),
        ("[run]\nseed = -1", ["seed", "0"]),
        ("[run]\nseed = 4294967296", ["seed", "2**32"]),
        ("[train\n", ["TOML"]),
        ("model = 3", ["'model'"]),
    ],
)
def test_bad_toml_is_named(text, words):
    with pytest.raises(UsageError) as raised:
        values_from_toml(text)
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_python_callers_meet_the_same_checks():
    with pytest.raises(ConfigError, match="epochs: must be a whole number"):
        Config(epochs="3")
    assert Config(hidden=[3, 4]).hidden == (3, 4)
    assert hash(Config(hidden=[3, 4])) == hash(Config(hidden=(3, 4)))


@pytest.mark.parametrize(
    ("settings", "field", "words"),
    [
        ({"kl": "analytic", "objective": "iwae"}, "kl", "no place in iwae"),
        ({"kl": "analytic", "estimator": "stl"}, "kl", "leaves stl no log q"),
        ({"kl": "analytic", "estimator": "dreg"}, "kl", "leaves dreg no log q"),
        ({"objective": "iwae", "estimator": "stl", "samples": 5}, "estimator", "biased"),
        ({"estimator": "dreg", "samples": 5}, "estimator", "use stl"),
        ({"decoder_param": "logstd"}, "decoder_param", "likelihood gaussian"),
        ({"decoder_std": 1.0}, "decoder_std", "likelihood gaussian"),
        ({"samples": 0}, "samples", "between 1"),
        ({"beta": -1.0}, "beta", "must be 0"),
        ({"channels": (0,)}, "channels", "width"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, field, words):
    with pytest.raises(ConfigError, match=words) as raised:
        Config(**settings)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("settings", "estimator"),
    [
        ({}, "analytic"),
        ({"kl": "mc"}, "mc"),
        ({"estimator": "stl"}, "stl"),
        ({"estimator": "dreg"}, "dreg"),
        ({"objective": "iwae", "samples": 5}, "mc"),
        ({"objective": "iwae", "estimator": "stl"}, "stl"),
        ({"objective": "iwae", "samples": 5, "estimator": "dreg"}, "dreg"),
        ({"samples": 5}, "analytic"),
    ],
)
def test_what_goes_together(settings, estimator):
    assert build.estimator(Config(**settings)) == estimator


def test_differences_name_the_fields():
    assert differences(Config(lr=1e-3), Config(lr=1e-4, latent=2)) == [
        "latent is 20 there and 2 here",
        "lr is 0.001 there and 0.0001 here",
    ]


def test_every_setting_is_explained():
    assert all(setting.doc.endswith(".") for setting in SETTINGS.values())
