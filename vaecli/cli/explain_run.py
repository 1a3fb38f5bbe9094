"""`vae explain RUN`: why a run diverged, and the smallest change that survives."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vaecli.cli import flags, output
from vaecli.cli.command import Invocation
from vaecli.cli.consent import check_agreed
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.explain_options import ExplainOptions
from vaecli.cli.options import check_runs_folder, data_folder, progress
from vaecli.cli.signals import stopped, stopping_signals
from vaecli.report import trail_words
from vaecli.report.formatting import count
from vaecli.report.trail import Trail, Trial, to_json
from vaecli.training.terminal import print_message, print_result

if TYPE_CHECKING:
    from vaecli.analysis.trials import Plan


def run(options: ExplainOptions, invocation: Invocation) -> int:
    """Explains a run that diverged, and trains changes of it until one survives."""
    if options.runs is not None:
        check_runs_folder(options.runs)
    from vaecli.analysis.trail import STEPS, diverged_run, trail_of
    from vaecli.analysis.trials import checked_seeds, plan_of

    data_dir, seeds = data_folder(options.data_dir), checked_seeds(1 if options.seeds is None else options.seeds)
    opened = diverged_run(options.words[0])
    trail = trail_of(
        opened,
        data_dir=data_dir,
        steps=STEPS if options.steps is None else options.steps,
        trust_heads=options.trust_heads,
        follow=progress("training again"),
    )
    plan = plan_of(
        opened,
        trail,
        runs=options.runs,
        seeds=seeds,
        data_dir=data_dir,
    )
    if not options.json:
        _print_trail(trail)
    if options.no_train or not _agreed(plan, yes=options.yes):
        if options.json:
            output.print_json({"trail": to_json(trail), "trials": [], "commands": []})
        return ExitCode.DONE
    with stopping_signals() as received:
        tried = _tried(plan, received)
    commands = _commands(plan, tried)
    if options.json:
        output.print_json({"trail": to_json(trail), "trials": to_json(tried), "commands": commands})
    else:
        _print_trials(trail, tried, commands)
    return stopped(received[0], invocation.argv) if received else ExitCode.DONE


def _agreed(plan: "Plan", *, yes: bool) -> bool:
    """Returns whether the changes are to be trained, which is asked for unless all of their runs are there."""
    if not plan.missing:
        return True
    epochs = next(candidate.config.epochs for candidate in plan.candidates if candidate.config)
    each = f"of at most {count(epochs, 'epoch')}"
    if plan.seconds > 0:
        each += f" (about {_duration(plan.seconds)} each at the run's own speed)"
    more = f", and those that survive at {count(len(plan.seeds) - 1, 'more seed')}" if len(plan.seeds) > 1 else ""
    what = f"at most {count(plan.missing, 'run')} {each} are trained one after the other until one survives{more}"
    return check_agreed(what, yes=yes, otherwise="--no-train prints only the trail")


def _duration(seconds: float) -> str:
    """Returns a time in words.

    >>> _duration(42.3), _duration(200), _duration(9000)
    ('42 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _tried(plan: "Plan", received: Sequence[int]) -> Sequence[Trial]:
    """Trains the changes, and says on stderr what becomes of each."""
    from vaecli.analysis.trials import trials
    from vaecli.training.progress import on_stderr

    done = []
    observer = on_stderr(lambda: bool(received))
    for trial in trials(plan, observer=observer, stopped=lambda: bool(received)):
        kind, settings, outcome, _ = trail_words.trial_cells(trial)
        print_message(f"vae: {kind}: {settings}: {outcome}")
        done.append(trial)
    return done


def _commands(plan: "Plan", tried: Sequence[Trial]) -> Sequence[str]:
    """Returns the commands that train the changes that survive again."""
    kept = {str(candidate.change.settings): candidate for candidate in plan.candidates}
    commands = []
    for trial in tried:
        candidate = kept[str(trial.settings)]
        if trial.outcome == "survived" and candidate.config:
            commands.append(flags.train_command(candidate.config, trial.seeds, candidate.vary, plan.runs))
    return commands


def _print_trail(trail: Trail) -> None:
    console = output.stdout_console()
    output.print_words(console, f"{trail.path}: diverged, {trail.recorded}")
    rows: Any = [trail_words.cells(trail, row) for row in trail.rows]
    output.print_table(console, trail_words.header(trail), rows)
    for line in trail_words.sentences(trail):
        output.print_words(console, line)


def _print_trials(trail: Trail, tried: Sequence[Trial], commands: Sequence[str]) -> None:
    console = output.stdout_console()
    print_result()
    left = trail_words.TRIAL_HEADER[:3]
    output.print_table(console, trail_words.TRIAL_HEADER, map(trail_words.trial_cells, tried), left=left)
    for line in trail_words.survivors_sentences(trail, tried):
        output.print_words(console, line)
    for command in commands:
        print_result(f"  {command}")
