"""Measures how soon `vae train` shows its first log point, and how long a run takes beside its training.

    python bench/first_point.py --baseline CHECKOUT [--rounds 5] [--epochs 3] [--cache cold warm]

This checkout and another one, in turns, each in a process of its own, with jax's compilation cache empty (cold) or
filled by a run before (warm). The first log point is there once `metrics.jsonl` has a line; seconds are from the start
of the process. What a run takes beside its training is its whole time, less that of its epochs, by the last of them.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1]


class Times(NamedTuple):
    """The seconds from the start of a process to its first log point, and those it takes beside its training."""

    first: float
    beside: float


def environment(cache: Path, **variables: str) -> dict[str, str]:
    """Returns the environment of a command as an installed program has it, but for its folder of compiled programs."""
    # With this variable each process would compile our modules anew, which an installed program never does.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"XDG_CACHE_HOME": str(cache)} | variables


def timed(checkout: Path, cache: Path, epochs: int) -> Times:
    """Trains a default run of a checkout in a process of its own."""
    env = environment(cache, PYTHONPATH=str(checkout))
    with tempfile.TemporaryDirectory() as runs:
        argv = [sys.executable, "-m", "vaecli", "train", "--epochs", str(epochs), "--runs", runs]
        metrics = Path(runs, "mnist/logvar/seed0/metrics.jsonl")
        begun = time.perf_counter()
        process = subprocess.Popen(argv, env=env, cwd=runs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        points: list[float] = []
        while process.poll() is None:
            lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
            points += [time.perf_counter() - begun] * (lines - len(points))
            time.sleep(0.002)
        whole = time.perf_counter() - begun
    if process.returncode or len(points) != epochs + 1:
        raise SystemExit(f"{checkout}: vae train ended with exit code {process.returncode}, {len(points)} log points")
    epoch = min(later - before for before, later in itertools.pairwise(points[1:]))
    return Times(points[0], whole - epochs * epoch)


def compare(checkouts: Sequence[Path], cache: str, rounds: int, epochs: int) -> None:
    """Prints the medians of each checkout, and the ratios of this one to the other."""
    times: dict[Path, list[Times]] = {checkout: [] for checkout in checkouts}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(-1 if cache == "warm" else 0, rounds):
            for place, checkout in enumerate(checkouts if number % 2 else checkouts[::-1]):
                folder = checkout.name if cache == "warm" else f"{number} {place}"
                result = timed(checkout, Path(scratch, folder), epochs)
                if number >= 0:
                    times[checkout].append(result)
    for checkout, of_checkout in times.items():
        first, beside = (statistics.median(values) for values in zip(*of_checkout, strict=True))
        print(f"{cache:5} {first:6.2f} s to the first log point, {beside:6.2f} s beside training: {checkout}")
    for field, what in (("first", "to the first log point"), ("beside", "beside training")):
        ratios = [
            getattr(ours, field) / getattr(theirs, field)
            for ours, theirs in zip(*(times[checkout] for checkout in checkouts), strict=True)
        ]
        least = [min(getattr(one, field) for one in times[checkout]) for checkout in checkouts]
        print(
            f"{cache:5} ours / theirs, {what}: {statistics.median(ratios):.2f} (median of rounds), "
            f"{least[0] / least[1]:.2f} (least over least)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, required=True, metavar="CHECKOUT", help="what to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="of each run; at least 2")
    parser.add_argument("--cache", nargs="+", choices=("cold", "warm"), default=["cold", "warm"])
    options = parser.parse_args()
    for cache in options.cache:
        compare([HERE, options.baseline.resolve()], cache, options.rounds, options.epochs)


if __name__ == "__main__":
    main()
