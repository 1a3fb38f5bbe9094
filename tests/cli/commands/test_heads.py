"""`vae heads` as a user types it."""

import json
import re
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import pytest
from helpers.commands import complaint

from vaecli.cli.main import main
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


def test_heads_as_json(capsys):
    assert main(["heads", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(HEADS)
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


# Five are two rows with room left over, one of them a head that has no gain; to lay all of them out takes long.
@pytest.mark.parametrize(
    "names",
    [["logvar", "softplus_std", "sigmoid_std", "std", "fixed"], pytest.param([], marks=pytest.mark.long)],
    ids=["five", "all"],
)
def test_heads_as_pictures(capsys, names):
    assert main(["heads", *names, "--plot", "heads.svg"]) == 0
    root = ElementTree.fromstring(Path("heads.svg").read_text())
    texts = {"".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert texts & set(HEADS) == set(names or HEADS)
    assert main(["heads", "softplus_std", "--plot", "one.png"]) == 0
    data = Path("one.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width > height > 200
    assert "one.png" in capsys.readouterr().out


def test_figures_do_not_follow_a_style():
    assert main(["heads", "softplus_std", "--plot", "plain.svg"]) == 0
    style = {"font.size": 30, "axes.facecolor": "red", "text.usetex": True, "svg.hashsalt": "x", "savefig.dpi": 30}
    with matplotlib.rc_context(style | {"figure.constrained_layout.h_pad": 1, "axes.prop_cycle": "cycler(color='k')"}):
        assert main(["heads", "softplus_std", "--plot", "styled.svg"]) == 0
        assert matplotlib.rcParams["font.size"] == 30
    assert Path("plain.svg").read_bytes() == Path("styled.svg").read_bytes()


def test_heads_refuses(capsys):
    assert "did you mean 'logvar'" in complaint(capsys, "heads", "logvr")
    assert ".png or .svg" in complaint(capsys, "heads", "--plot", "heads.gif")
    assert "cannot be written" in complaint(capsys, "heads", "logvar", "--plot", "no/such/folder.png")
    assert "did you mean '--json'" in complaint(capsys, "heads", "--jsn")
