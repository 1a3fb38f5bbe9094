"""Comparing from Python: the options of `vae compare` as keywords."""

import os
from pathlib import Path
from typing import Literal

from vaecli.config import UsageError
from vaecli.report.compare import compare as answer
from vaecli.report.model import Comparison, Question


def compare(
    *folders: str | os.PathLike[str],
    metric: str | None = None,
    margin: float | None = None,
    alpha: float | None = None,
    reference: str | None = None,
    at: Literal["each", "best-lr"] = "each",
    effects: str = "",
    allow_mixed: bool = False,
) -> Comparison:
    """Compares the runs below some folders, as `vae compare` does.

    Runs that were trained under a plan of looks (`vae sweep --until-decided`) are judged by it: what is not given of
    metric, margin, level and reference is the plan's.

    Args:
      folders: each a run's directory, or one above.
      metric: any logged scalar, at its last value; or nll, once `vae evaluate` has stored it; `test/elbo` if not given.
      margin: the smallest difference that matters, in the metric's unit; if not given, 0.5 where that is nats.
      alpha: the level of the tests; 0.05 if not given.
      reference: what the others are compared with: a head, or `HEAD,field=value,…`; `logvar` if not given.
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
    values = {"metric": metric, "margin": margin, "alpha": alpha, "reference": reference}
    given = {name: value for name, value in values.items() if value is not None}
    given |= {"at": at, "allow_mixed": allow_mixed, "effects": effects}
    Question(**given)
    return answer([Path(folder) for folder in folders], given)
