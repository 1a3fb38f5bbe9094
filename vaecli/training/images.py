"""Pictures of a run: its reconstructions of test images, its decoded points of the latent space, its σ and its τ."""

import functools
import io
import math
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import NormalDist

import numpy as np

from vaecli.config import UsageError
from vaecli.config.errors import one_line
from vaecli.data import Dataset, in_unit
from vaecli.runs.files import write_atomically
from vaecli.runs.pictures import COLUMNS, GAP, SAMPLES, ZOOM, picture_path

PICTURED = 64
"""How many test images are drawn."""

_GRID = 20

# One scale for all runs, so that their pictures can be compared; 1 is the σ of the prior. What lies beyond has a colour
# of its own.
_SCALE_LIMITS, _SCALE_TICKS = (0.01, 3.0), (0.01, 0.03, 0.1, 0.3, 1, 3)
_BELOW, _ABOVE = "#d55e00", "#cc79a7"
# The same of the likelihood's τ, where white is 1.
_TAU_LIMITS = (0.001, 1.0)
_ONE_MAP_ZOOM = 8
_WORDS = 15


def points(latent: int) -> np.ndarray:
    """Returns the z that pictures show, (points, latent).

    They are draws from the prior, the same for all runs, and in two dimensions also a grid of the prior's quantiles
    (Kingma & Welling 2013, figure 4).
    """
    samples = np.random.default_rng(0).standard_normal((SAMPLES, latent))
    if latent != 2:
        return samples.astype(np.float32)
    quantiles = [NormalDist().inv_cdf((k + 0.5) / _GRID) for k in range(_GRID)]
    # z_1 to the right, z_2 upwards.
    grid = [(right, up) for up in reversed(quantiles) for right in quantiles]
    return np.concatenate([samples, grid]).astype(np.float32)


def sheets(
    dataset: Dataset,
    reconstructions: np.ndarray,
    decoded: np.ndarray,
    scale: np.ndarray,
    likelihood_scale: np.ndarray | None = None,
    *,
    note: Callable[[str], None],
) -> Mapping[str, bytes]:
    """Returns the pictures of a run by tag, as PNG; one that cannot be drawn is a note, and the others are there.

    Args:
      dataset: the data set whose first test images are drawn.
      reconstructions: the means of p(x|z) at the μ of those images, (pictures, pixels), white at 1.
      decoded: the means of p(x|z) at `points`, (points, pixels).
      scale: the σ of those images, (pictures, latent).
      likelihood_scale: the τ of the pixels, (1, pixels), or of those of those images, (pictures, pixels).
      note: takes what a person should know.
    """
    shape = (dataset.height, dataset.width)
    samples, grid = decoded[:SAMPLES], decoded[SAMPLES:]
    drawn = {
        "test/reconstructions": lambda: _pairs(in_unit(dataset.test[: len(reconstructions)]), reconstructions, shape),
        "prior/samples": lambda: _sheet([_strip(samples.reshape(-1, *shape), SAMPLES // COLUMNS)]),
        "prior/grid": lambda: _sheet([_strip(grid.reshape(-1, *shape), _GRID)]),
        "posterior/sigma_by_latent": lambda: _heat_map(scale),
    }
    if likelihood_scale is not None:
        drawn["likelihood/tau_map"] = lambda: _maps(likelihood_scale.reshape(-1, *shape))
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
    rows = [slice(k, k + COLUMNS) for k in range(0, len(inputs), COLUMNS)]
    pairs = [np.concatenate([inputs[row], reconstructions[row]]) for row in rows]
    return _sheet([_strip(pair.reshape(-1, *shape), 2) for pair in pairs])


def _png(array: np.ndarray) -> bytes:
    """Encodes an image, (height, width) in grey or (height, width, 3), uint8; once for the file and the events."""
    from PIL import Image

    buffer = io.BytesIO()
    # Runs of equal bytes only: as small as with zlib's whole search for repetitions, in a quarter of its time.
    Image.fromarray(array).save(buffer, "PNG", compress_type=zlib.Z_RLE)
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
        paths.append(picture_path(folder, tag.partition("/")[2], epoch))
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
    grey = (255 * np.clip(_stacked(strips, between=0.5, beyond=0.0), 0, 1)).round().astype(np.uint8)
    return _zoomed(grey, ZOOM)


def _stacked(strips: list[np.ndarray], *, between: float, beyond: float) -> np.ndarray:
    """Puts strips below each other, with one value in the gaps between them, and one to the right of shorter ones."""
    width = strips[0].shape[1]
    gap = np.full((GAP, width), between)
    padded = [np.pad(strip, ((0, 0), (0, width - strip.shape[1])), constant_values=beyond) for strip in strips]
    return np.concatenate([row for strip in padded for row in (strip, gap)][:-1])


def _zoomed(picture: np.ndarray, zoom: int) -> np.ndarray:
    return picture.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _maps(scale: np.ndarray) -> np.ndarray:
    """Draws maps of τ, (maps, height, width), each pixel in its colour on a logarithmic scale, the same always."""
    from matplotlib import colormaps

    strips = [_strip(scale[k : k + COLUMNS], 1).astype(np.float64) for k in range(0, len(scale), COLUMNS)]
    low, high = _TAU_LIMITS
    places = np.log(_stacked(strips, between=math.nan, beyond=math.nan) / low) / math.log(high / low)
    with _DRAWING:
        colours = colormaps["cividis"].with_extremes(under=_BELOW, over=_ABOVE, bad="white")(places, bytes=True)
    return _zoomed(np.asarray(colours)[..., :3], _ONE_MAP_ZOOM if len(scale) == 1 else ZOOM)


def _heat_map(scale: np.ndarray) -> np.ndarray:
    """Draws the σ of each latent dimension (rows) at each image (columns), on a logarithmic scale, the same always."""
    from vaecli.report.figures.defaults import matplotlib_defaults

    # Matplotlib is for one thread at a time.
    with _DRAWING, matplotlib_defaults():
        return _frame(*scale.shape).filled(scale)


_DRAWING = threading.Lock()


class _Frame:
    """All of a heat map but its values, drawn once for all maps of one size: that takes longer than all the rest."""

    def __init__(self, pictures: int, latent: int):
        from matplotlib import colormaps
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        # Laid out by hand, in inches, because a layout engine takes longer than all the rest. Large words, since
        # TensorBoard shows a picture at half its width.
        width, height = 6.4, 1.6 + 0.14 * min(max(latent, 14), 60)
        figure = Figure(figsize=(width, height), dpi=100)
        self._canvas, bottom, top = FigureCanvasAgg(figure), 0.7 / height, 1 - 0.5 / height
        self._axis = axis = figure.add_axes((0.9 / width, bottom, 4.4 / width, top - bottom))
        colours = figure.add_axes((5.5 / width, bottom, 0.2 / width, top - bottom))
        colour_map = colormaps["cividis"].with_extremes(under=_BELOW, over=_ABOVE)
        nothing = np.ones((latent, pictures))
        self._image = axis.imshow(
            nothing, aspect="auto", cmap=colour_map, norm=LogNorm(*_SCALE_LIMITS), interpolation="nearest"
        )
        axis.set_xlabel("test image", fontsize=_WORDS)
        axis.set_ylabel("latent dimension", fontsize=_WORDS)
        self._title = axis.set_title("σ of q(z|x)", loc="left", fontsize=_WORDS)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        bar = figure.colorbar(self._image, cax=colours, ticks=_SCALE_TICKS, format="%g", extend="both")
        bar.minorticks_off()
        for ticks in (axis, colours):
            ticks.tick_params(labelsize=_WORDS)
        self._canvas.draw()
        place = self._title.get_position()
        # Left out of the frame; the lines around the values are above them.
        self._artists = (self._image, *axis.spines.values(), self._title)
        for artist in self._artists:
            artist.set_visible(False)
        self._canvas.draw()
        self._empty = self._canvas.copy_from_bbox(figure.bbox)
        for artist in self._artists:
            artist.set_visible(True)
        self._title.set_position(place)  # Which was lost while it could not be seen.

    def filled(self, scale: np.ndarray) -> np.ndarray:
        """Returns the picture with values, (pictures, latent), in it."""
        lowest, highest = _SCALE_LIMITS
        self._image.set_data(np.clip(scale.T, lowest / 2, highest * 2))
        self._title.set_text(f"σ of q(z|x): {scale.min():.2g} to {scale.max():.2g}")
        self._canvas.restore_region(self._empty)
        for artist in self._artists:
            self._axis.draw_artist(artist)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


@functools.lru_cache(4)
def _frame(pictures: int, latent: int) -> _Frame:
    return _Frame(pictures, latent)
