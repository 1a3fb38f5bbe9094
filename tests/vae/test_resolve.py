"""The names in a config become objects in one place; new ones are added from outside."""

import pytest

from vaecli import Config
from vaecli.vae.resolve import resolve


@pytest.mark.parametrize(
    ("settings", "expected"),
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
def test_the_estimator_that_the_settings_choose(settings, expected):
    assert resolve(Config(**settings)).objective.estimator == expected
