"""The pictures of a run on the disk, and how the images lie in them."""

import os
import re
import warnings
from pathlib import Path

import numpy as np

from vaecli.config import UsageError
from vaecli.runs.files import open_regular

COLUMNS, SAMPLES, ZOOM, GAP = 16, 128, 2, 2
"""Images in a row; decoded draws from the prior; pixels along a side of one of theirs; theirs between two rows."""

# Of a picture that is read again; one of 28 by 28 images has half a million.
_MOST_PIXELS = 50_000_000


def picture_path(folder: Path, name: str, epoch: int) -> Path:
    """Returns where a picture lies."""
    return folder / f"{name}_epoch{epoch:04d}.png"


def latest_picture(run: Path, name: str) -> Path | None:
    """Returns the picture of a run that was drawn last; None where there is none."""
    try:
        by_epoch = [(int(match[1]), path) for path in (run / "pictures").iterdir() if (match := _epoch(path, name))]
    except OSError:
        return None
    return max(by_epoch)[1] if by_epoch else None


def _epoch(path: Path, name: str) -> re.Match[str] | None:
    return re.fullmatch(re.escape(name) + r"_epoch(\d{1,9})\.png", path.name)


def sample_images(path: Path) -> np.ndarray:
    """Reads the decoded draws of a picture of samples: (images, height, width), grey, uint8.

    Raises:
      UsageError: it cannot be read, or is not such a picture.
    """
    sheet = _read(path)
    rows = SAMPLES // COLUMNS
    if sheet.shape[0] % rows or sheet.shape[1] % COLUMNS:
        raise UsageError(f"{path}: is not a picture of {SAMPLES} samples")
    return _cut(sheet, rows, COLUMNS)


def reconstructed_images(path: Path, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Reads the first test images of a picture of reconstructions, and these: (images, height, width), grey, uint8.

    Args:
      path: the picture.
      shape: the height and the width of an image.

    Raises:
      UsageError: it cannot be read, or is not such a picture.
    """
    sheet = _read(path)
    height, width = shape
    if sheet.shape[0] < 2 * height or sheet.shape[1] % width:
        raise UsageError(f"{path}: is not a picture of reconstructions of {height} by {width} pixels")
    images = _cut(sheet[: 2 * height], 2, sheet.shape[1] // width)
    return images[: len(images) // 2], images[len(images) // 2 :]


def _cut(sheet: np.ndarray, rows: int, columns: int) -> np.ndarray:
    height, width = sheet.shape[0] // rows, sheet.shape[1] // columns
    return sheet.reshape(rows, height, columns, width).transpose(0, 2, 1, 3).reshape(-1, height, width)


def _read(path: Path) -> np.ndarray:
    """Reads a grey picture, without its zoom.

    Raises:
      UsageError: it cannot be read, is not a grey picture, or is too large: anybody may have put it there.
    """
    from PIL import Image

    too_large = Image.DecompressionBombWarning, Image.DecompressionBombError
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            os.fdopen(open_regular(path), "rb") as file,
            Image.open(file, formats=["PNG"]) as picture,
        ):
            if picture.mode != "L" or picture.width * picture.height > _MOST_PIXELS:
                raise UsageError(f"{path}: is not a picture of a run")
            return np.asarray(picture)[::ZOOM, ::ZOOM]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or 'not a PNG file'})") from error
    except (SyntaxError, EOFError, *too_large) as error:
        raise UsageError(f"{path}: cannot be read (a damaged PNG file)") from error
