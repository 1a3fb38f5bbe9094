"""The metric writers: one interface for JSONL and TensorBoard, and all writers of a run together."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from vaecli.config import Config
from vaecli.runs.directory import METRICS
from vaecli.runs.journal import Journal, Marks
from vaecli.runs.tensorboard import TensorBoardWriter


class MetricWriter(Protocol):
    """Writes what a run logs to a file of its own."""

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Writes a log point. `step` counts updates of the parameters, `epoch` passes over the data."""
        ...

    def write_picture(self, step: int, tag: str, png: bytes) -> None:
        """Writes a picture."""
        ...

    def marks(self) -> Marks:
        """Returns where the file ends, by its name."""
        ...

    def close(self) -> None:
        """Closes the file."""
        ...


def finite_or_null(scalars: Mapping[str, float]) -> dict[str, float | None]:
    """Returns the scalars as JSON can hold them: None for a value that is not finite."""
    return {tag: value if math.isfinite(value) else None for tag, value in scalars.items()}


class JsonlWriter:
    """The writer of `metrics.jsonl`: one object for each log point; a value that is not finite is null."""

    def __init__(self, path: Path, marks: Marks):
        """Opens the file: anew, or cut back to its mark.

        Raises:
          OSError: it cannot be written.
        """
        self._journal = Journal(path / METRICS, marks.get(METRICS))

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Writes a log point, without its histograms."""
        point = {"step": step, "epoch": epoch, **finite_or_null(scalars)}
        self._journal.append((json.dumps(point, allow_nan=False) + "\n").encode())

    def write_picture(self, step: int, tag: str, png: bytes) -> None:
        """Writes nothing."""

    def marks(self) -> Marks:
        """Returns where the file ends, by its name."""
        return {METRICS: self._journal.mark()}

    def close(self) -> None:
        """Closes the file."""
        self._journal.close()


class RunWriter:
    """All writers of a run together."""

    def __init__(self, path: Path, config: Config, marks: Marks):
        """Opens the files of a run: anew, or cut back to the marks of a checkpoint.

        Raises:
          OSError: one cannot be written.
        """
        self._tensorboard = TensorBoardWriter(path, config, marks)
        try:
            self._writers: tuple[MetricWriter, ...] = (JsonlWriter(path, marks), self._tensorboard)
        except OSError:
            self._tensorboard.close()
            raise

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Writes a log point. `step` counts updates of the parameters, `epoch` passes over the data."""
        for writer in self._writers:
            writer.write(step, epoch, scalars, histograms)

    def write_picture(self, step: int, tag: str, png: bytes) -> None:
        """Writes a picture."""
        for writer in self._writers:
            writer.write_picture(step, tag, png)

    def marks(self) -> Marks:
        """Returns where each file ends, by its name."""
        return {name: mark for writer in self._writers for name, mark in writer.marks().items()}

    def end(self) -> None:
        """Writes what comes last in a run that is over."""
        self._tensorboard.end()

    def close(self) -> None:
        """Closes the files."""
        for writer in self._writers:
            writer.close()
