"""One run, or one batch of seeds of it: the host loop that joins data, mathematics and run directories."""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaecli.config import Config, ConfigError, UsageError
from vaecli.data import Dataset, load
from vaecli.runs.directory import RunDirectory, Summary, claim, finished, run_path
from vaecli.training.progress import Observer, Silent
from vaecli.training.resume import Group, Start, groups
from vaecli.vae.validate import validate


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
    seeds: int | Sequence[int],
    *,
    runs: str | os.PathLike[str] = "runs",
    vary: Collection[str] = (),
    overwrite: bool = False,
    observer: Observer | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Sequence[Summary]:
    """Trains runs that differ in their seed alone, in one compiled program.

    Args:
      config: the first run.
      seeds: how many, from `config.seed` on; or which.
      runs: as in `train`.
      vary: settings that the directories name, as in `<param>,lr=0.001`.
      overwrite: as in `train`.
      observer: as in `train`.
      stopped: asked after each epoch; true ends the runs there, checkpointed, with the status `interrupted`.

    Returns:
      One summary for each seed, in order. Runs that were complete before are not trained again.

    Raises:
      UsageError: as in `train`.
    """
    if isinstance(seeds, int):
        if not 1 <= seeds <= 10_000:
            raise ConfigError("seeds", f"must lie between 1 and 10000, got {seeds}")
        seeds = range(config.seed, config.seed + seeds)
    config = checked(config)
    configs = [dataclasses.replace(config, seed=seed) for seed in seeds]
    paths = [run_path(Path(runs), c, vary) for c in configs]

    def outcome(k: int) -> Summary | None:
        return finished(paths[k], configs[k], overwrite=overwrite)

    summaries = {k: summary for k in range(len(configs)) if (summary := outcome(k))}
    if todo := [k for k in range(len(configs)) if k not in summaries]:
        observer = observer or Silent()
        dataset = load(config)
        with contextlib.ExitStack() as stack:
            directories = []
            for k in todo:
                directories.append(claim(paths[k]))
                stack.callback(directories[-1].release)
                if outcome(k):
                    raise UsageError(f"{paths[k]}: another process finished this run just now; nothing is left to do")
            batch = [configs[k] for k in todo]
            fresh = [Group(Start(), range(len(todo)), [None] * len(todo))]
            for group in fresh if overwrite else groups(batch, directories, dataset, observer):
                trained = _train_batch(
                    [batch[m] for m in group.members],
                    [directories[m] for m in group.members],
                    group,
                    dataset,
                    observer,
                    stopped,
                )
                summaries.update(zip([todo[m] for m in group.members], trained, strict=True))
                if stopped():
                    break
            for k in todo:
                # Those whose turn had not come stay as they were.
                summaries.setdefault(k, {"status": "interrupted", "metrics": {}, "epochs": 0})
    return [{**summaries[k], "path": str(paths[k])} for k in range(len(configs))]


def checked(config: Config) -> Config:
    """The config, its data folder as an absolute path, so that the config.toml of the run replays it from any folder.

    Raises:
      ConfigError: head, bound and start do not go together, or no folder can have that name.
    """
    validate(config)
    if not config.data_dir:
        return config
    try:
        return dataclasses.replace(config, data_dir=str(Path(config.data_dir).expanduser().resolve()))
    except (OSError, RuntimeError) as error:
        raise ConfigError("data_dir", f"{config.data_dir}: {error}") from error


def _train_batch(
    configs: Sequence[Config],
    directories: Sequence[RunDirectory],
    group: Group,
    dataset: Dataset,
    observer: Observer,
    stopped: Callable[[], bool],
) -> Sequence[Summary]:
    """Trains runs that differ in their seed alone, from one epoch on, and writes their directories."""
    begun = time.perf_counter()
    # The heavy modules come in only now that config, data and directories are known to be good.
    import jax
    import jax.numpy as jnp

    from vaecli.runs.provenance import git_commit
    from vaecli.training.images import PICTURED, points
    from vaecli.training.recorder import Log
    from vaecli.training.run_record import Point, RunRecord
    from vaecli.vae import build
    from vaecli.vae.batches import epoch_order
    from vaecli.vae.compiled import compiled_steps
    from vaecli.vae.divergence import Chunk, locate
    from vaecli.vae.model import Model
    from vaecli.vae.resolve import resolve
    from vaecli.vae.schedules import schedule_values

    config = configs[0]
    train_images = jnp.asarray(dataset.train)
    splits = {"test": jnp.asarray(dataset.test)}
    if dataset.validation is not None:
        splits["validation"] = jnp.asarray(dataset.validation)
    probe = jnp.asarray(dataset.probe)
    pictured, z = splits["test"][:PICTURED], jnp.asarray(points(config.latent))
    resolved = [resolve(c) for c in configs]
    program = build.program(resolved[0], (dataset.height, dataset.width))
    run = compiled_steps(program, vectorise=jax.default_backend() != "cpu")
    operands = build.operands(resolved)
    steps = -(-len(train_images) // config.batch_size)

    def chunk(epoch: int, state: Any) -> Chunk:
        orders = [epoch_order(c.seed, epoch, len(train_images), config.batch_size) for c in configs]
        return Chunk(state, np.stack(orders), schedule_values(configs, epoch, steps))

    with contextlib.ExitStack() as stack:
        records = []
        for of_run, directory, snapshot in zip(resolved, directories, group.snapshots, strict=True):
            records.append(RunRecord(of_run, directory, dataset, begun, snapshot, observer.note))
            stack.callback(records[-1].close)
        log = Log(records, observer, {"device": jax.devices()[0].device_kind, "git_commit": git_commit()})
        observer.begin(_title(configs), config.epochs)
        stack.callback(observer.end)

        def add(epoch: int, trained: Chunk, state: Any, found: Any = None, *, last: bool = False) -> None:
            def due(every: int) -> bool:
                return last or (every > 0 and epoch % every == 0)

            point = Point(found, run.finite(state))
            if due(config.log_every):
                model = Model(program, operands, state.params)
                point = point._replace(measurement=run.measure(model, splits, probe[0]))
                if config.grad_every and due(config.grad_every):
                    schedule = jax.tree.map(lambda of_step: of_step[:, -1 if epoch else 0], trained.schedule)
                    point = point._replace(gradients=run.gradient_statistics(model, probe, schedule))
                if epoch and due(config.picture_every) and not last:
                    point = point._replace(visuals=run.visuals(Model(program, operands, state.params), pictured, z))
            checkpoint = epoch > 0 and due(config.checkpoint_every)
            if checkpoint or dataset.validation is not None:
                point = point._replace(state=state)
            whence = functools.partial(locate, run, operands, train_images, trained, found)
            log.add(epoch, point, state, whence, checkpoint=checkpoint, stopped=last and epoch < config.epochs)

        epoch = group.start.epoch
        trained = chunk(max(epoch, 1), None)
        if group.start.saved:
            like = build.state_like(program, jax.tree.map(lambda leaf: leaf[0], operands))
            found = [snapshot for snapshot in group.snapshots if snapshot]
            states = [record.restore(snapshot, like) for record, snapshot in zip(records, found, strict=True)]
            if group.start.ended:
                # Killed before its summary; the step that no number came of is not to be trained again.
                for record, mine in zip(records, states, strict=True):
                    record.finish(epoch, mine, log.facts)
            state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        else:
            wanted = dataset.train if config.decoder_bias == "mean" else dataset.train[:1]  # Nobody looks at it else.
            state = run.init(operands, jnp.asarray(wanted.mean(axis=0, dtype=np.float64) / 255, jnp.float32))
        if group.start.pending or not group.start.saved:
            add(epoch, trained._replace(before=state), state)
        last = group.start.ended or epoch == config.epochs or stopped()
        while not last:
            epoch += 1
            trained = chunk(epoch, state)
            until = np.asarray([0 if record.summary else steps for record in records], np.int32)
            state, found = run.train_chunk(operands, train_images, *trained, until)
            log.flush()  # While the device is busy.
            last = epoch == config.epochs or stopped() or log.all_diverged
            add(epoch, trained, state, found, last=last)
        log.flush()

        # The last pictures are drawn when nothing waits for them any more.
        final = jax.device_get((state, run.visuals(Model(program, operands, state.params), pictured, z)))
        for k, record in enumerate(records):
            if not record.summary:
                mine, visuals = jax.tree.map(lambda leaf, k=k: leaf[k], final)
                record.finish(epoch, mine, log.facts, visuals=visuals)
        return [record.summary or {} for record in records]


def _title(configs: Sequence[Config]) -> str:
    first, count = configs[0], len(configs)
    seeds = [c.seed for c in configs]
    if count == 1:
        which = f"seed {first.seed}"
    elif seeds == list(range(first.seed, first.seed + count)):
        which = f"seeds {first.seed} to {seeds[-1]}"
    else:
        which = f"{count} seeds from {first.seed} on"
    return f"{first.name} · {first.param} · {which}"
