"""What a run writes while it trains, besides its checkpoints: log points and pictures."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaecli.config import Config, UsageError
from vaecli.config.naming import named_fields
from vaecli.data import Dataset
from vaecli.runs.directory import PICTURES, RunDirectory
from vaecli.runs.hparams import RunFacts
from vaecli.runs.journal import Marks
from vaecli.runs.step_points import StepPoint
from vaecli.runs.writers import RunWriter
from vaecli.training import images
from vaecli.vae.evaluate import Visuals
from vaecli.vae.heads.table import HEADS


@contextlib.contextmanager
def usage_error_if_unwritable(path: Path) -> Iterator[None]:
    """Turns the error of a file that cannot be written into one line that says what to do.

    Args:
      path: the run's directory.

    Raises:
      UsageError: something within could not be written.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); once it can, the same command goes on from the "
            "last checkpoint there is"
        ) from error


class RunFiles:
    """The log files and the pictures of a run.

    A log file that cannot be written is a UsageError; a picture that cannot be drawn or saved is a note.
    """

    def __init__(
        self, directory: RunDirectory, config: Config, dataset: Dataset, marks: Marks, note: Callable[[str], None]
    ):
        """Opens the files: anew, or cut back to the marks of a checkpoint.

        Args:
          directory: the run's.
          config: the run's.
          dataset: whose test images the pictures show.
          marks: where each file ended at the checkpoint; empty at the start of a run.
          note: takes what a person should know.
        """
        self._path, self._place, self._dataset, self._note = directory.path, directory.place, dataset, note
        facts = RunFacts(named_fields(self._path.parent.name), _data(config, dataset), list(HEADS))
        with usage_error_if_unwritable(self._path):
            self._writer = RunWriter(self._place, config, marks, facts)

    def write_log_point(
        self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]
    ) -> None:
        """Writes the scalars and histograms of a log point, by tag."""
        with usage_error_if_unwritable(self._path):
            self._writer.write(step, epoch, scalars, histograms)

    def write_steps(self, points: Sequence[StepPoint]) -> None:
        """Writes points within an epoch."""
        with usage_error_if_unwritable(self._path):
            self._writer.write_steps(points)

    def write_pictures(self, step: int, epoch: int, visuals: Visuals) -> None:
        """Draws and writes the pictures of an epoch, unless a number in them is not finite."""
        arrays: Any = [None if values is None else np.asarray(values) for values in visuals]
        if not all(np.isfinite(values).all() for values in arrays if values is not None):
            return
        pictures = images.sheets(self._dataset, *arrays, note=lambda text: self._note(f"{self._path}: {text}"))
        try:
            images.save(pictures, self._place / PICTURES, epoch)
        except (UsageError, OSError) as error:
            self._note(f"{self._path}: no pictures ({str(error).replace(str(self._place), str(self._path))})")
            return
        with usage_error_if_unwritable(self._path):
            for tag, picture in pictures.items():
                self._writer.write_picture(step, tag, picture)

    def marks(self) -> Marks:
        """Returns where each log file ends, all of it on the disk."""
        with usage_error_if_unwritable(self._path):
            return self._writer.marks()

    def end(self, status: str) -> None:
        """Writes what belongs at the end of the log of a run that is over, with its status."""
        with usage_error_if_unwritable(self._path):
            self._writer.end(status)

    def close(self) -> None:
        """Closes the log files; a second time does nothing."""
        self._writer.close()


def _data(config: Config, dataset: Dataset) -> str:
    """Returns what a person knows data by: the name of their folder, and the checksum of the training images."""
    return f"{Path(config.data_dir).name or 'MNIST'} {dataset.sha256['train-images'][:8]}"
