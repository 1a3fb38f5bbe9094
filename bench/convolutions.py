"""Measures a training step with convolutions beside PyTorch's, beside its matrix products, and its compilation.

    python bench/convolutions.py [--rounds 9] [--steps 60] [--torch-python PYTHON]

The step is that of the preset `tf_cvae`, and PyTorch trains the same network eagerly, on as many threads. The products
are those of the step's layers, forwards and backwards, without the gradient by the images, in arrays shaped as the
layers have them. All take turns, so that a machine whose speed drifts moves them together; compare ratios.
"""

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from throughput import compare, in_turns, timed, torch_loop

from vaecli import Config
from vaecli.config.files import read_config
from vaecli.data import load
from vaecli.vae import build
from vaecli.vae.architecture import Architecture
from vaecli.vae.batches import epoch_order
from vaecli.vae.compiled import compiled_steps, compiler_options
from vaecli.vae.convolutions import KERNEL, STRIDE
from vaecli.vae.resolve import resolve
from vaecli.vae.schedules import schedule_values


def training(config: Config, images: np.ndarray, steps: int) -> Callable[[], float]:
    """Returns what takes `steps` training steps, and prints what compiling them took."""
    run = compiled_steps(build.program(resolve(config), (28, 28)), vectorise=False)
    operands = build.operands([resolve(config)])
    state = run.init(operands, jnp.full(images.shape[1], 0.1))
    order = epoch_order(0, 1, len(images), config.batch_size)[None, :steps]
    given = (operands, images, state, order, schedule_values([config], 1, steps), np.full(1, steps))
    first, later = (timed(run.train_chunk, *given) for _ in range(2))
    print(f"compiling the steps: {first - later:.2f} s")
    return lambda: timed(run.train_chunk, *given)


def products(architecture: Architecture, batch: int, steps: int) -> Callable[[], float]:
    """Returns what computes the matrix products of `steps` steps."""
    layers = layer_shapes(architecture)
    rng = np.random.default_rng(0)

    def array(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    given = [(array(i, o), array(i, places * batch), array(o, places * batch)) for i, o, places in layers]

    def step(_, given):
        results = []
        for number, (kernel, x, gradient) in enumerate(given):
            outputs, by_kernel = kernel.T @ x, x @ gradient.T
            by_inputs = kernel @ gradient if number else gradient
            # One element of each result goes into the next step's factors: no product can be left out or hoisted.
            used = 1e-9 * (outputs[0, 0] + by_kernel[0, 0] + by_inputs[0, 0])
            results.append((kernel.at[0, 0].add(used), x.at[0, 0].add(used), gradient))
        return results

    run = jax.jit(lambda given: lax.fori_loop(0, steps, step, given), compiler_options=compiler_options())
    return lambda: timed(run, given)


def layer_shapes(architecture: Architecture) -> list[tuple[int, int, int]]:
    """Returns of each layer the rows and columns of its matrix, and at how many places of an image it is applied."""
    a, taps = architecture, KERNEL**2
    assert not a.hidden
    layers, size = [], a.image
    for inputs, outputs in itertools.pairwise((1, *a.channels)):
        size = tuple((side - KERNEL) // STRIDE + 1 for side in size)
        layers.append((taps * inputs, outputs, math.prod(size)))
    layers.append((math.prod(a.encoded) * a.channels[-1], 2 * a.latent, 1))
    layers.append((a.latent, math.prod(a.decoded) * a.channels[0], 1))
    size = a.decoded
    for inputs, outputs in itertools.pairwise((a.channels[0], *reversed(a.channels))):
        layers.append((inputs, taps * outputs, math.prod(size)))
        size = tuple(STRIDE * side for side in size)
    return [*layers, (a.channels[0], taps, math.prod(size))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=60, help="steps in a round")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has torch")
    options = parser.parse_args()
    config = read_config("tf_cvae").config
    images = load(config).train[: options.steps * config.batch_size]
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}, batches of {config.batch_size}")
    architecture = build.program(resolve(config), (28, 28)).architecture
    measured = {
        "matrix products": products(architecture, config.batch_size, options.steps),
        "training step": training(config, images, options.steps),
    }
    with torch_loop(options.torch_python, config, images, "convolutions") as torch_epoch:
        if torch_epoch:
            measured["pytorch eager"] = torch_epoch
        report(measured, options.rounds, options.steps)


def report(measured: dict[str, Callable[[], float]], rounds: int, steps: int) -> None:
    seconds = in_turns(measured, rounds)
    print(f"{'':18}{'median ms':>10}{'least ms':>10}")
    for name, values in seconds.items():
        print(f"{name:18}{1e3 * statistics.median(values) / steps:10.2f}{1e3 * min(values) / steps:10.2f}")
    compare("training step / matrix products", seconds["training step"], seconds["matrix products"])
    if "pytorch eager" in seconds:
        compare("training step / pytorch eager", seconds["training step"], seconds["pytorch eager"])


if __name__ == "__main__":
    main()
