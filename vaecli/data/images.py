"""The images of a data set, as they were given, and what is known of them before they are split."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vaecli.config import UsageError
from vaecli.data.checksums import check_checksums
from vaecli.data.folder import DataFiles, data_files
from vaecli.data.idx import read_images, read_labels
from vaecli.data.pixels import Pixels, doubts


class RawImages(NamedTuple):
    """The images of a data set, as they were read from a folder or given as arrays.

    Attributes:
      folder: the folder, or what the arrays are called.
      train: the training images, (images, rows, columns), uint8.
      test: the test images, (images, rows, columns), uint8.
      pixels: what the pixels of `train` and `test` are.
      sha256: the SHA-256 of each unpacked file, by its role (`train-images`, …); of labels only where there are any.
      notes: what a person should know before training on them.
      looks_transposed: whether the names of the files are those of EMNIST, which exchanges rows and columns.
    """

    folder: Path
    train: np.ndarray
    test: np.ndarray
    pixels: Mapping[str, Pixels]
    sha256: Mapping[str, str]
    notes: Sequence[str]
    looks_transposed: bool


def read_folder(folder: Path, remedy: str, *, labels_needed: bool = False) -> RawImages:
    """Reads the images of a folder; labels are only counted, and need not be there.

    Args:
      folder: the folder.
      remedy: what to do about a file that is not what its checksum says.
      labels_needed: whether a list of checksums must name the labels, too.

    Raises:
      UsageError: a file is missing, damaged or of the wrong form, or the files do not fit each other.
    """
    files = data_files(folder)
    needed = [*files.images.values(), *(files.labels.values() if labels_needed else ())]
    check_checksums(folder, needed, [path for paths in files.labels.values() for path in paths], remedy)
    arrays, sha256, notes = {}, {}, []
    for role, paths in files.images.items():
        arrays[role], sha256[role], passed_over = _read_one_of(paths)
        notes += passed_over
    sha256 |= _label_checksums(folder, files, arrays)
    return raw_images(folder, arrays, sha256, notes, looks_transposed=files.name.startswith("emnist"))


def raw_images(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    sha256: Mapping[str, str],
    notes: Sequence[str],
    *,
    looks_transposed: bool = False,
) -> RawImages:
    """Puts the images of a data set together.

    Args:
      folder: where they come from.
      arrays: the images by role, `train-images` and `t10k-images`.
      sha256: the checksum of each file, or of what would be one, by its role.
      notes: what a person should know so far.
      looks_transposed: whether they have the names of EMNIST's.

    Raises:
      UsageError: training and test images differ in their sizes.
    """
    train, test, notes = arrays["train-images"], arrays["t10k-images"], [*notes]
    if train.shape[1:] != test.shape[1:]:
        sizes = ["x".join(map(str, images.shape[1:])) for images in (train, test)]
        raise UsageError(f"{folder}: training images are {sizes[0]} but test images {sizes[1]}; sizes must agree")
    if sha256["train-images"] == sha256["t10k-images"]:
        notes.append(f"{folder}: the training images and the test images are the same")
    pixels = {
        "train": Pixels.of(train, sha256["train-images"]),
        "test": Pixels.of(test, sha256["t10k-images"]),
    }
    for split, of_split in pixels.items():
        notes += doubts(f"{folder}: {split} images", of_split)
    return RawImages(folder, train, test, pixels, dict(sorted(sha256.items())), notes, looks_transposed)


def _read_one_of(paths: Sequence[Path]) -> tuple[np.ndarray, str, list[str]]:
    """Reads images from files that must hold the same.

    Returns:
      The images, the SHA-256 of their file, and what is wrong with those files that cannot be read.

    Raises:
      UsageError: none can be read, or two hold different images.
    """
    contents: dict[Path, tuple[np.ndarray, str]] = {}
    faults = []
    for path in paths:
        try:
            contents[path] = read_images(path)
        except UsageError as error:
            faults.append(error)
    if not contents:
        raise faults[0]
    first, *others = contents
    images, sha256 = contents[first]
    for other in others:
        if contents[other][1] != sha256:
            raise UsageError(f"{first} and {other}: hold different images; remove the one that is not meant")
    return images, sha256, [f"{fault}; {first.name} is read instead" for fault in faults]


def _label_checksums(folder: Path, files: DataFiles, arrays: Mapping[str, np.ndarray]) -> Mapping[str, str]:
    """Returns the SHA-256 of the labels, by role, as far as they can be read: nothing else uses them.

    Raises:
      UsageError: there are more or fewer of them than of the images.
    """
    sha256 = {}
    for role, paths in files.labels.items():
        for path in paths:
            with contextlib.suppress(UsageError):
                count, sha256[role] = read_labels(path)
                break
        else:
            continue
        split = role.removesuffix("-labels")
        if count != len(arrays[f"{split}-images"]):
            counts = f"{len(arrays[f'{split}-images'])} {split} images but {count} labels"
            raise UsageError(f"{folder}: {counts}; they belong to different data sets (labels may be left out)")
    return sha256
