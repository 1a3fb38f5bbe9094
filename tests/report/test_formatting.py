"""What is known of a logged scalar by its tag."""

import pytest

from vaecli.report.formatting import direction, unit


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("test/elbo", 1),
        ("validation/iwae", 1),
        ("nll", -1),
        ("test/kl", 0),
        ("test/reconstruction", 0),
        ("grad/variance/encoder", 0),
        ("grad/snr/scale_head", 0),
        ("likelihood/sigma", 0),
        ("test/bits_per_dim", -1),
    ],
)
def test_more_of_a_bound_is_better(metric, expected):
    assert direction(metric) == expected


def test_units():
    assert unit("validation/elbo") == unit("nll") == "nats per image"
    assert unit("test/bits_per_dim") == "bits per pixel"
    assert unit("safety/tau/min") == ""
