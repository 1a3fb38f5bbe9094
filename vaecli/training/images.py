"""Pictures of a run: its reconstructions of test images, its decoded points of the latent space, and its σ."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import NormalDist

import numpy as np
from PIL import Image

from vaecli.config import UsageError
from vaecli.config.errors import one_line
from vaecli.data import Dataset
from vaecli.runs.files import write_atomically

PICTURED = 64
"""How many test images are drawn."""

_COLUMNS, _SAMPLES, _GRID, _ZOOM = 16, 128, 20, 2


def points(latent: int) -> np.ndarray:
    """Returns the z that pictures show, (points, latent).

    They are draws from the prior, the same for all runs, and in two dimensions also a grid of the prior's quantiles
    (Kingma & Welling 2013, figure 4).
    """
    samples = np.random.default_rng(0).standard_normal((_SAMPLES, latent))
    if latent != 2:
        return samples.astype(np.float32)
    quantiles = [NormalDist().inv_cdf((k + 0.5) / _GRID) for k in range(_GRID)]
    # z_1 to the right, z_2 upwards.
    grid = [(right, up) for up in reversed(quantiles) for right in quantiles]
    return np.concatenate([samples, grid]).astype(np.float32)


def sheets(
    dataset: Dataset, reconstructions: np.ndarray, decoded: np.ndarray, scale: np.ndarray, note: Callable[[str], None]
) -> Mapping[str, bytes]:
    """Returns the pictures of a run by tag, as PNG; one that cannot be drawn is a note, and the others are there.

    Args:
      dataset: the data set whose first test images are drawn.
      reconstructions: the means of p(x|z) at the μ of those images, (pictures, pixels), white at 1.
      decoded: the means of p(x|z) at `points`, (points, pixels).
      scale: the σ of those images, (pictures, latent).
      note: takes what a person should know.
    """
    shape = (dataset.height, dataset.width)
    samples, grid = decoded[:_SAMPLES], decoded[_SAMPLES:]
    drawn = {
        "test/reconstructions": lambda: _pairs(dataset.test[: len(reconstructions)] / 255, reconstructions, shape),
        "prior/samples": lambda: _sheet([_strip(samples.reshape(-1, *shape), _SAMPLES // _COLUMNS)]),
        "prior/grid": lambda: _sheet([_strip(grid.reshape(-1, *shape), _GRID)]),
        "posterior/sigma_by_latent": lambda: _heat_map(scale),
    }
    pictures = {}
    for tag, draw in drawn.items():
        if tag == "prior/grid" and not len(grid):
            continue
        try:
            with np.errstate(all="ignore"):
                pictures[tag] = _png(draw())
        except Exception as error:  # Hours of training are worth more than a picture.
            note(f"no picture {tag} ({one_line(error, 300)})")
    return pictures


def _pairs(inputs: np.ndarray, reconstructions: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Puts rows of images, (images, pixels), above those of their reconstructions."""
    rows = [slice(k, k + _COLUMNS) for k in range(0, len(inputs), _COLUMNS)]
    pairs = [np.concatenate([inputs[row], reconstructions[row]]) for row in rows]
    return _sheet([_strip(pair.reshape(-1, *shape), 2) for pair in pairs])


def _png(array: np.ndarray) -> bytes:
    """Encodes an image, (height, width) in grey or (height, width, 3), uint8; once for the file and the events."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def save(pictures: Mapping[str, bytes], folder: Path, epoch: int) -> list[Path]:
    """Writes pictures as `<folder>/<name>_epoch<NNNN>.png`, and returns the paths.

    Raises:
      UsageError: the folder cannot be made, or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror})") from error
    paths = []
    for tag, picture in pictures.items():
        paths.append(folder / f"{tag.partition('/')[2]}_epoch{epoch:04d}.png")
        try:
            write_atomically(paths[-1], picture)
        except OSError as error:
            raise UsageError(f"{paths[-1]}: cannot be written ({error.strerror})") from error
    return paths


def _strip(images: np.ndarray, rows: int) -> np.ndarray:
    """Puts images, (images, height, width), in so many rows, without gaps."""
    _, height, width = images.shape
    return images.reshape(rows, -1, height, width).transpose(0, 2, 1, 3).reshape(rows * height, -1)


def _sheet(strips: list[np.ndarray]) -> np.ndarray:
    """Puts strips below each other with a gap between, and zooms in; the last may be shorter."""
    width = strips[0].shape[1]
    gap = np.full((2, width), 0.5)
    padded = [np.pad(strip, ((0, 0), (0, width - strip.shape[1]))) for strip in strips]
    rows = [row for strip in padded for row in (strip, gap)][:-1]
    grey = (255 * np.clip(np.concatenate(rows), 0, 1)).round().astype(np.uint8)
    return np.kron(grey, np.ones((_ZOOM, _ZOOM), np.uint8))


def _heat_map(scale: np.ndarray) -> np.ndarray:
    """Draws the σ of each latent dimension (rows) at each image (columns), on a logarithmic scale."""
    from vaecli.report.figures.defaults import matplotlib_defaults

    with matplotlib_defaults():
        return _drawn_heat_map(scale)


def _drawn_heat_map(scale: np.ndarray) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator

    # Laid out by hand, in inches, because a layout engine takes longer than all the rest.
    width, height = 9.0, 2.2 + 0.14 * min(scale.shape[1], 60)
    figure = Figure(figsize=(width, height), dpi=100)
    canvas, bottom, top = FigureCanvasAgg(figure), 0.5 / height, 1 - 0.35 / height
    axis = figure.add_axes((0.65 / width, bottom, 7.4 / width, top - bottom))
    colours = figure.add_axes((8.15 / width, bottom, 0.15 / width, top - bottom))
    # At least a factor of two, so that a σ that is the same everywhere does not show its rounding errors.
    low, high = np.clip([scale.min(), scale.max()], 1e-30, 1e30)
    middle, half = np.sqrt(low) * np.sqrt(high), max(np.sqrt(high / low), np.sqrt(2))
    norm = LogNorm(middle / half, middle * half)
    image = axis.imshow(scale.T, aspect="auto", cmap="cividis", norm=norm, interpolation="nearest")
    axis.set(xlabel="test image", ylabel="latent dimension")
    axis.set_title("σ of q(z|x)", loc="left", fontsize=11)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    bar = figure.colorbar(image, cax=colours, label="σ", ticks=LogLocator(subs=(1, 2, 3, 5)), format="%.3g")
    bar.minorticks_off()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
