"""One run, or one batch of seeds of it: the host loop that joins data, mathematics and run directories."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaecli.config import Config, ConfigError, UsageError
from vaecli.data import Dataset, load
from vaecli.progress import Observer, Silent
from vaecli.runs.directory import RunDirectory, Summary, claim, finished, run_path
from vaecli.vae.lookup import check


def train(
    config: Config, *, runs: str | os.PathLike[str] = "runs", overwrite: bool = False, observer: Observer | None = None
) -> Summary:
    """Trains one run, or returns the summary of the one that is already there.

    Args:
      config: the run.
      runs: the folder of all results; the run goes to `<runs>/<name>/<param>/seed<k>`.
      overwrite: start anew where that directory holds a run.
      observer: who follows the progress; nobody by default.

    Returns:
      What `summary.json` holds: `status`, final `metrics` in nats per image, times, versions, and `path`.

    Raises:
      UsageError: the config, the data or the directory cannot be used; nothing is written then.

    >>> import tempfile
    >>> from vaecli import Config, train
    >>> config = Config(param="logvar", epochs=1, hidden=(32,), latent=2, batch_size=1000, grad_every=0)
    >>> summary = train(config, runs=tempfile.mkdtemp())
    >>> summary["status"]
    'complete'
    >>> summary["metrics"]["test/elbo"] > -400
    True
    """
    return train_seeds(config, 1, runs=runs, overwrite=overwrite, observer=observer)[0]


def train_seeds(
    config: Config,
    seeds: int,
    *,
    runs: str | os.PathLike[str] = "runs",
    overwrite: bool = False,
    observer: Observer | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Sequence[Summary]:
    """Trains `seeds` runs that differ in their seed alone, from `config.seed` on, in one compiled program.

    Args:
      config: the first run.
      seeds: how many.
      runs: as in `train`.
      overwrite: as in `train`.
      observer: as in `train`.
      stopped: asked after each epoch; true ends the runs there, checkpointed, with the status `interrupted`.

    Returns:
      One summary for each seed, in order. Runs that were complete before are not trained again.

    Raises:
      UsageError: as in `train`.
    """
    if not 1 <= seeds <= 10_000:
        raise ConfigError("seeds", f"must lie between 1 and 10000, got {seeds}")
    check(config)
    if config.data_dir:
        # So that the config.toml of the run replays it from any folder.
        try:
            config = dataclasses.replace(config, data_dir=str(Path(config.data_dir).expanduser().resolve()))
        except (OSError, RuntimeError) as error:
            raise ConfigError("data_dir", f"{config.data_dir}: {error}") from error
    configs = [dataclasses.replace(config, seed=config.seed + k) for k in range(seeds)]
    paths = [run_path(Path(runs), c) for c in configs]
    done = [finished(path, c, overwrite=overwrite) for path, c in zip(paths, configs, strict=True)]
    summaries = {k: summary for k, summary in enumerate(done) if summary is not None}
    if todo := [k for k in range(seeds) if k not in summaries]:
        dataset = load(config)
        with contextlib.ExitStack() as stack:
            directories = []
            for k in todo:
                directories.append(claim(paths[k]))
                stack.callback(directories[-1].release)
                if finished(paths[k], configs[k], overwrite=overwrite, held=True):
                    raise UsageError(f"{paths[k]}: another process finished this run just now; nothing is left to do")
            batch = [configs[k] for k in todo]
            trained = _train_batch(batch, directories, dataset, observer or Silent(), stopped)
            summaries.update(zip(todo, trained, strict=True))
    return [{**summaries[k], "path": str(paths[k])} for k in range(seeds)]


def _train_batch(
    configs: Sequence[Config],
    directories: Sequence[RunDirectory],
    dataset: Dataset,
    observer: Observer,
    stopped: Callable[[], bool],
) -> Sequence[Summary]:
    """Trains runs that differ in their seed alone, and writes their directories."""
    begun = time.perf_counter()
    # The heavy modules come in only now that config, data and directories are known to be good.
    import jax
    import jax.numpy as jnp

    from vaecli.record import Log, Point, RunRecord
    from vaecli.report.pictures import PICTURED, points
    from vaecli.runs.provenance import git_commit, versions
    from vaecli.vae import build
    from vaecli.vae.batches import epoch_order
    from vaecli.vae.programs import programs
    from vaecli.vae.steps import Pace

    config = configs[0]
    train_images = jnp.asarray(dataset.train)
    splits = {"test": jnp.asarray(dataset.test)}
    if dataset.validation is not None:
        splits["validation"] = jnp.asarray(dataset.validation)
    probe = jnp.asarray(dataset.probe)
    pictured, z = splits["test"][:PICTURED], jnp.asarray(points(config.latent))
    run = programs(build.program(config, (dataset.height, dataset.width)), vectorise=jax.default_backend() != "cpu")
    operands = build.operands(configs)
    steps = -(-len(train_images) // config.batch_size)

    def order(epoch: int) -> np.ndarray:
        return np.stack([epoch_order(c.seed, epoch, len(train_images), config.batch_size) for c in configs])

    with contextlib.ExitStack() as stack:
        records = []
        for c, directory in zip(configs, directories, strict=True):
            records.append(RunRecord(c, directory, dataset))
            stack.callback(records[-1].close)
        log = Log(records, observer)
        observer.begin(_title(configs), config.epochs)
        stack.callback(observer.end)

        def add(epoch: int, sums: Any, pace: Pace, last: bool) -> None:
            def due(every: int) -> bool:
                return last or (every > 0 and epoch % every == 0)

            point = Point(epoch, sums)
            if due(config.log_every):
                params = state.params
                point = point._replace(measurement=run.measure(operands, params, splits, probe[0]))
                if config.grad_every and due(config.grad_every):
                    gradients = run.gradient_statistics(operands, params, probe, pace)
                    point = point._replace(gradients=gradients)
                if epoch and due(config.picture_every) and not last:
                    point = point._replace(look=run.look(operands, params, pictured, z))
                if dataset.validation is not None:
                    # The next chunk consumes the state.
                    point = point._replace(params=jax.tree.map(jnp.copy, params))
            log.add(point)

        wanted = dataset.train if config.decoder_bias == "mean" else dataset.train[:1]  # Nobody looks at it else.
        state = run.init(operands, jnp.asarray(wanted.mean(axis=0, dtype=np.float64) / 255, jnp.float32))
        add(0, None, jax.tree.map(lambda of_step: of_step[:, 0], build.paces(configs, 1, steps)), False)
        epoch, last = 0, stopped()
        while not last:
            epoch += 1
            pace = build.paces(configs, epoch, steps)
            state, sums = run.train_chunk(operands, train_images, state, order(epoch), pace)
            log.flush()  # While the device is busy.
            last = epoch == config.epochs or stopped() or log.all_diverged
            add(epoch, sums, jax.tree.map(lambda of_step: of_step[:, -1], pace), last)
        log.flush()

        facts = {
            "wall_time_s": time.perf_counter() - begun,
            "images_per_second": log.images_per_second,
            "device": jax.devices()[0].device_kind,
            "versions": versions(),
            "git_commit": git_commit(),
        }
        # The last pictures are drawn when nothing waits for them any more.
        final = jax.device_get((state, run.look(operands, state.params, pictured, z)))
        return [
            record.finish(*jax.tree.map(lambda leaf, k=k: leaf[k], final), epoch, facts)
            for k, record in enumerate(records)
        ]


def _title(configs: Sequence[Config]) -> str:
    first, last = configs[0], configs[-1]
    seeds = f"seed {first.seed}" if first is last else f"seeds {first.seed} to {last.seed}"
    return f"{first.name} · {first.param} · {seeds}"
