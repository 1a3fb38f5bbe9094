"""Logs as other programs write them."""

import csv
import io

import numpy as np
from tensorboardX import SummaryWriter

VARIANTS = {"adam": 0.0, "lion": 0.02, "sgd": 0.9}


def losses(variant, seed, steps=1):
    """The losses of a run over its steps: the same for one seed but for what the variant adds, and a little noise."""
    rng = np.random.default_rng([seed, sorted(VARIANTS).index(variant)])
    level = np.random.default_rng(seed).normal()
    return [3 + level + VARIANTS[variant] + 1 / (step + 1) + 0.01 * rng.normal() for step in range(steps)]


def rows(seeds=6):
    """A row for each run."""
    return [
        {"method": variant, "seed": seed, "loss": losses(variant, seed)[-1]}
        for variant in VARIANTS
        for seed in range(seeds)
    ]


def as_csv(rows, separator=","):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_events(folder, points, **tags):
    """Writes an event file with tensorboardX: scalars by step, under `loss` and under other tags."""
    with SummaryWriter(str(folder)) as writer:
        for step, value in points:
            writer.add_scalar("loss", value, step)
            for tag, other in tags.items():
                writer.add_scalar(tag, other, step)
        writer.add_text("note", "a text")
        writer.add_histogram("weights", np.arange(5.0), 0)
