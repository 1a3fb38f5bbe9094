"""The pictures of a comparison: whose they are, and that they are small enough for a page."""

import base64
import io

import numpy as np
from helpers.outcomes import write
from PIL import Image

from vaecli.report import pictures
from vaecli.report.compare import compare
from vaecli.report.model import Question
from vaecli.report.pictures import picture_rows


def draw(path, shade=0, side=28):
    """Puts pictures into a run: test images of one shade, reconstructions and samples of a lighter one."""
    folder = path / "pictures"
    folder.mkdir()
    image = np.full((2 * side, 16 * side), shade, np.uint8)
    image[side:] += 50
    for name, array in (("reconstructions", image), ("samples", np.full((8 * side, 16 * side), shade + 50, np.uint8))):
        Image.fromarray(np.kron(array, np.ones((2, 2), np.uint8))).save(folder / f"{name}_epoch0010.png")


def decoded(address):
    start, _, data = address.partition(",")
    assert start == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def rows_of(tmp_path):
    return {row.label: row for row in picture_rows(compare([tmp_path], Question()))}


def test_all_are_of_one_seed_where_they_can_be(tmp_path):
    for seed in range(3):
        for param in ("logvar", "logstd", "natural", "abs_std", "square_std"):
            gone = param == "abs_std"
            path = write(
                tmp_path, None if gone else -100.0, param=param, seed=seed, status="diverged" if gone else "complete"
            )
            if (param, seed) in {("logvar", 0), ("logvar", 1), ("logstd", 1), ("natural", 2)}:
                draw(path, shade=seed)
    rows = rows_of(tmp_path)
    assert {label: row.seed for label, row in rows.items()} == {
        "logvar": 1,
        "logstd": 1,
        "natural": 2,
        "abs_std": None,
        "square_std": None,
    }
    assert rows["abs_std"].missing == "none: 3 runs of 3 diverged"
    assert rows["square_std"].missing == "its runs have none"
    image = decoded(rows["natural"].reconstructions)
    assert image.shape == (rows["natural"].height, rows["natural"].width) == (56, 224)
    assert set(np.unique(image[:28])) == {2}
    assert set(np.unique(image[28:])) == set(np.unique(decoded(rows["natural"].samples))) == {52}


def test_no_rows_where_no_run_has_pictures(tmp_path):
    for param in ("logvar", "logstd"):
        write(tmp_path, -100.0, param=param, seed=0)
    assert rows_of(tmp_path) == {}


def test_a_page_has_no_more_than_it_can_carry(tmp_path, monkeypatch):
    for param in ("logvar", "logstd", "natural"):
        draw(write(tmp_path, -100.0, param=param, seed=0), side=130)
    rows = rows_of(tmp_path)
    # Large images are made smaller by a whole factor.
    assert (rows["logvar"].width, rows["logvar"].height) == (8 * 43, 2 * 43)
    size = len(rows["logvar"].samples) + len(rows["logvar"].reconstructions)
    monkeypatch.setattr(pictures, "MOST_CHARACTERS", 2 * size + 10)
    assert [row.missing for row in rows_of(tmp_path).values()] == [
        "",
        "",
        "left out, since the page would be too large",
    ]


def test_a_damaged_picture_costs_a_row_and_not_the_page(tmp_path):
    for param in ("logvar", "logstd"):
        draw(write(tmp_path, -100.0, param=param, seed=0))
    damaged = next(tmp_path.glob("*/logstd/seed0/pictures/samples*"))
    damaged.write_bytes(damaged.read_bytes()[:200])
    rows = rows_of(tmp_path)
    assert rows["logvar"].samples
    assert rows["logstd"].missing == f"{damaged}: cannot be read (not a PNG file)"
