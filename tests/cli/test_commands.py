"""`vae heads` and `vae match`, and heads of the user's own, as a user types them."""

import json
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import pytest

from vaecli import Config, ConfigError, Head
from vaecli.cli.main import main
from vaecli.vae.heads.resolve import check
from vaecli.vae.heads.table import HEADS

DOCS = Path(__file__).parents[2] / "docs" / "heads.md"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def complaint(capsys, *argv):
    """The one line on stderr of a command that is refused."""
    assert main(argv) == 2
    streams = capsys.readouterr()
    assert not streams.out
    (line,) = streams.err.splitlines()
    assert line.startswith("vae: ")
    return line


# vae heads ----------------------------------------------------------------------------------------------------------


def test_heads_as_text(capsys):
    assert main(["heads", "logvar", "sigmoid_std"]) == 0
    text = capsys.readouterr().out
    assert "exp(u/2)" in text
    assert re.search(r"sigmoid_std +1 +0.975 +0.9 +0.5 +– +0", text)
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
        "note",
    }
    for row in rows:
        assert set(row) == keys
        assert set(row["gain"]) == {"0.05", "0.2", "1", "5"}
        assert row["note"]
    assert rows[0]["safe_float32"] == [pytest.approx(-174.673), pytest.approx(88.723, abs=1e-3)]


def test_heads_as_pictures(capsys):
    assert main(["heads", "--plot", "heads.svg"]) == 0
    root = ElementTree.fromstring(Path("heads.svg").read_text())
    texts = {"".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert set(HEADS) <= texts
    assert main(["heads", "logvar", "softplus_std", "--plot", "two.png"]) == 0
    data = Path("two.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width > height > 200
    assert "two.png" in capsys.readouterr().out


def test_heads_refuses(capsys):
    assert "did you mean 'logvar'" in complaint(capsys, "heads", "logvr")
    assert ".png or .svg" in complaint(capsys, "heads", "--plot", "heads.gif")
    assert "cannot be written" in complaint(capsys, "heads", "logvar", "--plot", "no/such/folder.png")
    assert "did you mean '--json'" in complaint(capsys, "heads", "--jsn")


# vae match ----------------------------------------------------------------------------------------------------------


def test_match_as_json(capsys):
    assert main(["match", "logvar", "logstd", "--optimizer", "adam", "--lr", "1e-3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = {
        "exact": True,
        "a": 2,
        "c": 0,
        "head_lr_factor": 0.5,
        "eps_factor": 2,
        "weight_decay_factor": 4,
        "init_weight_factor": 0.5,
        "flags": "--param logstd --optimizer adam --lr 0.001 --init-weight 0.5 --head-lr 0.5 --head-eps 2",
    }
    assert found.items() >= expected.items()
    assert "bit for bit" in found["note"]


def test_match_as_text(capsys):
    assert main(["match", "logvar", "softplus_std", "--init-std", "0.3"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("No exact match")
    assert "σ = 0.3" in text
    assert "vae train --param softplus_std --init-std 0.3" in text


def test_match_refuses(capsys):
    assert "two heads are needed" in complaint(capsys, "match", "logvar")
    assert "no output to match" in complaint(capsys, "match", "logvar", "fixed")
    assert "unknown head 'nope'" in complaint(capsys, "match", "nope", "logvar")
    assert "--init-std" in complaint(capsys, "match", "sigmoid_std", "logvar", "--init-std", "3")
    assert "--lr: must be" in complaint(capsys, "match", "logvar", "logstd", "--lr", "0")
    assert "--bound: clip:LO,HI" in complaint(capsys, "match", "logvar", "logstd", "--bound", "clip:3,1")
    assert "unknown option --param" in complaint(capsys, "match", "logvar", "logstd", "--param", "logvar")
    assert "unexpected 'third'" in complaint(capsys, "match", "logvar", "logstd", "third")


# Heads of one's own -------------------------------------------------------------------------------------------------


def write(module, text):
    Path(f"{module}.py").write_text(text)


def test_documented_example(capsys, small_data):
    """The file in docs/heads.md, saved under the name in its first line; every head in it is listed and trained."""
    (example,) = re.findall(r"```python\n(# my_heads\.py\n.*?)```", DOCS.read_text(), re.DOTALL)
    write("my_heads", example)
    namespace = {}
    exec(compile(example, "my_heads.py", "exec"), namespace)
    names = [name for name, value in namespace.items() if isinstance(value, Head)]
    assert len(names) >= 2
    for name in names:
        param = f"my_heads:{name}"
        assert main(["heads", param, "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["name"] == param
        assert row["inverse_at_1"] is not None
        size = ["--data-dir", str(small_data), "--hidden", "12", "--latent", "3", "--epochs", "1", "--batch-size", "50"]
        size += ["--grad-every", "0"]
        assert main(["train", "--param", param, "--init", "matched", *size, "--json"]) == 0
        (summary,) = json.loads(capsys.readouterr().out)
        assert summary["status"] == "complete"
        assert summary["path"] == f"runs/mnist/my_heads.{name}/seed0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine = 3", "is no vaecli.Head but of type int"),
        ("mine = lambda u: u", "is no vaecli.Head but of type function"),
        ("other = 3", "has no attribute 'mine'"),
        ("1/0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def broken(:", "SyntaxError"),
        ("from vaecli import Head\nmine = Head(f=None)", "f, the map from u to log σ, is missing"),
        ("from vaecli import Head\nmine = Head(f=lambda u: u.sum())", "f must map an array to one of its shape"),
        ("from vaecli import Head\nmine = Head(f=lambda u: (u, u))", "f must map an array to one of its shape"),
        ("from vaecli import Head\nmine = Head(f=lambda u: u > 0)", "f must map an array to one of its shape"),
        ("from vaecli import Head\nmine = Head(f=lambda u: u + nothing)", "(NameError: name 'nothing' is not defined)"),
        ("import jax\nfrom vaecli import Head\nmine = Head(f=lambda u: jax.nn.softmax(u))", "of shape ()"),
        ("from vaecli import Head\nmine = Head(f=lambda u: u, f_inverse=lambda y: y + 5)", "no u is known at which"),
        (
            "from vaecli import Head\nmine = Head(f=lambda u: u, f_scale=lambda u: u + 2)",
            "f_scale gives σ = 2, and exp",
        ),
        ("from vaecli import Head\nmine = Head(f=lambda u: u, limits=3)", "limits must be two numbers"),
        ("from vaecli import Head\nmine = Head(f=lambda u: u, limits=(5, 1))", "limits must be two numbers"),
        ("from vaecli import Head\nmine = Head(f=lambda u: u, slope=0.0)", "slope must be a number other than 0"),
        ("from vaecli import Head\nmine = Head(f=lambda u: u, note=3)", "note must be of type str"),
        ("import math\nfrom vaecli import Head\nmine = Head(f=lambda u: math.log(u))", "f fails on an array"),
        (
            "from vaecli import Head\nmine = Head(f=lambda u: u, f_inverse=lambda y: y[0])",
            "f_inverse fails on an array of shape ()",
        ),
        ("from vaecli import Head\nmine = Head(f=lambda u: abs(u) + 1)", "no u is known at which"),
    ],
)
def test_broken_heads_are_refused(capsys, text, message):
    module = f"broken_{zlib.crc32(text.encode())}"
    write(module, text)
    assert message in complaint(capsys, "train", "--param", f"{module}:mine", "--epochs", "1")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "param", ["a:b:c", "os:", ":mine", "../x:y", "a b:c", "my-heads:x", "no_such_module:x", "mine.py:x"]
)
def test_names_that_are_none(capsys, param):
    complaint(capsys, "train", "--param", param)


def test_own_texts_and_prints_are_the_users_own(capsys):
    write("loud_head", 'from vaecli import Head\nprint("hello")\nmine = Head(f=lambda u: u, note="σ in [a, b] [/b]")')
    assert main(["heads", "loud_head:mine", "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)[0]["note"] == "σ in [a, b] [/b]"
    assert "hello" in streams.err
    assert main(["heads", "loud_head:mine"]) == 0
    assert "σ in [a, b] [/b]" in capsys.readouterr().out


def test_own_head_without_reach_may_start_native():
    write("far_head", "from vaecli import Head\nmine = Head(f=lambda u: abs(u) / 4 + 1)")
    check(Config(param="far_head:mine", init="native"))
    with pytest.raises(ConfigError, match="no u is known at which"):
        check(Config(param="far_head:mine"))
