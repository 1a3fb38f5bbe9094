"""Compares published figures with what the presets reach here: trains each, evaluates it, and prints one table.

    python bench/reproduce.py [--runs DIR] [PRESET ...]

Runs that exist already are not trained again, so a bench that was stopped goes on where it was.
"""

import argparse
import statistics
import sys
from typing import NamedTuple

from vaecli import train_seeds
from vaecli.analysis.evaluate import evaluate
from vaecli.config.files import read_config
from vaecli.training.progress import on_stderr

SAMPLES = 5000


class Figure(NamedTuple):
    """A figure that a preset is expected to reach.

    Attributes:
      seeds: the number of runs, from the seed 0 on.
      measure: the quantity: `-elbo`, the test loss of the last log point, or `nll`, from 5,000 importance samples.
      published: the figure and where it was published; config files say more.
      least: the lower end of the expected interval, in nats per image.
      greatest: the upper end of that interval.
    """

    seeds: int
    measure: str
    published: str
    least: float
    greatest: float


# Where the recipe is the published one, the interval is around its figure; a shortened one stops short of it.
FIGURES = {
    "pytorch_example": Figure(3, "-elbo", "105.57 (two user runs)", 105.07, 106.07),
    "flax_example": Figure(3, "-elbo", "about 104 (README; other binarisation)", 101.0, 107.0),
    "altosaar": Figure(2, "-elbo", "103.31 and 106.64 (two versions; other binarisation)", 101.3, 108.6),
    "tf_cvae": Figure(1, "-elbo", "155.91 (one rerun)", 153.0, 159.0),
    "efficient_vdvae_smoothing": Figure(3, "-elbo", "none for this network", float("-inf"), float("inf")),
    "burda2016_short": Figure(2, "nll", "86.76 (full schedule)", 86.0, 88.5),
    "iwae5": Figure(1, "nll", "85.54 (full schedule)", 85.0, 88.0),
}


def measure(name: str, runs: str) -> list[float]:
    """Returns the figure of each seed."""
    figure, values = FIGURES[name], []
    for summary in train_seeds(read_config(name).config, figure.seeds, runs=runs, observer=on_stderr()):
        if summary["status"] != "complete":
            sys.exit(f"{summary['path']}: {summary['status']}")
        if figure.measure == "-elbo":
            values.append(-summary["metrics"]["test/elbo"])
            continue
        wanted = {"split": "test", "checkpoint": "last", "samples": SAMPLES}
        results = summary.get("evaluations", [])
        existing = next((result for result in results if {key: result[key] for key in wanted} == wanted), None)
        values.append((existing or evaluate(summary["path"], samples=SAMPLES))["nll"])
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"of {', '.join(FIGURES)} (default: all)")
    parser.add_argument("--runs", default="runs", help="folder of all results (default: runs)")
    chosen = parser.parse_args()
    if unknown := set(chosen.presets) - set(FIGURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    print("| preset | figure | published | expected | measured here | |\n|---|---|---|---|---|---|")
    outside = False
    for name in chosen.presets or FIGURES:
        figure, values = FIGURES[name], measure(name, chosen.runs)
        mean = statistics.mean(values)
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        inside = figure.least <= mean <= figure.greatest
        outside |= not inside
        expected = "–" if figure.greatest == float("inf") else f"{figure.least:.2f} to {figure.greatest:.2f}"
        cells = (
            name,
            figure.measure,
            figure.published,
            expected,
            f"{mean:.2f}{spread} ({len(values)} seed{'s' * (len(values) > 1)})",
        )
        print("|", " | ".join(cells), "|", "inside" if inside else "OUTSIDE", "|", flush=True)
    sys.exit(outside)


if __name__ == "__main__":
    main()
