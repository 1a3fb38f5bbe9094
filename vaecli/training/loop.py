"""The host's loop over the epochs of one batch of runs that differ only in their seed."""

import contextlib
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from vaecli.config import Config
from vaecli.data import Dataset
from vaecli.environment import recorded_environment, require_default_jax
from vaecli.runs.directory import RunDirectory, Summary
from vaecli.runs.provenance import git_commit
from vaecli.training.progress import Observer
from vaecli.training.recorder import Recorder, of_row
from vaecli.training.resume import Group
from vaecli.training.run_record import RunRecord
from vaecli.training.seed_batch import SeedBatch, due
from vaecli.vae.divergence import Chunk
from vaecli.vae.resolve import Resolved
from vaecli.vae.steps import Step, TrainState


def train_batch(
    runs: Sequence[Resolved],
    directories: Sequence[RunDirectory],
    group: Group,
    dataset: Dataset,
    *,
    observer: Observer,
    stopped: Callable[[], bool],
    begun: float,
) -> Sequence[Summary]:
    """Trains runs that differ only in their seed, from one epoch on, and writes their directories.

    Args:
      runs: the config of each, resolved.
      directories: their directories, claimed.
      group: where they start.
      dataset: what they are trained on.
      observer: who follows the progress.
      stopped: asked after each epoch; true ends the runs there.
      begun: the `time.perf_counter()` from which their time counts.

    Returns:
      The summary of each run.

    Raises:
      ConfigError: the images are too small for the network; nothing is written then.
      UsageError: a file cannot be written, a checkpoint holds other arrays, or jax does not compute here as it must.
    """
    require_default_jax()
    batch = SeedBatch(runs, dataset)
    with contextlib.ExitStack() as stack:
        records = []
        for run, directory, snapshot in zip(runs, directories, group.snapshots, strict=True):
            records.append(RunRecord(run, directory, dataset, snapshot, begun=begun, note=observer.note))
            stack.callback(records[-1].close)
        facts = {"device": recorded_environment()["device"], "git_commit": git_commit()}
        recorder = Recorder(records, observer, facts)
        observer.data(dataset.description)
        observer.begin(_title([run.config for run in runs]), batch.config.epochs)
        stack.callback(observer.end)
        _Loop(batch, records, recorder, stopped).run(group)
        return [record.summary or {} for record in records]


class _Loop:
    """The epochs of a batch, each handed to the recorder while the device goes on with the next."""

    def __init__(self, batch: SeedBatch, records: Sequence[RunRecord], recorder: Recorder, stopped: Callable[[], bool]):
        self._batch, self._records, self._recorder, self._stopped = batch, records, recorder, stopped
        self._epochs = batch.config.epochs

    def run(self, group: Group) -> None:
        """Trains the runs of a group from where it starts, and finishes them."""
        start = group.start
        if start.saved:
            like = self._batch.state_like()
            snapshots = [snapshot for snapshot in group.snapshots if snapshot]
            states = [record.restore(saved, like) for record, saved in zip(self._records, snapshots, strict=True)]
            if start.ended:
                # Killed before its summary; the step after which a number was not finite is not to be trained again.
                for record, state in zip(self._records, states, strict=True):
                    record.finish(start.epoch, state, self._recorder.facts)
                return
            state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        else:
            state = self._batch.initial_state()
        if start.pending or not start.saved:
            self._hand_on(start.epoch, self._batch.chunk(max(start.epoch, 1), state), state, None, last=False)
        epoch, state = self._train(start.epoch, state)
        self._recorder.flush()
        self._finish(epoch, state)

    def _train(self, epoch: int, state: TrainState) -> tuple[int, TrainState]:
        """Trains from an epoch to the last, or to where the runs are stopped or have all diverged."""
        last = epoch == self._epochs or self._stopped()
        while not last:
            epoch += 1
            chunk = self._batch.chunk(epoch, state)
            steps = [0 if record.summary else self._batch.steps_per_epoch for record in self._records]
            state, outputs = self._batch.train(chunk, steps)
            self._recorder.flush()  # While the device is busy.
            last = epoch == self._epochs or self._stopped() or self._recorder.all_ended
            self._hand_on(epoch, chunk, state, outputs, last=last)
        return epoch, state

    def _hand_on(self, epoch: int, chunk: Chunk, state: TrainState, outputs: Step | None, *, last: bool) -> None:
        """Starts the measurements of an epoch on the device, and hands them to the recorder."""
        checkpoint = epoch > 0 and due(self._batch.config.checkpoint_every, epoch, last=last)
        result = self._batch.measure(epoch, chunk, state, outputs, last=last)
        if checkpoint or self._batch.validates:
            result = result._replace(state=state)
        self._recorder.add(
            epoch,
            result,
            state,
            functools.partial(self._batch.locate, chunk, outputs),
            checkpoint=checkpoint,
            stopped=last and epoch < self._epochs,
        )

    def _finish(self, epoch: int, state: TrainState) -> None:
        """Writes the last checkpoints, pictures and summaries of the runs that have not diverged."""
        if self._recorder.all_ended:
            return
        final = jax.device_get((state, self._batch.visuals(state)))
        for row, record in enumerate(self._records):
            if not record.summary:
                state, visuals = of_row(final, row)
                record.finish(epoch, state, self._recorder.facts, visuals=visuals)


def _title(configs: Sequence[Config]) -> str:
    """Returns what a person reads beside the progress of the runs."""
    first, count = configs[0], len(configs)
    seeds = [config.seed for config in configs]
    if count == 1:
        which = f"seed {first.seed}"
    elif seeds == list(range(first.seed, first.seed + count)):
        which = f"seeds {first.seed} to {seeds[-1]}"
    else:
        which = f"{count} seeds from {first.seed} on"
    pilot = f" · pilot {first.pilot}" if first.pilot else ""
    return f"{first.name} · {first.param}{pilot} · {which}"
