"""Measures the time and the size of the page of a study.

    python bench/study_page.py [--seeds 8] [--keep DIR]

Makes the run directories of a study of twelve conditions, ten heads and their reference, and controls, each with the
config, the summary and the log of a real default run, and calls the command on them: only the map, and the page with
the picture. Prints seconds, the greatest resident memory of the process, and the size of the page. The files have been
written just before, and so lie in the page cache.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from compare_scale import measure, scalars, summary

from vaecli.config.sequential import SequentialPlan
from vaecli.config.toml import sweep_from_toml, to_toml
from vaecli.runs.directory import run_path
from vaecli.sweep.stages import keep_plan, planned
from vaecli.sweep.studies import StudyPart, parts

HEADS = ("logvar", "logstd", "logprec", "softplus_std", "softplus_var", "softplus_prec", "elu_std", "squareplus_std")
HEADS += ("natural", "abs_std", "square_std")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--keep", help="folder for the runs; a temporary one without")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.keep or scratch)
        study = sweep_from_toml(_study())[1].study
        assert study is not None
        looks = SequentialPlan(looks=(options.seeds,), margin=1.0)
        runs = sum(make(part) for part in parts(study, "scale", {}, {}, looks, folder / "runs"))
        print(f"{runs} runs")
        page = folder / "report.html"
        measure("map", ["compare", str(folder / "runs")])
        picture = ["--map", str(folder / "map.svg")]
        measure("page and picture", ["compare", str(folder / "runs"), "--html", str(page), *picture])
        print(f"page: {page.stat().st_size / 1e6:.2f} MB")


def _study() -> str:
    """Returns the config of the study, of which every condition has a learning rate of its own."""
    conditions = [
        f'[[condition]]\nname = "rate-{place}"\nwhy = "Condition {place} of the study."\nlr = {1e-4 * place:g}\n'
        for place in range(1, 13)
    ]
    return "".join([f"[study]\nheads = {json.dumps(HEADS)}\n", *conditions])


def make(part: StudyPart) -> int:
    """Makes the runs of a part of the study; returns how many."""
    if part.looks:
        keep_plan(part.sweep, planned(part.sweep, part.looks), overwrite=False)
    made = 0
    for number, task in enumerate(part.sweep.tasks):
        for seed in task.seeds:
            config = task.config_of(seed)
            path = run_path(part.sweep.runs, config, part.sweep.vary)
            path.mkdir(parents=True)
            # What is matched to the reference ends where that does.
            variant = 0 if config.init == "matched" else number
            rng = np.random.default_rng((part.place.number, variant, seed))
            points = [scalars(rng, variant, seed, epoch) for epoch in range(11)]
            files = {
                "config.toml": to_toml(config),
                "metrics.jsonl": "".join(json.dumps(point) + "\n" for point in points),
                "summary.json": json.dumps(summary(points[-1], config.param == "std"), indent=2),
            }
            for name, text in files.items():
                (path / name).write_text(text, encoding="utf-8")
            made += 1
    return made


if __name__ == "__main__":
    main()
