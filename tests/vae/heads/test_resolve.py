"""Heads of the user's own, named as `module:name`: listed, trained, or refused in one line."""

import importlib.util
import json
import re
import sys
import zlib
from pathlib import Path

import pytest
from helpers.commands import complaint

from vaecli import Config, ConfigError, Head
from vaecli.cli.main import main
from vaecli.vae.heads.resolve import resolve_head
from vaecli.vae.validate import validate

DOCS = Path(__file__).parents[3] / "docs" / "heads.md"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(module, text):
    Path(f"{module}.py").write_text(text)


# A head from a module is trained in test_trust.py, too.
@pytest.mark.parametrize("trained", [0, pytest.param(None, marks=pytest.mark.long)])
def test_documented_example(capsys, small_data, trained):
    """The file in docs/heads.md, saved under the name in its first line; the heads in it are listed and trained."""
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
        assert main(["match", "logvar", param]) == 0
        assert f"vae train --param {param}" in capsys.readouterr().out
        validate(Config(param=param, init="matched", head_lr="matched"))
    for name in names[:trained]:
        param = f"my_heads:{name}"
        size = ["--data-dir", str(small_data), "--hidden", "12", "--latent", "3", "--epochs", "1", "--batch-size", "50"]
        size += ["--grad-every", "0"]
        assert main(["train", "--param", param, "--init", "matched", *size, "--json"]) == 0
        (summary,) = json.loads(capsys.readouterr().out)
        assert summary["status"] == "complete"
        assert summary["path"] == f"runs/{small_data.name}/my_heads.{name}/seed0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine = 3", "is not a vaecli.Head but of type int"),
        ("mine = lambda u: u", "is not a vaecli.Head but of type function"),
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
def test_names_that_are_not_a_module_and_a_name(capsys, param):
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
    validate(Config(param="far_head:mine", init="native"))
    with pytest.raises(ConfigError, match="no u is known at which"):
        validate(Config(param="far_head:mine"))


def test_libraries_do_not_see_the_working_folder():
    """What lies there is for the head's own modules, at any time, and for nobody else."""
    write("own_scale", "def factor():\n    import own_constant\n\n    return own_constant.VALUE")
    write("own_constant", "VALUE = 0.5")
    write("own_package", "raise RuntimeError('run by a stranger')")
    write("own_slow", "import own_scale\nfrom vaecli import Head\nmine = Head(f=lambda u: own_scale.factor() * u)")
    before = list(sys.path)
    head = resolve_head("own_slow:mine")
    assert sys.path == before
    sys.modules.pop("own_constant")
    assert float(head.f(3.0)) == 1.5
    # As a library tries an optional dependency.
    library = {"__name__": "some.library"}
    exec("try:\n    import own_package\nexcept ImportError:\n    missing = True", library)
    assert library["missing"]
    assert importlib.util.find_spec("own_package") is None
