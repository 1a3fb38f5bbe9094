"""The answer of `vae compare` to a study: the map, the findings, and the files that have more."""

import dataclasses
import datetime
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaecli.cli import output
from vaecli.cli.compare_options import CompareOptions, given
from vaecli.cli.compare_tables import expectation_code, run_table, variant_table
from vaecli.cli.map_table import print_map
from vaecli.config import UsageError
from vaecli.config.naming import flag
from vaecli.training.terminal import print_message

if TYPE_CHECKING:
    from vaecli.report.model import Comparison, StudyComparison, TrainedVariant
    from vaecli.runs.collection import RunDirectories


def study_of(directories: "RunDirectories", options: CompareOptions) -> "StudyComparison | None":
    """Compares the conditions of a study; returns None where the runs are not those of several.

    Raises:
      UsageError: they cannot be compared, or an option is for other runs.
    """
    from vaecli.cli.next_runs import named_fields, next_commands, train_commands
    from vaecli.report.study import compare_study, study_folders

    folders = study_folders(directories)
    if not folders:
        return None
    for name in ("plot", "tensorboard"):
        if getattr(options, name):
            raise UsageError(f"{flag(name)}: goes with one condition of a study, as in: vae compare {folders[0]}")
    if options.effects or options.at != "each":
        what = "--effects" if options.effects else "--at best-lr"
        raise UsageError(f"{what}: goes with a fixed number of seeds; these runs have plans of looks")
    asked = {name: value for name, value in given(options, logs=False).items() if name not in ("at", "effects")}

    def commands(variants: "Sequence[TrainedVariant]", varies: Sequence[str]) -> list[str]:
        folder = _condition(variants[0])
        return [shlex.join(["vae", "compare", str(folder)]), *train_commands(variants, varies, folder.parent)]

    study = compare_study(folders, asked, commands)
    conditions = [
        dataclasses.replace(
            one,
            comparison=dataclasses.replace(
                one.comparison, next_commands=next_commands(one.comparison, named_fields(one.comparison.varies))
            ),
        )
        for one in study.conditions
    ]
    study = dataclasses.replace(study, conditions=conditions)
    if options.expect:
        from vaecli.report.gate import study_with_expectation

        study = study_with_expectation(study, options.expect)
    return study


def answer_study(study: "StudyComparison", files: Mapping[str, Path], options: CompareOptions) -> int:
    """Prints the map of a study and its findings, and writes the files that the options name."""
    from vaecli.cli.next_runs import train_commands
    from vaecli.report.diagnostics import of_conditions
    from vaecli.report.map import map_of_study
    from vaecli.runs.files import write_output

    curves = {}
    if "--html" in files:
        from vaecli.report.curves import study_curves

        curves, unreadable = study_curves(study)
        study = dataclasses.replace(study, warnings=[*study.warnings, *unreadable])
    warnings = [(one.name, text) for one in study.conditions for text in one.comparison.warnings]
    for text in [*study.warnings, *of_conditions(warnings, len(study.conditions))]:
        print_message(f"vae: {text}")
    overview = map_of_study(study)
    if options.json:
        output.print_json(study.to_json())
    else:
        console = output.stdout_console()
        print_map(console, overview)
        for text in ["", study.answer, *(f"Note: {note}" for note in study.notes)]:
            output.print_words(console, text)
    if "--csv" in files:
        write_output(files["--csv"], output.csv_text(*_by_condition(study, variant_table)))
    if "--csv-runs" in files:
        write_output(files["--csv-runs"], output.csv_text(*_by_condition(study, run_table)))
    if "--map" in files:
        from vaecli.report.figures import files as figure_files
        from vaecli.report.figures.map import heat_map

        figure_files.save(lambda: heat_map(overview), files["--map"])
    if "--html" in files:
        from vaecli.report.study_page import study_page

        again = {
            one.name: {
                variant.name: train_commands([variant], one.comparison.varies, _condition(variant).parent)
                for variant in one.comparison.trained
            }
            for one in study.conditions
        }
        write_output(files["--html"], study_page(study, curves, again, datetime.date.today().isoformat()))
    return expectation_code(study.expectation)


def _condition(variant: "TrainedVariant") -> Path:
    """Returns the folder of the condition that a variant was trained under."""
    return next(iter(variant.runs.values())).path.parent.parent


def _by_condition(
    study: "StudyComparison", table: "Callable[[Comparison], tuple[list[str], list[list[Any]]]]"
) -> tuple[list[str], list[list[Any]]]:
    """Returns header and rows of a table of all conditions, of which the first column is the condition."""
    header: dict[str, None] = {}
    rows: list[dict[str, Any]] = []
    for one in study.conditions:
        names, of_condition = table(one.comparison)
        header |= dict.fromkeys(names)
        rows += [{"condition": one.name, **dict(zip(names, row, strict=True))} for row in of_condition]
    columns = ["condition", *header]
    return columns, [[row.get(name) for name in columns] for row in rows]
