"""The event file that TensorBoard reads, and the door to tensorboardX.

tensorboardX makes the protocol buffers; its own writer starts a new file each time, of the same name within a second,
and hides a full disk in a thread. Here a run has one file, and an error is raised. Only this module imports
tensorboardX; `tests/runs/test_tensorboard_contract.py` says what is relied on.
"""

import math
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import masked_crc32c

from vaecli.config import SETTINGS, Config
from vaecli.config.toml import to_toml
from vaecli.runs.directory import METRICS
from vaecli.runs.journal import Journal, Marks

# TensorBoard's own bins, each a tenth wider than the one before; tensorboardX raises on values that are all beyond.
_BINS_END = 1e20
_POSITIVE = 1e-12 * 1.1 ** np.arange(math.ceil(math.log(_BINS_END / 1e-12, 1.1)))
_BINS = [*-_POSITIVE[::-1], 0.0, *_POSITIVE]

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


class TensorBoardWriter:
    """The event file: scalars, histograms, pictures, the config as text and as HParams, and a Custom Scalars layout.

    Values that are not finite are left out, and of histograms those beyond 1e20.
    """

    def __init__(self, path: Path, config: Config, marks: Marks):
        """Opens the event file of a run: a new one, or the one that the marks name, cut back to its mark.

        Raises:
          OSError: it cannot be written.
        """
        # `SummaryWriter.add_hparams` would open a second event file.
        settings = [setting for name, setting in SETTINGS.items() if name not in ("name", "data_dir")]
        values = {setting.name: _hparam(getattr(config, setting.name), setting.type) for setting in settings}
        experiment, session_start, self._session_end = summary.hparams(values, dict.fromkeys(_HPARAM_METRICS, 0.0))
        self._name = next((name for name in marks if name != METRICS), None)
        if self._name:
            self._journal = Journal(path / self._name, marks[self._name])
            return
        self._name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        self._journal = Journal(path / self._name)
        indented = "\n".join(f"    {line}" for line in to_toml(config).splitlines())
        first = (summary.text("config", indented), summary.custom_scalars(_LAYOUT), experiment, session_start)
        try:
            self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
            for content in first:
                self._add(0, content)
        except OSError:
            self.close()
            raise

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Writes a log point."""
        for tag, value in {**scalars, "epoch": epoch}.items():
            if math.isfinite(value):
                self._add(step, summary.scalar(tag, value))
        for tag, values in histograms.items():
            finite = values[np.abs(values) < _BINS_END]
            if finite.size:
                self._add(step, summary.histogram(tag, finite, _BINS))

    def write_picture(self, step: int, tag: str, png: bytes) -> None:
        """Writes a picture."""
        # A PNG has its width and height after the signature and the head of the first chunk.
        width, height = struct.unpack(">II", png[16:24])
        image = Summary.Image(height=height, width=width, encoded_image_string=png)
        self._add(step, Summary(value=[Summary.Value(tag=tag, image=image)]))

    def marks(self) -> Marks:
        """Returns where the event file ends, by its name."""
        return {str(self._name): self._journal.mark()}

    def end(self) -> None:
        """Writes what comes last in a run that is over: the end of the HParams session."""
        self._add(0, self._session_end)

    def close(self) -> None:
        """Closes the event file."""
        self._journal.close()

    def _add(self, step: int, content: Any) -> None:
        self._append(Event(wall_time=time.time(), step=step, summary=content))

    def _append(self, event: Any) -> None:
        data = event.SerializeToString()
        # A TFRecord: the length and the data, each with its masked CRC-32C.
        length = struct.pack("<Q", len(data))
        crcs = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
        self._journal.append(length + crcs[0] + data + crcs[1])


def _hparam(value: object, type_: object) -> object:
    """A setting as HParams holds it: of one type in all runs, though it may be a number here and a word there."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value if isinstance(type_, type) else str(value)
