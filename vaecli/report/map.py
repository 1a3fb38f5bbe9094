"""The map: conditions down, heads across, and in each cell what came of the head under that condition.

It is drawn of a study, whose conditions have names, and of any comparison of several heads at several other settings.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from vaecli.config.naming import text
from vaecli.report.model import Comparison, StudyComparison, VariantResult


@dataclasses.dataclass(frozen=True, slots=True)
class MapRow:
    """A condition.

    Attributes:
      name: its name.
      why: what it is there for, in a sentence; empty where nobody has said so.
      margin: the least difference that matters under it, in the metric's unit.
      cells: what came of each head, by its name; a head that was not trained has none.
      invalid: why its cells are no evidence, in a few words each; empty where they are.
      comparison: the comparison that its cells are from.
    """

    name: str
    why: str
    margin: float
    cells: Mapping[str, VariantResult]
    invalid: Sequence[str]
    comparison: Comparison

    @property
    def reference(self) -> VariantResult | None:
        """What its heads are compared with; None where it has no cell."""
        labels = {result.reference for result in self.cells.values()}
        return next((result for result in self.comparison.results if result.label in labels), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Map:
    """Conditions and heads.

    Attributes:
      name: that of the study; empty where there is none.
      metric, unit, alpha: what is compared, its unit, and the level of the tests over the whole map.
      reference: what the heads are compared with.
      heads: the columns; the reference has none.
      rows: the conditions.
      family: how many cells are in the family of the tests, whether they have runs yet or not.
    """

    name: str
    metric: str
    unit: str
    alpha: float
    reference: str
    heads: Sequence[str]
    rows: Sequence[MapRow]
    family: int

    @property
    def cells(self) -> Sequence[tuple[MapRow, str, VariantResult]]:
        """Every cell that there is: its row, its head, and what came of it."""
        return [(row, head, row.cells[head]) for row in self.rows for head in self.heads if head in row.cells]


def map_of_study(study: StudyComparison) -> Map:
    """Returns the map of a study."""
    rows = [
        MapRow(
            name=one.name,
            why=one.why,
            margin=one.comparison.margin,
            cells={_head(result, one.field): result for result in one.comparison.results if result.reference},
            invalid=one.invalid,
            comparison=one.comparison,
        )
        for one in study.conditions
    ]
    return Map(
        name=study.name,
        metric=study.metric,
        unit=study.unit,
        alpha=study.alpha,
        reference=study.reference,
        heads=list(dict.fromkeys(head for row in rows for head in row.cells)),
        rows=rows,
        family=study.family,
    )


def map_of_comparison(comparison: Comparison) -> Map | None:
    """Returns the map of a comparison; None where it has only one condition, or only one head against its reference.

    A condition is a combination of the settings beside the head. A variant whose reference has other settings than it
    has itself is in none.
    """
    by_label = {result.label: result for result in comparison.results}
    fields = [field for field in comparison.varies if field != "param"]
    cells: dict[str, dict[str, VariantResult]] = {}
    for result in comparison.results:
        reference = by_label.get(result.reference or "")
        if reference is None or comparison.of_logs or "param" not in result.values:
            continue
        if any(result.values[field] != reference.values[field] for field in fields):
            continue
        condition = ", ".join(f"{field}={text(result.values[field])}" for field in fields)
        cells.setdefault(condition, {})[str(result.values["param"])] = result
    heads = list(dict.fromkeys(head for row in cells.values() for head in row))
    if len(cells) < 2 or len(heads) < 2:
        return None
    return Map(
        name="",
        metric=comparison.metric,
        unit=comparison.unit,
        alpha=comparison.alpha,
        reference=comparison.reference,
        heads=heads,
        rows=[MapRow(name, "", comparison.margin, of_row, [], comparison) for name, of_row in cells.items()],
        family=sum(result.reference is not None for result in comparison.results),
    )


def _head(result: VariantResult, field: str) -> str:
    """Returns the name of the head that a variant stands for, of the encoder's scale or of the decoder's."""
    return str(result.values.get(field, result.label))
