"""The event file of a run: what TensorBoard shows of it."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from vaecli.config import Config
from vaecli.config.schema import WITHOUT_SCALE
from vaecli.config.toml import to_toml
from vaecli.runs import hparams, tensorboard
from vaecli.runs.directory import is_event_file
from vaecli.runs.hparams import RunFacts
from vaecli.runs.journal import Journal, Marks
from vaecli.runs.step_points import StepPoint
from vaecli.runs.tensorboard import Content, Layout

_LEFT_OUT = ("grad_se/", "safety/u/", "safety/decoder_u/")
"""Scalars that are not read over time: errors belong beside their values, and u is in a histogram."""

_LAYOUT: Layout = {
    "ELBO (nats per image)": {
        "ELBO, and the objective where it is another": [
            "train/elbo", "validation/elbo", "test/elbo", "train/objective", "validation/iwae", "test/iwae"
        ],
        "KL": ["train/kl", "validation/kl", "test/kl"],
        "reconstruction": ["train/reconstruction", "validation/reconstruction", "test/reconstruction"],
    },
    "Gradient noise of the scale head's outputs": {
        "SNR of a unit": ["grad/unit_snr"],
        "Fisher ratio": ["grad/fisher_ratio"],
        "variance by u, σ, log σ": ["grad/scale_variance/(raw|sigma|log_sigma)"],
    },
    "Gradient noise, by block": {
        "SNR": ["grad/snr/.*"],
        "variance over ε": ["grad/variance/.*"],
        "signal": ["grad/signal/.*"],
        "share of ε in the noise": ["grad/epsilon_fraction/.*"],
        "noise scale (images)": ["grad/noise_scale.*"],
    },
    "Safety of σ": {
        "quantiles of σ": ["safety/sigma/.*"],
        "distance from the nearest edge (nats)": ["safety/edge_distance"],
        "share of units at an edge, and without a gradient": ["safety/(saturated|zero_gradient)"],
    },
}  # fmt: skip
_OF_A_SCALE: Layout = {
    "Scale τ of the likelihood": {
        "quantiles of τ": ["safety/tau/.*"],
        "mean squared residual over τ², or what stands for it": ["safety/tau_calibration"],
        "Fisher ratio": ["grad/decoder_fisher_ratio"],
        "distance from the nearest edge (nats)": ["safety/tau_edge_distance"],
        "share of τ at an edge, and without a gradient": ["safety/tau_(saturated|zero_gradient)"],
    }
}
_WITHIN_EPOCHS: Layout = {
    "Training, within the epochs": {
        term: [f"train_steps/{tag}"] for term, tag in (("ELBO", "elbo"), ("KL", "kl"), ("reconstruction",) * 2)
    },
}


class TensorBoardWriter:
    """The event file: scalars, histograms, pictures, the config as text and as HParams, and a Custom Scalars layout.

    Values that are not finite are left out.
    """

    def __init__(self, path: Path, config: Config, marks: Marks, facts: RunFacts):
        """Opens the event file of a run: a new one, or the one that the marks name, cut back to its mark.

        Raises:
          OSError: it cannot be written.
        """
        self._name = next(filter(is_event_file, marks), "")
        if self._name:
            self._journal = Journal(path / self._name, marks[self._name])
            return
        self._name = tensorboard.file_name()
        self._journal = Journal(path / self._name)
        indented = "\n".join(f"    {line}" for line in to_toml(config).splitlines())
        now = time.time()
        layout = {
            **_LAYOUT,
            **({} if config.likelihood in WITHOUT_SCALE else _OF_A_SCALE),
            **(_WITHIN_EPOCHS if config.log_steps else {}),
        }
        first = [tensorboard.text("config", indented), tensorboard.custom_scalars(layout)]
        first += hparams.begin(config, facts, now)
        try:
            self._journal.append(tensorboard.first_record(now))
            self._add((0, content) for content in first)
        except OSError:
            self.close()
            raise

    def write(self, step: int, epoch: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        """Writes a log point."""
        shown = {tag: value for tag, value in scalars.items() if not tag.startswith(_LEFT_OUT)}
        drawn = [tensorboard.histogram(tag, values) for tag, values in histograms.items()]
        self._add((step, content) for content in [*_scalars(shown), *filter(None, drawn)])

    def write_steps(self, points: Sequence[StepPoint]) -> None:
        """Writes points within an epoch."""
        self._add((point.step, content) for point in points for content in _scalars(point.scalars))

    def write_picture(self, step: int, tag: str, png: bytes) -> None:
        """Writes a picture."""
        self._add([(step, tensorboard.picture(tag, png))])

    def marks(self) -> Marks:
        """Returns where the event file ends, by its name."""
        return {self._name: self._journal.mark()}

    def end(self, status: str) -> None:
        """Writes what comes last in a run that is over: the end of the HParams session."""
        self._add([(0, hparams.end(status, time.time()))])

    def close(self) -> None:
        """Closes the event file."""
        self._journal.close()

    def _add(self, contents: Iterable[tuple[int, Content]]) -> None:
        """Adds contents, each at its step: all of them, or none where the disk is full."""
        now = time.time()
        self._journal.append(b"".join(tensorboard.record(now, step, content) for step, content in contents))


def _scalars(scalars: Mapping[str, float]) -> Iterator[Content]:
    return (tensorboard.scalar(tag, value) for tag, value in scalars.items() if math.isfinite(value))
