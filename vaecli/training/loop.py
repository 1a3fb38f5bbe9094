"""The host's loop over the epochs of one batch of runs."""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence

import jax
import numpy as np

from vaecli.config import Config, UsageError
from vaecli.data import Dataset
from vaecli.environment import recorded_environment, require_default_jax
from vaecli.runs.directory import RunDirectory, Summary
from vaecli.runs.provenance import git_commit
from vaecli.training.recorder import Follower, Recorder, of_row
from vaecli.training.resume import Group
from vaecli.training.run_batch import RunBatch, due
from vaecli.training.run_record import RunRecord
from vaecli.vae.divergence import Chunk
from vaecli.vae.resolve import Resolved
from vaecli.vae.steps import Step, TrainState

_WRITERS = 16
"""Threads that write the files of a batched program's runs; what takes long in that lets others work meanwhile."""

_NOTING = threading.Lock()


def train_batch(
    runs: Sequence[Resolved],
    directories: Sequence[RunDirectory],
    group: Group,
    dataset: Dataset,
    *,
    followers: Sequence[Follower],
    isolate: bool,
    stopped: Callable[[], bool],
    begun: float,
    vectorise: bool | None = None,
) -> Sequence[Summary | UsageError]:
    """Trains runs of one batch from one epoch on, and writes their directories.

    Args:
      runs: the config of each, resolved; `batch_key` of all is the same.
      directories: their directories, claimed.
      group: where they start.
      dataset: what they are trained on.
      followers: who follows the progress.
      isolate: whether a run ends by itself where its files cannot be read or written.
      stopped: asked after each epoch; true ends the runs there.
      begun: the `time.perf_counter()` from which their time counts.
      vectorise: whether they are one batched program, and otherwise take turns; by default on all but a CPU.

    Returns:
      The summary of each run, or what was wrong with it.

    Raises:
      ConfigError: the images are too small for the network; nothing is written then.
      UsageError: jax does not compute here as it must; or, where runs are not isolated, a file cannot be written or a
        checkpoint holds other arrays.
    """
    require_default_jax()
    batch = RunBatch(runs, dataset, vectorise=vectorise)
    with contextlib.ExitStack() as stack:
        stack.callback(batch.close)
        if not group.start.ended:
            batch.compile_ahead(fresh=not group.start.saved)
        noting = {row: _one_at_a_time(follower.observer.note) for follower in followers for row in follower.rows}
        records = [
            RunRecord(run, directory, dataset, snapshot, begun=begun, note=noting[row])
            for row, (run, directory, snapshot) in enumerate(zip(runs, directories, group.snapshots, strict=True))
        ]
        facts = {"device": recorded_environment()["device"], "git_commit": git_commit()}
        recorder = Recorder(records, followers, facts, isolate=isolate, threads=_WRITERS if batch.vectorised else 1)
        for record in records:
            stack.callback(record.close)
        stack.callback(recorder.close)
        recorder.each(range(len(records)), lambda row: records[row].open())
        for observer, rows in followers:
            observer.data(dataset.description)
            observer.begin(_title([runs[row].config for row in rows]), batch.config.epochs)
            stack.callback(observer.end)
        _Loop(batch, records, recorder, stopped).run(group)
        return [record.error or record.summary or {} for record in records]


class _Loop:
    """The epochs of a batch, each handed to the recorder while the device goes on with the next."""

    def __init__(self, batch: RunBatch, records: Sequence[RunRecord], recorder: Recorder, stopped: Callable[[], bool]):
        self._batch, self._records, self._recorder, self._stopped = batch, records, recorder, stopped
        self._epochs = batch.config.epochs

    def run(self, group: Group) -> None:
        """Trains the runs of a group from where it starts, and finishes them."""
        start = group.start
        if not start.saved:
            state = self._batch.initial_state()
        elif start.ended:
            # Killed before its summary; the step after which a number was not finite is not to be trained again.
            for row, restored in enumerate(self._restored(group)):
                if restored:
                    with self._recorder.guarded(row):
                        self._records[row].finish(start.epoch, restored, self._recorder.facts)
            return
        else:
            states = self._restored(group)
            nothing = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self._batch.state_like())
            # By NumPy: jax would compile a program for each shape that there is.
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(restored or nothing for restored in states))
            state = jax.device_put(stacked)
        if start.pending or not start.saved:
            self._hand_on(start.epoch, self._batch.chunk(max(start.epoch, 1), state), state, None, last=False)
        self._batch.compile_rest()
        epoch, state = self._train(start.epoch, state)
        self._recorder.flush()
        self._finish(epoch, state)

    def _restored(self, group: Group) -> Sequence[TrainState | None]:
        """Returns the state of each run at its checkpoint; None for one that something is wrong with."""
        like = self._batch.state_like()
        states: list[TrainState | None] = [None] * len(self._records)
        for row, (record, snapshot) in enumerate(zip(self._records, group.snapshots, strict=True)):
            if snapshot and not record.ended:
                with self._recorder.guarded(row):
                    states[row] = record.restore(snapshot, like)
        return states

    def _train(self, epoch: int, state: TrainState) -> tuple[int, TrainState]:
        """Trains from an epoch to the last, or to where the runs are stopped or have all diverged."""
        last = epoch == self._epochs or self._stopped() or self._recorder.all_ended
        while not last:
            epoch += 1
            chunk = self._batch.chunk(epoch, state)
            steps = [0 if record.ended else self._batch.steps_per_epoch for record in self._records]
            if not self._batch.can_train():
                self._recorder.flush()  # The first log point, while that is being compiled.
            state, outputs = self._batch.train(chunk, steps)
            self._recorder.flush()  # While the device is busy.
            last = epoch == self._epochs or self._stopped() or self._recorder.all_ended
            self._hand_on(epoch, chunk, state, outputs, last=last)
        return epoch, state

    def _hand_on(self, epoch: int, chunk: Chunk, state: TrainState, outputs: Step | None, *, last: bool) -> None:
        """Starts the measurements of an epoch on the device, and hands them to the recorder."""
        checkpoint = epoch > 0 and due(self._batch.config.checkpoint_every, epoch, last=last)
        checkpoint = checkpoint and (last or self._recorder.affords_checkpoint)
        result = self._batch.measure(epoch, chunk, state, outputs, last=last)
        if checkpoint or self._batch.validates:
            result = result._replace(state=state)
        self._recorder.add(
            epoch,
            result,
            state,
            functools.partial(self._batch.locate, chunk, outputs),
            functools.partial(self._batch.explain, state),
            checkpoint=checkpoint,
            stopped=last and epoch < self._epochs,
        )

    def _finish(self, epoch: int, state: TrainState) -> None:
        """Writes the last checkpoints, pictures and summaries of the runs that have not diverged."""
        if self._recorder.all_ended:
            return
        final = jax.device_get((state, self._batch.visuals(state)))

        def finish(row: int) -> None:
            state, visuals = of_row(final, row)
            self._records[row].finish(epoch, state, self._recorder.facts, visuals=visuals)

        self._recorder.each([row for row, record in enumerate(self._records) if not record.ended], finish)


def _one_at_a_time(note: Callable[[str], None]) -> Callable[[str], None]:
    """Returns a function that several threads may call, for one that is for one thread."""

    def noting(text: str) -> None:
        with _NOTING:
            note(text)

    return noting


def _title(configs: Sequence[Config]) -> str:
    """Returns what a person reads beside the progress of runs, by their variants and seeds."""
    first, count = configs[0], len(configs)
    seeds = [config.seed for config in configs]
    if len({dataclasses.replace(config, seed=0) for config in configs}) > 1:
        return f"{first.name} · {count} runs"
    if count == 1:
        which = f"seed {first.seed}"
    elif seeds == list(range(first.seed, first.seed + count)):
        which = f"seeds {first.seed} to {seeds[-1]}"
    else:
        which = f"{count} seeds from {first.seed} on"
    pilot = f" · pilot {first.pilot}" if first.pilot else ""
    return f"{first.name} · {first.param}{pilot} · {which}"
