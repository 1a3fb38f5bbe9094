"""What a cell of the map shows."""

import dataclasses

import pytest
from helpers.maps import comparison, study

from vaecli.report.map import map_of_study
from vaecli.report.map_cells import CellWords, cell_words, losses, shade


def cell(effect, *, lost=(), margin=0.5, invalid=None, **given):
    one = comparison({"logstd": effect}, margin=margin, lost=[("logstd", seed) for seed in lost], **given)
    (row,) = map_of_study(study({"default": one}, invalid=invalid)).rows
    return row, row.cells["logstd"]


def shown(mean, margin, verdict="equivalent"):
    row, result = cell(0.0)
    result = dataclasses.replace(result, verdict=verdict, difference=dataclasses.replace(result.difference, mean=mean))
    return cell_words(dataclasses.replace(row, margin=margin), result).number


@pytest.mark.parametrize(
    ("mean", "margin", "verdict", "number"),
    [
        (-33.12, 0.5, "worse", "−33"),
        (3.149, 0.5, "better", "+3.1"),
        (1234.5, 0.5, "better", "+1234"),
        (-0.0312, 0.01, "worse", "−0.031"),
        # Within the margin, what is a hundredth of it is of no interest.
        (0.00042, 0.5, "equivalent", "0.00"),
        (0.41, 12.0, "equivalent", "+0.4"),
        (0.041, 1.0, "equivalent", "+0.04"),
        (0.00042, 0.5, "different", "+0.00042"),
        (0.0, 0.5, "equivalent", "0.00"),
        # A number that is beyond the margin does not look like it.
        (-0.5004, 0.5, "worse", "−0.5004"),
        (0.5, 0.5, "undecided", "+0.50"),
        (None, 0.5, "worse", ""),
        # A cell has room for one digit of what overflows.
        (-8.6e9, 50.0, "undecided", "−9·10⁹"),
    ],
)
def test_numbers(mean, margin, verdict, number):
    assert shown(mean, margin, verdict) == number


def test_signs_and_losses():
    assert cell_words(*cell(0.0)).first_line == "● 0.00"
    assert cell_words(*cell(-9.0)).first_line == "▼ −9.0"
    assert cell_words(*cell(9.0)).first_line == "▲ +9.0"
    row, result = cell(0.0, lost=[1, 2], spread=1e-6)
    assert cell_words(row, result) == CellWords("□", "0.00", "2/8 lost")
    assert losses(row.reference) == ""
    # Nothing is left of a cell whose controls are not right but the runs that it lost.
    assert cell_words(*cell(-9.0, lost=[3], invalid={"default": "no"})) == CellWords("✕", "", "1/8 lost")


def test_shades():
    assert [shade(*cell(effect)) for effect in (-0.8, -2.0, -9.0, -30.0, 0.8, 30.0)] == [0, 1, 2, 3, 0, 3]
    assert shade(*cell(0.0)) == 0
    assert shade(*cell(0.3, spread=5.0)) is None
    # A verdict on lost runs is as strong as can be, though nothing is left to measure.
    assert shade(*cell(0.0, lost=range(8))) == 3
