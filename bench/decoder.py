"""Where does the choice of the likelihood's head bite? The table of docs/decoder.md, from its study.

A row for each scale, gradient rule and tuning: the test ELBO of logvar and its chaos floor, how far each head ends from
it at the same seed, and the spread of the heads of which no run was lost, logvar among them.
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


def spread(values: list[float], digits: int = 0) -> str:
    """Returns the mean of some values and their standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}".replace("-", "−")


def floor(reference: Results) -> str:
    """Returns the root mean square of what a perturbed weight changes."""
    moved = [reference.finals[seed] - reference.twins[seed] for seed in reference.finals if seed in reference.twins]
    return f"{math.sqrt(statistics.fmean(x * x for x in moved)):.0f}" if moved else ""


def difference(head: Results, reference: Results) -> str:
    """Returns how far a head ends from the reference, over the seeds that both completed, and how many it lost."""
    pairs = [head.finals[seed] - reference.finals[seed] for seed in head.finals if seed in reference.finals]
    lost = head.runs - len(head.finals)
    text = spread(pairs) if pairs else "–"
    return f"{text} ({lost} of {head.runs} lost)" if lost else text


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    cells = read(parser.parse_args().folder)
    heads = list(dict.fromkeys(head for of_cell in cells.values() for head in of_cell if head != REFERENCE))
    columns = ("τ", "gradient", "start, rate", "`logvar`", "floor", *(f"`{head}`" for head in heads), "range", "sd")
    print("|", " | ".join(columns), "|\n|" + "---|" * len(columns))
    for cell in sorted(cells, key=lambda cell: (SCALES.index(cell.scale), cell.tuning != "native")):
        of_cell = cells[cell]
        reference = of_cell[REFERENCE]
        whole = [statistics.mean(r.finals.values()) for r in of_cell.values() if len(r.finals) == r.runs]
        print(
            f"| {cell.scale} | {cell.rule} | {cell.tuning} | {spread([*reference.finals.values()])}",
            floor(reference),
            *(difference(of_cell[head], reference) if head in of_cell else "" for head in heads),
            f"{max(whole) - min(whole):.0f}" if len(whole) > 1 else "",
            f"{statistics.stdev(whole):.0f}" if len(whole) > 1 else "",
            sep=" | ",
            end=" |\n",
        )


if __name__ == "__main__":
    main()
