"""Does the head matter more in low precision? The tables of docs/precision.md, from its study.

For each head and precision, the distance from logvar at the same precision and seed; and by how much that distance
differs from the one in float32, which is an interaction. Its intervals hold together, for all heads and precisions
(Bonferroni).
"""

import argparse
import collections
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

REFERENCE, EXACT = "logvar", "float32"

Finals = Mapping[tuple[str, str], Mapping[int, float]]
"""By head and precision, the final test ELBO of each seed that has one."""


def read(folder: Path) -> tuple[Finals, Mapping[tuple[str, str], int]]:
    """Returns the final test ELBOs of the runs below a folder, and the number of runs of each head and precision."""
    finals, runs = collections.defaultdict(dict), collections.Counter()
    for file in sorted(folder.glob("*/seed*/summary.json")):
        summary = json.loads(file.read_text())
        config = {"precision": EXACT, **summary["config"]}
        cell = config["param"], config["precision"]
        runs[cell] += 1
        if summary["status"] == "complete":
            finals[cell][config["seed"]] = summary["metrics"]["test/elbo"]
    return finals, runs


def differences(one: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    """Returns one minus the other at each seed that both have."""
    return {seed: one[seed] - other[seed] for seed in one if seed in other}


def interval(values: Sequence[float], level: float) -> str:
    """Returns the mean of some values, and its t-interval."""
    if len(values) < 2:
        return "–"
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * error
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"


def main() -> None:
    """Prints a row for each head and precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    finals, runs = read(parser.parse_args().folder)
    heads = [head for head in dict.fromkeys(head for head, _ in runs) if head != REFERENCE]
    precisions = [precision for precision in ("float32", "bfloat16", "float16") if (REFERENCE, precision) in runs]
    family = len(heads) * (len(precisions) - 1)
    print(f"intervals of 95 % for the distance; {family} interactions of 95 % together")
    print("| head | precision | complete | test ELBO | minus logvar | interaction |\n|---|---|---|---|---|---|")
    for precision in precisions:
        for head in (REFERENCE, *heads):
            cell = finals[head, precision]
            distance = differences(cell, finals[REFERENCE, precision])
            exact = differences(finals[head, EXACT], finals[REFERENCE, EXACT])
            changed = list(differences(distance, exact).values())
            print(
                f"| {head} | {precision} | {len(cell)} of {runs[head, precision]} | {np.mean([*cell.values()]):.2f}",
                "–" if head == REFERENCE else interval([*distance.values()], 0.95),
                "–" if head == REFERENCE or precision == EXACT else interval(changed, 1 - 0.05 / family),
                sep=" | ",
                end=" |\n",
            )


if __name__ == "__main__":
    main()
