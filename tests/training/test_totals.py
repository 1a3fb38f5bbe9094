"""The means of training, against sums over single images."""

import numpy as np
import pytest

from vaecli.training.totals import Skips, Totals
from vaecli.vae.loss import StepSums
from vaecli.vae.steps import Step


def of_epoch(images, sizes):
    """The steps of an epoch over the terms of each image, (images, 3)."""
    parts = np.split(images, np.cumsum(sizes)[:-1])
    sums = np.array([part.sum(axis=0) for part in parts], np.float32)
    return Step(StepSums(*sums.T), np.zeros(len(sizes), bool))


def test_means_are_over_images():
    """The last batch is smaller, and counts by its images; a step whose loss is not finite counts for none."""
    totals, rng = Totals(23, 5, [], Skips()), np.random.default_rng(0)
    epochs = rng.normal(size=(2, 23, 3))
    epochs[:, 20:] += 10.0
    for images in epochs:
        totals.add(of_epoch(images, (5, 5, 5, 5, 3)))
    assert totals.means() == pytest.approx(epochs.mean(axis=(0, 1)), rel=1e-5)
    totals.clear()
    broken = epochs[0].copy()
    broken[7, 1] = np.nan
    totals.add(of_epoch(broken, (5, 5, 5, 5, 3)))
    counted = np.delete(epochs[0], np.arange(5, 10), axis=0)
    assert totals.means() == pytest.approx(counted.mean(axis=0), rel=1e-5)


def test_means_within_an_epoch():
    """Every two of five steps, and the last by itself; those of a span without a finite loss are not numbers."""
    totals, images = Totals(23, 5, [], Skips()), np.random.default_rng(1).normal(size=(23, 3))
    images[7, 1] = np.nan
    steps = of_epoch(images, (5, 5, 5, 5, 3))
    points = list(totals.within_epoch(steps, 2))
    assert [end for end, _ in points] == [2, 4, 5]
    for (_, means), counted in zip(points, (images[:5], images[10:20], images[20:]), strict=True):
        reconstruction, kl, _ = counted.mean(axis=0)
        assert means == pytest.approx((reconstruction - kl, reconstruction, kl), rel=1e-5)
    assert [np.isfinite(means).all() for _, means in totals.within_epoch(steps, 1)] == [True, False, True, True, True]
    assert totals.sums == []


def test_skips_are_counted_by_reason_and_in_a_row():
    """A row of updates that were above the norm goes on over epochs, and ends with any other."""

    def steps(skipped, above):
        above = None if above is None else np.array(above, bool)
        return Step(StepSums(*np.zeros((3, len(skipped)))), np.array(skipped, bool), above)

    skips = Skips().after(steps([1, 0, 1, 1], [0, 0, 1, 1]))
    assert skips == (3, 2, 2)
    assert skips.after(steps([1, 1], [1, 1])) == (5, 4, 4)
    assert skips.after(steps([1, 1], [1, 0])) == (5, 3, 0)
    assert Skips().after(steps([1, 0, 1], None)) == (2, 0, 0)
