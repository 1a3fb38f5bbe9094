"""What a config is compiled to: which settings share a program."""

import jax
import numpy as np
import pytest

from vaecli import Config
from vaecli.vae.batches import Stream, epoch_order, stream
from vaecli.vae.build import operands, program
from vaecli.vae.resolve import resolve


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"pilot": 3, "validation": True},
        {"param": "logstd"},
        {"param": "logprec", "init": "matched", "head_lr": "matched"},
        {"lr": 0.1, "lr_schedule": "burda2016", "lr_warmup": 7, "eps": 1e-3},
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


def test_pilots_share_no_draw_with_runs_or_each_other():
    """Their keys, and those of every purpose, are all different; those of other runs are as they were."""
    runs = [(seed, pilot) for seed in (0, 1) for pilot in (0, 1, 2)]
    keys = operands([resolve(Config(seed=seed, pilot=pilot, validation=True)) for seed, pilot in runs]).key
    purposes = [stream(key, purpose) for key in keys for purpose in Stream]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in [*keys, *purposes]}) == 6 * (1 + len(Stream))
    for (seed, pilot), key in zip(runs, keys, strict=True):
        plain = jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))
        assert (jax.random.key_data(key) == plain).all() == (pilot == 0)


def test_pilots_have_batch_orders_of_their_own():
    orders = [epoch_order(seed, 1, 50, 7, pilot) for seed in (0, 1) for pilot in (0, 1, 2)]
    assert len({order.tobytes() for order in orders}) == 6
    plain = np.random.default_rng([1, 1]).permutation(50)
    np.testing.assert_array_equal(orders[3].ravel()[:50], plain)
