"""Tables that another program wrote: CSV with any separator, JSON Lines, or a list of JSON objects."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaecli.config import UsageError
from vaecli.runs.files import read_regular

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
}
_UTF_16 = b"\xff\xfe", b"\xfe\xff"
_SEPARATORS = ",;\t|"


class Table(NamedTuple):
    """A table.

    Attributes:
      source: what messages call it.
      columns: the cells by column, as many of each; None for one that is not there.
      places: where each row stands, as messages say it.
      repeated: the names that two columns have, of which `columns` has the first.
    """

    source: str
    columns: Mapping[str, Sequence[Any]]
    places: Sequence[str]
    repeated: Sequence[str] = ()


def read_table(path: Path) -> Table:
    """Reads a file.

    Raises:
      UsageError: there is no such file, or it is not a table; the message names the file and the line.
    """
    text = _text(path)
    if not text.strip():
        raise UsageError(f"{path}: is empty")
    table = _json_table(path, text) if text.lstrip()[0] in "{[" else _csv_table(path, text)
    if not table.places:
        raise UsageError(f"{path}: has a header and no rows")
    return table


def _text(path: Path) -> str:
    try:
        data = read_regular(path)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: does not exist") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    for start, what in _PACKED.items():
        if data.startswith(start):
            raise UsageError(f"{path}: is {what}; unpack it, or export it as CSV")
    try:
        text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    if "\0" in text:
        raise UsageError(f"{path}: is no table of text; a CSV or JSON Lines file is needed")
    return text


def _csv_table(path: Path, text: str) -> Table:
    first = text.lstrip("\r\n").splitlines()[0]
    separator = max(_SEPARATORS, key=lambda one: len(next(csv.reader([first], delimiter=one))))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    header: list[str] = []
    rows: list[list[str]] = []
    places: list[str] = []
    try:
        for cells in reader:
            if not any(cells):
                continue
            if not header:
                header = [name.strip() for name in cells]
                continue
            if len(cells) > len(header) and not any(cells[len(header) :]):
                cells = cells[: len(header)]
            if len(cells) != len(header):
                numbers = f"{len(cells)} cells and the header {len(header)}"
                raise UsageError(f"{path}, line {reader.line_num}: has {numbers}; each row needs one for each column")
            rows.append(cells)
            places.append(f"{path}, line {reader.line_num}")
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: is no CSV ({error})") from error
    columns: dict[str, Sequence[Any]] = {}
    repeated = []
    for name, cells in zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True):
        if name in columns:
            repeated.append(name)
        columns.setdefault(name, cells)
    return Table(str(path), columns, places, repeated)


def _json_table(path: Path, text: str) -> Table:
    if text.lstrip()[0] == "[":
        values = _json(str(path), text)
        places = [f"{path}, row {number}" for number in range(1, len(values) + 1)]
    else:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        places = [f"{path}, line {number}" for number, _ in lines]
        values = [_json(place, line) for place, (_, line) in zip(places, lines, strict=True)]
    rows = []
    for place, value in zip(places, values, strict=True):
        if not isinstance(value, dict):
            raise UsageError(f"{place}: is no JSON object")
        rows.append(_flat(value))
    return Table(str(path), by_column(rows), places)


def _json(place: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{place}: is no JSON ({error}); a line for each object is needed, or a list of them"
        ) from error


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("an object gives a key twice")
    return value


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Returns an object without objects in it: their keys follow a dot."""
    flat: dict[str, Any] = {}
    for name, one in value.items():
        flat |= _flat(one, f"{above}{name}.") if isinstance(one, Mapping) else {f"{above}{name}": one}
    return flat


def by_column(rows: Sequence[Mapping[Any, Any]]) -> dict[str, Sequence[Any]]:
    """Returns rows by column; None where a row does not have one."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {str(name): [row.get(name) for row in rows] for name in names}


def table_of(data: Any, source: str) -> Table | None:
    """Returns the table that a data frame, a mapping of columns, or a sequence of mappings is; None of something else.

    Raises:
      UsageError: its columns differ in length, or have no rows.
    """
    if hasattr(data, "to_pydict"):
        data = data.to_pydict()
    repeated = []
    if isinstance(data, Mapping):
        columns = {str(name): list(cells) for name, cells in data.items()}
    elif hasattr(data, "columns"):
        names = [*data.columns]
        repeated = [str(name) for name in names if names.count(name) > 1]
        columns = {str(name): [] if str(name) in repeated else list(data[name]) for name in names}
        columns = {name: cells or [None] * len(data) for name, cells in columns.items()}
    else:
        rows = list(data) if isinstance(data, Iterable) else [data]
        if not all(isinstance(row, Mapping) for row in rows):
            return None
        columns = by_column(rows)
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) > 1:
        raise UsageError(f"{source}: its columns differ in length")
    if not lengths or lengths == {0}:
        raise UsageError(f"{source}: has no rows")
    return Table(source, columns, [f"{source}, row {number}" for number in range(lengths.pop())], repeated)
