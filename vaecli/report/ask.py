"""Comparing from Python: the options of `vae compare` as keywords."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from vaecli.config import UsageError
from vaecli.report.compare import compare as answer
from vaecli.report.compare import compare_logs
from vaecli.report.gate import study_with_expectation, with_expectation
from vaecli.report.model import Comparison, Question, StudyComparison
from vaecli.report.study import compare_study as answer_study
from vaecli.report.study import study_folders
from vaecli.runs.collection import find_runs
from vaecli.runs.logged import LogOptions
from vaecli.runs.logs import are_logs, read_logs
from vaecli.runs.tables import Table, table_of


def compare(
    *sources: Any,
    metric: str | None = None,
    margin: float | None = None,
    alpha: float | None = None,
    reference: str | None = None,
    at: Literal["each", "best-lr"] = "each",
    effects: str = "",
    allow_mixed: bool = False,
    better: Literal["higher", "lower"] | None = None,
    variant: str | Sequence[str] = (),
    seed: str = "",
    step: str = "",
    failed: str = "",
    missing: Literal["failed", "left-out"] | None = None,
    runs_regex: str = "",
    expect: Literal["equivalent", "not-worse"] | None = None,
) -> Comparison:
    """Compares the runs below some folders, or those of another program's logs, as `vae compare` does.

    Under a plan of looks (`vae sweep --until-decided`), metric, margin, level and reference are the plan's by default.

    Args:
      sources: folders, each a run's directory or one above; or logs of another program (docs/any-logs.md): data frames,
        columns by name, sequences of rows that are mappings, files with tables, or folders with event files.
      metric: any logged scalar, at its last value; nll, once `vae evaluate` has stored it; or `steps-to:VALUE`, the
        steps until `test/elbo` is there. If not given, `test/elbo`.
      margin: the smallest difference that matters, in the metric's unit; if not given, 0.5 where that is nats.
      alpha: the level of the tests; 0.05 if not given.
      reference: what the others are compared with: a head, or `HEAD,field=value,…`; `logvar` if not given.
      at: where the learning rate varies, whether to compare at `each`, or each head at its `best-lr`.
      effects: the settings whose effects are asked for, as `field,field=baseline,…`.
      allow_mixed: whether data, code and what the metric means may differ between the runs.
      better: whether `higher` or `lower` values are better, of a metric of which that is not known.
      variant, seed, step, failed, missing, runs_regex: how logs of another program are to be read, as those flags say.
      expect: what is expected of every variant; `expectation` of the comparison says what came of it.

    Returns:
      The comparison: `results`, one for each variant, each with its `verdict`, `sentence` and `difference`; `to_json()`
      is what `vae compare --json` prints (docs/sweeps.md).

    Raises:
      UsageError: there are no runs, none of the reference or with the metric, they do not go together, or an option
        is wrong.
    """
    if not sources:
        raise UsageError("compare: a folder with runs is needed, as in compare('runs/mnist')")
    columns = (variant,) if isinstance(variant, str) and variant else tuple(variant)
    reading = LogOptions(columns, seed, step, failed, missing, runs_regex)
    read = [_source(source, place) for place, source in enumerate(sources)]
    paths = [source for source in read if isinstance(source, Path)]
    logs = are_logs(paths, reading)
    if not logs and len(paths) < len(read):
        raise UsageError(f"compare: {paths[0]} is no log of another program, and the table is; compare them apart")
    values = {"metric": metric, "margin": margin, "alpha": alpha, "reference": reference}
    given = {name: value for name, value in values.items() if value is not None}
    given |= {"at": at, "allow_mixed": allow_mixed, "effects": effects, "better": better}
    Question(**given, of_logs=logs)
    comparison = compare_logs(read_logs(read, metric, reading), given) if logs else answer(paths, given)
    return with_expectation(comparison, expect) if expect else comparison


def compare_study(
    *folders: str | os.PathLike[str],
    metric: str | None = None,
    margin: float | None = None,
    alpha: float | None = None,
    reference: str | None = None,
    allow_mixed: bool = False,
    expect: Literal["equivalent", "not-worse"] | None = None,
) -> StudyComparison:
    """Compares the conditions of a study, as `vae compare` does with its folder.

    Args:
      folders: that of the study, or those of some of its conditions.
      metric, margin, alpha, reference: what is asked under every condition; if not given, what its plan asks.
      allow_mixed: whether data, code and what the metric means may differ between the runs of a condition.
      expect: what is expected of every cell; `expectation` of the result says what came of it.

    Returns:
      The comparison: `answer`, the findings; `conditions`, each with `name` and `comparison`; `to_json()` is what
      `vae compare --json` prints (docs/studies.md).

    Raises:
      UsageError: the runs are not those of several conditions of one study, or cannot be compared.
    """
    values = {"metric": metric, "margin": margin, "alpha": alpha, "reference": reference, "allow_mixed": allow_mixed}
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    Question(**given)
    conditions = study_folders(find_runs([Path(folder) for folder in folders]))
    if not conditions:
        raise UsageError("compare_study: these are not the runs of several conditions of a study; compare takes others")
    study = answer_study(conditions, given)
    return study_with_expectation(study, expect) if expect else study


def _source(source: Any, place: int) -> Path | Table:
    """Returns a path, or the table that an object is.

    Raises:
      UsageError: it is neither.
    """
    if isinstance(source, str | os.PathLike):
        return Path(source)
    table = table_of(source, f"table {place + 1}")
    if table is None:
        raise UsageError(f"compare: a folder is named by a text or a path, got {source!r}, which is no table either")
    return table
