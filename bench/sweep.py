"""Measures what a sweep costs besides the training in it.

    python bench/sweep.py [--config headline] [--jobs 1] [--keep DIR] [further flags of vae sweep]

Runs `vae sweep` with an empty compilation cache, and prints its wall time, the time that its runs trained, and what
share the rest is: starting processes, reading data, compiling, drawing pictures, writing. The training time of a
variant includes that of its log points: it is its images over `images_per_second`, which counts from the end of the
first epoch on, so that no compilation is in it. With more jobs than one, the processes' wall times are added up.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from first_point import environment

from vaecli.config import Config
from vaecli.data import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="headline")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", help="folder for the runs, which must be new; a temporary one without")
    options, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(options.keep or scratch, "runs")
        words = ["--config", options.config, "--jobs", str(options.jobs), "--runs", str(runs), *others]
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "vaecli", "sweep", *words], env=environment(Path(scratch, "cache")), check=True
        )
        wall = time.perf_counter() - begun
        report(wall, options.jobs, training(runs))


def report(wall: float, jobs: int, trained: float) -> None:
    """Prints the overhead."""
    print(f"wall time {wall:.0f} s, {jobs} jobs; training {trained:.0f} s; overhead {jobs * wall / trained - 1:.1%}")


def training(runs: Path) -> float:
    """Returns the seconds that all runs below a folder trained, the log points between their epochs included."""
    images = len(load(Config()).train)
    summaries = [json.loads(path.read_text()) for path in runs.glob("*/*/*/summary.json")]
    # The speed is that of all seeds of a variant together, which took turns.
    return sum(summary["epochs"] * images / summary["images_per_second"] for summary in summaries)


if __name__ == "__main__":
    main()
