"""Runs that are followed, stopped, cut off and compared."""

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vaecli import train_seeds
from vaecli.training.progress import Silent


class Listener(Silent):
    """An observer that remembers what it is given: the notes, and of each epoch its number and test ELBO."""

    def __init__(self):
        self.notes, self.epochs, self.elbos = [], [], []

    def note(self, text):
        self.notes.append(text)

    def epoch(self, epoch, elbo, images_per_second):
        self.epochs.append(epoch)
        self.elbos.append(elbo)


def stopping(after):
    """Returns what stops a run after so many epochs: it is asked once before each of them."""
    asked = []

    def stopped():
        asked.append(None)
        return len(asked) > after

    return stopped


def same(one, other, *, pictures=True):
    """Asserts that two runs left the same: parameters and the rest of the state, metrics, log, TensorBoard's events.

    Their pictures may be left out of the events, since a run loses no more than those where they cannot be written.
    """
    for key in ("status", "metrics", "epochs", "steps", "best", "first_non_finite", "skipped_updates"):
        assert one[key] == other[key], key
    paths = [Path(summary["path"]) for summary in (one, other)]
    for name in ("metrics.jsonl", "steps.jsonl"):
        logs = [(path / name).read_bytes() if (path / name).exists() else b"" for path in paths]
        assert logs[0] == logs[1], name
    arrays = []
    for path in paths:
        (folder,) = (path / "checkpoint").glob("step???????")
        with np.load(folder / "arrays.npz") as file:
            arrays.append(dict(file))
    assert arrays[0].keys() == arrays[1].keys()
    for name, values in arrays[0].items():
        assert values.tobytes() == arrays[1][name].tobytes(), name
    events = [
        EventAccumulator(str(path), size_guidance=dict.fromkeys(("scalars", "histograms", "images"), 0))
        for path in paths
    ]
    steps = []
    for accumulator in events:
        accumulator.Reload()
        tags = accumulator.Tags()
        steps.append(
            {
                (kind, tag): [event.step for event in getattr(accumulator, kind.capitalize())(tag)]
                for kind in ("scalars", "histograms", *["images"] * pictures)
                for tag in tags[kind]
            }
        )
    assert steps[0] == steps[1]
    for at in steps[0].values():
        assert len(set(at)) == len(at)
    for path in paths:
        assert len(list(path.glob("events*"))) == 1
        assert not list(path.rglob("*tmp*"))


def cut(config, runs, seeds=1, after=4):
    """Trains runs and leaves them as a process that was killed does, without a summary; returns their directories."""
    summaries = train_seeds(config, seeds, runs=runs, stopped=stopping(after))
    paths = [Path(summary["path"]) for summary in summaries]
    for path in paths:
        (path / "summary.json").unlink()
    return paths
