"""Measures how many runs one program trains at a time, and how fast.

    python bench/packing.py [--counts 1 8 64 256 512] [--rounds 3] [--precision float32] [--images 60000] [--vectorise]

Prints, for each number of runs of the default network in one batch: the seconds for compiling and the first epoch, the
seconds of an epoch of training and of one with its log point (medians of rounds, without writing), the images per
second of all runs together and their ratio to those of one run, and the memory that each run took of the device, where
that says so, beside what `vae sweep --pack auto` sets aside for it. On a CPU the runs take turns, unless --vectorise is
given.
"""

import argparse
import dataclasses
import gc
import statistics
import time

import jax

from vaecli import Config
from vaecli.data import Dataset, load
from vaecli.training.capacity import memory_needed
from vaecli.training.run_batch import RunBatch
from vaecli.vae.resolve import resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 8, 64, 256, 512])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--vectorise", action="store_true")
    options = parser.parse_args()
    config = Config(precision=options.precision)
    dataset = load(config)
    dataset = dataclasses.replace(dataset, train=dataset.train[: options.images])
    device = jax.devices()[0].device_kind
    planned = memory_needed(resolve(config), dataset)[1]
    print(
        f"jax {jax.__version__}, {device}, {options.precision}; --pack auto plans {planned / 2**20:.0f} MiB for a run"
    )
    alone = 0.0
    for count in options.counts:
        speed = measured(config, dataset, count, options.rounds, vectorise=options.vectorise or None)
        alone = alone or speed / count
        print(f"  {speed:,.0f} images/s, {speed / alone:.1f} times those of one run", flush=True)


def measured(config: Config, dataset: Dataset, count: int, rounds: int, *, vectorise: bool | None) -> float:
    """Prints what so many runs take, and returns their images per second."""
    gc.collect()
    runs = [resolve(dataclasses.replace(config, seed=seed)) for seed in range(count)]
    begun = time.perf_counter()
    batch = RunBatch(runs, dataset, vectorise=vectorise)
    state = batch.initial_state()
    steps = [batch.steps_per_epoch] * count
    trained, with_log = [], []
    compiling = 0.0
    for epoch in range(1, rounds + 2):  # The first one compiles.
        chunk = batch.chunk(epoch, state)
        started = time.perf_counter()
        state, outputs = jax.block_until_ready(batch.train(chunk, steps))
        ended = time.perf_counter()
        jax.block_until_ready(batch.measure(epoch, chunk, state, outputs, last=False)[:4])
        if epoch == 1:
            compiling = time.perf_counter() - begun
        else:
            trained.append(ended - started)
            with_log.append(time.perf_counter() - started)
    seconds = statistics.median(trained)
    print(
        f"{count} runs: compiling and first epoch {compiling:.1f} s; an epoch {seconds:.3f} s, with its log point "
        f"{statistics.median(with_log):.3f} s{_memory(count)}"
    )
    return count * len(dataset.train) / seconds


def _memory(count: int) -> str:
    """Returns what the device says of its memory, which counts from the start of the process."""
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return f"; {peak / count / 2**20:.0f} MiB a run at most" if peak else ""


if __name__ == "__main__":
    main()
