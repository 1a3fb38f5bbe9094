"""`vae explain A B DIR…`: what a difference between two variants is made of."""

from typing import TYPE_CHECKING

from vaecli.cli import output
from vaecli.cli.command import Invocation
from vaecli.cli.consent import check_agreed
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.explain_options import ExplainOptions
from vaecli.cli.flags import train_command
from vaecli.cli.options import check_runs_folder, named_path
from vaecli.cli.signals import stopped
from vaecli.cli.sweeping import train_tasks
from vaecli.config import UsageError
from vaecli.training.terminal import print_message, print_result

if TYPE_CHECKING:
    from vaecli.report.model import Question
    from vaecli.report.parts import ExplainedDifference, Part
    from vaecli.sweep.counterfactuals import ExplainedPair


def run(options: ExplainOptions, invocation: Invocation) -> int:
    """Explains a difference."""
    a, b, *words = options.words
    folders = [named_path("DIR", word) for word in words]
    jobs = _checked(options)
    question = _question(options)
    from vaecli.report.compare import margin_of
    from vaecli.sweep.counterfactuals import check_software, explained_pair

    margin = margin_of(question)

    def look() -> "ExplainedPair":
        return explained_pair((a, b), folders, question.metric, seeds=options.seeds, runs=options.runs)

    known = look()
    if known.missing.tasks:
        check_software(known, question.metric, allowed=question.allow_mixed)
        if not _agreed(known, options):
            _print_commands(known, as_json=options.json)
            return ExitCode.DONE
        signals = _train(known, jobs)
        known = look()
        if known.missing.tasks:
            return stopped(signals[0], invocation.argv) if signals else ExitCode.FAILED
    _report(known, question, margin, as_json=options.json)
    return ExitCode.DONE


def _checked(options: ExplainOptions) -> int:
    """Checks the numbers among the options; returns how many processes train.

    Raises:
      UsageError: one is out of its range.
    """
    jobs = 1 if options.jobs is None else options.jobs
    if not 1 <= jobs <= 1000:
        raise UsageError(f"--jobs: must lie between 1 and 1000, got {jobs}")
    if options.seeds is not None and options.seeds < 2:
        raise UsageError(f"--seeds: must be at least 2, for an interval, got {options.seeds}")
    if options.runs is not None:
        check_runs_folder(options.runs)
    return jobs


def _question(options: ExplainOptions) -> "Question":
    from vaecli.report.model import Question

    given = {name: getattr(options, name) for name in ("metric", "margin", "alpha", "better")}
    return Question(
        **{name: value for name, value in given.items() if value is not None}, allow_mixed=options.allow_mixed
    )


def _agreed(known: "ExplainedPair", options: ExplainOptions) -> bool:
    """Returns whether the user agrees to train what is missing.

    Raises:
      UsageError: nobody can be asked; the commands that train it are printed before.
    """
    from vaecli.report.formatting import count
    from vaecli.sweep.counterfactuals import seconds_of_run
    from vaecli.sweep.progress import duration

    tasks, sweep = known.missing.tasks, known.missing
    runs = sum(len(task.seeds) for task in tasks)
    for task in tasks:
        print_message(f"vae: not there yet: {sweep.label(task)}, {count(len(task.seeds), 'run')}")
    each = seconds_of_run(known)
    takes = "" if each is None else f", about {duration(runs * each)} at the speed of those that are there"
    what = f"{count(runs, 'run')} of {count(len(tasks), 'counterfactual')} would be trained{takes}"
    try:
        return check_agreed(what, yes=options.yes, otherwise="or train them with the commands above")
    except UsageError:
        _print_commands(known, as_json=options.json)
        raise


def _print_commands(known: "ExplainedPair", *, as_json: bool) -> None:
    """Prints a `vae train` for each counterfactual that lacks runs."""
    sweep = known.missing
    commands = [train_command(task.config, task.seeds, sweep.vary, sweep.runs) for task in sweep.tasks]
    if as_json:
        output.print_json(commands)
    else:
        for command in commands:
            print_result(command)


def _train(known: "ExplainedPair", jobs: int) -> list[int]:
    """Trains what is missing; returns the signals that stopped it."""
    from vaecli.sweep.grid import data_of, outcomes, unfinished_tasks
    from vaecli.sweep.local import LocalLauncher

    sweep = known.missing
    summaries = outcomes(sweep)
    tasks = unfinished_tasks(sweep, summaries)
    _, signals = train_tasks(sweep, summaries, tasks, data_of(tasks), LocalLauncher(jobs))
    return list(signals)


def _report(known: "ExplainedPair", question: "Question", margin: float, *, as_json: bool) -> None:
    """Takes the difference apart, and prints it."""
    from vaecli.report import parts_answer
    from vaecli.report.comparable import no_density
    from vaecli.report.diagnostics import mixed
    from vaecli.report.parts import take_apart
    from vaecli.report.steps_to import of_censored
    from vaecli.sweep.counterfactuals import notes_on_runs

    explained = take_apart(known.a.name, known.b.name, known.runs, known.controls, question, margin)
    answer = parts_answer.answer(explained)
    notes = [
        *parts_answer.notes(explained),
        *notes_on_runs(known),
        *no_density(question.metric, [known.a.config]),
        *of_censored(question.metric),
    ]
    warnings = [*known.warnings, *mixed(known.outcomes, question.metric, question.allow_mixed).warnings]
    for warning in warnings:
        print_message(f"vae: {warning}")
    if as_json:
        output.print_json({"answer": answer, **explained.to_json(), "notes": notes, "warnings": warnings})
    else:
        _print(explained, answer, notes)


def _print(explained: "ExplainedDifference", answer: list[str], notes: list[str]) -> None:
    """Prints the counterfactuals, the parts, the answer and the notes."""
    from vaecli.report.formatting import level, probability, title
    from vaecli.report.parts_answer import share, size

    console = output.stdout_console()
    metric, percent = title(explained.question.metric), f"{100 * (1 - explained.question.alpha):g} %"
    # What is the same bit for bit is there once.
    rows = {one.label: one for one in reversed(explained.counterfactuals)}
    listed = [one for one in explained.counterfactuals if rows[one.label] is one]
    numbers = ["survived", metric]
    output.print_table(
        console,
        ["variant", "start", "rate", *numbers],
        [
            [one.label, one.start, one.rate, f"{one.survived}/{len(one.seeds)}", level(one.mean, one.sd)]
            for one in listed
        ],
        left=["variant", "start", "rate"],
        unbroken=numbers,
    )

    def cells(part: "Part") -> list[str]:
        if part.difference is None:
            return [part.name, "–", "0", share(part), "–", "exactly 0"]
        d = part.difference
        return [
            part.name,
            f"{d.pairs}/{len(part.seeds)}",
            size(part),
            share(part),
            probability(d.p_holm),
            part.verdict or "",
        ]

    numbers = ["seeds", f"difference [{percent}]", f"share [{percent}]", "p (≠ 0)"]
    output.print_table(
        console,
        ["part", *numbers, "verdict"],
        map(cells, (*explained.parts, explained.whole)),
        left=["part", "verdict"],
        unbroken=[*numbers, "verdict"],
    )
    for line in answer:
        output.print_words(console, line)
    for note in notes:
        output.print_words(console, f"Note: {note}.")
