"""The findings of a map in a paragraph: where the head matters, where it does not, and where runs are lost.

As the answer to a comparison, it claims what the verdicts claim and no more. What is true of many heads, or under many
conditions, is said once.
"""

import collections
import dataclasses
from collections.abc import Callable, Collection, Sequence

from vaecli.report.answer import Kind, kind
from vaecli.report.formatting import count, decimals, finite, joined, number, title
from vaecli.report.map import Map, MapRow
from vaecli.report.model import VariantResult

# The most names in a list, and groups of heads in a sentence; of more, the others are counted. Where nothing matters is
# the half of the answer that no figure shows as well.
_NAMED, _NAMED_EQUIVALENT, _GROUPS = 4, 9, 4

_MATTER: Collection[Kind] = ("better", "worse", "beyond the margin", "lost runs")
_OPEN: Collection[Kind] = ("different", "undecided")


@dataclasses.dataclass(frozen=True, slots=True)
class _Cell:
    """A cell that is evidence: where it is, what came of it, and what there is to say of that."""

    row: MapRow
    head: str
    result: VariantResult
    kind: Kind

    @property
    def mean(self) -> float:
        """The mean difference; NaN where there is none."""
        return finite(self.result.difference and self.result.difference.mean)

    @property
    def lost(self) -> int:
        """How many runs were lost."""
        return self.result.runs - self.result.survived


def findings(map: Map) -> str:
    """Returns the findings of a map in a few sentences, the answer first."""
    return " ".join(f"{sentence}." for sentence in sentences(map))


def sentences(map: Map) -> list[str]:
    """Returns the sentences of the findings, without their full stops."""
    said = _Findings(map)
    made = [
        said.answer(),
        said.sizes(),
        said.losses(),
        said.equivalence(),
        said.never_worse(),
        said.open(),
        said.invalid(),
    ]
    return [sentence for sentence in made if sentence]


def one_family(map: Map) -> str:
    """Says how many comparisons the tests are adjusted for, how, and what that is worth."""
    without = map.family - len(map.cells)
    missing = f" ({without} of them without runs yet)" if map.name and without > 0 else ""
    return (
        f"The {count(map.family, 'comparison')} of the map{missing} are one family: the p of each kind of claim are "
        "adjusted over all of them by Holm's method, so that the risk that any claim of one kind is wrong anywhere on "
        f"the map is at most {100 * map.alpha:g} %."
    )


class _Findings:
    """Makes the sentences, in which the unit is only said once."""

    def __init__(self, map: Map):
        self._map = map
        self._valid = [row for row in map.rows if row.cells and not row.invalid]
        self._cells = [
            _Cell(row, head, row.cells[head], kind(row.cells[head], map.alpha))
            for row in self._valid
            for head in map.heads
            if head in row.cells
        ]
        self._unit_said = not map.unit

    def answer(self) -> str:
        """Says whether the head matters at all, and under how many conditions."""
        compared = f"compared with {self._map.reference}"
        if self._map.metric != "test/elbo":
            compared = f"{compared} in {title(self._map.metric)}"
        if not self._cells:
            return f"Not known: there is no evidence, {compared}, under any condition"
        where = {cell.row.name for cell in self._cells if cell.kind in _MATTER}
        conditions = count(len(self._valid), "condition")
        if where:
            which = f"{len(where)} of {conditions}" if len(where) < len(self._valid) else self._all()
            return f"Yes, under {which} at least one of {self._heads()} makes a difference that matters, {compared}"
        if any(cell.kind in _OPEN for cell in self._cells):
            return f"Not known yet: no head is shown to make a difference that matters, {compared}, under {self._all()}"
        return f"No: under {self._all()} no head makes a difference that matters, {compared}"

    def sizes(self) -> str:
        """Says which heads are better, worse or beyond the margin, where, and by how much."""
        sides: dict[str, list[_Cell]] = {"better": [], "worse": [], "higher": [], "lower": []}
        for cell in self._cells:
            if cell.kind in ("better", "worse"):
                sides[cell.kind].append(cell)
            elif cell.kind == "beyond the margin":
                sides["higher" if cell.mean > 0 else "lower"].append(cell)
        parts = [f"{word}: {self._grouped(cells, self._by)}" for word, cells in sides.items() if cells]
        return _capital("; ".join(parts))

    def losses(self) -> str:
        """Says where runs are lost: what the verdicts say of it first."""
        parts = []
        by_survival = [cell for cell in self._cells if cell.kind == "lost runs"]
        for verdict, word in (("worse", "more"), ("better", "fewer"), ("different", "fewer")):
            cells = [cell for cell in by_survival if cell.result.verdict == verdict]
            but = ", but worse where both survived" if verdict == "different" else ""
            if cells:
                parts.append(
                    f"{word} runs are lost than by {self._map.reference}{but}: {self._grouped(cells, _lost_by)}"
                )
        others = [cell for cell in self._cells if cell.kind != "lost runs" and cell.lost]
        if others:
            also = "also " if by_survival else ""
            where = self._conditions(others)
            parts.append(
                f"runs are {also}lost, without a verdict on their number, in {count(len(others), 'cell')} under {where}"
            )
        if references := [row for row in self._valid if (one := row.reference) and one.survived < one.runs]:
            named = ", ".join(_named([f"{row.name} ({_share([row.reference])})" for row in references]))
            parts.append(f"{self._map.reference} itself loses runs under {named}")
        return _capital("; ".join(parts)) or ("No run is lost" if self._cells else "")

    def equivalence(self) -> str:
        """Says under which conditions all heads are equivalent."""
        if not self._cells:
            return ""
        rows = [row for row in self._valid if all(cell.kind == "equivalent" for cell in self._cells if cell.row is row)]
        reference = self._map.reference
        if not rows:
            return f"Under no condition are all heads shown to be equivalent to {reference}"
        cells = [cell for cell in self._cells if cell.row in rows]
        where = f"under {self._conditions(cells, _NAMED_EQUIVALENT)}"
        return f"All heads are equivalent to {reference} {where} (margin {self._margins(rows)})"

    def never_worse(self) -> str:
        """Says of each head under how many conditions it is shown to be no worse."""
        if all(cell.kind == "equivalent" for cell in self._cells):
            return ""
        directed = any(row.comparison.direction for row in self._valid)
        good = ("better", "equivalent") if directed else ("equivalent",)
        heads: dict[tuple[int, int], list[str]] = collections.defaultdict(list)
        for head in self._map.heads:
            verdicts = [cell.result.verdict for cell in self._cells if cell.head == head]
            if verdicts:
                heads[sum(verdict in good for verdict in verdicts), len(verdicts)].append(head)
        words = "equivalent or better" if directed else "equivalent"
        ordered = sorted(heads.items(), key=lambda item: (-item[0][0] / item[0][1], -item[0][1]))
        parts = [f"{_named_all(names)} under {self._times(*times)}" for times, names in ordered]
        return f"Shown to be {words}, of {count(len(self._valid), 'condition')}: {', '.join(parts)}"

    def open(self) -> str:
        """Says how many cells are without an answer, and where most of them are."""
        counts = collections.Counter(cell.kind for cell in self._cells)
        parts = []
        if undecided := counts["undecided"]:
            parts.append(f"{undecided} {'is' if undecided == 1 else 'are'} undecided")
        if different := counts["different"]:
            parts.append(f"{different} {'differs' if different == 1 else 'differ'} by an amount that may not matter")
        if not parts:
            return ""
        where = self._conditions([cell for cell in self._cells if cell.kind in _OPEN])
        return f"Of {count(len(self._cells), 'cell')}, {joined(parts)} (under {where})"

    def invalid(self) -> str:
        """Says which conditions are no evidence, and why."""
        rows = [row for row in self._map.rows if row.invalid]
        named = _named([f"{row.name} ({joined(row.invalid)})" for row in rows])
        return f"No evidence, since the controls are not right: {'; '.join(named)}" if rows else ""

    def _grouped(self, cells: Sequence[_Cell], how: Callable[[Sequence[_Cell]], str]) -> str:
        """Names heads with the conditions and the size; those that have the same conditions are named together."""
        of_head: dict[str, list[_Cell]] = collections.defaultdict(list)
        for cell in cells:
            of_head[cell.head].append(cell)
        groups: dict[tuple[str, ...], list[_Cell]] = collections.defaultdict(list)
        for of_one in of_head.values():
            groups[tuple(cell.row.name for cell in of_one)] += of_one
        ordered = sorted(groups.values(), key=lambda group: -len({cell.row.name for cell in group}))
        kept, rest = ordered[:_GROUPS], [cell for group in ordered[_GROUPS:] for cell in group]
        if len({cell.head for cell in rest}) == 1:
            kept, rest = ordered, []
        parts = []
        for group in kept:
            heads = list(dict.fromkeys(cell.head for cell in group))
            parts.append(f"{_named_all(heads)} under {self._conditions(group)} {how(group)}")
        if rest:
            heads = {cell.head for cell in rest}
            parts.append(f"{len(heads)} other heads under {self._conditions(rest)} {how(rest)}")
        return ", ".join(parts)

    def _by(self, cells: Sequence[_Cell]) -> str:
        sizes = sorted(abs(cell.mean) for cell in cells)
        shown = dict.fromkeys(number(size, decimals(size)) for size in (sizes[0], sizes[-1]))
        return f"by {self._with_unit(' to '.join(shown))}"

    def _margins(self, rows: Sequence[MapRow]) -> str:
        margins = sorted({row.margin for row in rows})
        shown = dict.fromkeys(f"{margin:g}" for margin in (margins[0], margins[-1]))
        return f"±{self._with_unit(' to '.join(shown))}"

    def _with_unit(self, words: str) -> str:
        unit = "" if self._unit_said else f" {self._map.unit}"
        self._unit_said = True
        return f"{words}{unit}"

    def _conditions(self, cells: Sequence[_Cell], most: int = _NAMED) -> str:
        """Names the conditions of some cells."""
        names = list(dict.fromkeys(cell.row.name for cell in cells))
        others = [row.name for row in self._valid if row.name not in names]
        if not others:
            return self._all()
        if len(others) == 1 and len(names) > most:
            return f"all conditions but {others[0]}"
        return joined(_named(names, most))

    def _all(self) -> str:
        number_of = len(self._valid)
        return "the only condition" if number_of == 1 else f"all {number_of} conditions"

    def _heads(self) -> str:
        return count(len({cell.head for cell in self._cells}), "head")

    def _times(self, times: int, of: int) -> str:
        """Says under how many conditions something is so of a head."""
        which = "none" if times == 0 else f"all {of}" if times == of > 1 else str(times)
        return which if of == len(self._valid) else f"{times} of {of}"


def _lost_by(cells: Sequence[_Cell]) -> str:
    """Says how many runs some heads lost, and how many their references did."""
    references = [cell.row.reference for cell in cells]
    return f"({_share([cell.result for cell in cells])}; the reference {_share(references)})"


def _share(results: Sequence[VariantResult | None]) -> str:
    known = list({id(result): result for result in results if result}.values())
    return f"{sum(one.runs - one.survived for one in known)} of {sum(one.runs for one in known)}"


def _named(names: Sequence[str], most: int = _NAMED) -> list[str]:
    """Returns names; of more than there is room for, the first ones and how many others there are."""
    kept = list(names)
    return kept if len(kept) <= most else [*kept[: most - 1], f"{len(kept) - most + 1} others"]


def _named_all(names: Sequence[str]) -> str:
    return joined(_named(names))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
