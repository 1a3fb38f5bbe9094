"""A trained run as a Python program sees it: its record, and its model as functions of NumPy arrays."""

import functools
import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from vaecli.analysis.restore import Checkpoint, epoch_of, resolved_config, restored_model, training_data
from vaecli.config import Config, UsageError
from vaecli.config.errors import one_line
from vaecli.config.texts import minus
from vaecli.config.validators import wrong_type
from vaecli.data import is_of_arrays
from vaecli.data.binarise import binarise, drawn_once, in_unit
from vaecli.report.formatting import count
from vaecli.runs.checkpoint import flat, snapshot
from vaecli.runs.collection import log_points
from vaecli.runs.directory import Summary
from vaecli.runs.reading import Run, open_run
from vaecli.vae.heads.table import Head

if TYPE_CHECKING:
    from vaecli.vae.model import Model

Floats = npt.NDArray[np.floating[Any]]

_BATCH = 1024
"""The most images at a time."""


class Columns(Protocol):
    """A table by the names of its columns: a pandas DataFrame, or a dict of NumPy arrays."""

    def __getitem__(self, name: str, /) -> Any: ...
    def __contains__(self, name: object, /) -> bool: ...
    def keys(self) -> Iterable[str]: ...


class Encoding(NamedTuple):
    """The posterior q(z|x) = N(μ, diag σ²) of images.

    Attributes:
      mean: the μ, (images, latent).
      std: the σ, (images, latent).
    """

    mean: Floats
    std: Floats


class _Size(NamedTuple):
    height: int
    width: int


def load_run(
    path: str | os.PathLike[str],
    *,
    checkpoint: Checkpoint = "last",
    param: Head | None = None,
    decoder_param: Head | None = None,
    trust_heads: bool = False,
) -> "LoadedRun":
    """Opens a run that has ended or was stopped.

    Args:
      path: its directory, such as `runs/mnist/logvar/seed0`.
      checkpoint: the last one, or the best one on the validation split.
      param: the head of a run whose config was given it as an object.
      decoder_param: the same of the head of the likelihood's scale.
      trust_heads: whether the modules of heads of its own that the run names are imported, which runs their code.

    Raises:
      UsageError: there is no run, it is unfinished, or its record or its checkpoint is damaged.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"load_run: a path is needed, as in load_run('runs/mnist/logvar/seed0'), got {path!r}")
    if complaint := wrong_type(checkpoint, Checkpoint):
        raise UsageError(f"checkpoint: {complaint}")
    run = open_run(Path(path))
    epoch_of(run, checkpoint)
    snapshot(run.path, run.summary["steps"], run.summary.get("checkpoint_sha256", ""))
    for field, head in (("param", param), ("decoder_param", decoder_param)):
        recorded = getattr(run.config, field)
        if head is not None and (given := Config(param=head).param) != recorded:
            raise UsageError(f"{run.path}: was trained with {field} {recorded}, and not with the head given, {given}")
    return LoadedRun(run, checkpoint, trust_heads)


class LoadedRun:
    """A trained run, opened by `load_run`.

    Images that are given to it are uint8, as in the files of its data: they are transposed and binarised as the run did
    with its test images. Or they are floats from 0 (black) to 1, which the network sees as they are. Their shape is
    (images, rows, columns) or (images, pixels); a single image may be (rows, columns).
    """

    def __init__(self, run: Run, checkpoint: Checkpoint, trust_heads: bool):
        """Takes the run; `load_run` makes one from a path."""
        self._run, self._trust_heads = run, trust_heads
        self._checkpoint: Checkpoint = checkpoint

    def __repr__(self) -> str:
        elbo = self.summary["metrics"].get("test/elbo")
        result = "" if elbo is None else f", test ELBO {minus(f'{elbo:.2f}')} nats"
        return f"<run {self.path}: {self.summary['status']} after {count(self.summary['epochs'], 'epoch')}{result}>"

    @property
    def path(self) -> Path:
        """Its directory."""
        return self._run.path

    @property
    def config(self) -> Config:
        """Its settings."""
        return self._run.config

    @property
    def summary(self) -> Summary:
        """What `summary.json` holds (docs/metrics.md)."""
        return self._run.summary

    @functools.cached_property
    def metrics(self) -> Columns:
        """What it logged: `step`, `epoch` and the tags of docs/metrics.md, one row for each log point.

        It is a pandas DataFrame where pandas is installed, and a dict of NumPy arrays otherwise; `metrics["test/elbo"]`
        is a column of either. What was not logged, or not finite, is NaN.

        Raises:
          UsageError: the log is damaged.
        """
        points = log_points(self.path)
        columns = {
            tag: np.asarray([math.nan if (value := point.get(tag)) is None else value for point in points])
            for tag in dict.fromkeys(tag for point in points for tag in point)
        }
        try:
            import pandas
        except ImportError:
            return columns
        return pandas.DataFrame(columns)

    @functools.cached_property
    def params(self) -> Mapping[str, Floats]:
        """The parameters at the checkpoint, by the names that `arrays.npz` has, as in `encoder/layers/0/kernel`.

        Raises:
          UsageError: the checkpoint cannot be read, or a head is not known here.
        """
        return {name: np.asarray(leaf) for name, leaf in flat(self._model.params).items()}

    def encode(self, x: npt.ArrayLike) -> Encoding:
        """Returns q(z|x) of images.

        Raises:
          UsageError: the images have another shape, type or range; or as for `params`.
        """
        return Encoding(*_in_batches(_encode, self._model, self._pixels(x)))

    def decode(self, z: npt.ArrayLike) -> Floats:
        """Returns E[x|z], (points, rows, columns), white at 1, of points (points, latent) of the latent space.

        Raises:
          UsageError: the points have another shape, or are not finite; or as for `params`.
        """
        points = np.atleast_2d(_numbers("z", z))
        if points.ndim != 2 or points.shape[1] != self.config.latent or not len(points):
            raise UsageError(f"z: has the shape {np.shape(z)}, where (points, {self.config.latent}) is needed")
        if not np.isfinite(points).all():
            raise UsageError("z: holds numbers that are not finite")
        (means,) = _in_batches(_decode, self._model, points.astype(np.float32))
        return means.reshape(-1, *self._size)

    def sample(self, n: int, *, seed: int = 0) -> Floats:
        """Returns E[x|z], (n, rows, columns), at n draws of z from the prior N(0, 1).

        Raises:
          UsageError: n is not a number of images; or as for `params`.
        """
        count = _whole("n", n, least=1)
        rng = np.random.default_rng(_whole("seed", seed, least=0))
        return self.decode(rng.standard_normal((count, self.config.latent)))

    def elbo(
        self,
        x: npt.ArrayLike | None = None,
        *,
        samples: int = 1,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> Floats:
        """Returns the ELBO of each image, (images,), in nats.

        The draws of ε depend only on the run's seed and an image's place. With one draw for each of the run's test
        images the mean is the `test/elbo` of its last log point.

        Args:
          x: the images; by default the test images of the run's data.
          samples: how many draws of z for each image; the result is the mean over them.
          data_dir: where the run's data lie now, for x left out; by default where they lay.

        Raises:
          UsageError: the images or the run's data cannot be used; or as for `params`.
        """
        count = _whole("samples", samples, least=1)
        pixels = self._test_pixels(data_dir) if x is None else self._pixels(x)
        of_draw = _compiled(_elbos)
        total = sum(np.asarray(of_draw(self._model, pixels, number), np.float64) for number in range(count))
        return np.asarray(total / count)

    @functools.cached_property
    def _model(self) -> "Model":
        resolved = resolved_config(self._run, trust_heads=self._trust_heads)
        return restored_model(self._run, resolved, self._size, self._checkpoint)

    @functools.cached_property
    def _size(self) -> _Size:
        """The rows and columns of an image as the network sees it."""
        recorded = self.summary.get("data")
        if isinstance(recorded, dict) and all(type(recorded.get(side)) is int for side in _Size._fields):
            return _Size(recorded["height"], recorded["width"])
        dataset = training_data(self._run)  # An earlier version did not record it.
        return _Size(dataset.height, dataset.width)

    def _test_pixels(self, data_dir: str | os.PathLike[str] | None) -> Floats:
        if is_of_arrays(self.config.data_dir) and data_dir is None:
            raise UsageError(f"{self.path}: was trained on arrays, so elbo needs its images, as in elbo(images.test)")
        return in_unit(training_data(self._run, data_dir).test)

    def _pixels(self, x: npt.ArrayLike) -> Floats:
        """Returns images as rows of pixels between 0 and 1."""
        images, config = _numbers("x", x), self.config
        is_file = images.dtype == np.uint8
        rows, columns = reversed(self._size) if is_file and config.data_transpose else self._size
        if images.shape == (rows, columns):
            images = images[None]
        if images.shape[1:] not in ((rows, columns), (rows * columns,)) or not len(images):
            raise UsageError(f"x: has the shape {np.shape(x)}, where (images, {rows}, {columns}) is needed")
        if is_file:
            images = images.reshape(-1, rows, columns)
            images = np.ascontiguousarray(images.transpose(0, 2, 1)) if config.data_transpose else images
            return in_unit(binarise(images.reshape(len(images), -1), drawn_once(config.binarisation), "test"))
        if images.dtype.kind in "iu":
            raise UsageError(f"x: holds {images.dtype}; give uint8, where 255 is white, or floats, where 1 is")
        if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
            raise UsageError("x: holds floats that do not lie between 0 and 1; where 255 is white, give uint8")
        return images.reshape(len(images), -1).astype(np.float32)


def _numbers(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{name}: is not an array ({one_line(error, 200)})") from error
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{name}: must be an array of numbers, got {array.dtype}")
    return array


def _whole(name: str, value: Any, *, least: int) -> int:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not least <= int(value) <= 10**7:
        raise UsageError(f"{name}: must be a whole number between {least} and 10000000, got {value!r}")
    return int(value)


def _in_batches(function: Callable[..., Any], model: "Model", rows: Floats) -> list[Floats]:
    """Applies a compiled function to rows, some at a time, so that memory does not grow with their number."""
    # A few sizes only, for each of which a program is compiled; what fills a batch up are its first rows again.
    size = min(_BATCH, 1 << (len(rows) - 1).bit_length())
    compiled = _compiled(function)
    batches = [compiled(model, np.resize(rows[k : k + size], (size, rows.shape[1]))) for k in range(0, len(rows), size)]
    return [np.concatenate(parts)[: len(rows)] for parts in zip(*batches, strict=True)]


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    import jax

    return jax.jit(function)


def _encode(model: "Model", x: Any) -> tuple[Any, ...]:
    q, _ = model.encode(x)
    return q.loc, q.scale


def _decode(model: "Model", z: Any) -> tuple[Any, ...]:
    return (model.mean(z[None])[0],)


def _elbos(model: "Model", pixels: Any, number: Any) -> Any:
    import jax
    import jax.numpy as jnp

    from vaecli.vae.batches import Stream, stream
    from vaecli.vae.evaluate import SPLITS, image_elbos

    key = jax.random.fold_in(stream(model.operands.key, Stream.EVALUATION), SPLITS.index("test"))
    later = jax.random.fold_in(key, number)
    # The first draw is that of a log point.
    chosen = jnp.where(number == 0, jax.random.key_data(key), jax.random.key_data(later))
    return image_elbos(model, pixels, jax.random.wrap_key_data(chosen, impl="threefry2x32"))
