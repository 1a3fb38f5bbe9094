"""Compares several seeds that take turns inside one program with one batched program.

    python bench/seeds.py [--seeds 1 3] [--rounds 4]

Prints the seconds per epoch and seed of only the training scan, for the default network, and their ratio.
"""

import argparse
import dataclasses
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from vaecli import Config
from vaecli.data import load
from vaecli.vae import build
from vaecli.vae.batches import epoch_order
from vaecli.vae.compiled import compiled_steps
from vaecli.vae.resolve import resolve
from vaecli.vae.schedules import schedule_values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()

    config = Config(grad_every=0)
    data = load(config)
    images, mean = jnp.asarray(data.train), jnp.zeros(data.train.shape[1])
    program = build.program(resolve(config), (data.height, data.width))
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
    for count in options.seeds:
        configs = [dataclasses.replace(config, seed=seed) for seed in range(count)]
        operands = build.operands([resolve(config) for config in configs])
        order = np.stack([epoch_order(seed, 1, len(images), config.batch_size) for seed in range(count)])
        ways = {way: compiled_steps(program, vectorise=way == "batched") for way in ("in turn", "batched")}
        schedule, until = schedule_values(configs, 1, order.shape[1]), np.full(count, order.shape[1])
        states = {way: run.init(operands, mean) for way, run in ways.items()}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds + 1):  # The first one compiles.
            for way, run in ways.items():
                begun = time.perf_counter()
                chunk = run.train_chunk(operands, images, states[way], order, schedule, until)
                states[way], _ = jax.block_until_ready(chunk)
                seconds[way].append((time.perf_counter() - begun) / count)
        medians = {way: statistics.median(values[1:]) for way, values in seconds.items()}
        shown = ", ".join(f"{way} {median:.3f} s" for way, median in medians.items())
        print(f"{count} seeds: {shown}; batched / in turn {medians['batched'] / medians['in turn']:.2f}")


if __name__ == "__main__":
    main()
