"""Configs and sweeps as TOML: read back as they were written, and refused by name."""

import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecli import Config, UsageError
from vaecli.cli.main import main
from vaecli.config.toml import SweepPlan, differences, sweep_from_toml, to_toml, values_from_toml

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


def test_differences_name_the_fields():
    assert differences(Config(lr=1e-3), Config(lr=1e-4, latent=2)) == [
        "latent is 20 there and 2 here",
        "lr is 0.001 there and 0.0001 here",
    ]


def test_a_sweep_is_read():
    values, plan = sweep_from_toml(
        """
        [sweep]
        seeds = 4
        chaos_floor = true
        [train]
        epochs = 3
        [[grid]]
        param = ["logvar", "logstd"]
        hidden = [[400], [200, 100]]
        [[grid]]
        lr = [1e-3, 3e-4]
        """
    )
    assert values == {"epochs": 3}
    grids = [{"param": ["logvar", "logstd"], "hidden": [(400,), (200, 100)]}, {"lr": [1e-3, 3e-4]}]
    assert plan == SweepPlan(4, True, grids)


def test_a_plan_of_looks_is_read():
    _, plan = sweep_from_toml('[sweep]\nuntil_decided = true\nlooks = [3, 6]\nmargin = 1\nspending = "obrien-fleming"')
    assert plan.until_decided
    assert plan.looks == {"looks": (3, 6), "margin": 1, "spending": "obrien-fleming"}
    # What a file says of it holds for a flag, too.
    assert not sweep_from_toml("[sweep]\nlooks = [3, 6]")[1].until_decided


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sweep]\nuntil_decided = 1", "until_decided must be true or false"),
        ("[sweep]\nlooks = [3, 3]", r"\[sweep\] looks: must be numbers of seeds from 2 to 10000, each more than"),
        ("[sweep]\nlooks = []", r"\[sweep\] looks: must be 1 to 100 numbers"),
        ("[sweep]\nlooks = [3.5]", r"\[sweep\] looks: must be a list of whole numbers"),
        ("[sweep]\nmargin = -1", r"\[sweep\] margin: must be a positive number"),
        ("[sweep]\nalpha = 0.5", r"\[sweep\] alpha: must lie between"),
        ('[sweep]\nspending = "pocok"', r"\[sweep\] spending: must be one of .*did you mean 'pocock'"),
        ("[grid]\nlr = [1.0]", r"\[\[grid\]\], with two brackets"),
        ("[sweep]\nlr = [1.0]", "what varies goes in a"),
        ("[sweep]\nseeds = 'x'", "seeds must be a whole number"),
        ("[sweep]\nseeds = true", "seeds must be a whole number"),
        ("[[grid]]\nlrr = [1.0]", r"unknown key 'lrr' in \[\[grid\]\], did you mean 'lr'"),
        ("[[grid]]\nlr = 1.0", "must be a list of values"),
        ("[[grid]]\nlr = []", "must be a list of values"),
        ("[train]\nlrr = 3", "unknown key 'lrr'"),
        ("sweep = 3", "what varies goes in a"),
    ],
)
def test_toml_that_is_no_sweep(text, message, tmp_path, capsys):
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        sweep_from_toml(text)
    assert main(["sweep", "--config", str(file)]) == 2
    assert str(file) in capsys.readouterr().err
