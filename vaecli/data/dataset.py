"""A data set as four IDX files, split into train, validation and test."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vaecli.config import Config, ConfigError, UsageError
from vaecli.data.binarise import binarise
from vaecli.data.checksums import check_checksums
from vaecli.data.idx import read_idx

VALIDATION_SIZE = 10_000

_EMBEDDED = Path(__file__).parent / "mnist"

_ROLES = ("train-images", "train-labels", "t10k-images", "t10k-labels")

# As MNIST, Fashion-MNIST and KMNIST name their files; EMNIST puts its split in front and says test for t10k.
_FILE_NAME = re.compile(
    r"(?P<prefix>.*?)[-_]?(?P<split>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?"
)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The images of a data set as uint8 rows, one pixel a column; 255 is white, or 1 after binarisation.

    Attributes:
      train: the training images, (images, pixels).
      validation: the validation images, (10000, pixels), cut from the end of the training file, or None where
        none is held out.
      test: the test images, (images, pixels).
      probe: the first training images, (batches, batch_size, pixels): `grad_batches` batches, or as many whole ones
        as there are.
      height: the number of rows of an image.
      width: the number of columns of an image.
      sha256: the SHA-256 of each decompressed file, by its role (`train-images`, …).
    """

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray
    probe: np.ndarray
    height: int
    width: int
    sha256: Mapping[str, str]


def load(config: Config) -> Dataset:
    """Reads, checks, splits and binarises the data set that a config names.

    Under `dynamic` binarisation the training images stay grey here, since each step draws them anew; the other
    images are drawn once, so that every epoch and every run is measured on the same ones.

    Raises:
      UsageError: a file is missing, damaged or of the wrong form, or the files do not fit each other.
    """
    folder = Path(config.data_dir) if config.data_dir else _EMBEDDED
    train, test, sha256 = _read_images(
        folder, "fetch it again" if config.data_dir else "the package is damaged, install it again"
    )
    height, width = train.shape[1:]
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    held_out = VALIDATION_SIZE if config.validation else 0
    images = len(train) - held_out
    if images < 1:
        raise UsageError(f"{folder}: {len(train)} training images leave none besides {held_out} for validation")
    if config.batch_size > images:
        raise ConfigError("batch_size", f"{config.batch_size} is more than the {images} training images")
    dynamic = config.binarisation == "dynamic"
    drawn = binarise(train, "fixed" if dynamic else config.binarisation, "train")
    batches = min(config.grad_batches, images // config.batch_size)
    return Dataset(
        train=(train if dynamic else drawn)[:images],
        validation=drawn[images:] if held_out else None,
        test=binarise(test, "fixed" if dynamic else config.binarisation, "test"),
        probe=drawn[: batches * config.batch_size].reshape(batches, config.batch_size, -1),
        height=height,
        width=width,
        sha256=sha256,
    )


def _read_images(folder: Path, remedy: str) -> tuple[np.ndarray, np.ndarray, Mapping[str, str]]:
    """Reads the training and the test images, and the SHA-256 of all files; the labels are only counted."""
    arrays, sha256 = {}, {}
    files = _four_files(folder)
    check_checksums(folder, [path.name for path in files.values()], remedy)
    for role, path in files.items():
        arrays[role], sha256[role] = read_idx(path, dimensions=3 if role.endswith("images") else 1)
    for split in ("train", "t10k"):
        images, labels = arrays[f"{split}-images"], arrays[f"{split}-labels"]
        if len(images) != len(labels):
            raise UsageError(f"{folder}: {len(images)} {split} images but {len(labels)} labels")
    train, test = arrays["train-images"], arrays["t10k-images"]
    if train.shape[1:] != test.shape[1:]:
        sizes = ["x".join(map(str, images.shape[1:])) for images in (train, test)]
        raise UsageError(f"{folder}: training images are {sizes[0]} but test images {sizes[1]}; sizes must agree")
    return train, test, sha256


def _four_files(folder: Path) -> dict[str, Path]:
    """Finds the four files of a folder by their roles; a plain file goes before its .gz."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read as a data folder ({error.strerror})") from error
    by_prefix: dict[str, dict[str, Path]] = {}
    for name in names:
        if match := _FILE_NAME.fullmatch(name):
            split = "train" if match["split"] == "train" else "t10k"
            by_prefix.setdefault(match["prefix"], {}).setdefault(f"{split}-{match['kind']}", folder / name)
    if len(by_prefix) > 1:
        raise UsageError(
            f"{folder}: holds several data sets ({', '.join(sorted(by_prefix))}); give each a folder of its own"
        )
    files = next(iter(by_prefix.values()), {})
    missing = [role for role in _ROLES if role not in files]
    if missing:
        wanted = f"{missing[0]}-idx{3 if missing[0].endswith('images') else 1}-ubyte"
        raise UsageError(f"{folder}: has no file {wanted} or {wanted}.gz")
    return files
