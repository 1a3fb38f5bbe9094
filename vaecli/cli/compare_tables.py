"""A comparison in the shell, as a table of variants or of runs, and what came of an expectation."""

import dataclasses
from typing import TYPE_CHECKING, Any

from vaecli.cli import output
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.map_table import is_short, print_map
from vaecli.training.terminal import print_message

if TYPE_CHECKING:
    from rich.console import Console

    from vaecli.report.model import Comparison, Difference, Effect, Expectation, GridEffects, VariantResult

# From this width on the table has the columns that are less often asked for, too.
_WIDE = 138
_EVIDENCE = ["p (≠ 0)", "p (within)", "p (beyond)", "≡ above", "floor"]


def variant_table(comparison: "Comparison") -> tuple[list[str], list[list[Any]]]:
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


def run_table(comparison: "Comparison") -> tuple[list[str], list[list[Any]]]:
    """Returns header and rows of `--csv-runs`."""
    from vaecli.report.model import RunRow

    header = [field.name for field in dataclasses.fields(RunRow)]
    return header, [[getattr(run, name) for name in header] for run in comparison.runs]


def print_comparison(comparison: "Comparison") -> None:
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


def expectation_code(expectation: "Expectation | None") -> ExitCode:
    """Says what came of an expectation, if there was one, and returns the exit code."""
    if expectation is None:
        return ExitCode.DONE
    from vaecli.report.gate import words

    print_message(f"vae: {words(expectation)}")
    codes = {"met": ExitCode.DONE, "not met": ExitCode.NOT_MET, "undecided": ExitCode.UNDECIDED}
    return codes[expectation.outcome]
