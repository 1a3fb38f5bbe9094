"""Training from Python: one run, or several that differ only in their seed."""

import contextlib
import dataclasses
import functools
import numbers
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from vaecli.config import Config, ConfigError, UsageError
from vaecli.config.errors import is_memory_shortage
from vaecli.data import (
    Dataset,
    Images,
    RawImages,
    check_pixels,
    check_size,
    is_of_arrays,
    load,
    read,
    same_images,
    split,
)
from vaecli.runs.checkpoint import tidy
from vaecli.runs.directory import CHECKPOINT, RunDirectory, Summary, claim, finished, run_path
from vaecli.runs.limits import allow_open_files, check_paths
from vaecli.runs.names import chosen_name, default_name
from vaecli.training.memory import memory_shortage_as_usage_error
from vaecli.training.progress import Observer, Silent, on_stderr
from vaecli.training.resume import Group, fresh_group, groups
from vaecli.vae.resolve import Resolved
from vaecli.vae.validate import validate


def train(
    config: Config,
    *,
    data: Images | None = None,
    runs: str | os.PathLike[str] = "runs",
    overwrite: bool = False,
    progress: bool = False,
    observer: Observer | None = None,
) -> Summary:
    """Trains one run, or returns the summary of the one that is already there.

    It installs no handler of a signal. A KeyboardInterrupt ends it at once, and the same call goes on from the last
    checkpoint.

    Args:
      config: the run.
      data: the images, for those that are in no folder.
      runs: the folder of all results; the run goes to `<runs>/<name>/<param>/seed<k>`.
      overwrite: start anew where that directory holds a run.
      progress: whether stderr shows how far it is.
      observer: who follows the progress instead.

    Returns:
      What `summary.json` holds: `status`, final `metrics` in nats per image, times, versions, and `path`.

    Raises:
      UsageError: the config, the data or the directory cannot be used, in which case nothing is written; or a file
        cannot be written later, in which case the same call resumes.

    >>> import tempfile
    >>> from vaecli import Config, train
    >>> config = Config(param="logvar", epochs=1, hidden=(32,), grad_every=0)
    >>> summary = train(config, runs=tempfile.mkdtemp())
    >>> summary["status"]
    'complete'
    >>> summary["metrics"]["test/elbo"] > -400
    True
    """
    return train_seeds(config, 1, data=data, runs=runs, overwrite=overwrite, progress=progress, observer=observer)[0]


def train_seeds(
    config: Config,
    seeds: int | Sequence[int],
    *,
    data: Images | None = None,
    runs: str | os.PathLike[str] = "runs",
    vary: Collection[str] = (),
    overwrite: bool = False,
    progress: bool = False,
    observer: Observer | None = None,
    stopped: Callable[[], bool] = lambda: False,
    config_name: str = "",
) -> Sequence[Summary]:
    """Trains runs that differ only in their seed, in one compiled program.

    Args:
      config: the first run.
      seeds: how many, from `config.seed` on; or which.
      data, runs, overwrite, progress, observer: as in `train`.
      vary: settings that the directories name, as in `<param>,lr=0.001`.
      stopped: asked after each epoch; true ends the runs there, checkpointed, with the status `interrupted`.
      config_name: the name of the file that the config comes from; where the config has no name, it is part of it.

    Returns:
      One summary for each seed, in order. Runs that were complete before are not trained again.

    Raises:
      UsageError: as in `train`.
    """
    config = _with_data(config, data)
    seeds = _chosen(seeds, config.seed)
    resolved = checked(config)
    if not config.name:
        default = data.run_name if data else default_name([config.data_dir], config_name)
        name = chosen_name(default, [resolved.config], Path(runs), vary, config_name)
        resolved = dataclasses.replace(resolved, config=dataclasses.replace(resolved.config, name=name))
    configs = [dataclasses.replace(resolved.config, seed=seed) for seed in seeds]
    paths = [run_path(Path(runs), c, vary) for c in configs]
    images = functools.cache(lambda data_dir: data.raw if data else read(data_dir))
    same_data = same_data_as(resolved.config.data_dir, images)
    with data_first([resolved.config], images):
        check_paths(paths)
        outcomes = {
            k: summary
            for k, (path, c) in enumerate(zip(paths, configs, strict=True))
            if (summary := finished(path, c, overwrite=overwrite, same_data=same_data))
        }
    for k in outcomes:
        tidy(paths[k], outcomes[k]["steps"])
    if todo := [k for k in range(len(configs)) if k not in outcomes]:
        trained = _train_unfinished(
            [dataclasses.replace(resolved, config=configs[k]) for k in todo],
            [paths[k] for k in todo],
            data,
            overwrite=overwrite,
            observer=observer or (on_stderr() if progress else Silent()),
            stopped=stopped,
        )
        outcomes.update(zip(todo, trained, strict=True))
    return [{**outcomes[k], "path": str(path)} for k, path in enumerate(paths)]


def checked(config: Config) -> Resolved:
    """Returns the config, resolved and with its data folder as an absolute path.

    So its config.toml replays the run from any folder.

    Raises:
      ConfigError: head, bound and start do not go together, or no folder can have that name.
    """
    resolved = validate(config)
    if not config.data_dir or is_of_arrays(config.data_dir):
        return resolved
    try:
        folder = str(Path(config.data_dir).expanduser().resolve())
    except (OSError, RuntimeError) as error:
        raise ConfigError("data_dir", f"{config.data_dir}: {getattr(error, 'strerror', None) or error}") from error
    return dataclasses.replace(resolved, config=dataclasses.replace(config, data_dir=folder))


def _with_data(config: Config, data: Images | None) -> Config:
    """Returns a config that says which images there are, where they are given as arrays.

    Raises:
      UsageError: an argument is of another type, or the config names a data folder, too.
    """
    if not isinstance(config, Config):
        raise UsageError(f"config: must be a vaecli.Config, as in Config(param='logstd'), got {type(config).__name__}")
    if data is None:
        return config
    if not isinstance(data, Images):
        raise UsageError(f"data: must be vaecli.Images(train=…, test=…), got {type(data).__name__}")
    if config.data_dir and not is_of_arrays(config.data_dir):
        raise ConfigError("data_dir", f"{config.data_dir}: has no place beside data=Images(…), which is the data")
    return dataclasses.replace(config, data_dir=data.data_dir)


@contextlib.contextmanager
def data_first(configs: Iterable[Config], images: Callable[[str], RawImages] = read) -> Iterator[None]:
    """Says what is wrong with the data of runs, if anything is, before what is wrong with their directories.

    The data of runs that are done need not be there any more, so they are read only where something is wrong.

    Args:
      configs: the runs.
      images: returns the images of a data folder.

    Raises:
      UsageError: that of the data, or what is raised within.
    """
    try:
        yield
    except UsageError:
        for config in {config.data_dir: config for config in configs}.values():
            check_pixels(images(config.data_dir), config.data_dir)
            check_size(images(config.data_dir), config)
        raise


def same_data_as(data_dir: str, images: Callable[[str], RawImages] = read) -> Callable[[Summary], bool]:
    """Returns what says whether a finished run was trained on the images in a folder, which is read once, if at all."""
    read_once = functools.cache(lambda: images(data_dir).sha256)
    return lambda summary: same_images(summary["data_sha256"], read_once())


def _chosen(seeds: int | Sequence[int], first: int) -> Sequence[int]:
    """Returns the seeds to train: those that are given, or so many from the first on.

    Raises:
      ConfigError: there would be none, or too many.
    """
    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        listed = list(seeds)
        if not listed or len(set(listed)) < len(listed):
            raise ConfigError("seeds", f"must be a number of runs, or different seeds, got {seeds!r}")
        return listed
    if not isinstance(seeds, numbers.Integral):
        raise ConfigError("seeds", f"must be a number of runs, or different seeds, got {seeds!r}")
    seeds = int(seeds)
    if not 1 <= seeds <= 10_000:
        raise ConfigError("seeds", f"must lie between 1 and 10000, got {seeds}")
    return range(first, first + seeds)


def _train_unfinished(
    runs: Sequence[Resolved],
    paths: Sequence[Path],
    data: Images | None,
    *,
    overwrite: bool,
    observer: Observer,
    stopped: Callable[[], bool],
) -> Sequence[Summary]:
    """Trains the runs that have no outcome yet, group by group, and returns a summary of each."""
    configs = [run.config for run in runs]
    with memory_shortage_as_usage_error(configs[0], seeds=len(configs)):
        dataset = split(data.raw, configs[0]) if data else load(configs[0])
    check_pixels(dataset, configs[0].data_dir)
    allow_open_files(len(runs))
    with (
        _claimed(configs, paths, overwrite=overwrite) as directories,
        memory_shortage_as_usage_error(configs[0], seeds=len(configs)),
    ):
        # Those whose turn does not come stay as they were.
        summaries: list[Summary] = [{"status": "interrupted", "metrics": {}, "epochs": 0} for _ in configs]
        fresh = [fresh_group(len(configs))]
        for group in fresh if overwrite else groups(configs, directories, dataset, observer):
            for k, summary in _train_group(group, runs, directories, dataset, observer, stopped).items():
                summaries[k] = summary
            if stopped():
                break
    return summaries


@contextlib.contextmanager
def _claimed(configs: Sequence[Config], paths: Sequence[Path], *, overwrite: bool) -> Iterator[list[RunDirectory]]:
    """Holds the directories of runs, and makes sure that nobody finished a run before it was held.

    Raises:
      UsageError: another process holds one, or finished its run.
    """
    with contextlib.ExitStack() as stack:
        directories = []
        for config, path in zip(configs, paths, strict=True):
            directories.append(claim(path))
            stack.callback(directories[-1].release)
            if finished(path, config, overwrite=overwrite):
                raise UsageError(f"{path}: another process finished this run just now; nothing is left to do")
        yield directories


def _train_group(
    group: Group,
    runs: Sequence[Resolved],
    directories: Sequence[RunDirectory],
    dataset: Dataset,
    observer: Observer,
    stopped: Callable[[], bool],
) -> Mapping[int, Summary]:
    """Trains the runs that go on together, and returns their summaries by number."""
    begun = time.perf_counter()
    # The heavy modules come in only now that config, data and directories are known to be good.
    from vaecli.training.loop import train_batch

    held = [directories[k] for k in group.members]
    try:
        trained = train_batch(
            [runs[k] for k in group.members],
            held,
            group,
            dataset,
            observer=observer,
            stopped=stopped,
            begun=begun,
        )
    except (MemoryError, RuntimeError) as error:
        if is_memory_shortage(error):
            for directory in held:
                if not (directory.place / CHECKPOINT).exists():
                    directory.abandon()
        raise
    return dict(zip(group.members, trained, strict=True))
