"""`vae compare DIR...`: equivalent, better, worse, different or undecided, with the evidence."""

import dataclasses
import datetime
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vaecli.cli import flags, hints, output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.map_table import is_short, print_map
from vaecli.cli.options import (
    PICTURES,
    JsonSwitch,
    Switch,
    check_different,
    file_option,
    named_path,
    output_file,
    outside_run,
)
from vaecli.config import Config, UsageError
from vaecli.config.naming import flag
from vaecli.training.terminal import print_message

if TYPE_CHECKING:
    from rich.console import Console

    from vaecli.report.map import Map
    from vaecli.report.model import (
        Comparison,
        Difference,
        Effect,
        Expectation,
        GridEffects,
        StudyComparison,
        TrainedVariant,
        VariantResult,
    )
    from vaecli.runs.collection import RunDirectories
    from vaecli.runs.logged import LogOptions

# From this width on the table has the columns that are less often asked for, too.
_WIDE = 138
_EVIDENCE = ["p (≠ 0)", "p (within)", "p (beyond)", "≡ above", "floor"]


def _log_option(metavar: str, help: str) -> Any:
    """Returns the annotation of an option that says how to read the log of another program."""
    return tyro.conf.arg(metavar=metavar, help=help, help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """The runs, what is asked of them, and where the answer goes."""

    dirs: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="DIR|FILE …",
            help="Folders with run directories somewhere in them; runs of one variant differ only in their seed. Or "
            "logs of another program: a CSV or JSON Lines file, or a folder with event files ('vae docs any-logs').",
            help_behavior_hint="(required)",
        ),
    ] = ()
    metric: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="STR",
            help="Any logged scalar, at its last value; nll, once vae evaluate has stored it; or steps-to:VALUE, the "
            "steps until test/elbo is there; or lr-window:DROP, the width of the range of learning rates that cost no "
            "more.",
            help_behavior_hint="(default: that of the plan of looks, or test/elbo)",
        ),
    ] = None
    margin: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="FLOAT",
            help="The smallest difference that matters, in the metric's unit; choose it before you look.",
            help_behavior_hint="(default: that of the plan of looks, or 0.5 where the unit is nats, or required)",
        ),
    ] = None
    alpha: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="FLOAT",
            help="Level of the tests; intervals have 1 - alpha.",
            help_behavior_hint="(default: that of the plan of looks, or 0.05)",
        ),
    ] = None
    reference: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="STR",
            help="What the others are compared with: a head, or HEAD,field=value,… or field=value,…",
            help_behavior_hint="(default: that of the plan of looks, or logvar)",
        ),
    ] = None
    at: Annotated[
        Literal["each", "best-lr"],
        tyro.conf.arg(
            help="Where the learning rate varies. each: at each rate with the reference at the same rate; best-lr: "
            "each head and the reference at its own best rate, which pilots have chosen ('vae sweep --pilot-seeds')."
        ),
    ] = "each"
    effects: Annotated[
        str,
        tyro.conf.arg(
            metavar="FIELD,…",
            help="Settings whose effects are asked for, where all their combinations were trained: the change from a "
            "baseline, and how that depends on the others. FIELD=value names the baseline; without it, that is the "
            "setting's default.",
            help_behavior_hint="(default: none)",
        ),
    ] = ""
    allow_mixed: Annotated[
        Switch, tyro.conf.arg(help="Compare runs even if their data, their code or what the metric means differ.")
    ] = False
    better: Annotated[
        Literal["higher", "lower"] | None,
        tyro.conf.arg(
            metavar="higher|lower",
            help="Which values are better, of a metric of which that is not known.",
            help_behavior_hint="",
        ),
    ] = None
    variant: Annotated[
        str, _log_option("COLUMN,…", "In a table of another program: the columns that name the variant.")
    ] = ""
    seed: Annotated[str, _log_option("COLUMN", "In a table: the seed. Runs with one seed are paired.")] = ""
    step: Annotated[
        str, _log_option("COLUMN", "In a table with several rows for a run: the step; the last one counts.")
    ] = ""
    failed: Annotated[
        str,
        _log_option("COLUMN[=VALUE,…]", "In a table: which runs failed; without values, as words such as crashed say."),
    ] = ""
    missing: Annotated[
        Literal["failed", "left-out"] | None,
        tyro.conf.arg(
            metavar="failed|left-out",
            help="What a logged run is that has no finite value.",
            help_behavior_hint="(default: an error)",
        ),
    ] = None
    runs_regex: Annotated[
        str,
        _log_option(
            "REGEX",
            "Where the paths of logs, or the names of runs in a chart, have variant and seed: an expression with the "
            "groups (?P<variant>…) and (?P<seed>…).",
        ),
    ] = ""
    expect: Annotated[
        Literal["equivalent", "not-worse"] | None,
        tyro.conf.arg(
            metavar="equivalent|not-worse",
            help="Let the exit code say whether that is shown of every variant: 0 it is, 4 not of some, 5 undecided. "
            "not-worse: not worse than the reference by more than the margin.",
            help_behavior_hint="",
        ),
    ] = None
    json: JsonSwitch = False
    csv: Annotated[str, file_option("Write a row for each variant as CSV.")] = ""
    csv_runs: Annotated[str, file_option("Write a row for each run as CSV.")] = ""
    plot: Annotated[str, file_option("Draw the differences and their intervals: a .png or .svg file.")] = ""
    map: Annotated[
        str,
        file_option("Draw the map, conditions down and heads across, where there are several: .png or .svg."),
    ] = ""
    html: Annotated[str, file_option("Write a page with tables and figures, in one file and for any browser.")] = ""
    tensorboard: Annotated[
        str,
        tyro.conf.arg(
            metavar="LOGDIR",
            help="Write the mean over seeds and its interval at each log point, for TensorBoard: a band for each "
            "variant, in a folder that holds nothing else.",
            help_behavior_hint="",
        ),
    ] = ""


def run(options: CompareOptions, invocation: Invocation) -> int:
    """Compares, and prints the verdicts."""
    paths, files, logdir = _paths(options), _files(options), _logdir(options)
    directories = _directories(paths, options)
    if directories and (study := _study(directories, options)):
        return _answer_study(study, files, options)
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
        _print(comparison)
    _write(files, comparison, curves)
    if logdir:
        hints.print_bands(logdir)
    return _exit_code(comparison.expectation)


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


def _study(directories: "RunDirectories", options: CompareOptions) -> "StudyComparison | None":
    """Compares the conditions of a study; returns None where the runs are not those of several.

    Raises:
      UsageError: they cannot be compared, or an option is for other runs.
    """
    from vaecli.cli.next_runs import next_commands
    from vaecli.report.study import compare_study, study_folders

    folders = study_folders(directories)
    if not folders:
        return None
    for name in ("plot", "tensorboard", "effects"):
        if getattr(options, name):
            raise UsageError(f"{flag(name)}: goes with one condition of a study, as in: vae compare {folders[0]}")
    if options.at != "each":
        raise UsageError("--at best-lr: goes with a fixed number of seeds; these runs have plans of looks")
    given = {name: value for name, value in _given(options, logs=False).items() if name not in ("at", "effects")}

    def commands(variants: "Sequence[TrainedVariant]", varies: Sequence[str]) -> list[str]:
        folder = next(iter(variants[0].runs.values())).path.parent.parent
        return [shlex.join(["vae", "compare", str(folder)]), *_train_commands(variants, varies)]

    study = compare_study(folders, given, commands)
    conditions = [
        dataclasses.replace(
            one,
            comparison=dataclasses.replace(
                one.comparison, next_commands=next_commands(one.comparison, _named_fields(one.comparison.varies))
            ),
        )
        for one in study.conditions
    ]
    study = dataclasses.replace(study, conditions=conditions)
    if options.expect:
        from vaecli.report.gate import study_with_expectation

        study = study_with_expectation(study, options.expect)
    return study


def _answer_study(study: "StudyComparison", files: Mapping[str, Path], options: CompareOptions) -> int:
    """Prints the map of a study and its findings, and writes the files that the options name."""
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
        write_output(files["--csv"], output.csv_text(*_by_condition(study, _variant_table)))
    if "--csv-runs" in files:
        write_output(files["--csv-runs"], output.csv_text(*_by_condition(study, _run_table)))
    if "--map" in files:
        from vaecli.report.figures import files as figure_files
        from vaecli.report.figures.map import heat_map

        figure_files.save(lambda: heat_map(overview), files["--map"])
    if "--html" in files:
        from vaecli.report.study_page import study_page

        again = {
            one.name: {
                variant.name: _train_commands([variant], one.comparison.varies) for variant in one.comparison.trained
            }
            for one in study.conditions
        }
        write_output(files["--html"], study_page(study, curves, again, datetime.date.today().isoformat()))
    return _exit_code(study.expectation)


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


def _exit_code(expectation: "Expectation | None") -> ExitCode:
    """Says what came of an expectation, if there was one, and returns the exit code."""
    if expectation is None:
        return ExitCode.DONE
    from vaecli.report.gate import words

    print_message(f"vae: {words(expectation)}")
    codes = {"met": ExitCode.DONE, "not met": ExitCode.NOT_MET, "undecided": ExitCode.UNDECIDED}
    return codes[expectation.outcome]


def _comparison(directories: "RunDirectories", options: CompareOptions, command: str) -> "Comparison":
    """Compares runs of ours.

    Raises:
      UsageError: they do not go together.
    """
    from vaecli.cli.next_runs import next_commands
    from vaecli.report.compare import compare

    def commands(variants: "Sequence[TrainedVariant]", varies: Sequence[str]) -> list[str]:
        return [command, *_train_commands(variants, varies)]

    comparison = compare(directories, _given(options, logs=False), commands)
    further = next_commands(comparison, _named_fields(comparison.varies))
    return dataclasses.replace(comparison, next_commands=further)


def _of_logs(paths: Sequence[Path], options: CompareOptions, command: str) -> "Comparison":
    """Compares the runs of another program.

    Raises:
      UsageError: there are none, or they do not go together.
    """
    from vaecli.report.compare import compare_logs
    from vaecli.runs.logs import read_logs

    given = _given(options, logs=True)
    return compare_logs(read_logs(paths, options.metric, _reading(options)), given, [command])


def _given(options: CompareOptions, logs: bool) -> dict[str, Any]:
    """Returns what the options ask, by the names of the fields of a question.

    Raises:
      UsageError: the margin or the level is out of its range.
    """
    from vaecli.report.model import Question

    fields = [field.name for field in dataclasses.fields(Question) if field.name != "of_logs"]
    given = {name: value for name in fields if (value := getattr(options, name)) is not None}
    Question(**given, of_logs=logs)
    return given


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
        write_output(files["--csv"], output.csv_text(*_variant_table(comparison)))
    if "--csv-runs" in files:
        write_output(files["--csv-runs"], output.csv_text(*_run_table(comparison)))
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


def _named_fields(varies: Sequence[str]) -> list[str]:
    """Returns those of the fields that vary which the directories of runs name."""
    return [name for name in varies if name not in ("param", "name", "data_dir")]


def _train_commands(variants: "Sequence[TrainedVariant]", varies: Sequence[str]) -> list[str]:
    """Returns the commands that train the runs again: for each variant its pilots, its runs and its twins."""
    varied = _named_fields(varies)
    commands = []
    for variant in variants:
        seeds_of: dict[Config, list[int]] = {}
        for run in (*variant.pilots, *variant.runs.values(), *variant.twins.values()):
            seeds_of.setdefault(run.config, []).append(run.seed)
        commands += [flags.train_command(config, sorted(seeds), varied) for config, seeds in seeds_of.items()]
    return commands


def _variant_table(comparison: "Comparison") -> tuple[list[str], list[list[Any]]]:
    """Returns header and rows of `--csv`: what is a single value of a variant, and the fields of its difference."""
    from vaecli.report.model import Difference

    names = ["label", "reference", "is_reference", "runs", "survived", "mean", "sd", "chaos_floor", "seeds_needed"]
    names += ["verdict", "sentence", "skipped_updates"]
    header = [*names, *comparison.varies]
    measures = [field.name for field in dataclasses.fields(Difference)]
    any_difference = any(result.difference for result in comparison.results)
    if any_difference:
        header += [f"difference_{name}" if name in ("mean", "sd", "low", "high") else name for name in measures]

    def row(result: "VariantResult") -> list[Any]:
        values = [getattr(result, name) for name in names] + [result.values[name] for name in comparison.varies]
        return values + [getattr(result.difference, name, None) for name in measures if any_difference]

    return header, [row(result) for result in comparison.results]


def _run_table(comparison: "Comparison") -> tuple[list[str], list[list[Any]]]:
    """Returns header and rows of `--csv-runs`."""
    from vaecli.report.model import RunRow

    header = [field.name for field in dataclasses.fields(RunRow)]
    return header, [[getattr(run, name) for name in header] for run in comparison.runs]


def _print(comparison: "Comparison") -> None:
    """Prints a table, one sentence for each variant, and the map where it is short."""
    from vaecli.report.formatting import interval, level, of_survivors, title
    from vaecli.report.map import map_of_comparison

    console = output.stdout_console()
    wide = console.width >= _WIDE
    skips = any(result.skipped_updates for result in comparison.results)
    numbers = [
        "survived",
        *["skipped"] * skips,
        title(comparison.metric),
        f"difference [{100 * (1 - comparison.alpha):g} %]",
    ]
    numbers += _EVIDENCE if wide else []

    def cells(result: "VariantResult") -> list[str]:
        d = result.difference
        row = [result.label, f"{result.survived}/{result.runs}"]
        mean, by = level(result.mean, result.sd), interval(d.mean, d.sd, d.low, d.high) if d else ""
        if wide:
            # Where there is no room for it, the survivors stand in the column before.
            mean = of_survivors(mean, result.survived, result.survived < result.runs)
            by = of_survivors(by, d.pairs, d.p_survival is not None) if d else ""
        row += [*[str(result.skipped_updates)] * skips, mean, by]
        return [*row, *(_evidence(d, result.chaos_floor) if wide else []), result.verdict]

    output.print_table(
        console,
        ["variant", *numbers, "verdict"],
        map(cells, comparison.results),
        left=["variant", "verdict"],
        unbroken=[*numbers, "verdict"],
    )
    for result in comparison.results:
        output.print_words(console, result.sentence)
    for grid in comparison.effects or ():
        _print_effects(console, grid, comparison)
    if (overview := map_of_comparison(comparison)) and is_short(console, overview):
        print_map(console, overview)
    output.print_words(console, "")
    output.print_words(console, comparison.answer)
    for note in comparison.notes:
        output.print_words(console, f"Note: {note}")


def _evidence(difference: "Difference | None", floor: float | None) -> list[str]:
    """Returns the cells of the columns that only a wide table has."""
    from vaecli.report.formatting import number, probability, rounded_up

    d = difference
    p = [probability(p) for p in (d.p_holm, d.p_equivalence_holm, d.p_beyond_holm)] if d else [""] * 3
    return [*p, rounded_up(d.smallest_margin, d.sd) if d else "", number(floor, 3)]


def _print_effects(console: "Console", grid: "GridEffects", comparison: "Comparison") -> None:
    """Prints the effects within a grid as a table, and one sentence for each."""
    from vaecli.report.formatting import effects_title, interval

    wide = console.width >= _WIDE
    numbers = ["seeds", f"effect [{100 * (1 - comparison.alpha):g} %]"]
    numbers += _EVIDENCE if wide else []

    def cells(effect: "Effect") -> list[str]:
        d = effect.difference
        row = [effect.label, f"{d.pairs}/{len(effect.seeds)}", interval(d.mean, d.sd, d.low, d.high)]
        return [*row, *(_evidence(d, effect.chaos_floor) if wide else []), effect.verdict]

    output.print_words(console, "")
    output.print_words(console, f"{effects_title(grid.label, grid.levels)}.")
    output.print_table(
        console,
        ["change", *numbers, "verdict"],
        map(cells, grid.effects),
        left=["change", "verdict"],
        unbroken=[*numbers, "verdict"],
    )
    for effect in grid.effects:
        output.print_words(console, effect.sentence)


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
