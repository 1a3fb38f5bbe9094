"""The figure of the map."""

import dataclasses
import xml.etree.ElementTree as ElementTree

import pytest
from helpers.maps import comparison, study

from vaecli.report.figures.files import rendered
from vaecli.report.figures.map import MOST_CONDITIONS, MOST_HEADS, heat_map
from vaecli.report.map import map_of_study
from vaecli.report.palette import SHADES

HEADS = {"logstd": 0.0, "softplus_square": 0.0, "abs_std": 1.1, "natural": -33.0}


@pytest.fixture(scope="module")
def map():
    conditions = {
        "default": comparison(HEADS),
        "hot": comparison(HEADS, lost=[("natural", seed) for seed in range(8)] + [("logvar", 1)]),
        "f16": comparison({"logstd": 0.0}),
    }
    return map_of_study(study(conditions, invalid={"f16": "no controls"}))


def texts(figure):
    return [text.get_text() for one in [figure, *figure.axes] for text in one.texts]


def test_cells_have_a_sign_a_number_and_a_shade(map):
    figure = heat_map(map)
    words = texts(figure)
    assert [words.count(sign) for sign in "●▲▼✕"] == [2, 2, 2, 1]
    assert {"default", "hot", "f16", "logvar 1/8 lost", "8/8 lost", "−33", "±0.5", *HEADS} <= set(words)
    faces = [tuple(round(255 * part) for part in patch.get_facecolor()[:3]) for patch in figure.axes[0].patches]
    assert len(faces) == len(map.cells)

    def rgb(colour):
        return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))

    # Both of `natural`: 66 margins, and all runs lost.
    assert faces.count(rgb(SHADES["worse"][0][3])) == 2
    assert faces.count(rgb(SHADES["better"][0][0])) >= 1


def test_no_text_leaves_the_figure_or_meets_another(map):
    long = dataclasses.replace(map.rows[0], name="a condition with a long name, lr=0.001")
    for one in (map, dataclasses.replace(map, rows=[long], heads=["logstd"])):
        figure = heat_map(one)
        figure.draw_without_rendering()
        boxes = [
            (text.get_window_extent(), text.get_text(), text.get_rotation())
            for part in [figure, *figure.axes]
            for text in part.texts
        ]
        width, height = figure.bbox.width, figure.bbox.height
        for box, text, _ in boxes:
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= width, text
            assert box.y1 <= height, text
        level = [(box, text) for box, text, turned in boxes if not turned]
        for place, (box, text) in enumerate(level):
            for other, second in level[place + 1 :]:
                assert not (box.shrunk(0.98, 0.8).overlaps(other.shrunk(0.98, 0.8))), (text, second)


def test_of_many_the_first_are_drawn(map):
    rows = [dataclasses.replace(map.rows[0], name=f"condition {number}") for number in range(100)]
    heads = [f"head-{number}" for number in range(50)]
    figure = heat_map(dataclasses.replace(map, rows=rows, heads=heads))
    words = texts(figure)
    assert f"condition {MOST_CONDITIONS - 1}" in words
    assert f"condition {MOST_CONDITIONS}" not in words
    left_out = f"the first {MOST_CONDITIONS} of 100 conditions and the first {MOST_HEADS} of 50 heads"
    assert any(left_out in word for word in words)


def test_names_are_drawn_as_they_stand(map):
    name = "<b>$x$&"
    row = dataclasses.replace(map.rows[0], name=name)
    svg = ElementTree.fromstring(rendered(heat_map(dataclasses.replace(map, rows=[row])), "svg"))
    assert name in [node.text for node in svg.iter() if node.tag.endswith("text")]
