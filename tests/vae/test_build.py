"""What a config is compiled to: which settings share a program."""

import pytest

from vaecli import Config
from vaecli.vae.build import program
from vaecli.vae.resolve import resolve


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"param": "logstd"},
        {"param": "logprec", "init": "matched", "head_lr": "matched"},
        {"lr": 0.1, "lr_schedule": "burda2016", "eps": 1e-3},
        {"head_lr": 0.5, "head_eps": 2.0},
        {"beta": 4.0, "beta_warmup": 100},
        {"init": "native", "init_std": 0.5, "init_weight": 2.0, "perturb": 1e-6},
        {"epochs": 3},
    ],
)
def test_settings_that_share_a_program(change):
    """Equal programs are compiled once in a process."""
    assert program(resolve(Config(**change)), (28, 28)) == program(resolve(Config()), (28, 28))


@pytest.mark.parametrize(
    "change", [{"param": "softplus_std"}, {"bound": "floor:0.1"}, {"optimizer": "sgd"}, {"latent": 2}]
)
def test_settings_that_do_not(change):
    assert program(resolve(Config(**change)), (28, 28)) != program(resolve(Config()), (28, 28))
