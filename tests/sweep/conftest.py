"""Runs that several tests of this folder look at."""

import pytest

from vaecli import train_seeds
from vaecli.config.toml import SweepPlan
from vaecli.sweep.grid import expand


@pytest.fixture(scope="session")
def trained(small, tmp_path_factory):
    """Two seeds that are complete, and the sweep that they make."""
    sweep = expand(small, SweepPlan(2), tmp_path_factory.mktemp("trained"))
    train_seeds(sweep.tasks[0].config, 2, runs=sweep.runs)
    return sweep
