"""The runs of a table: a row for each run, or for each step of a run; or a column for each run, as charts are exported.

What no option names follows from the names of the columns.
"""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any

from vaecli.config import UsageError
from vaecli.config.validators import nearest
from vaecli.runs.log_names import name_parts
from vaecli.runs.logged import LogOptions, Series, finite
from vaecli.runs.tables import Table

_VARIANT = (
    "variant",
    "method",
    "algorithm",
    "algo",
    "head",
    "param",
    "label",
    "model",
    "optimizer",
    "group",
    "condition",
)
_SEED = "seed", "random_seed", "rng_seed"
_STEP = (
    "step",
    "global_step",
    "_step",
    "epoch",
    "iteration",
    "iter",
    "update",
    "timestep",
    "timesteps",
    "total_timesteps",
)
_RUN = "run", "run_id", "run_name", "id", "name"

_ABSENT = {"", "na", "n/a", "<na>", "null", "none"}
_FAILED = {"failed", "crashed", "diverged", "killed", "error", "preempted", "timeout", "oom", "true", "yes", "1"}
_COMPLETE = {"", "finished", "complete", "completed", "success", "succeeded", "done", "ok", "false", "no", "0"}
_UNFINISHED = {"running", "pending", "queued", "interrupted", "starting", "resuming"}

_LOW, _HIGH = "__MIN", "__MAX"

DEFAULT_METRIC = "test/elbo"


def table_runs(table: Table, metric: str | None, options: LogOptions) -> tuple[str, Sequence[str], list[Series]]:
    """Returns the metric, the columns that name the variants, and the runs.

    Args:
      table: the table.
      metric: the column that is compared; None where nobody names it.
      options: how to read it.

    Raises:
      UsageError: a column is not there, is there twice, or is not known; or a cell cannot be read.
    """
    if is_chart(table):
        return _chart_runs(table, metric, options)
    if options.runs_regex:
        table = _named_by_path(table, options)
    variant = _variant_columns(table, options.variant)
    seed = options.seed or _known(table, _SEED, "--seed")
    step = options.step or _known(table, _STEP, "--step", first=True)
    values = [_value(cell, place) for cell, place in zip(_metric_cells(table, metric), table.places, strict=True)]
    metric = metric or DEFAULT_METRIC
    names = list(zip(*(_texts(table, column) for column in variant), strict=True))
    seeds = [_seed(*one) for one in zip(_cells(table, seed, "--seed"), table.places, strict=True)] if seed else None
    steps = [_step(*one) for one in zip(_cells(table, step, "--step"), table.places, strict=True)] if step else None
    states = _states(table, options.failed)
    if seeds is None and steps is not None and not _one_step_each(names, steps):
        runs = _run_column(table, variant)
    else:
        runs = seeds or range(len(table.places))
    rows: dict[Any, list[int]] = {}
    for row, run in enumerate(zip(names, runs, strict=True)):
        rows.setdefault(run, []).append(row)
    series = []
    for (of_variant, _), of_run in rows.items():
        points = _points(of_run, steps, values, table, metric)
        seed_of_run = seeds[of_run[0]] if seeds else None
        series.append(Series(table.places[of_run[-1]], of_variant, seed_of_run, points, states[of_run[-1]]))
    return metric, variant, series


def _named_by_path(table: Table, options: LogOptions) -> Table:
    """Returns the table of one run, or of one variant, with what its path says of it in columns of its own."""
    if options.variant or options.seed:
        raise UsageError(f"{'--variant' if options.variant else '--seed'}: does not go with --runs-regex")
    ((variant, seed),) = name_parts([table.source], options.runs_regex, table.source).values()
    named: dict[str, Sequence[Any]] = {"variant": [variant] * len(table.places)}
    named |= {} if seed is None else {"seed": [seed] * len(table.places)}
    others = {name: cells for name, cells in table.columns.items() if _last_word(name) not in (*_VARIANT, *_SEED)}
    return table._replace(columns=others | named)


def _metric_cells(table: Table, metric: str | None) -> Sequence[Any]:
    if metric is None and DEFAULT_METRIC not in table.columns:
        raise UsageError(f"--metric: is needed: which column of {table.source} is compared (there are: {_list(table)})")
    return _cells(table, metric or DEFAULT_METRIC, "--metric")


def _cells(table: Table, name: str, flag: str) -> Sequence[Any]:
    if name not in table.columns:
        guess = nearest(name, table.columns)
        raise UsageError(f"{flag}: {table.source} has no column {name!r}{guess} (there are: {_list(table)})")
    if name in table.repeated:
        raise UsageError(f"{flag}: {table.source} has two columns {name!r}")
    return table.columns[name]


def _list(table: Table) -> str:
    names = list(table.columns)
    return f"{', '.join(names[:20])}{', …' * (len(names) > 20)}"


def _texts(table: Table, column: str) -> list[str]:
    """Returns the cells of a column that names variants."""
    cells = [_text(cell) for cell in _cells(table, column, "--variant")]
    if "" in cells:
        raise UsageError(f"{table.places[cells.index('')]}: has no {column}, which names its variant")
    return cells


def _text(cell: Any) -> str:
    """Returns a cell as text; a data frame may mark a missing one in several ways."""
    text = str(cell).strip()
    missing = cell is None or (not isinstance(cell, str) and text in ("nan", "<NA>", "NaT"))
    return "" if missing else text


def _last_word(name: str) -> str:
    return re.split(r"[./]", name.strip().lower())[-1]


def _known(table: Table, names: Sequence[str], flag: str, *, first: bool = False) -> str:
    """Returns the column that has one of some names, or ends in one as `config.seed` does; empty where none has."""
    columns = [name for known in names for name in table.columns if _last_word(name) == known]
    exact = [name for name in columns if name.strip().lower() in names]
    columns = exact or columns
    if len(columns) > 1 and not first:
        raise UsageError(f"{flag}: is needed: {table.source} has the columns {' and '.join(columns)}")
    return columns[0] if columns else ""


def _variant_columns(table: Table, given: Sequence[str]) -> list[str]:
    """Returns the columns that name variants; a comma parts those of one text, unless a column has that name."""
    parts = (([one] if one in table.columns else one.split(",")) for one in given)
    return [name for several in parts for name in several] or [_variant_column(table)]


def _variant_column(table: Table) -> str:
    """Returns the column whose name says that it names the variant; of several, the only one that varies."""
    columns = [name for known in _VARIANT for name in table.columns if _last_word(name) == known]
    varying = [name for name in columns if len({_text(cell) for cell in table.columns[name]}) > 1]
    if len(varying) > 1:
        both = f"--variant {varying[0]}, or by all of them, --variant {','.join(varying)}"
        raise UsageError(f"--variant: is needed: {table.source} may be grouped by {both}")
    if not columns:
        raise UsageError(f"--variant: is needed: which column of {table.source} names it (there are: {_list(table)})")
    return (varying or columns)[0]


def _run_column(table: Table, variant: Collection[str]) -> Sequence[Any]:
    """Returns the column that tells the runs of a variant apart, where there are no seeds."""
    columns = [name for known in _RUN for name in table.columns if _last_word(name) == known and name not in variant]
    if not columns:
        raise UsageError(
            f"--seed: is needed: {table.source} has several steps of a run, and no column says which rows are of one "
            f"run (there are: {_list(table)})"
        )
    return [_text(cell) for cell in table.columns[columns[0]]]


def _one_step_each(names: Sequence[Any], steps: Sequence[float]) -> bool:
    """Whether all rows of a variant have one step, so that each is a run of its own."""
    return len(set(zip(names, steps, strict=True))) == len(set(names))


def _points(
    rows: Sequence[int], steps: Sequence[float] | None, values: Sequence[float | None], table: Table, metric: str
) -> dict[float | None, float]:
    points: dict[float | None, float] = {}
    first: dict[float | None, int] = {}
    for row in rows:
        step, value = steps[row] if steps else None, values[row]
        if value is None:
            continue
        other = points.setdefault(step, value)
        if other != value and not (math.isnan(other) and math.isnan(value)):
            at = "" if step is None else f" at step {step:.10g}"
            both = f"{table.places[first[step]]} and {table.places[row].rpartition(', ')[2]}"
            raise UsageError(f"{both}: are of one variant and seed{at}, with different {metric}; a run has only one")
        first.setdefault(step, row)
    return points


def _value(cell: Any, place: str) -> float | None:
    """Reads a value: None for one that is not there, NaN for one that is not finite."""
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in _ABSENT) or str(cell) in ("<NA>", "NaT"):
        return None
    return finite(_number(cell, place))


def _number(cell: Any, place: str) -> float:
    try:
        if isinstance(cell, bool):
            raise ValueError
        return float(cell)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError) as error:
        comma = isinstance(cell, str) and re.fullmatch(r"\s*[-+]?[\d.]*,\d+(e[-+]?\d+)?\s*", cell, re.IGNORECASE)
        hint = "; decimals are written with a point, and thousands with nothing between them" if comma else ""
        raise UsageError(f"{place}: {_short(cell)} is no number{hint}") from error


def _short(cell: Any) -> str:
    shown = repr(cell)
    return shown if len(shown) <= 60 else f"{shown[:60]} …"


def _step(cell: Any, place: str) -> float:
    step = _number(cell if cell is not None else "", place)
    if not math.isfinite(step):
        raise UsageError(f"{place}: {_short(cell)} is no step")
    return step


def _seed(cell: Any, place: str) -> int:
    """Reads a seed: a whole number, in any form, or the word before it."""
    text = _text(cell)
    if match := re.fullmatch(r"(?:seed|s)?[_=\- ]?(\d{1,20})", text, re.IGNORECASE):
        return int(match[1])
    if re.fullmatch(r"-\d{1,18}", text):
        return int(text)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Beyond 2⁵³ a float is no longer one whole number.
    if isinstance(cell, bool) or not value.is_integer() or abs(value) > 2**53:
        raise UsageError(f"{place}: the seed {_short(cell)} is no whole number of at most 20 digits")
    return int(value)


def _states(table: Table, failed: str) -> list[str]:
    """Returns for each row whether the run is complete, is unfinished, or why it failed."""
    if not failed:
        return ["complete"] * len(table.places)
    column, _, listed = (failed, "", "") if failed in table.columns else failed.partition("=")
    cells = [_text(cell) for cell in _cells(table, column, "--failed")]
    given = {word.strip() for word in listed.split(",") if word.strip()}
    if given - set(cells) == given and given:
        raise UsageError(f"--failed: no {column} in {table.source} is {' or '.join(sorted(given))}")
    return [_state(cell, column, given, place) for cell, place in zip(cells, table.places, strict=True)]


def _state(cell: str, column: str, given: Collection[str], place: str) -> str:
    if given:
        return f"{column} is {cell}" if cell in given else "complete"
    word = re.sub(r"^(0|1)\.0$", r"\1", cell.lower())
    if word in _COMPLETE:
        return "complete"
    if word in _UNFINISHED:
        return "unfinished"
    if word in _FAILED:
        return f"{column} is {cell}"
    raise UsageError(f"{place}: whether {column} {_short(cell)} means failed, --failed '{column}=VALUE,…' has to say")


def is_chart(table: Table) -> bool:
    """Whether it is a chart as Weights & Biases exports it: a column for each run, its name before the metric's."""
    return any(f"{name}{_LOW}" in table.columns and f"{name}{_HIGH}" in table.columns for name in table.columns)


def _chart_runs(table: Table, metric: str | None, options: LogOptions) -> tuple[str, Sequence[str], list[Series]]:
    columns = [name for name in table.columns if name + _LOW in table.columns and name + _HIGH in table.columns]
    known = list(dict.fromkeys(name.rpartition(" - ")[2] for name in columns))
    logged = [name for name in known if name not in _STEP]
    if metric is None and len(logged) == 1:
        metric = logged[0]
    if metric is None or not any(name.endswith(f" - {metric}") for name in columns):
        what = "is needed" if metric is None else f"{table.source} has no column of {metric!r}{nearest(metric, known)}"
        raise UsageError(f"--metric: {what} (there are: {', '.join(logged)})")
    given = [flag for flag, value in (("--variant", options.variant), ("--seed", options.seed)) if value]
    if given or options.failed:
        raise UsageError(
            f"{(given or ['--failed'])[0]}: {table.source} is a chart with a column for each run, and no column says "
            "that; --runs-regex reads variant and seed in the names of the runs"
        )
    step = options.step or next(iter(table.columns))
    steps = [_step(*one) for one in zip(_cells(table, step, "--step"), table.places, strict=True)]
    named = {column: column.removesuffix(f" - {metric}") for column in columns if column.endswith(f" - {metric}")}
    parts = name_parts(list(named.values()), options.runs_regex, table.source)
    series = []
    for column, name in named.items():
        if name in parts:
            place, points = f"{table.source}, column {column!r}", dict[float | None, float]()
            for at, cell, where in zip(steps, table.columns[column], table.places, strict=True):
                if (value := _value(cell, where)) is not None:
                    points[at] = value
            variant, seed = parts[name]
            series.append(Series(place, (variant,), seed, points))
    return metric, ["variant"], series
