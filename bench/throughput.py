"""Measures how near the training loop comes to this machine's floor, and to a plain PyTorch loop.

    python bench/throughput.py [--rounds 5] [--epochs 3] [--torch-python PYTHON]

Floor: the matrix products of a step (forward and backward, the input's gradient left out: 197 GFLOP an epoch) and
Adam's update, each in its own scan of as many steps as an epoch has, compiled by the same jax. The loop is `vae train`
as it ships: every default log point, evaluation and writer is inside its time. Rounds alternate between all of them,
so that a machine whose speed drifts moves them together; compare ratios, not seconds.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from vaecli import Config, train
from vaecli.data import load
from vaecli.training.progress import Silent
from vaecli.vae.compiled import compiler_options

CONFIG = Config()
IMAGES = 60_000
STEPS = -(-IMAGES // CONFIG.batch_size)
# (rows in, columns out) of every dense layer of the default network.
LAYERS = ((784, 400), (400, 20), (400, 20), (20, 400), (400, 784))


def timed(function, *args) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - begun


def compiled(step):
    return jax.jit(lambda carry: lax.scan(step, carry, None, length=STEPS)[0], compiler_options=compiler_options())


def products():
    """Returns what times every matrix product of a step, STEPS times."""
    keys = jax.random.split(jax.random.key(0), 3 * len(LAYERS))
    weights = [jax.random.normal(k, s) * 0.01 for k, s in zip(keys, LAYERS, strict=False)]
    inputs = [jax.random.normal(k, (CONFIG.batch_size, s[0])) for k, s in zip(keys[5:], LAYERS, strict=False)]
    errors = [jax.random.normal(k, (CONFIG.batch_size, s[1])) for k, s in zip(keys[10:], LAYERS, strict=False)]

    def step(carry, _):
        inputs, errors = carry
        outputs = [h @ w for h, w in zip(inputs, weights, strict=True)]
        weight_gradients = [h.T @ d for h, d in zip(inputs, errors, strict=True)]
        input_gradients = [d @ w.T for d, w in zip(errors[1:], weights[1:], strict=True)]
        # One element of each result goes into the next step's operands: no product can be left out or hoisted.
        inputs = [
            h.at[0, 0].add(1e-9 * (y[0, 0] + g[0, 0]))
            for h, y, g in zip(inputs, outputs, weight_gradients, strict=True)
        ]
        touched = [d.at[0, 0].add(1e-9 * g[0, 0]) for d, g in zip(errors[1:], input_gradients, strict=True)]
        return (inputs, [errors[0], *touched]), None

    run = compiled(step)
    return lambda: timed(run, (inputs, errors))


def adam():
    """Returns what times Adam's update of every parameter, STEPS times."""
    params = [jnp.zeros(s) for s in LAYERS] + [jnp.zeros(s[1]) for s in LAYERS]
    gradient = jax.tree.map(lambda p: p + 0.1, params)
    optimizer = optax.adam(CONFIG.lr)

    def step(carry, _):
        params, state = carry
        update, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, update), state), None

    run = compiled(step)
    return lambda: timed(run, (params, optimizer.init(params)))


class Clock(Silent):
    """An observer that notes when each log point is written."""

    def __init__(self):
        self.times = []

    def epoch(self, epoch, elbo, images_per_second):
        self.times.append(time.perf_counter())


def loop(epochs: int, **changes):
    """Returns what measures the seconds per epoch of `vae train`."""

    def run() -> float:
        clock = Clock()
        with tempfile.TemporaryDirectory() as runs:
            train(Config(epochs=epochs, **changes), runs=runs, observer=clock)
        return (clock.times[-1] - clock.times[0]) / epochs

    return run


@contextlib.contextmanager
def torch_loop(python: str, config: Config, images: np.ndarray, network: str):
    """Yields what measures the seconds per epoch of bench/torch_eager.py; None where torch is missing.

    Its process waits between epochs.
    """
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        yield None
        return
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, images)
        file.flush()
        script = str(Path(__file__).with_name("torch_eager.py"))
        command = [python, script, file.name, str(config.batch_size), str(config.lr), network]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as worker:
            ask, answers = worker.stdin, worker.stdout
            assert ask is not None
            assert answers is not None

            def epoch() -> float:
                print(file=ask, flush=True)
                return float(answers.readline())

            yield epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of the loop in a round")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has torch")
    options = parser.parse_args()
    with torch_loop(options.torch_python, CONFIG, load(CONFIG).train, "dense") as torch_epoch:
        measured = {"matrix products": products(), "adam": adam(), "vae train": loop(options.epochs)}
        if torch_epoch:
            measured["pytorch eager"] = torch_epoch
        report(measured, options.rounds)


def in_turns(measured: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Returns what each gives in so many rounds, all of them in turn, after one that does not count."""
    for run in measured.values():  # Compilation and first touches.
        run()
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, run in measured.items():
            seconds[name].append(run())
    return seconds


def report(measured: dict[str, Callable[[], float]], rounds: int) -> None:
    seconds = in_turns(measured, rounds)
    floor = [a + b for a, b in zip(seconds["matrix products"], seconds["adam"], strict=True)]
    rows = {"floor (products + adam)": floor} | seconds
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}, {STEPS} steps an epoch, {rounds} rounds")
    print(f"{'':26}{'median s':>10}{'least s':>10}{'images/s':>12}")
    for name, values in rows.items():
        median = statistics.median(values)
        print(f"{name:26}{median:10.3f}{min(values):10.3f}{IMAGES / median:12,.0f}")
    compare("vae train / floor", seconds["vae train"], floor)
    if "pytorch eager" in seconds:
        compare("pytorch eager / vae train", seconds["pytorch eager"], seconds["vae train"])


def compare(title: str, over: list[float], under: list[float]) -> None:
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    print(f"{title}: {statistics.median(ratios):.2f} (median of rounds; {min(over) / min(under):.2f} least over least)")


if __name__ == "__main__":
    main()
