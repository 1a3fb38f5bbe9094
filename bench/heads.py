"""Measures what a variance head, a bound or an optimiser costs: the training scan against that of the defaults.

    python bench/heads.py [--rounds 7] [--steps 100] [heads|bounds|optimizers ...]

All of them are compiled first and then take turns, each after a turn of the defaults, so that a machine whose speed
drifts moves both. The script prints the median over the rounds of the ratio of the two, and that of their least times.
"""

import argparse
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
from vaecli.vae.heads.table import HEADS
from vaecli.vae.optimizers import OPTIMIZERS
from vaecli.vae.resolve import resolve
from vaecli.vae.schedules import schedule_values

GROUPS = {
    "heads": [{"param": name} for name in HEADS],
    "bounds": [
        {"bound": text} for text in ("clip:-5,3", "tanh:5", "sigmoid:-5,3", "soft:-5,3", "floor:1e-3", "varfloor:1e-6")
    ],
    "objectives": [
        {"kl": "mc"},
        {"estimator": "stl"},
        {"samples": 5},
        {"objective": "iwae", "samples": 5},
        {"objective": "iwae", "samples": 5, "estimator": "dreg"},
    ],
    "networks": [
        {"binarisation": "dynamic"},
        {"activation": "tanh"},
        {"activation": "gelu"},
        {"likelihood": "gaussian"},
        {"channels": (32, 64), "hidden": (), "latent": 2},
    ],
    "optimizers": [{"optimizer": name} for name in OPTIMIZERS] + [{"clip_norm": 100.0}, {"weight_decay": 1e-4}],
}


class Arm:
    """A config whose steps can be timed again and again."""

    def __init__(self, images: jax.Array, order: np.ndarray, **changes):
        config = Config(grad_every=0, **changes)
        self._run = compiled_steps(build.program(resolve(config), (28, 28)), vectorise=False)
        self._operands = build.operands([resolve(config)])
        self._schedule = schedule_values([config], 1, order.shape[1])
        self._state = self._run.init(self._operands, jnp.full(images.shape[1], 0.1))
        self._images, self._order = images, order
        self.seconds()

    def seconds(self) -> float:
        begun = time.perf_counter()
        until = np.full(1, self._order.shape[1])
        chunk = self._run.train_chunk(self._operands, self._images, self._state, self._order, self._schedule, until)
        self._state, _ = jax.block_until_ready(chunk)
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", default=["heads"], choices=list(GROUPS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()

    images = jnp.asarray(load(Config()).train)
    order = epoch_order(0, 1, len(images), Config().batch_size)[None, : options.steps]
    default = Arm(images, order)
    arms = {str(change): Arm(images, order, **change) for group in options.groups for change in GROUPS[group]}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for _ in range(options.rounds):
        for name, arm in arms.items():
            seconds[name].append((arm.seconds(), default.seconds()))
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}, {options.steps} steps, {options.rounds} rounds")
    for name, pairs in seconds.items():
        median = statistics.median(own / other for own, other in pairs)
        least = min(own for own, _ in pairs) / min(other for _, other in pairs)
        print(f"{name:32} {median:6.3f} (median of rounds) {least:6.3f} (least over least)")


if __name__ == "__main__":
    main()
