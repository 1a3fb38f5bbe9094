"""Evaluates a finished run: log p(x) by importance sampling, the ELBO, the use of the latent dimensions."""

import contextlib
import functools
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vaecli.analysis.restore import Checkpoint, epoch_of, resolved_config, restored_model, training_data
from vaecli.analysis.sampling_error import GroupedWeights, WeightStream, sampling_error
from vaecli.config import UsageError
from vaecli.data import Dataset
from vaecli.runs.directory import RunDirectory, Summary, UnwritableError, claim, read_summary
from vaecli.runs.reading import Run, open_run
from vaecli.runs.writers import finite_or_null
from vaecli.training.memory import memory_shortage_as_usage_error

if TYPE_CHECKING:
    from jax import Array

    from vaecli.vae.importance import Importance
    from vaecli.vae.model import Model

Split = Literal["test", "validation"]

BATCH = 100
"""The number of images at a time."""

_ACTIVE = 0.01

_NOT_STORED = "the result is shown, and not stored"


def evaluate(
    path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    samples: int = 5000,
    split: Split = "test",
    checkpoint: Checkpoint = "last",
    images: str | os.PathLike[str] | None = None,
    trust_heads: bool = False,
    follow: Callable[[Sequence[int]], Iterable[int]] = iter,
    note: Callable[[str], None] = warnings.warn,
) -> Mapping[str, Any]:
    """Evaluates a finished run, and adds the result to its summary, where that can be written.

    Args:
      path: the run's directory.
      data_dir: where its data lie now, "" for those in this package; by default where they lay.
      samples: the number K of draws of z for each image.
      split: the split whose images are used; `validation` only of a run that held them out.
      checkpoint: the last one, or the best one on the validation split.
      images: a folder for the pictures, which is made if need be; without one, no pictures are drawn.
      trust_heads: whether the modules of heads of its own that the run names are imported, which runs their code.
      follow: a function that takes the batches' numbers and gives them back, to show the progress.
      note: takes what a person should know: that the result cannot be stored, or a picture not drawn, and why.

    Returns:
      The values that docs/metrics.md describes under "Evaluation"; None for a number that is not finite.

    Raises:
      UsageError: the run, its data or its checkpoint cannot be used.
    """
    if not 1 <= samples <= 10**7:
        raise UsageError(f"--samples: must lie between 1 and 10000000, got {samples}")
    run = open_run(Path(path))
    epoch = epoch_of(run, checkpoint)
    if split == "validation" and not run.config.validation:
        raise UsageError(f"{run.path}: was trained without --validation, on those images too")
    resolved = resolved_config(run, trust_heads=trust_heads)
    dataset = training_data(run, data_dir)
    rows = dataset.test if split == "test" else dataset.validation
    assert rows is not None
    model = restored_model(run, resolved, dataset, checkpoint)
    with _held(run, note) as directory, memory_shortage_as_usage_error(run.config, samples=samples):
        pictures = _draw(run, dataset, Path(images), epoch, model, note) if images else []
        importance, weights = _batches(rows, split, samples, model, follow)
        facts = {"split": split, "checkpoint": checkpoint, "epoch": epoch, "images": len(rows), "samples": samples}
        result = facts | _summarise(importance, weights, samples)
        result |= _bits_per_dim(result["nll"], model)
        stored = directory is not None and _store(result, run, directory, note)
    return result | {"path": str(path), "pictures": [str(picture) for picture in pictures], "stored": stored}


@contextlib.contextmanager
def _held(run: Run, note: Callable[[str], None]) -> Iterator[RunDirectory | None]:
    """Holds the directory of a run; one that can only be read is not held, which is said before the long part.

    Raises:
      UsageError: another process works on the run.
    """
    try:
        directory = claim(run.path)
    except UnwritableError as error:
        note(f"{error}; {_NOT_STORED}")
        yield None
        return
    try:
        yield directory
    finally:
        directory.release()


def _store(result: Mapping[str, Any], run: Run, directory: RunDirectory, note: Callable[[str], None]) -> bool:
    """Adds a result to the summary of its run; returns whether that was possible."""
    try:
        directory.check()
        directory.finish(_with(read_summary(directory.place), result))
    except (OSError, UsageError) as error:
        reason = f"{run.path}: cannot be written ({error.strerror})" if isinstance(error, OSError) else str(error)
        note(f"{reason}; {_NOT_STORED}")
        return False
    return True


def _batches(
    rows: np.ndarray, split: Split, samples: int, model: "Model", follow: Callable[[Sequence[int]], Iterable[int]]
) -> "tuple[Importance, GroupedWeights]":
    """Weighs the draws for every image, and returns the results as NumPy arrays."""
    import jax
    import jax.numpy as jnp

    from vaecli.vae.batches import Stream, stream
    from vaecli.vae.evaluate import SPLITS
    from vaecli.vae.importance import chunk, chunks_per_call, importance, no_draws

    weigh = _compiled(importance)
    key = jax.random.fold_in(stream(model.operands.key, Stream.IMPORTANCE), SPLITS.index(split))
    count = jnp.asarray(samples, jnp.int32)
    size = min(BATCH, len(rows))
    architecture = model.program.architecture
    chunks, per_call = -(-samples // chunk(architecture, size)), chunks_per_call(architecture, size)
    parts = -(-chunks // per_call)
    batch, sums = jnp.asarray(rows[:size]), no_draws(size)
    collector, pending = _BatchCollector(size, samples, parts), ()
    for step in follow(range(-(-len(rows) // BATCH) * parts)):
        number, part = divmod(step, parts)
        if part == 0:
            # All batches are of one size, so that one program serves them; the last one meets its first images again.
            batch = jnp.asarray(np.resize(rows[number * BATCH : (number + 1) * BATCH], (size, rows.shape[1])))
            sums = no_draws(size)
        span = jnp.asarray([part * per_call, min((part + 1) * per_call, chunks)], jnp.int32)
        before = pending
        sums, *pending = weigh(model, batch, jax.random.fold_in(key, number), sums, span, count)
        if before:  # One call late, so that the device never waits.
            collector.add(*before)
    collector.add(*pending)
    return collector.of_images(len(rows))


class _BatchCollector:
    """What comes back of each call: the draws' weights of every one, and the summary of a batch's last one."""

    def __init__(self, size: int, samples: int, parts: int) -> None:
        """Expects `parts` calls for every batch of `size` images."""
        self._size, self._samples, self._parts = size, samples, parts
        self._calls = 0
        self._stream = WeightStream(size, samples)
        self._batches: list[tuple[Importance, GroupedWeights]] = []

    def add(self, importance: "Importance", log_weights: "Array") -> None:
        """Takes the results of the next call."""
        import jax

        self._stream.add(np.asarray(log_weights))
        self._calls += 1
        if self._calls % self._parts == 0:
            self._batches.append((jax.device_get(importance), self._stream.grouped()))
            self._stream = WeightStream(self._size, self._samples)

    def of_images(self, count: int) -> "tuple[Importance, GroupedWeights]":
        """Returns everything, by the first so many images."""
        import jax

        importance, weights = zip(*self._batches, strict=True)
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count].astype(np.float64), *importance)
        log_sums = np.concatenate([one.log_sums for one in weights], axis=1)[:, :count]
        return joined, GroupedWeights(log_sums, np.concatenate([one.shape for one in weights])[:count])


def _summarise(importance: "Importance", weights: GroupedWeights, samples: int) -> dict[str, Any]:
    """Returns means over the images; the variance of their sum is that of independent draws."""
    from vaecli.vae.safety import QUANTILES

    weighing, count = importance.weighing, len(importance.loc)
    # The variance of log (1/K) Σ w_k is, to first order, the relative variance of the mean weight.
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (samples / np.asarray(weighing.effective) - 1) / (samples - 1)
        error = sampling_error(weights, np.asarray(weighing.effective), samples)
    scalars = {
        "nll": -float(np.mean(weighing.log_mean)),
        "nll_se": float(np.sqrt(np.clip(variance, 0, None).sum())) / count,
        "nll_bias": float(variance.mean()) / 2,
        "nll_half": error.half,
        "nll_low": error.low,
        "nll_high": error.high,
        "effective_samples": float(np.median(weighing.effective)),
        "few_effective": error.few_effective,
        "heavy_tailed": error.heavy_tailed,
        "elbo": float(np.mean(weighing.elbo)),
        "reconstruction": float(np.mean(weighing.reconstruction)),
        "kl": float(np.sum(importance.kl)) / count,
        "sigma_mean": float(np.mean(importance.scale)),
    }
    scalars |= {f"sigma_{label}": float(np.quantile(importance.scale, at)) for label, at in QUANTILES.items()}
    per_latent = np.mean(importance.kl, axis=0)
    return {
        **finite_or_null(scalars),
        "nll_unreliable": error.unreliable,
        "active_units": int((np.var(importance.loc, axis=0) > _ACTIVE).sum()),
        "latent": importance.loc.shape[1],
        "kl_per_latent": [value if math.isfinite(value) else None for value in per_latent.tolist()],
    }


def _bits_per_dim(nll: float | None, model: "Model") -> dict[str, float | None]:
    """Returns the NLL in bits per pixel, where it is that of the pixels' levels."""
    from vaecli.vae.evaluate import levels_bits, nats_of_bits

    of_levels = levels_bits(model.program)
    if of_levels is None:
        return {}
    return {"nll_bits_per_dim": None if nll is None else of_levels + nll / nats_of_bits(model.program)}


def _draw(
    run: Run, dataset: Dataset, folder: Path, epoch: int, model: "Model", note: Callable[[str], None]
) -> list[Path]:
    """Draws the pictures of a run, and returns their paths."""
    import jax
    import jax.numpy as jnp

    from vaecli.training import images
    from vaecli.vae.evaluate import visuals

    shown, z = jnp.asarray(dataset.test[: images.PICTURED]), jnp.asarray(images.points(run.config.latent))
    drawn = jax.device_get(_compiled(visuals)(model, shown, z))
    return images.save(images.sheets(dataset, *drawn, note=note), folder, epoch)


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function as a compiled program, the same one for all evaluations of a process."""
    from vaecli.vae.compiled import compiled

    return compiled(function)


def _with(summary: Summary, result: Mapping[str, Any]) -> Summary:
    """Returns a summary with a result, in the place of one of the same split, checkpoint and samples."""

    def which(of: Mapping[str, Any]) -> list[Any]:
        return [of.get(name) for name in ("split", "checkpoint", "samples")]

    others = [other for other in summary.get("evaluations", []) if which(other) != which(result)]
    return {**summary, "evaluations": [*others, result]}
