"""Evaluates a finished run: log p(x) by importance sampling, the ELBO, the use of the latent dimensions."""

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vaecli.analysis.restore import Checkpoint, epoch_of, resolved_config, restored_model, training_data
from vaecli.config import UsageError
from vaecli.data import Dataset
from vaecli.runs.directory import RunDirectory, Summary, UnwritableError, claim, read_summary
from vaecli.runs.reading import Run, open_run
from vaecli.runs.writers import finite_or_null
from vaecli.training.memory import memory_shortage_as_usage_error

if TYPE_CHECKING:
    from vaecli.vae.importance import Importance
    from vaecli.vae.model import Model

Split = Literal["test", "validation"]

BATCH = 100
"""The number of images at a time."""

# Chunks of draws in one call of the device, between which a signal is heard and the progress shown: a few seconds.
_CHUNKS = 100
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
        batches = _batches(rows, split, samples, model, follow)
        facts = {"split": split, "checkpoint": checkpoint, "epoch": epoch, "images": len(rows), "samples": samples}
        result = facts | _summarise(batches, samples)
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
) -> "Importance":
    """Weighs the draws for every image, and returns the results as NumPy arrays."""
    import jax
    import jax.numpy as jnp

    from vaecli.vae.batches import Stream, stream
    from vaecli.vae.compiled import compiled
    from vaecli.vae.evaluate import SPLITS
    from vaecli.vae.importance import chunk, importance, no_draws

    weigh = compiled(importance)
    key = jax.random.fold_in(stream(model.operands.key, Stream.IMPORTANCE), SPLITS.index(split))
    count = jnp.asarray(samples, jnp.int32)
    size = min(BATCH, len(rows))
    chunks = -(-samples // chunk(model.program.architecture, size))
    parts = -(-chunks // _CHUNKS)
    batch, sums = jnp.asarray(rows[:size]), no_draws(size)
    weighed, pending = [], None
    for step in follow(range(-(-len(rows) // BATCH) * parts)):
        number, part = divmod(step, parts)
        if part == 0:
            # All batches are of one size, so that one program serves them; the last one meets its first images again.
            batch = jnp.asarray(np.resize(rows[number * BATCH : (number + 1) * BATCH], (size, rows.shape[1])))
            sums = no_draws(size)
        span = jnp.asarray([part * _CHUNKS, min((part + 1) * _CHUNKS, chunks)], jnp.int32)
        before = pending
        sums, pending = weigh(model, batch, jax.random.fold_in(key, number), sums, span, count)
        if before is not None:  # One call late, so that the device never waits.
            before = jax.device_get(before)
            if part == 0:
                weighed.append(before)
    weighed.append(jax.device_get(pending))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(rows)].astype(np.float64), *weighed)


def _summarise(importance: "Importance", samples: int) -> dict[str, Any]:
    """Returns means over the images; the variance of their sum is that of independent draws."""
    from vaecli.vae.safety import QUANTILES

    weighing, count = importance.weighing, len(importance.loc)
    # The variance of log (1/K) Σ w_k is, to first order, the relative variance of the mean weight.
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (samples / np.asarray(weighing.effective) - 1) / (samples - 1)
    scalars = {
        "nll": -float(np.mean(weighing.log_mean)),
        "nll_se": float(np.sqrt(np.clip(variance, 0, None).sum())) / count,
        "nll_bias": float(variance.mean()) / 2,
        "effective_samples": float(np.median(weighing.effective)),
        "elbo": float(np.mean(weighing.elbo)),
        "reconstruction": float(np.mean(weighing.reconstruction)),
        "kl": float(np.sum(importance.kl)) / count,
        "sigma_mean": float(np.mean(importance.scale)),
    }
    scalars |= {f"sigma_{label}": float(np.quantile(importance.scale, at)) for label, at in QUANTILES.items()}
    per_latent = np.mean(importance.kl, axis=0)
    return {
        **finite_or_null(scalars),
        "active_units": int((np.var(importance.loc, axis=0) > _ACTIVE).sum()),
        "latent": importance.loc.shape[1],
        "kl_per_latent": [value if math.isfinite(value) else None for value in per_latent.tolist()],
    }


def _draw(
    run: Run, dataset: Dataset, folder: Path, epoch: int, model: "Model", note: Callable[[str], None]
) -> list[Path]:
    """Draws the pictures of a run, and returns their paths."""
    import jax
    import jax.numpy as jnp

    from vaecli.training import images
    from vaecli.vae.compiled import compiled
    from vaecli.vae.evaluate import visuals

    shown, z = jnp.asarray(dataset.test[: images.PICTURED]), jnp.asarray(images.points(run.config.latent))
    drawn = jax.device_get(compiled(visuals)(model, shown, z))
    return images.save(images.sheets(dataset, *drawn, note=note), folder, epoch)


def _with(summary: Summary, result: Mapping[str, Any]) -> Summary:
    """Returns a summary with a result, in the place of one of the same split, checkpoint and samples."""

    def which(of: Mapping[str, Any]) -> list[Any]:
        return [of.get(name) for name in ("split", "checkpoint", "samples")]

    others = [other for other in summary.get("evaluations", []) if which(other) != which(result)]
    return {**summary, "evaluations": [*others, result]}
