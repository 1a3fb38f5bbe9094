"""Images that a Python program gives as arrays."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecli.config import UsageError
from vaecli.config.errors import one_line
from vaecli.config.naming import OWN_DATA, folder_name
from vaecli.data.idx import to_idx
from vaecli.data.images import RawImages, raw_images

Bytes = npt.NDArray[np.uint8]

_OF_ARRAYS = "arrays:"
_FILES = {
    "train-images": "train-images-idx3-ubyte",
    "t10k-images": "t10k-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "t10k-labels": "t10k-labels-idx1-ubyte",
}


def is_of_arrays(data_dir: str) -> bool:
    """Returns whether the place of a run's data says that they were arrays, which lie nowhere."""
    return data_dir.startswith(_OF_ARRAYS)


class Images:
    """A data set as arrays, for `train(config, data=Images(train=…, test=…))`.

    The arrays are copied. A run records the SHA-256 of the IDX file that each would be, so it does not matter whether
    images come as arrays or from a folder.

    Attributes:
      train: the training images, (images, rows, columns), uint8: 0 is black and 255 is white.
      test: the test images, of the same size.
      train_labels: whole numbers from 0 to 255, one for each training image, of which only the checksum is recorded.
      test_labels: the same of the test images.
      name: what the data are called, which is the default name of their runs, too.

    >>> images = Images(train=np.eye(8, dtype=np.uint8)[None] * 255, test=np.eye(8, dtype=np.uint8)[None], name="eyes")
    >>> images.test.shape, images.run_name
    ((1, 8, 8), 'eyes')
    """

    def __init__(
        self,
        *,
        train: npt.ArrayLike,
        test: npt.ArrayLike,
        train_labels: npt.ArrayLike | None = None,
        test_labels: npt.ArrayLike | None = None,
        name: str = "",
    ):
        """Takes and checks the arrays.

        Raises:
          UsageError: one has another shape or type; the message says how to change that.
        """
        if not isinstance(name, str):
            raise UsageError(f"Images: name must be text, got {name!r}")
        self.name = name
        self.train, self.test = _checked_images("train", train), _checked_images("test", test)
        self.train_labels = _checked_labels("train_labels", train_labels, len(self.train))
        self.test_labels = _checked_labels("test_labels", test_labels, len(self.test))
        sha256 = {role: to_idx(array)[1] for role, array in self._by_role().items()}
        identity = hashlib.sha256((sha256["train-images"] + sha256["t10k-images"]).encode()).hexdigest()
        self._data_dir = f"{_OF_ARRAYS}{identity[:16]}"
        self._raw = raw_images(Path(name or "Images"), self._by_role(), sha256, [])

    def __repr__(self) -> str:
        size = "x".join(map(str, self.train.shape[1:]))
        return f"<Images {self.name or self._data_dir}: {len(self.train)} for training, {len(self.test)} test, {size}>"

    @property
    def data_dir(self) -> str:
        """The `data_dir` of their runs, which says that they were arrays, and which."""
        return self._data_dir

    @property
    def run_name(self) -> str:
        """The name of runs on these images that are given none."""
        name = folder_name(self.name) or folder_name(self._data_dir)
        return f"{name}-data" if name.lower() == OWN_DATA else name

    @property
    def raw(self) -> RawImages:
        """The images as those of a folder are read."""
        return self._raw

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the images as IDX files into a folder, for `--data-dir`; existing files are left alone.

        Raises:
          UsageError: they cannot be written.
        """
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for role, array in self._by_role().items():
                with (Path(folder) / _FILES[role]).open("xb") as file:
                    file.write(to_idx(array)[0])
                    file.write(array.tobytes())
        except OSError as error:
            raise UsageError(f"{folder}: the images cannot be written there ({error.strerror})") from error

    def _by_role(self) -> Mapping[str, Bytes]:
        arrays = {
            "train-images": self.train,
            "t10k-images": self.test,
            "train-labels": self.train_labels,
            "t10k-labels": self.test_labels,
        }
        return {role: array for role, array in arrays.items() if array is not None}


def _array(what: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # Rows of several lengths, an array of another device.
        raise UsageError(f"Images: {what} is not an array ({one_line(error, 200)})") from error


def _checked_images(what: str, value: Any) -> Bytes:
    """Returns a copy of images that nobody can change."""
    array = _array(what, value)
    if array.dtype.kind not in "biuf":
        kind = type(value).__name__ if array.ndim == 0 else array.dtype
        raise UsageError(f"Images: {what} must be an array of numbers, got {kind}")
    if array.ndim != 3:
        raise UsageError(f"Images: {what} has the shape {array.shape}, {_hint_of_shape(what, array)}")
    if 0 in array.shape:
        raise UsageError(f"Images: {what} is empty, its shape is {array.shape}")
    if array.dtype != np.uint8:
        raise UsageError(f"Images: {what} holds {array.dtype}, {_hint_of_type(what, array)}")
    return _frozen(array)


def _hint_of_shape(what: str, array: np.ndarray) -> str:
    wanted = "where (images, rows, columns) is needed"
    if array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):
        return f"{wanted}; {what}.squeeze({3 if array.shape[3] == 1 else 1}) drops the channel"
    if array.ndim == 4:
        return f"{wanted}: one channel only, for instance {what}.mean({3 if array.shape[3] in (3, 4) else 1})"
    if array.ndim == 2 and (side := round(array.shape[1] ** 0.5)) ** 2 == array.shape[1] > 0:
        return f"{wanted}; {what}.reshape(-1, {side}, {side}) makes square images of the rows"
    return wanted


def _hint_of_type(what: str, array: np.ndarray) -> str:
    wanted = "where unsigned bytes (uint8) are needed, 0 for black and 255 for white"
    least, greatest = array.min(), array.max()
    if least >= 0 and greatest <= 1:
        whole = "" if array.dtype.kind in "biu" else ".round()"
        return f"{wanted}; if 1 is white, (255 * {what}){whole}.astype('uint8') makes them"
    if least >= 0 and greatest <= 255:
        return f"{wanted}; {what}.astype('uint8') makes them, if they are on that scale"
    return f"{wanted}; its values are {least} to {greatest}"


def _checked_labels(what: str, value: Any, count: int) -> Bytes | None:
    """Returns a copy of labels, of which there must be as many as images."""
    if value is None:
        return None
    array = _array(what, value)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise UsageError(f"Images: {what} must be whole numbers in one dimension, got {array.dtype} of {array.shape}")
    if len(array) != count:
        raise UsageError(f"Images: {what} are {len(array)}, but there are {count} images")
    if array.min() < 0 or array.max() > 255:
        raise UsageError(f"Images: {what} must lie between 0 and 255, got {array.min()} to {array.max()}")
    return _frozen(array.astype(np.uint8))


def _frozen(array: np.ndarray) -> Bytes:
    copy = np.array(array, np.uint8, order="C")
    copy.flags.writeable = False
    return copy
