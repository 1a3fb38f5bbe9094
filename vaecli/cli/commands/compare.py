"""`vae compare DIR...`: equivalent, better, worse, different or undecided, with the evidence."""

import dataclasses
import datetime
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaecli.cli import hints, output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.compare_options import CompareOptions, given
from vaecli.cli.compare_tables import expectation_code, print_comparison, run_table, variant_table
from vaecli.cli.options import PICTURES, check_different, named_path, output_file, outside_run
from vaecli.cli.study_answer import answer_study, study_of
from vaecli.config import UsageError
from vaecli.training.terminal import print_message

if TYPE_CHECKING:
    from vaecli.report.map import Map
    from vaecli.report.model import Comparison, TrainedVariant
    from vaecli.runs.collection import RunDirectories
    from vaecli.runs.logged import LogOptions


def run(options: CompareOptions, invocation: Invocation) -> int:
    """Compares, and prints the verdicts."""
    paths, files, logdir = _paths(options), _files(options), _logdir(options)
    directories = _directories(paths, options)
    if directories and (study := study_of(directories, options)):
        return answer_study(study, files, options)
    command, curves = shlex.join(["vae", *invocation.argv]), {}
    comparison = _comparison(directories, options, command) if directories else _of_logs(paths, options, command)
    if options.expect:
        from vaecli.report.gate import with_expectation

        comparison = with_expectation(comparison, options.expect)
    if "--html" in files:
        from vaecli.report.curves import logged_curves

        curves, warnings = logged_curves(comparison)
        comparison = comparison.with_warnings(warnings)
    if "--map" in files:
        _map(comparison)
    if logdir:
        comparison = _write_bands(logdir, comparison)
    for warning in comparison.warnings:
        print_message(f"vae: {warning}")
    if options.json:
        output.print_json(comparison.to_json())
    else:
        print_comparison(comparison)
    _write(files, comparison, curves)
    if logdir:
        hints.print_bands(logdir)
    return expectation_code(comparison.expectation)


def _directories(paths: Sequence[Path], options: CompareOptions) -> "RunDirectories | None":
    """Returns the runs below some folders; None where they are those of another program."""
    from vaecli.runs.collection import find_runs
    from vaecli.runs.logs import are_logs

    return None if are_logs(paths, _reading(options)) else find_runs(paths)


def _reading(options: CompareOptions) -> "LogOptions":
    """Returns how the logs of another program are to be read."""
    from vaecli.runs.logged import LogOptions

    return LogOptions(
        variant=(options.variant,) if options.variant else (),
        seed=options.seed,
        step=options.step,
        failed=options.failed,
        missing=options.missing,
        runs_regex=options.runs_regex,
    )


def _comparison(directories: "RunDirectories", options: CompareOptions, command: str) -> "Comparison":
    """Compares runs of ours.

    Raises:
      UsageError: they do not go together.
    """
    from vaecli.cli.next_runs import named_fields, next_commands, train_commands
    from vaecli.report.compare import compare

    def commands(variants: "Sequence[TrainedVariant]", varies: Sequence[str]) -> list[str]:
        return [command, *train_commands(variants, varies)]

    comparison = compare(directories, given(options, logs=False), commands)
    further = next_commands(comparison, named_fields(comparison.varies))
    return dataclasses.replace(comparison, next_commands=further)


def _of_logs(paths: Sequence[Path], options: CompareOptions, command: str) -> "Comparison":
    """Compares the runs of another program.

    Raises:
      UsageError: there are none, or they do not go together.
    """
    from vaecli.report.compare import compare_logs
    from vaecli.runs.logs import read_logs

    logs = read_logs(paths, options.metric, _reading(options))
    return compare_logs(logs, given(options, logs=True), [command])


def _paths(options: CompareOptions) -> list[Path]:
    if not options.dirs:
        raise UsageError("a folder with runs is needed, as in: vae compare runs/mnist")
    return [named_path("DIR|FILE", word) for word in options.dirs]


def _files(options: CompareOptions) -> dict[str, Path]:
    """Returns the files that are to be written, by the option that names each."""
    named = {
        "--csv": output_file("--csv", options.csv),
        "--csv-runs": output_file("--csv-runs", options.csv_runs),
        "--plot": output_file("--plot", options.plot, PICTURES),
        "--map": output_file("--map", options.map, PICTURES),
        "--html": output_file("--html", options.html),
    }
    files = {flag: path for flag, path in named.items() if path}
    check_different(files)
    return files


def _logdir(options: CompareOptions) -> Path | None:
    """Returns the folder that `--tensorboard` names, or None where it names none.

    Raises:
      UsageError: it cannot be written, or holds something else.
    """
    if not options.tensorboard:
        return None
    from vaecli.runs.logdir import check_logdir

    folder = named_path("--tensorboard", options.tensorboard)
    check_logdir("--tensorboard", folder)
    return folder


def _write_bands(logdir: Path, comparison: "Comparison") -> "Comparison":
    """Writes the bands of TensorBoard; returns the comparison with what a person should know of them.

    Raises:
      UsageError: they cannot be written, or would lie in a run.
    """
    from vaecli.report import bands
    from vaecli.runs.logdir import write_logdir

    for path in {run.path for run in comparison.runs}:
        outside_run("--tensorboard", logdir, path)
    made, warnings = bands.bands(comparison)
    write_logdir("--tensorboard", logdir, bands.event_files(comparison, made, time.time()))
    return comparison.with_warnings([warning for warning in warnings if warning not in comparison.warnings])


def _write(files: Mapping[str, Path], comparison: "Comparison", curves: Mapping[str, Any]) -> None:
    """Writes the files that the options name."""
    from vaecli.runs.files import write_output

    if "--csv" in files:
        write_output(files["--csv"], output.csv_text(*variant_table(comparison)))
    if "--csv-runs" in files:
        write_output(files["--csv-runs"], output.csv_text(*run_table(comparison)))
    if "--plot" in files:
        from vaecli.report.figures import files as figure_files
        from vaecli.report.figures import forest

        figure_files.save(lambda: forest.forest(comparison), files["--plot"])
    if "--map" in files:
        from vaecli.report.figures import files as figure_files
        from vaecli.report.figures.map import heat_map

        figure_files.save(lambda: heat_map(_map(comparison)), files["--map"])
    if "--html" in files:
        from vaecli.report import page
        from vaecli.report.pictures import picture_rows

        today = datetime.date.today().isoformat()
        write_output(files["--html"], page.page(comparison, curves, picture_rows(comparison), today))


def _map(comparison: "Comparison") -> "Map":
    """Returns the map of a comparison.

    Raises:
      UsageError: there is none.
    """
    from vaecli.report.map import map_of_comparison

    if made := map_of_comparison(comparison):
        return made
    raise UsageError(
        "--map: a map has conditions down and heads across; it takes runs of vae with two or more of each, every head "
        "beside its reference at the same settings"
    )


COMMAND = Command(
    summary="Compare heads or settings: verdicts, with the evidence.",
    description="Compare heads, or any settings, over the runs below some folders: each with the reference, paired by "
    "seed. The verdicts are equivalent, better, worse, different and undecided; 'vae docs statistics' has the tests.",
    options=CompareOptions,
    run=run,
    examples=[
        Example("vae compare runs/mnist", "every head with logvar"),
        Example("vae compare runs/rates --at best-lr", "each head at its own best rate"),
        Example("vae compare runs/mnist --html report.html", "a page with tables and figures"),
        Example("vae compare results.csv --metric loss --margin 0.1 --reference adam", "another program's runs"),
    ],
)
