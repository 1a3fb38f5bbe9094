"""Logs of other programs: which sources are any, and the runs that they have."""

from collections.abc import Sequence
from pathlib import Path

from vaecli.config import UsageError
from vaecli.runs.directory import CONFIG
from vaecli.runs.log_folders import folder_runs, is_log_folder
from vaecli.runs.log_tables import DEFAULT_METRIC, table_runs
from vaecli.runs.logged import LogOptions, Logs, Series, runs_of
from vaecli.runs.tables import Table, read_table


def are_logs(paths: Sequence[Path], options: LogOptions) -> bool:
    """Whether paths are logs of other programs, and no folders of our runs.

    Raises:
      UsageError: some are and some are not, or an option for logs goes with none of them.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: does not exist")
        if path.is_file() and (path.parent / CONFIG).is_file():
            raise UsageError(f"{path}: is a file and not a folder; its run is {path.parent}")
    logs = [path.is_file() or (path.is_dir() and (bool(options.runs_regex) or is_log_folder(path))) for path in paths]
    if all(logs):
        return True
    if any(logs):
        log, ours = paths[logs.index(True)], paths[logs.index(False)]
        raise UsageError(f"{log} is a log of another program, and {ours} is not; compare them apart")
    if options != LogOptions():
        raise UsageError(
            "--variant, --seed, --step, --failed, --missing and --runs-regex are for logs of other programs (a table, "
            f"or a folder with event files), and {paths[0]} is none"
        )
    return False


def read_logs(sources: Sequence[Path | Table], metric: str | None, options: LogOptions) -> Logs:
    """Reads the runs of some logs.

    Args:
      sources: files with tables, tables, and folders with event files.
      metric: the metric; None where nobody names it.
      options: how to read them.

    Raises:
      UsageError: a source cannot be read, or does not say what is needed.
    """
    tables = {place: read_table(one) for place, one in enumerate(sources) if isinstance(one, Path) and one.is_file()}
    tables |= {place: one for place, one in enumerate(sources) if isinstance(one, Table)}
    series: list[Series] = []
    warnings: list[str] = []
    columns: list[Sequence[str]] = []
    for place, source in enumerate(sources):
        if isinstance(source, Path) and place not in tables:
            metric = metric or DEFAULT_METRIC
            some, left_out = _folder_runs(source, metric, options)
            columns.append(["variant"])
            warnings += left_out
        else:
            metric, of_table, some = table_runs(tables[place], metric, options)
            columns.append(of_table)
        series += some
    if any(list(one) != list(columns[0]) for one in columns):
        unlike = next(one for one in columns if list(one) != list(columns[0]))
        both = f"{', '.join(columns[0])} in one and {', '.join(unlike)} in another"
        raise UsageError(f"--variant: the logs name variants by different columns: {both}")
    names = [table.source if isinstance(table, Table) else str(table) for table in sources]
    logs = runs_of(series, metric or DEFAULT_METRIC, columns[0], options.missing, names)
    return logs._replace(warnings=[*warnings, *logs.warnings])


def _folder_runs(folder: Path, metric: str, options: LogOptions) -> tuple[list[Series], list[str]]:
    flags = {"--variant": options.variant, "--seed": options.seed, "--step": options.step, "--failed": options.failed}
    if given := [flag for flag, value in flags.items() if value]:
        raise UsageError(f"{given[0]}: names a column, and {folder} is a folder; --runs-regex reads its paths")
    return folder_runs(folder, metric, options)
