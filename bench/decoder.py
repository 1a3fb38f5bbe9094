"""Where does the choice of the likelihood's head bite? The tables of docs/decoder.md, from its study.

A row for each scale and gradient rule: the test ELBO of logvar and its chaos floor; how far each head ends from it at
the same seed, mean and standard deviation; and the range and standard deviation of the means of the heads of which no
run was lost, of all, and of the four whose gain is nearly constant at small τ.
"""

import argparse
import collections
import json
import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

REFERENCE = "logvar"
SCALES = ("shared", "optimal", "pixel", "network")
RULES = ("nll", "beta:0.5", "faithful", "natural")
ALIKE = ("logvar", "logstd", "softplus_std", "softplus_var")
"""The heads whose gain is nearly constant at small τ."""


class Cell(NamedTuple):
    """What the heads of a comparison have in common, besides their seeds."""

    scale: str
    rule: str
    tuning: str


class Results(NamedTuple):
    """The runs of one head in one cell.

    Attributes:
      runs: how many there are.
      finals: the final test ELBO of each seed whose run is complete.
      twins: those of the perturbed twins.
    """

    runs: int
    finals: Mapping[int, float]
    twins: Mapping[int, float]


def read(folder: Path) -> Mapping[Cell, Mapping[str, Results]]:
    """Returns the results below a folder, by cell and head."""
    cells: dict[Cell, dict[str, Results]] = collections.defaultdict(dict)
    for file in sorted(folder.glob("*/seed*/summary.json")):
        summary = json.loads(file.read_text())
        config = summary["config"]
        rule = config.get("decoder_gradient", "nll")
        cell = Cell(config.get("decoder_scale", "shared"), rule, config.get("decoder_lr", "native"))
        head = config.get("decoder_param", REFERENCE)
        kept = cells[cell].get(head, Results(0, {}, {}))
        final = {config["seed"]: summary["metrics"]["test/elbo"]} if summary["status"] == "complete" else {}
        if config.get("perturb", 0):
            cells[cell][head] = kept._replace(twins={**kept.twins, **final})
        else:
            cells[cell][head] = kept._replace(runs=kept.runs + 1, finals={**kept.finals, **final})
    return cells


def mean_and_sd(values: list[float]) -> str:
    deviation = f" ± {round(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{round(statistics.mean(values))}{deviation}".replace("-", "−")


def floor(reference: Results) -> str:
    """Returns the root mean square of what a perturbed weight changes."""
    moved = [reference.finals[seed] - reference.twins[seed] for seed in reference.finals if seed in reference.twins]
    return f"{round(math.sqrt(statistics.fmean(x * x for x in moved)))}" if moved else ""


def difference(head: Results, reference: Results) -> str:
    """Returns how far a head ends from the reference, over the seeds that both completed, and how many it lost."""
    pairs = [head.finals[seed] - reference.finals[seed] for seed in head.finals if seed in reference.finals]
    lost = head.runs - len(head.finals)
    parts = (mean_and_sd(pairs) if pairs else "", f"{lost} of {head.runs} lost" if lost else "")
    return ", ".join(filter(None, parts))


def spread(of_heads: list[Results]) -> str:
    """Returns the range and the standard deviation of the means of those heads of which no run was lost."""
    means = [statistics.mean(head.finals.values()) for head in of_heads if len(head.finals) == head.runs > 0]
    return f"{round(max(means) - min(means))}, {round(statistics.stdev(means))}" if len(means) > 1 else ""


def main() -> None:
    """Prints a table for each tuning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    cells = read(parser.parse_args().folder)
    heads = list(dict.fromkeys(head for of_cell in cells.values() for head in of_cell if head != REFERENCE))
    columns = ("τ", "gradient", "`logvar`", "floor", *(f"`{head}`" for head in heads), "all", "four")
    for tuning in sorted({cell.tuning for cell in cells}, reverse=True):
        print(f"\nstart and rate: {tuning}\n\n|", " | ".join(columns), "|\n|" + "---|" * len(columns))
        of_tuning = [cell for cell in cells if cell.tuning == tuning]
        for cell in sorted(of_tuning, key=lambda cell: (SCALES.index(cell.scale), RULES.index(cell.rule))):
            of_cell = cells[cell]
            print(
                f"| {cell.scale} | {cell.rule} | {mean_and_sd([*of_cell[REFERENCE].finals.values()])}",
                floor(of_cell[REFERENCE]),
                *(difference(of_cell[head], of_cell[REFERENCE]) if head in of_cell else "" for head in heads),
                spread([*of_cell.values()]),
                spread([of_cell[head] for head in ALIKE if head in of_cell]),
                sep=" | ",
                end=" |\n",
            )


if __name__ == "__main__":
    main()
