"""Measures `vae evaluate` on the default run: its time, its memory, and its distance from float64.

    python bench/evaluation.py [--run DIR] [--samples 5000]

The reference is NumPy in float64 at the same draws, on the first hundred test images.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vaecli import Config, train
from vaecli.analysis.evaluate import BATCH, evaluate
from vaecli.analysis.restore import resolved_config, restored_model, training_data
from vaecli.runs.reading import Run, open_run
from vaecli.vae.batches import Stream, stream
from vaecli.vae.compiled import compiled
from vaecli.vae.importance import chunk, importance, no_draws


def reference(params, images: np.ndarray, key: jax.Array, samples: int, size: int) -> np.ndarray:
    """Returns log (1/K) Σ w_k of each image, for the network of the default config."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def dense(layer, h):
        return h @ layer["kernel"] + layer["bias"]

    x = images / 255
    h = np.maximum(dense(p["encoder"]["layers"][0], x), 0)
    loc, log_scale = dense(p["mean_head"], h), dense(p["scale_head"], h) / 2
    first, last = (p["decoder"]["layers"][k] for k in sorted(p["decoder"]["layers"]))
    log_weights = []
    for number in range(samples // size):
        draws = jax.random.normal(jax.random.fold_in(key, number), (size, *loc.shape), jnp.float32)
        epsilon = np.asarray(draws, np.float64)
        z = loc + np.exp(log_scale) * epsilon
        logits = dense(last, np.maximum(dense(first, z), 0))
        reconstruction = (x * logits - np.logaddexp(0, logits)).sum(axis=2)
        log_weights.append(reconstruction + (0.5 * epsilon**2 + log_scale - 0.5 * z**2).sum(axis=2))
    return np.logaddexp.reduce(np.concatenate(log_weights), axis=0) - np.log(samples)


def distance(run: Run, samples: int) -> float:
    """Returns the greatest difference from the reference, in nats."""
    dataset = training_data(run)
    model = restored_model(run, resolved_config(run), dataset, "last")
    images, size = dataset.test[:BATCH], chunk(model.program.architecture, BATCH)
    key = jax.random.fold_in(jax.random.fold_in(stream(model.operands.key, Stream.IMPORTANCE), 0), 0)
    span, count = jnp.asarray([0, samples // size]), jnp.asarray(samples)
    _, result = compiled(importance)(model, jnp.asarray(images), key, no_draws(BATCH), span, count)
    return float(np.abs(result.weighing.log_mean - reference(model.params, images, key, samples, size)).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a run of the default config (default: one is trained)")
    parser.add_argument("--samples", type=int, default=5000, help="a multiple of 50 (default: 5000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        path = Path(options.run or train(Config(), runs=runs)["path"])
        begun = time.perf_counter()
        result = evaluate(path, samples=options.samples)
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{result['images']} images, {options.samples} samples: {seconds:.0f} s, {peak:.2f} GB at the most")
        print(f"NLL {result['nll']:.4f} ± {result['nll_se']:.4f}, -ELBO {-result['elbo']:.4f}")
        print(f"greatest distance from float64, {BATCH} images: {distance(open_run(path), options.samples):.1e} nats")


if __name__ == "__main__":
    main()
