"""How much of the heads' difference does a natural gradient leave? The table of docs/decoder.md, from its study.

A row for each optimiser and gradient: the test ELBO of logvar; how far each head ends from it at the same seed, mean
and standard deviation; and, without the head that is singular, the range and standard deviation of the heads' means and
the greatest chaos floor.
"""

import argparse
import collections
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

REFERENCE, SINGULAR = "logvar", "square_std"

Finals = Mapping[tuple[str, str, str, bool], Mapping[int, float]]
"""By optimiser, gradient, head and whether it is a twin, the final test ELBO of each seed whose run is complete."""


def read(folders: Sequence[Path]) -> Finals:
    """Returns the final test ELBOs of the runs below some folders."""
    finals: dict[tuple[str, str, str, bool], dict[int, float]] = collections.defaultdict(dict)
    for file in sorted(file for folder in folders for file in folder.glob("*/seed*/summary.json")):
        summary = json.loads(file.read_text())
        config = summary["config"]
        cell = config["optimizer"], config["head_gradient"], config["param"], config["perturb"] > 0
        if summary["status"] == "complete":
            finals[cell][config["seed"]] = summary["metrics"]["test/elbo"]
    return finals


def differences(one: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """Returns one minus the other at each seed that both have."""
    return [one[seed] - other[seed] for seed in one if seed in other]


def mean_and_sd(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}".replace("-", "−")


def difference(of_head: Mapping[int, float], reference: Mapping[int, float]) -> str:
    """Returns how far a head ends from the reference, and how many more of its runs were lost."""
    lost = len(reference) - len(of_head)
    return mean_and_sd(differences(of_head, reference)) + (f", {lost} of {len(reference)} lost" if lost else "")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    finals = read(parser.parse_args().folders)
    heads = list(dict.fromkeys(head for _, _, head, _ in finals if head != REFERENCE))
    columns = ("optimiser", "gradient", f"`{REFERENCE}`", *(f"`{head}`" for head in heads), "range, sd", "floor")
    print("|", " | ".join(columns), "|\n|" + "---|" * len(columns))
    for optimizer, gradient in sorted({cell[:2] for cell in finals}, key=lambda cell: (cell[0], cell[1] != "plain")):
        of_cell = {head: finals[optimizer, gradient, head, False] for head in (REFERENCE, *heads)}
        regular = [head for head in of_cell if head != SINGULAR]
        means = [statistics.mean(of_cell[head].values()) for head in regular]
        moved = [differences(of_cell[head], finals[optimizer, gradient, head, True]) for head in regular]
        print(
            f"| {optimizer} | {gradient} | {mean_and_sd([*of_cell[REFERENCE].values()])}",
            *(difference(of_cell[head], of_cell[REFERENCE]) for head in heads),
            f"{max(means) - min(means):.1f}, {statistics.stdev(means):.1f}",
            f"{max(math.sqrt(statistics.fmean(x * x for x in of_head)) for of_head in moved):.1f}",
            sep=" | ",
            end=" |\n",
        )


if __name__ == "__main__":
    main()
