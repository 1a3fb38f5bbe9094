"""`vae heads` as a user types it."""

import functools
import json
import re
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from helpers.commands import complaint

from vaecli.cli.main import main
from vaecli.report.figures.heads import heads
from vaecli.vae.heads.table import HEADS


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_heads_as_text(capsys):
    assert main(["heads", "logvar", "sigmoid_std"]) == 0
    text = capsys.readouterr().out
    assert "exp(u/2)" in text
    assert re.search(r"sigmoid_std +1 +0.975 +0.9 +0.5 +– +0", text)
    assert re.search(r"logvar .*1.56% .*0.20%", text)  # A half times 2⁻⁵ in bfloat16, and times 2⁻⁸ in float16.
    assert "softplus" not in text


# To measure all of them takes long, and the tests of the figures do it.
@pytest.mark.parametrize(
    "names",
    [["logvar", "sigmoid_std", "fixed"], pytest.param(list(HEADS), marks=pytest.mark.long)],
    ids=["three", "all"],
)
def test_heads_as_json(capsys, monkeypatch, names):
    """All heads of the table, where none is named."""
    for name in HEADS.keys() - names:
        monkeypatch.delitem(HEADS, name)
    assert main(["heads", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == names
    keys = {
        "name",
        "quantity",
        "formula",
        "sigma_at_zero",
        "gain",
        "inverse_at_1",
        "safe_float32",
        "safe_bfloat16",
        "resolution",
        "note",
    }
    for row in rows:
        assert set(row) == keys
        assert set(row["gain"]) == {"0.05", "0.2", "1", "5"}
        assert set(row["resolution"]) == {"float32", "bfloat16", "float16"}
        assert all(set(of_precision) == {"0.05", "1"} for of_precision in row["resolution"].values())
        assert row["note"]
    assert rows[0]["safe_float32"] == [pytest.approx(-174.673), pytest.approx(88.723, abs=1e-3)]


@functools.cache
def drawn(*names):
    """The bytes of the picture that the command draws of these heads."""
    assert main(["heads", *names, "--plot", "heads.svg"]) == 0
    return Path("heads.svg").read_bytes()


TWO = ("softplus_std", "fixed")
"""One of them is a head that has no gain."""


# To lay many of them out takes long.
@pytest.mark.parametrize(
    "names",
    [
        TWO,
        pytest.param(("logvar", "softplus_std", "sigmoid_std", "std", "fixed"), marks=pytest.mark.long),
        pytest.param((), marks=pytest.mark.long),
    ],
    ids=["two", "five", "all"],
)
def test_heads_as_pictures(capsys, names):
    root = ElementTree.fromstring(drawn(*names).decode())
    texts = {"".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert texts & set(HEADS) == set(names or HEADS)
    assert main(["heads", "softplus_std", "--plot", "one.png"]) == 0
    data = Path("one.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width > height > 200
    assert "one.png" in capsys.readouterr().out


def test_a_row_with_room_left_over():
    """Five heads are two rows, and nothing is drawn beside the fifth; seen before it is laid out."""
    names, flat = ["logvar", "softplus_std", "sigmoid_std", "std", "fixed"], np.ones(2)
    curves = {name: dict.fromkeys(("u", "sigma", "sigma_axis", "gain"), flat) for name in names}
    panels = heads(curves).axes
    assert [panel.get_title(loc="left") for panel in panels[::2]] == [*names, "", "", ""]
    assert [panel.axison for panel in panels] == [True] * 10 + [False] * 6


def test_figures_do_not_follow_a_style():
    style = {"font.size": 30, "axes.facecolor": "red", "text.usetex": True, "svg.hashsalt": "x", "savefig.dpi": 30}
    with matplotlib.rc_context(style | {"figure.constrained_layout.h_pad": 1, "axes.prop_cycle": "cycler(color='k')"}):
        assert main(["heads", *TWO, "--plot", "styled.svg"]) == 0
        assert matplotlib.rcParams["font.size"] == 30
    assert drawn(*TWO) == Path("styled.svg").read_bytes()


def test_heads_refuses(capsys):
    assert "did you mean 'logvar'" in complaint(capsys, "heads", "logvr")
    assert ".png or .svg" in complaint(capsys, "heads", "--plot", "heads.gif")
    assert "cannot be written" in complaint(capsys, "heads", "logvar", "--plot", "no/such/folder.png")
    assert "did you mean '--json'" in complaint(capsys, "heads", "--jsn")
