"""What is said of the pixels of a data set, and which cannot be what 0 to 255 means."""

import re

import numpy as np
import pytest
from helpers.data import write_data, write_idx

from vaecli import Config, UsageError
from vaecli.data import check_pixels, load
from vaecli.data.pixels import Pixels


def test_what_is_known_of_mnist_is_true():
    dataset = load(Config())
    for split, images in (("train", dataset.train), ("test", dataset.test)):
        assert dataset.pixels[split] == Pixels.of(images, "of no file that is known")
    (line,) = dataset.description
    numbers = (
        "60000 training images, 28x28, pixels 0 to 255, mean 33.32 · 10000 test images, pixels 0 to 255, mean 33.79"
    )
    assert line == f"data · MNIST · {numbers}"


def with_pixels(folder, change, splits=("train", "t10k")):
    """A small data set with other pixels, as it is loaded."""
    write_data(folder)
    for split in splits:
        path = folder / f"{split}-images-idx3-ubyte"
        images = np.frombuffer(path.read_bytes(), np.uint8, offset=16).reshape(-1, 6, 5)
        write_idx(path, change(images))
    return load(Config(data_dir=str(folder), batch_size=50))


def test_what_was_read_is_recorded_as_it_was_before_binarisation(tmp_path):
    folder = write_data(tmp_path)
    images = np.arange(60, dtype=np.uint8).reshape(2, 6, 5) * 4
    write_idx(folder / "train-images-idx3-ubyte", images)
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.zeros(2))
    dataset = load(Config(data_dir=str(folder), batch_size=1, binarisation="threshold"))
    record = dataset.record()
    assert (record["height"], record["width"]) == (6, 5)
    assert record["train"] == {"images": 2, "least": 0, "greatest": 236, "mean": 118.0}
    assert record["test"]["images"] == 70


@pytest.mark.parametrize("splits", [("train", "t10k"), ("train",), ("t10k",)])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: images > 100, "the pixels are 0 and 1, but white is 255; multiply them by 255"),
        (lambda images: images * 0 + 255, "every pixel is 255; nothing can be learned"),
        (lambda images: images * 0, "every pixel is 0"),
    ],
)
def test_pixels_that_cannot_be_meant_are_refused(tmp_path, change, words, splits):
    """Before training; a run that was trained on such is still evaluated."""
    dataset = with_pixels(tmp_path, change, splits)
    with pytest.raises(UsageError, match=words) as raised:
        check_pixels(dataset, str(tmp_path))
    assert f"{tmp_path}: {'train' if 'train' in splits else 'test'} images" in str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: images // 16, "no pixel is greater than 15, but white is 255"),
        (lambda images: 255 - images, r"mostly white \(mean pixel 1[0-9.]+\); .* invert them"),
    ],
)
def test_pixels_that_are_hardly_meant_are_doubted(tmp_path, change, words):
    dataset = with_pixels(tmp_path, change)
    check_pixels(dataset, str(tmp_path))
    assert len(dataset.description) == 3
    for line, split in zip(dataset.description[1:], ("train", "test"), strict=True):
        assert line.startswith(f"vae: {tmp_path}: {split} images: ")
        assert re.search(words, line)


def test_binarised_and_usual_images_are_not_doubted(tmp_path, small_data):
    assert len(with_pixels(tmp_path, lambda images: np.where(images > 100, 255, 0)).description) == 1
    assert len(load(Config(data_dir=str(small_data), batch_size=50)).description) == 1


def test_one_file_for_training_and_test_is_doubted(tmp_path):
    folder = write_data(tmp_path, train=70)
    (folder / "train-images-idx3-ubyte").write_bytes((folder / "t10k-images-idx3-ubyte").read_bytes())
    description = load(Config(data_dir=str(folder), batch_size=50)).description
    assert description[1:] == [f"vae: {folder}: the training images and the test images are the same"]
