"""Training from Python: one run, several that differ only in their seed, or any."""

import collections
import dataclasses
import numbers
import os
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from pathlib import Path

from vaecli.config import Config, ConfigError, UsageError
from vaecli.data import Images, is_of_arrays
from vaecli.runs.directory import Summary, run_path
from vaecli.runs.names import chosen_name, default_name
from vaecli.training.batch_key import batch_key
from vaecli.training.pack import Member, Place, train_pack
from vaecli.training.progress import Observer, Silent, on_stderr
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
    configs = [dataclasses.replace(config, seed=seed) for seed in _chosen(seeds, config.seed)]
    return _train_together(
        configs, data, Path(runs), vary, overwrite, observer or _follower(progress), stopped, config_name
    )


def train_runs(
    configs: Sequence[Config],
    *,
    data: Images | None = None,
    runs: str | os.PathLike[str] = "runs",
    vary: Collection[str] = (),
    overwrite: bool = False,
    progress: bool = False,
    observer: Observer | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Sequence[Summary]:
    """Trains runs of any settings; those that share a program train together, in one batch.

    Such runs differ only in what a program receives at run time, such as `seed`, `lr`, `beta`, `init`, or between
    `logvar`, `logstd` and `logprec`. On a GPU a batch takes little longer than one run.

    Args:
      configs: the runs.
      data, runs, overwrite, progress, observer, stopped: as in `train_seeds`.
      vary: settings that the directories name, as in `<param>,lr=0.001`: those in which the runs differ.

    Returns:
      One summary for each config, in order. Runs that were complete before are not trained again.

    Raises:
      UsageError: as in `train`, or two runs would have one directory.
    """
    given = [_with_data(config, data) for config in configs]
    batches: dict[Hashable, list[int]] = {}
    for k, config in enumerate(given):
        batches.setdefault(batch_key(checked(config)), []).append(k)
    follower = observer or _follower(progress)
    summaries: dict[int, Summary] = {}
    for batch in batches.values():
        trained = _train_together([given[k] for k in batch], data, Path(runs), vary, overwrite, follower, stopped)
        summaries |= dict(zip(batch, trained, strict=True))
    return [summaries[k] for k in range(len(given))]


def _follower(progress: bool) -> Observer:
    return on_stderr() if progress else Silent()


def _train_together(
    configs: Sequence[Config],
    data: Images | None,
    runs: Path,
    vary: Collection[str],
    overwrite: bool,
    observer: Observer,
    stopped: Callable[[], bool],
    config_name: str = "",
) -> Sequence[Summary]:
    """Trains runs of one batch; what is wrong with one of them ends all."""
    resolved = [checked(config) for config in configs]
    if not all(config.name for config in configs):
        default = data.run_name if data else default_name([configs[0].data_dir], config_name)
        name = chosen_name(default, [run.config for run in resolved], runs, vary, config_name)
        resolved = [
            dataclasses.replace(run, config=dataclasses.replace(run.config, name=run.config.name or name))
            for run in resolved
        ]
    paths = [run_path(runs, run.config, vary) for run in resolved]
    if twice := [path for path, number in collections.Counter(paths).items() if number > 1]:
        raise UsageError(f"{twice[0]}: would hold two of the runs; name what they differ in with vary")
    members = [Member(resolved, observer)]
    ((_, ending),) = train_pack(members, Place(runs, list(vary), overwrite), data=data, stopped=stopped)
    if isinstance(ending, UsageError):
        raise ending
    return ending


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
