"""Comparing from Python: the options of `vae compare` as keywords."""

import os
from pathlib import Path
from typing import Literal

from vaecli.config import UsageError
from vaecli.report.compare import compare as answer
from vaecli.report.model import Comparison, Question


def compare(
    *folders: str | os.PathLike[str],
    metric: str = "test/elbo",
    margin: float | None = None,
    alpha: float = 0.05,
    reference: str = "logvar",
    at: Literal["each", "best-lr"] = "each",
    effects: str = "",
    allow_mixed: bool = False,
) -> Comparison:
    """Compares the runs below some folders, as `vae compare` does.

    Args:
      folders: each a run's directory, or one above.
      metric: any logged scalar, at its last value; or nll, once `vae evaluate` has stored it.
      margin: the smallest difference that matters, in the metric's unit; None stands for 0.5 where that is nats.
      alpha: the level of the tests.
      reference: what the others are compared with: a head, or `HEAD,field=value,…`.
      at: where the learning rate varies, whether to compare at `each`, or each head at its `best-lr`.
      effects: the settings whose effects are asked for, as `field,field=baseline,…`.
      allow_mixed: whether data, code and what the metric means may differ between the runs.

    Returns:
      The comparison: `results`, one for each variant, each with its `verdict`, `sentence` and `difference`; `to_json()`
      is what `vae compare --json` prints (docs/sweeps.md).

    Raises:
      UsageError: there are no runs, none of the reference or with the metric, they do not go together, or an option
        is wrong.
    """
    if not folders:
        raise UsageError("compare: a folder with runs is needed, as in compare('runs/mnist')")
    for folder in folders:
        if not isinstance(folder, str | os.PathLike):
            raise UsageError(f"compare: a folder is named by a text or a path, got {folder!r}")
    question = Question(metric, margin, alpha, reference, at, allow_mixed, effects)
    return answer([Path(folder) for folder in folders], question)
