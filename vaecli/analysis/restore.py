"""A trained run, opened again: its data, its program, its parameters."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from vaecli.config import Config, ConfigError, UsageError
from vaecli.config.toml import differences, values_from_toml
from vaecli.data import Dataset, load
from vaecli.runs.directory import CONFIG
from vaecli.runs.reading import Run
from vaecli.vae.heads.resolve import decoder_head, head

if TYPE_CHECKING:
    from vaecli.vae.networks import Params
    from vaecli.vae.steps import Operands, Program

Checkpoint = Literal["last", "best"]


def data_of(run: Run, **changes: Any) -> Dataset:
    """The data set that a run was trained on, with a few settings of its config changed.

    Raises:
      UsageError: it is no longer what it was, or the run's head is gone.
    """
    try:
        head(run.config.param)
        decoder_head(run.config)
    except ConfigError as error:
        raise UsageError(f"{run.path / CONFIG}: {error}") from error
    dataset = load(dataclasses.replace(run.config, **changes))
    if dict(dataset.sha256) != run.summary["data_sha256"]:
        raise UsageError(f"{run.path}: was trained on other data than what is there now")
    return dataset


def epoch_of(run: Run, checkpoint: Checkpoint) -> int:
    """The epoch after which a checkpoint was written.

    Raises:
      UsageError: the run has no such checkpoint.
    """
    if checkpoint == "last":
        return run.summary["epochs"]
    if run.summary.get("best") is None:
        why = "without --validation there is no split to choose it on, and the test split is for the result alone"
        raise UsageError(f"{run.path}: has no best checkpoint" + ("" if run.config.validation else f": {why}"))
    return run.summary["best"]["epoch"]


def restored(run: Run, dataset: Dataset, checkpoint: Checkpoint) -> "tuple[Program, Operands, Params]":
    """The run's program, what it receives, and its parameters.

    Raises:
      UsageError: there is no such checkpoint, or it is damaged.
    """
    import jax

    from vaecli.runs.checkpoint import restore, snapshot
    from vaecli.vae import build

    epoch_of(run, checkpoint)
    found = snapshot(run.path, run.summary["steps"], run.summary.get("checkpoint_sha256", ""))
    if unlike := differences(Config(**values_from_toml(found.record["config"])), run.config):
        raise UsageError(f"{run.path / CONFIG}: was changed after the run ({'; '.join(unlike)})")
    program = build.program(run.config, (dataset.height, dataset.width))
    operands = jax.tree.map(lambda leaf: leaf[0], build.operands([run.config]))
    name = "params" if checkpoint == "last" else "best"
    return program, operands, restore(found, {name: build.state_like(program, operands).params})[name]
