"""The pictures of a comparison: for each variant what one run reconstructs and what it decodes, for the page."""

import base64
import collections
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vaecli.config import UsageError
from vaecli.report.figures.style import shown
from vaecli.report.formatting import count
from vaecli.report.model import Comparison, TrainedVariant
from vaecli.runs.pictures import latest_picture, reconstructed_images, sample_images

# Images in a row of the page, and pixels along a side of one; a larger image is made smaller.
_COLUMNS, _SIDE = 8, 56

# As much as the pictures of one page may have, as they are embedded; the rows after that go without.
MOST_CHARACTERS = 4_000_000


class PictureRow(NamedTuple):
    """The pictures of a variant, as addresses that hold the picture itself.

    Attributes:
      label: the variant.
      seed: that of the run; None where no run has pictures.
      reconstructions: test images above their reconstructions.
      samples: decoded draws from the prior.
      width, height: of either, in pixels.
      missing: why the row has no pictures; empty where it has.
    """

    label: str
    seed: int | None = None
    reconstructions: str = ""
    samples: str = ""
    width: int = 0
    height: int = 0
    missing: str = ""


def picture_rows(comparison: Comparison) -> list[PictureRow]:
    """Returns the pictures of the variants that the figures show; none at all where no run has any.

    The run is that of one seed for all variants, as far as there is one at which they have pictures: it has the same
    test images, the same draws from the prior and, as far as heads allow, the same first weights.
    """
    labels = {result.label for result in shown(comparison.results)}
    variants = [variant for variant in comparison.trained if variant.name in labels]
    pictured = {variant.name: _pictured(variant) for variant in variants}
    times = collections.Counter(seed for seeds in pictured.values() for seed in seeds)
    if not times:
        return []
    common = min(times, key=lambda seed: (-times[seed], seed))
    rows, characters = [], 0
    for variant in variants:
        row = _row(variant, pictured[variant.name], common)
        characters += len(row.reconstructions) + len(row.samples)
        if characters > MOST_CHARACTERS:
            row = PictureRow(variant.name, missing="left out, since the page would be too large")
        rows.append(row)
    return rows


def _pictured(variant: TrainedVariant) -> dict[int, tuple[Path, Path]]:
    """Returns the last samples and reconstructions of the runs that ended well and have both, by seed."""
    pictured = {}
    for seed, run in variant.runs.items():
        if run.status == "complete":
            samples, reconstructions = (latest_picture(run.path, name) for name in ("samples", "reconstructions"))
            if samples and reconstructions:
                pictured[seed] = samples, reconstructions
    return pictured


def _row(variant: TrainedVariant, pictured: Mapping[int, tuple[Path, Path]], common: int) -> PictureRow:
    if not pictured:
        lost = sum(run.status != "complete" for run in variant.runs.values())
        all_lost = f"none: {count(lost, 'run')} of {len(variant.runs)} diverged"
        return PictureRow(variant.name, missing=all_lost if lost == len(variant.runs) else "its runs have none")
    seed = common if common in pictured else next(iter(pictured))
    samples, reconstructions = pictured[seed]
    try:
        drawn = sample_images(samples)
        inputs, means = reconstructed_images(reconstructions, (drawn.shape[1], drawn.shape[2]))
    except UsageError as error:
        return PictureRow(variant.name, missing=str(error))
    above_each_other = np.concatenate([_first(inputs, 1), _first(means, 1)])
    decoded = _first(drawn, 2)
    height, width = decoded.shape
    return PictureRow(variant.name, seed, _address(above_each_other), _address(decoded), width, height)


def _first(images: np.ndarray, rows: int) -> np.ndarray:
    """Puts the first images side by side in so many rows, each made smaller by a whole factor if it is large."""
    factor = -(-max(images.shape[1:]) // _SIDE)
    height, width = images.shape[1] // factor, images.shape[2] // factor
    cut = images[: rows * _COLUMNS, : height * factor, : width * factor]
    small = cut.reshape(len(cut), height, factor, width, factor).mean((2, 4)).round().astype(np.uint8)
    sheet = np.zeros((rows * _COLUMNS, height, width), np.uint8)
    sheet[: len(small)] = small
    return sheet.reshape(rows, _COLUMNS, height, width).transpose(0, 2, 1, 3).reshape(rows * height, -1)


def _address(picture: np.ndarray) -> str:
    """Returns a grey picture as an address that holds it as PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
