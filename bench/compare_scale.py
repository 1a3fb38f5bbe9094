"""Measures the time and the memory of `vae compare` over many runs.

    python bench/compare_scale.py [--runs 10000] [--seeds 10] [--keep DIR]

Makes synthetic run directories, each with the config, the summary and the log of a real default run (11 log points of
some 90 scalars), and calls the command on them: only the table, and all that it can write. Prints seconds, and the
greatest resident memory of the process. The files have been written just before, and so lie in the page cache.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vaecli import Config
from vaecli.config.toml import to_toml
from vaecli.runs.directory import run_path

HEADS = ("logvar", "logstd", "logprec", "softplus_std", "softplus_var", "elu_std", "squareplus_std", "natural")
BLOCKS = ("encoder", "mean_head", "scale_head", "decoder")
SPLITS = ("train", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--keep", help="folder for the runs; a temporary one without")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.keep or scratch)
        begun = time.perf_counter()
        size = make(folder / "runs", options.runs, options.seeds)
        print(f"{options.runs} runs made in {time.perf_counter() - begun:.1f} s, {size / 2**20:.0f} MiB")
        outputs = (
            ["--json"],
            [
                *("--html", str(folder / "report.html"), "--plot", str(folder / "forest.svg")),
                *("--csv", str(folder / "settings.csv"), "--csv-runs", str(folder / "runs.csv")),
            ],
        )
        for what, words in (("table", []), ("JSON", outputs[0]), ("page, plot and CSV", outputs[1])):
            measure(what, ["compare", str(folder / "runs"), *words])


def measure(what: str, words: list[str]) -> None:
    """Runs the command, and prints what it took."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "vaecli", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    assert status == 0, f"ended with {status}"
    # Linux counts in KiB, macOS in bytes.
    memory = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(f"{what}: {seconds:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of CPU, {memory:.0f} MiB")


def make(runs: Path, number: int, seeds: int) -> int:
    """Makes so many runs, of heads and learning rates; returns their size in bytes."""
    rng = np.random.default_rng(0)
    size = 0
    for index in range(number):
        variant, seed = divmod(index, seeds)
        config = Config(
            name="scale", param=HEADS[variant % len(HEADS)], lr=1e-4 * (1 + variant // len(HEADS)), seed=seed
        )
        path = run_path(runs, config, ["lr"])
        path.mkdir(parents=True)
        points = [scalars(rng, variant, seed, epoch) for epoch in range(11)]
        diverged = rng.random() < 0.01
        files = {
            "config.toml": to_toml(config),
            "metrics.jsonl": "".join(json.dumps(point) + "\n" for point in points),
            "summary.json": json.dumps(summary(points[-1], diverged), indent=2),
        }
        for name, text in files.items():
            size += (path / name).write_text(text, encoding="utf-8")
    return size


def scalars(rng: np.random.Generator, variant: int, seed: int, epoch: int) -> dict[str, float]:
    """Returns a log point: the ELBO of a seed, and a head's part in it; and as many other tags as a default run has."""
    elbo = -105.5 - 440 * 0.2**epoch + 0.3 * np.sin(seed) + 0.02 * (variant % 40) + 0.1 * rng.standard_normal()
    values = {"step": 469 * epoch, "epoch": epoch}
    for split in SPLITS:
        values |= {f"{split}/elbo": elbo, f"{split}/reconstruction": elbo + 25, f"{split}/kl": 25.0}
    for kind in ("variance", "signal", "snr", "epsilon_fraction", "noise_scale"):
        values |= {f"{table}/{kind}/{block}": float(rng.random()) for table in ("grad", "grad_se") for block in BLOCKS}
    return values | {f"posterior/tag{number}": float(rng.random()) for number in range(45)}


def summary(last: dict[str, float], diverged: bool) -> dict[str, object]:
    """Returns what a run's summary holds."""
    return {
        "status": "diverged" if diverged else "complete",
        "first_non_finite": {"quantity": "gradient", "block": "scale_head", "step": 7} if diverged else None,
        "metrics": {tag: value for tag, value in last.items() if tag not in ("step", "epoch")},
        "epochs": 10,
        "steps": 4690,
        "data_sha256": {f"file{number}": "0" * 64 for number in range(4)},
        "best": None,
        "versions": {"vaecli": "0", "jax": "0"},
        "device": "cpu",
        "git_commit": "0" * 40,
    }


if __name__ == "__main__":
    main()
