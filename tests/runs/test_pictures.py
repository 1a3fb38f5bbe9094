"""The pictures of a run, read again: the images that were drawn, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from vaecli import UsageError
from vaecli.data import Dataset
from vaecli.runs.pictures import latest_picture, reconstructed_images, sample_images
from vaecli.training.images import save, sheets


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A run with the pictures that training draws, of images of 6 by 5 pixels; and what is in them, from 0 to 255."""
    run = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    test, means, samples = (rng.integers(0, 256, (count, 30)).astype(np.uint8) for count in (20, 20, 128))
    unused = {"train": test, "validation": None, "probe": test[None], "sha256": {}, "pixels": {}, "description": []}
    dataset = Dataset(test=test, height=6, width=5, **unused)
    pictures = sheets(dataset, means / 255, samples / 255, np.ones((20, 3)), note=pytest.fail)
    for epoch in (2, 10):
        save(pictures, run / "pictures", epoch)
    return run, *(images.reshape(-1, 6, 5) for images in (test, means, samples))


def test_images_are_those_that_were_drawn(drawn):
    run, test, means, samples = drawn
    path = latest_picture(run, "samples")
    assert path == run / "pictures" / "samples_epoch0010.png"
    np.testing.assert_array_equal(sample_images(path), samples)
    inputs, reconstructions = reconstructed_images(latest_picture(run, "reconstructions"), (6, 5))
    np.testing.assert_array_equal(inputs, test[:16])
    np.testing.assert_array_equal(reconstructions, means[:16])


def test_a_run_without_pictures(tmp_path):
    assert latest_picture(tmp_path, "samples") is None
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "samples_epoch.png").touch()
    (tmp_path / "pictures" / "more_samples_epoch0010.png").touch()
    assert latest_picture(tmp_path, "samples") is None


@pytest.mark.parametrize("what", ["text", "cut", "colour", "shape", "folder", "huge"])
def test_what_is_no_such_picture_is_refused_in_one_line(drawn, tmp_path, what):
    path = tmp_path / "samples_epoch0010.png"
    whole = latest_picture(drawn[0], "samples").read_bytes()
    if what == "folder":
        path.mkdir()
    elif what in ("text", "cut"):
        path.write_bytes(b"no picture" if what == "text" else whole[: len(whole) // 2])
    elif what == "huge":
        # A header that promises 100,000 by 100,000 pixels.
        path.write_bytes(whole[:16] + (100_000).to_bytes(4) * 2 + whole[24:])
    else:
        Image.new("RGB" if what == "colour" else "L", (32, 16) if what == "colour" else (30, 16)).save(path)
    with pytest.raises(UsageError, match=r"samples_epoch0010\.png: ") as refused:
        sample_images(path)
    assert "\n" not in str(refused.value)
    with pytest.raises(UsageError):
        reconstructed_images(path, (7, 11))
