"""The metric writers: one interface for JSONL and TensorBoard, and all writers of a run together."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vaecli.config import Config
from vaecli.runs.directory import METRICS, STEPS
from vaecli.runs.hparams import RunFacts
from vaecli.runs.journal import Journal, Marks
from vaecli.runs.run_events import TensorBoardWriter
from vaecli.runs.step_points import StepPoint


class MetricWriter(Protocol):
    """Writes what a run logs to a file of its own."""

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Writes a log point. `step` counts updates of the parameters, `epoch` passes over the data."""
        ...

    def write_steps(self, points: Sequence[StepPoint]) -> None:
        """Writes points within an epoch."""
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
        self._journal.append(_line({"step": step, "epoch": epoch, **finite_or_null(scalars)}))

    def write_steps(self, points: Sequence[StepPoint]) -> None:
        """Writes nothing: a line here is a log point."""

    def write_picture(self, step: int, tag: str, png: bytes) -> None:
        """Writes nothing."""

    def marks(self) -> Marks:
        """Returns where the file ends, by its name."""
        return {METRICS: self._journal.mark()}

    def close(self) -> None:
        """Closes the file."""
        self._journal.close()


class StepsWriter:
    """The writer of `steps.jsonl`: one object for each point within an epoch, which only some runs have."""

    def __init__(self, path: Path, config: Config, marks: Marks):
        """Opens the file, where the run is to have it or has it by the marks; otherwise there is none.

        Raises:
          OSError: it cannot be written.
        """
        self._journal = None
        if config.log_steps or STEPS in marks:
            self._journal = Journal(path / STEPS, marks.get(STEPS))
        else:
            (path / STEPS).unlink(missing_ok=True)

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Writes nothing: log points have a file of their own."""

    def write_steps(self, points: Sequence[StepPoint]) -> None:
        """Writes points within an epoch."""
        if self._journal and points:
            self._journal.append(b"".join(_line({"step": step, **finite_or_null(of_step)}) for step, of_step in points))

    def write_picture(self, step: int, tag: str, png: bytes) -> None:
        """Writes nothing."""

    def marks(self) -> Marks:
        """Returns where the file ends, by its name."""
        return {STEPS: self._journal.mark()} if self._journal else {}

    def close(self) -> None:
        """Closes the file."""
        if self._journal:
            self._journal.close()


def _line(values: Mapping[str, float | None]) -> bytes:
    return (json.dumps(values, allow_nan=False) + "\n").encode()


class RunWriter:
    """All writers of a run together."""

    def __init__(self, path: Path, config: Config, marks: Marks, facts: RunFacts):
        """Opens the files of a run: anew, or cut back to the marks of a checkpoint.

        Raises:
          OSError: one cannot be written.
        """
        self._writers: list[MetricWriter] = []
        try:
            self._writers.append(StepsWriter(path, config, marks))
            self._writers.append(JsonlWriter(path, marks))
            self._tensorboard = TensorBoardWriter(path, config, marks, facts)
            self._writers.append(self._tensorboard)
        except OSError:
            self.close()
            raise

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Writes a log point. `step` counts updates of the parameters, `epoch` passes over the data."""
        for writer in self._writers:
            writer.write(step, epoch, scalars, histograms)

    def write_steps(self, points: Sequence[StepPoint]) -> None:
        """Writes points within an epoch."""
        for writer in self._writers:
            writer.write_steps(points)

    def write_picture(self, step: int, tag: str, png: bytes) -> None:
        """Writes a picture."""
        for writer in self._writers:
            writer.write_picture(step, tag, png)

    def marks(self) -> Marks:
        """Returns where each file ends, by its name."""
        return {name: mark for writer in self._writers for name, mark in writer.marks().items()}

    def end(self, status: str) -> None:
        """Writes what comes last in a run that is over, with its status."""
        self._tensorboard.end(status)

    def close(self) -> None:
        """Closes the files."""
        for writer in self._writers:
            writer.close()
