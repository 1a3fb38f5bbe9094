import numpy as np
import pytest

from vaecli import Config
from vaecli.vae.schedules import lr_factor, schedule_values


def test_burda_2016():
    """3^i epochs at 10^(−i/7), i = 0 … 7: written out."""
    stages = np.repeat(np.arange(8), 3 ** np.arange(8))
    assert len(stages) == 3280
    found = [lr_factor("burda2016", epoch / 3280) for epoch in range(3280)]
    np.testing.assert_allclose(found, 10 ** (-stages / 7), rtol=1e-12)
    # The last step before a stage still belongs to the one before.
    assert lr_factor("burda2016", (4 - 1e-4) / 3280) == pytest.approx(10 ** (-1 / 7))


@pytest.mark.parametrize("epochs", [1, 7, 41, pytest.param(656, marks=pytest.mark.long)])
def test_a_shortened_schedule_keeps_its_shares(epochs):
    config = Config(epochs=epochs, lr_schedule="burda2016")
    lr = np.concatenate([schedule_values([config], epoch, 600).lr[0] for epoch in range(1, epochs + 1)])
    assert len(lr) == 600 * epochs
    for stage in range(8):
        share = np.isclose(lr, 10 ** (-stage / 7)).sum()
        assert share == pytest.approx(3**stage / 3280 * len(lr), abs=1)


def test_warm_up_is_linear_in_steps_over_epochs():
    config = Config(epochs=3, beta_warmup=15)
    beta = np.concatenate([schedule_values([config], epoch, 10).beta[0] for epoch in (1, 2, 3)])
    np.testing.assert_allclose(beta, [min(1, t / 15) for t in range(30)], rtol=1e-6)


def test_learning_rates_warm_up_beside_their_schedule():
    """The first step has 1/W; W counts steps over epochs; 0 is no warm-up, to the last digit."""
    values = [
        np.concatenate([schedule_values([config], epoch, 10).lr[0] for epoch in (1, 2, 3)])
        for config in (
            Config(epochs=3, lr_warmup=15),
            Config(epochs=3, lr_warmup=15, lr_schedule="burda2016"),
            Config(epochs=3, lr_schedule="burda2016"),
            Config(epochs=3, lr_warmup=1),
        )
    ]
    rise = np.array([min(1, (t + 1) / 15) for t in range(30)])
    np.testing.assert_allclose(values[0], rise, rtol=1e-6)
    np.testing.assert_allclose(values[1], rise * values[2], rtol=1e-6)
    assert (values[3] == 1).all()
    assert (schedule_values([Config(lr_warmup=4, beta_warmup=4)], 1, 4).beta[0] == [0, 0.25, 0.5, 0.75]).all()


def test_no_schedule():
    lr, beta = schedule_values([Config()], 1, 10)
    assert (lr == 1).all()
    assert (beta == 1).all()
