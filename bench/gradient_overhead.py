"""Measures what the gradient statistics cost: a run with them against the same run without.

    python bench/gradient_overhead.py [--rounds 5] [--epochs 5] [--draws K] [--batches M]

Both are `vae train` as it ships, log points and writers included, in one process and in turns, so that a machine whose
speed drifts moves both. An epoch's time is the time between its two log points: it excludes compilation and the log
point before the first step. The time of a run is that from the call to the return, all included, with programs that the
process has compiled before; what compiling the statistics takes is printed by itself.
"""

import argparse
import statistics
import tempfile
import time

import jax
import jax.numpy as jnp
from throughput import Clock

from vaecli import Config, train
from vaecli.data import load
from vaecli.vae import build
from vaecli.vae.compiled import compiled_steps
from vaecli.vae.model import Model
from vaecli.vae.resolve import resolve
from vaecli.vae.schedules import schedule_values


def timed(config: Config) -> tuple[float, float]:
    """Returns the seconds of an epoch, and of the whole run."""
    clock, begun = Clock(), time.perf_counter()
    with tempfile.TemporaryDirectory() as runs:
        train(config, runs=runs, observer=clock)
    return (clock.times[-1] - clock.times[0]) / config.epochs, time.perf_counter() - begun


def compilation(config: Config) -> float:
    """Returns the seconds that it takes to compile the statistics' program."""
    data = load(config)
    probe = jnp.asarray(data.probe)
    resolved = resolve(config)
    program, operands = build.program(resolved, (data.height, data.width)), build.operands([resolved])
    run = compiled_steps(program, vectorise=jax.default_backend() != "cpu")
    model = Model(program, operands, run.init(operands, jnp.zeros(probe.shape[-1])).params)
    schedule = jax.tree.map(lambda of_step: of_step[:, 0], schedule_values([config], 1, 1))
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        jax.block_until_ready(run.gradient_statistics(model, probe, schedule))
        seconds.append(time.perf_counter() - begun)
    return seconds[0] - seconds[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--draws", type=int, default=Config().grad_draws)
    parser.add_argument("--batches", type=int, default=Config().grad_batches)
    options = parser.parse_args()

    on = Config(epochs=options.epochs, grad_draws=options.draws, grad_batches=options.batches)
    off = Config(epochs=options.epochs, grad_every=0, grad_draws=options.draws, grad_batches=options.batches)
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}: {options.draws} draws, {options.batches} batches")
    print(f"compiling the statistics: {compilation(on):.2f} s")
    for config in (on, off):
        timed(config)
    seconds: dict[Config, list[tuple[float, float]]] = {on: [], off: []}
    for number in range(options.rounds):
        # The one that goes first alternates too.
        for config in (on, off) if number % 2 == 0 else (off, on):
            seconds[config].append(timed(config))
    for k, what in enumerate(("an epoch", "a run")):
        with_them, without = ([times[k] for times in seconds[config]] for config in (on, off))
        median = statistics.median(a / b for a, b in zip(with_them, without, strict=True))
        print(f"{what}: {statistics.median(with_them):.3f} s on, {statistics.median(without):.3f} s off (medians)")
        print(f"  on / off: {median:.3f} (median of rounds), {min(with_them) / min(without):.3f} (least over least)")


if __name__ == "__main__":
    main()
