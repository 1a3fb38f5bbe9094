"""Measures what the host takes to write the runs of a pack: files, log points, checkpoints, pictures, summaries.

    python bench/writing.py [--runs 32] [--epochs 6] [--threads 1 16] [--profile]

The device computes a log point of the default network once for each run; then the recorder of the training loop writes
it as that of one epoch after the other, and the runs' ends. Prints the milliseconds of each run, on the clock and of
CPU, for each number of threads that write at the same time, and with --profile where one thread spends them.
"""

import argparse
import cProfile
import dataclasses
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from vaecli import Config
from vaecli.data import Dataset, load
from vaecli.runs.directory import claim
from vaecli.training.epoch_result import EpochResult
from vaecli.training.progress import Silent
from vaecli.training.recorder import Follower, Recorder, of_row
from vaecli.training.run_batch import RunBatch
from vaecli.training.run_record import RunRecord
from vaecli.vae.divergence import Cause
from vaecli.vae.evaluate import Visuals
from vaecli.vae.resolve import Resolved, resolve
from vaecli.vae.steps import TrainState


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    config = Config(epochs=options.epochs)
    runs = [resolve(dataclasses.replace(config, seed=seed)) for seed in range(options.runs)]
    dataset = load(config)
    dataset = dataclasses.replace(dataset, train=dataset.train[:1280])
    computed = of_an_epoch(runs, dataset)
    for threads in options.threads:
        write(runs, dataset, *computed, threads=threads)  # First touches.
        for what, (wall, cpu) in write(runs, dataset, *computed, threads=threads).items():
            print(f"{threads:3} threads, {what:25} {1e3 * wall:7.1f} ms a run on the clock, {1e3 * cpu:6.1f} of CPU")
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(write, runs, dataset, *computed, threads=1)
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)


def of_an_epoch(runs: list[Resolved], dataset: Dataset) -> tuple[EpochResult, Visuals]:
    """Returns what the device computes of the first epoch of runs, with their state, and for their pictures."""
    batch = RunBatch(runs, dataset)
    state = batch.initial_state()
    chunk = batch.chunk(1, state)
    state, outputs = batch.train(chunk, [batch.steps_per_epoch] * len(runs))
    result = batch.measure(1, chunk, state, outputs, last=False)._replace(state=state)
    return jax.device_get((result, batch.visuals(state)))


def write(
    runs: list[Resolved], dataset: Dataset, result: EpochResult, visuals: Visuals, *, threads: int
) -> dict[str, tuple[float, float]]:
    """Returns the seconds of each run, on the clock and of CPU, for its beginning, for an epoch and for its end."""
    taken: dict[str, tuple[float, float]] = {}
    result, trained = jax.device_put(result), result.state
    assert trained is not None

    def timed(what: str, over: int, do: Callable[[], None]) -> None:
        begun = time.perf_counter(), time.process_time()
        do()
        ended = time.perf_counter(), time.process_time()
        taken[what] = ((ended[0] - begun[0]) / over, (ended[1] - begun[1]) / over)

    with tempfile.TemporaryDirectory() as folder:
        directories = [claim(Path(folder) / f"seed{run.config.seed}") for run in runs]
        records = [
            RunRecord(run, directory, dataset, None, begun=time.perf_counter(), note=print)
            for run, directory in zip(runs, directories, strict=True)
        ]
        rows, epochs = range(len(runs)), runs[0].config.epochs
        recorder = Recorder(records, [Follower(Silent(), rows)], {}, isolate=False, threads=threads)

        def never(row: int) -> tuple[Cause, TrainState]:
            raise AssertionError(f"run {row} diverged")

        def all_epochs(checkpoint: bool) -> None:
            for epoch in range(1, epochs + 1):
                state = trained._replace(step=np.full(len(runs), 10 * epoch, np.int32))
                of_epoch = result._replace(state=state if checkpoint else None)
                recorder.add(
                    epoch, of_epoch, state, never, lambda row, cause: cause, checkpoint=checkpoint, stopped=False
                )
            recorder.flush()

        def ends() -> None:
            final = trained._replace(step=np.full(len(runs), 10 * epochs, np.int32)), visuals

            def finish(row: int) -> None:
                state, visuals = of_row(final, row)
                records[row].finish(epochs, state, recorder.facts, visuals=visuals)

            recorder.each(rows, finish)

        timed("beginning", len(runs), lambda: recorder.each(rows, lambda row: records[row].open()))
        timed("log point", len(runs) * epochs, lambda: all_epochs(False))
        timed("log point and checkpoint", len(runs) * epochs, lambda: all_epochs(True))
        timed("end", len(runs), ends)
        recorder.close()
        for directory in directories:
            directory.release()
    return taken


if __name__ == "__main__":
    main()
