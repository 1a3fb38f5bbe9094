"""A data set of IDX files, split into train, validation and test."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaecli.config import Config, ConfigError, UsageError
from vaecli.data.arrays import is_of_arrays
from vaecli.data.binarise import binarise, drawn_once
from vaecli.data.images import RawImages, read_folder
from vaecli.data.pixels import Pixels, check_contrast

VALIDATION_SIZE = 10_000

MNIST_IMAGES = 60_000
"""The number of training images of the MNIST in this package."""

_EMBEDDED = Path(__file__).parent / "mnist"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The images of a data set as uint8 rows, one pixel a column; 255 is white, or 1 after binarisation.

    Pixels that are drawn anew in each step stay as they are in `train`; of dequantised ones, the others are float32.

    Attributes:
      train: the training images, (images, pixels).
      validation: the validation images, (10000, pixels), cut from the end of the training file, or None where
        none is held out.
      test: the test images, (images, pixels).
      probe: the first training images, (batches, batch_size, pixels): `grad_batches` batches, or as many whole ones
        as there are.
      height: the number of rows of an image.
      width: the number of columns of an image.
      sha256: the SHA-256 of each unpacked file, by its role (`train-images`, …).
      pixels: what the pixels of the files of training and of test images are, before anything is done to them.
      description: what a person reads of it before training.
    """

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray
    probe: np.ndarray
    height: int
    width: int
    sha256: Mapping[str, str]
    pixels: Mapping[str, Pixels]
    description: Sequence[str]

    def record(self) -> dict[str, Any]:
        """Returns what `summary.json` says of what was read."""
        splits = {split: pixels._asdict() for split, pixels in self.pixels.items()}
        return {"height": self.height, "width": self.width, **splits}


def load(config: Config) -> Dataset:
    """Reads, checks, splits and binarises the data set that a config names.

    Under `dynamic` and `dequantised` the training images stay grey here, since each step draws them anew; the other
    images are drawn once, so that every epoch and every run is measured on the same ones.

    Raises:
      UsageError: a file is missing, damaged or of the wrong form, or the files do not fit each other.
    """
    return split(read(config.data_dir), config)


def split(images: RawImages, config: Config) -> Dataset:
    """Returns images as `load` does, split and binarised.

    Raises:
      UsageError: there are too few for the config.
    """
    check_size(images, config)
    train, test = images.train, images.test
    if config.data_transpose:
        train, test = (np.ascontiguousarray(array.transpose(0, 2, 1)) for array in (train, test))
    height, width = train.shape[1:]
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    held_out = VALIDATION_SIZE if config.validation else 0
    count = len(train) - held_out
    drawn_anew = config.binarisation in ("dynamic", "dequantised")
    how = drawn_once(config.binarisation)
    drawn = binarise(train, how, "train")
    batches = min(config.grad_batches, count // config.batch_size)
    return Dataset(
        train=(train if drawn_anew else drawn)[:count],
        validation=drawn[count:] if held_out else None,
        test=binarise(test, how, "test"),
        probe=drawn[: batches * config.batch_size].reshape(batches, config.batch_size, -1),
        height=height,
        width=width,
        sha256=images.sha256,
        pixels=images.pixels,
        description=description(images, config),
    )


def check_size(images: RawImages, config: Config) -> None:
    """Checks that there are enough images for a config.

    Raises:
      UsageError: there are not.
    """
    check_count(len(images.train), config, images.folder)


def check_count(images: int, config: Config, folder: str | Path = _EMBEDDED) -> None:
    """Checks that so many training images, which are in a folder, are enough for a config.

    Raises:
      UsageError: they are not.
    """
    held_out = VALIDATION_SIZE if config.validation else 0
    count = images - held_out
    if count < 1:
        raise UsageError(f"{folder}: {images} training images leave none besides {held_out} for validation")
    if config.batch_size > count:
        raise ConfigError("batch_size", f"{config.batch_size} is more than the {count} training images")


def check_pixels(images: Dataset | RawImages, data_dir: str) -> None:
    """Refuses images whose pixels cannot be what 0 to 255 means; a run that was trained on such is still evaluated.

    Raises:
      UsageError: they cannot.
    """
    for name, pixels in images.pixels.items():
        check_contrast(f"{data_dir or _EMBEDDED}: {name} images", pixels)


def description(images: RawImages, config: Config) -> Sequence[str]:
    """Returns what a person reads before training on images: a line that says what they are, and one for each doubt."""
    rows, columns = images.train.shape[1:]
    size = f"{columns}x{rows}" if config.data_transpose else f"{rows}x{columns}"
    train, test = images.pixels["train"], images.pixels["test"]
    contents = f"{train.images} training images, {size}, {train} · {test.images} test images, {test}"
    notes = [*images.notes]
    if images.looks_transposed and not config.data_transpose:
        why = "EMNIST's files hold each image transposed, with rows and columns exchanged"
        notes.append(f"{images.folder}: {why}; --data-transpose turns them")
    return [f"data · {config.data_dir or 'MNIST'} · {contents}", *(f"vae: {note}" for note in notes)]


def read(data_dir: str) -> RawImages:
    """Reads the images in a folder, or MNIST's in this package.

    Raises:
      UsageError: as `read_folder`.
    """
    if is_of_arrays(data_dir):
        raise UsageError(
            f"{data_dir}: these images were arrays of a Python program, which can give them again (data=Images(…)); "
            "or name a folder that holds them with --data-dir (Images.save writes one)"
        )
    if data_dir:
        return read_folder(Path(data_dir), "fetch it again")
    return read_folder(_EMBEDDED, "the package is damaged, install it again", labels_needed=True)
