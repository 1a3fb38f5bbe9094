"""The page of a study: its findings, the map, and behind each cell the evidence."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vaecli.report.curves import Curves
from vaecli.report.figures.defaults import matplotlib_defaults
from vaecli.report.figures.forest import forest
from vaecli.report.figures.sparkline import HEIGHT, WIDTH, Sparkline, sparkline
from vaecli.report.findings import one_family, sentences
from vaecli.report.formatting import title
from vaecli.report.glance import Fact
from vaecli.report.heat_table import heat_table
from vaecli.report.map import Map, MapRow, map_of_study
from vaecli.report.model import ConditionComparison, StudyComparison, VariantResult
from vaecli.report.page import Drawing, environment, inline

Commands = Mapping[str, Mapping[str, Sequence[str]]]
"""For each condition, by its name, the commands that train each of its variants again, by its label."""


class Evidence(NamedTuple):
    """What stands behind a cell.

    Attributes:
      id: what a link to it names.
      head: the head.
      result: what came of it.
      sparkline: its differences over the epochs; None where it logged none.
      commands: those that train its runs again.
    """

    id: str
    head: str
    result: VariantResult
    sparkline: Sparkline | None
    commands: Sequence[str]


class Section(NamedTuple):
    """A condition of the page.

    Attributes:
      id: what a link to it names.
      of: the condition.
      row: its row of the map.
      forest: the figure of its differences; None where it has no cell.
      cells: its evidence.
      reference_commands: those that train the reference again.
    """

    id: str
    of: ConditionComparison
    row: MapRow
    forest: Drawing | None
    cells: Sequence[Evidence]
    reference_commands: Sequence[str]


def study_page(
    study: StudyComparison,
    curves: Mapping[str, Curves],
    commands: Commands,
    date: str = "",
) -> str:
    """Returns the HTML of a study.

    Args:
      study: what is shown.
      curves: what the variants of each condition logged of the metric.
      commands: those that train the variants again.
      date: the day of the comparison, as the page shows it.
    """
    map = map_of_study(study)
    ids = {row.name: f"condition-{place}" for place, row in enumerate(map.rows, 1)}
    with matplotlib_defaults():
        sections = [
            _section(map, row, one, ids[row.name], curves.get(row.name, {}), commands.get(row.name, {}))
            for row, one in zip(map.rows, study.conditions, strict=True)
        ]
    links = {(section.row.name, cell.result.label): cell.id for section in sections for cell in section.cells}
    table = heat_table(map, lambda row, result: links[row.name, result.label], lambda row: ids[row.name])
    lead, *rest = sentences(map)
    shared = _shared_notes(study)
    return (
        environment()
        .get_template("study_page.html.jinja")
        .render(
            study=study,
            date=date,
            lead=lead,
            rest=rest,
            facts=_facts(map),
            table=table,
            sections=sections,
            # The family is among the facts.
            notes=[*(note for note in study.notes if note != one_family(map)), *shared],
            shared=shared,
            spark_box=f"0 0 {WIDTH} {HEIGHT}",
        )
    )


def _section(
    map: Map, row: MapRow, one: ConditionComparison, id: str, curves: Curves, commands: Mapping[str, Sequence[str]]
) -> Section:
    """Draws a condition."""
    comparison = one.comparison
    cells = [
        Evidence(
            id=f"{id}-{place}",
            head=head,
            result=result,
            sparkline=sparkline(comparison, curves, result),
            commands=commands.get(result.label, ()),
        )
        for place, head in enumerate(map.heads, 1)
        if (result := row.cells.get(head))
    ]
    name = f"Differences from the reference under {row.name}"
    drawn = Drawing(name, inline(forest(comparison), f"{id}-forest", name)) if cells else None
    reference = row.reference
    of_reference = commands.get(reference.label, ()) if reference else ()
    return Section(id, one, row, drawn, cells, of_reference)


def _shared_notes(study: StudyComparison) -> list[str]:
    """Returns the notes that all conditions have, which need not be said of each."""
    first, *others = [one.comparison.notes for one in study.conditions]
    return [note for note in first if all(note in notes for notes in others)]


def _facts(map: Map) -> list[Fact]:
    """Returns what somebody asks who sees the map for the first time."""
    results = [result for row in map.rows for result in row.comparison.results]
    runs, survived = sum(one.runs for one in results), sum(one.survived for one in results)
    seeds = sorted({result.runs for _, _, result in map.cells})
    each = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0]) if seeds else "no"
    left = f"all {runs} runs survived" if runs == survived else f"{survived} of {runs} runs survived"
    plural = "" if each == "1" else "s"
    return [
        Fact("Measure", f"{_measure(map)}."),
        Fact(
            "Evidence", f"{each} seed{plural} of each head under each condition, paired with {map.reference}; {left}."
        ),
        Fact("Margin", "How much matters is a condition’s own: it stands at the end of its row."),
        Fact("One family", one_family(map)),
    ]


def _measure(map: Map) -> str:
    unit = f" in {map.unit}" if map.unit else ""
    directions = {row.comparison.direction for row in map.rows}
    better = {1: "; higher is better", -1: "; lower is better"}.get(directions.pop() if len(directions) == 1 else 0, "")
    return f"{title(map.metric)}{unit}{better}"
