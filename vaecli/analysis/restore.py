"""Opens a trained run again: its config, its data, its model."""

import dataclasses
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, Protocol

from vaecli.config import ConfigError, UsageError
from vaecli.config.toml import differences
from vaecli.data import Dataset, is_of_arrays, load, same_images
from vaecli.environment import require_default_jax
from vaecli.runs.checkpoint import Snapshot, snapshot
from vaecli.runs.directory import CONFIG
from vaecli.runs.reading import Run
from vaecli.training.checkpoint_record import recorded_config
from vaecli.vae.heads.trust import check_trusted
from vaecli.vae.resolve import Resolved, resolve

if TYPE_CHECKING:
    from vaecli.vae.model import Model

Checkpoint = Literal["last", "best"]


class ImageSize(Protocol):
    """The size of an image, which a data set has."""

    @property
    def height(self) -> int:
        """The number of rows."""
        ...

    @property
    def width(self) -> int:
        """The number of columns."""
        ...


def resolved_config(run: Run, named: Collection[str] = (), *, trust_heads: bool = False) -> Resolved:
    """Returns the config of a run, with the objects that its names stand for.

    Args:
      run: the run.
      named: the heads that the user names, besides the run.
      trust_heads: whether a module that only the run names is imported.

    Raises:
      UsageError: one of its heads no longer exists, or is not to be imported.
    """
    heads = (run.config.param, run.config.decoder_param)
    check_trusted(heads, str(run.path / CONFIG), named, trusted=trust_heads)
    try:
        return resolve(run.config)
    except ConfigError as error:
        raise UsageError(f"{run.path / CONFIG}: {error}") from error


def training_data(run: Run, data_dir: str | os.PathLike[str] | None = None, **changes: Any) -> Dataset:
    """Returns the data set that a run was trained on, with a few settings of its config changed.

    Args:
      run: the run.
      data_dir: where its data lie now, "" for those in this package; by default where they lay.
      changes: the settings.

    Raises:
      UsageError: the data have changed, or are not there.
    """
    changes |= {} if data_dir is None else {"data_dir": str(data_dir)}
    config = dataclasses.replace(run.config, **changes)
    try:
        dataset = load(config)
    except UsageError as error:
        moved = data_dir is None and config.data_dir and not is_of_arrays(config.data_dir)
        hint = "; --data-dir says where the run's data lie now" if moved else ""
        raise UsageError(f"{error}{hint}") from error
    if not same_images(dataset.sha256, run.summary["data_sha256"]):
        where = config.data_dir or "this package"
        raise UsageError(f"{run.path}: was trained on other data than those in {where}; --data-dir says where they lie")
    return dataset


def epoch_of(run: Run, checkpoint: Checkpoint) -> int:
    """Returns the epoch after which a checkpoint was written.

    Raises:
      UsageError: the run has no such checkpoint.
    """
    if checkpoint == "last":
        return run.summary["epochs"]
    if run.summary.get("best") is None:
        why = "without --validation there is no split to choose it on, and the test split is for the result only"
        raise UsageError(f"{run.path}: has no best checkpoint" + ("" if run.config.validation else f": {why}"))
    return run.summary["best"]["epoch"]


def last_snapshot(run: Run) -> Snapshot:
    """Returns the last checkpoint of a run.

    Raises:
      UsageError: it is missing, damaged, or that of another run or version.
    """
    saved = snapshot(run.path, run.summary["steps"], run.summary.get("checkpoint_sha256", ""))
    try:
        recorded = recorded_config(saved.record)
    except UsageError as error:
        raise UsageError(f"{saved.folder}: is not a checkpoint of this version ({error})") from error
    if unlike := differences(recorded, run.config):
        raise UsageError(f"{run.path / CONFIG}: was changed after the run ({'; '.join(unlike)})")
    return saved


def restored_model(run: Run, resolved: Resolved, size: ImageSize, checkpoint: Checkpoint) -> "Model":
    """Returns the VAE that a run trained on images of a size.

    Raises:
      UsageError: there is no such checkpoint, or it is damaged; or jax does not compute here as it must.
    """
    require_default_jax()
    import jax

    from vaecli.runs.checkpoint import restore
    from vaecli.vae import build
    from vaecli.vae.model import Model

    epoch_of(run, checkpoint)
    saved = last_snapshot(run)
    program = build.program(resolved, (size.height, size.width))
    operands = jax.tree.map(lambda leaf: leaf[0], build.operands([resolved]))
    name = "params" if checkpoint == "last" else "best"
    return Model(program, operands, restore(saved, {name: build.state_like(program, operands).params})[name])
