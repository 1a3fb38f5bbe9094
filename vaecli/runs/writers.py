"""Metric writers: one interface, JSONL and TensorBoard behind it."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from vaecli.config import SETTINGS, Config
from vaecli.runs.directory import METRICS

# Where tensorboardX's bins end; it raises on values that are all beyond.
_BINS_END = 1e20

_HPARAM_METRICS = ("test/elbo", "test/reconstruction", "test/kl", "train/elbo")

_LAYOUT = {
    "ELBO (nats per image)": {
        "ELBO, and the objective where it is another": [
            "Multiline",
            ["train/elbo", "validation/elbo", "test/elbo", "train/objective", "validation/iwae", "test/iwae"],
        ],
        "reconstruction": ["Multiline", ["train/reconstruction", "validation/reconstruction", "test/reconstruction"]],
        "KL": ["Multiline", ["train/kl", "validation/kl", "test/kl"]],
    },
    "Gradient noise, by block": {
        "variance over ε": ["Multiline", ["grad/variance/.*"]],
        "signal": ["Multiline", ["grad/signal/.*"]],
        "SNR": ["Multiline", ["grad/snr/.*"]],
        "share of ε in the noise": ["Multiline", ["grad/epsilon_fraction/.*"]],
        "noise scale (images)": ["Multiline", ["grad/noise_scale.*"]],
    },
    "Gradient noise of the scale head's outputs": {
        "variance by u, σ, log σ": ["Multiline", ["grad/scale_variance/(raw|sigma|log_sigma)"]],
        "SNR of a unit": ["Multiline", ["grad/unit_snr"]],
        "Fisher ratio": ["Multiline", ["grad/fisher_ratio"]],
    },
}


class MetricWriter(Protocol):
    """Takes what a log point records. `step` counts updates of the parameters, `epoch` passes over the data."""

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Writes one log point."""
        ...

    def write_picture(self, step: int, tag: str, picture: np.ndarray) -> None:
        """Writes a picture, (height, width, 3), uint8."""
        ...

    def close(self) -> None:
        """Writes what is pending and closes the files."""
        ...


def finite_or_null(scalars: Mapping[str, float]) -> dict[str, float | None]:
    """The scalars as JSON can hold them: None for what is no finite number."""
    return {tag: value if math.isfinite(value) else None for tag, value in scalars.items()}


class JsonlWriter:
    """`metrics.jsonl`: one object for each log point; a value that is no finite number is null."""

    def __init__(self, path: Path):
        self._file = (path / METRICS).open("w", encoding="utf-8")

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        point = {"step": step, "epoch": epoch, **finite_or_null(scalars)}
        self._file.write(json.dumps(point, allow_nan=False) + "\n")
        self._file.flush()

    def write_picture(self, step: int, tag: str, picture: np.ndarray) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class TensorBoardWriter:
    """The event file: scalars, histograms, pictures, the config as text and as HParams, and a Custom Scalars layout.

    Values that are no finite numbers are left out, and of histograms those beyond 1e20.
    """

    def __init__(self, path: Path, config: Config):
        self._writer = SummaryWriter(str(path))
        file_writer = self._writer.file_writer
        assert file_writer is not None  # It is, since the writer writes to disk.
        self._file_writer = file_writer
        self._writer.add_text("config", "\n".join(f"    {line}" for line in config.to_toml().splitlines()), 0)
        self._writer.add_custom_scalars(_LAYOUT)
        # `SummaryWriter.add_hparams` would open a second event file, of the same name within the same second.
        settings = [setting for name, setting in SETTINGS.items() if name not in ("name", "data_dir")]
        values = {setting.name: _hparam(getattr(config, setting.name), setting.type) for setting in settings}
        experiment, start, self._end = hparams(values, dict.fromkeys(_HPARAM_METRICS, 0.0))
        self._file_writer.add_summary(experiment)
        self._file_writer.add_summary(start)

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        for tag, value in {**scalars, "epoch": epoch}.items():
            if math.isfinite(value):
                self._writer.add_scalar(tag, value, step)
        for tag, values in histograms.items():
            finite = values[np.abs(values) < _BINS_END]
            if finite.size:
                self._writer.add_histogram(tag, finite, step)

    def write_picture(self, step: int, tag: str, picture: np.ndarray) -> None:
        self._writer.add_image(tag, picture, step, dataformats="HWC")

    def close(self) -> None:
        self._file_writer.add_summary(self._end)
        self._writer.close()


def _hparam(value: object, type_: object) -> object:
    """A setting as HParams holds it: of one type in all runs, though it may be a number here and a word there."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value if isinstance(type_, type) else str(value)


class RunWriter:
    """Every writer of a run."""

    def __init__(self, path: Path, config: Config):
        self._writers: Sequence[MetricWriter] = (JsonlWriter(path), TensorBoardWriter(path, config))

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        for writer in self._writers:
            writer.write(step, epoch, scalars, histograms)

    def write_picture(self, step: int, tag: str, picture: np.ndarray) -> None:
        for writer in self._writers:
            writer.write_picture(step, tag, picture)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
