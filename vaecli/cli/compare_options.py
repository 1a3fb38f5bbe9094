"""The options of `vae compare`, and what they ask."""

import dataclasses
from typing import Annotated, Any, Literal

import tyro

from vaecli.cli.options import JsonSwitch, Switch, file_option


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


def given(options: CompareOptions, logs: bool) -> dict[str, Any]:
    """Returns what the options ask, by the names of the fields of a question.

    Raises:
      UsageError: the margin or the level is out of its range.
    """
    from vaecli.report.model import Question

    fields = [field.name for field in dataclasses.fields(Question) if field.name != "of_logs"]
    given = {name: value for name in fields if (value := getattr(options, name)) is not None}
    Question(**given, of_logs=logs)
    return given
