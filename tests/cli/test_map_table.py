"""The map in the shell."""

import dataclasses
import re

import pytest
from helpers.maps import comparison, study
from rich.console import Console

from vaecli.cli.map_table import is_short, print_map
from vaecli.report.map import map_of_study
from vaecli.report.map_cells import cell_words

HEADS = ("logstd", "softplus_square", "squareplus_std", "natural")


@pytest.fixture(scope="module")
def map():
    lost = [("natural", 1), ("logvar", 2)]
    conditions = {
        "default": comparison(dict.fromkeys(HEADS, 0.0)),
        "a-rate-ten-times-too-high": comparison({**dict.fromkeys(HEADS, 0.0), "natural": -33.0}, lost=lost),
        "f16": comparison({"logstd": 0.0, "softplus_square": 0.0}),
    }
    return map_of_study(study(conditions, invalid={"f16": "no controls"}))


def printed(map, width, *, terminal=True):
    console = Console(width=width, force_terminal=terminal, color_system=None, highlight=False, markup=False)
    with console.capture() as capture:
        print_map(console, map)
    return capture.get()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_cell_is_there_at_every_width(map, width):
    text = printed(map, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    # Each block has all conditions.
    blocks = text.count("condition ")
    assert text.count("default ") == text.count("f16 ") == blocks
    assert (blocks == 1) == (width == 120)
    tables, legend = text[: text.index("● equivalent,")], text[text.index("● equivalent,") :]
    assert " ".join(legend.split()) == (
        "● equivalent, ▼ worse, □ undecided, ✕ invalid. "
        "The numbers are mean differences in test/elbo from logvar, in nats per image."
    )
    assert len(re.findall("[●▲▼◆◇□✕]", tables)) == len(map.cells) == 10
    for row, _, result in map.cells:
        words = cell_words(row, result)
        assert words.first_line in tables
        assert words.losses in tables
    assert tables.count("(logvar 1/8") == blocks


def test_a_row_of_a_file_is_one_line(map):
    lines = [line for line in printed(map, 160, terminal=False).splitlines() if line.strip()]
    assert len(lines) == 2 + 3 + 1
    assert "a-rate-ten-times-too-high (logvar" in lines[3]
    assert "▼ −33 1/8 lost" in lines[3]


def test_what_is_short_is_printed_with_a_comparison(map):
    assert is_short(Console(width=120), map)
    assert not is_short(Console(width=60), map)
    assert not is_short(Console(width=120), dataclasses.replace(map, rows=5 * list(map.rows)))


def test_names_are_printed_as_they_stand(map):
    hostile = dataclasses.replace(map.rows[0], name="[red]a\x1b[31m\nb")
    assert "[red]a\\x1b[31m\\nb" in printed(dataclasses.replace(map, rows=[hostile]), 120)
