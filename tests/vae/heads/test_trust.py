"""A head that only a run names: its module is not imported unless the user says so."""

import json
import sys
from pathlib import Path

import pytest
from helpers.commands import complaint, flags_of

from vaecli.cli.main import main
from vaecli.config import UsageError
from vaecli.vae.heads.trust import check_trusted


@pytest.fixture(scope="module")
def runs(small, tmp_path_factory):
    """Runs of a head of somebody's own; importing its module writes to a file beside it.

    As a map it is logvar, so that what other tests have compiled serves.
    """
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "their_head.py").write_text(
        "from pathlib import Path\nfrom vaecli import Head\nwith Path('imported').open('a') as file:\n"
        "    file.write('x')\nmine = Head(f=lambda u: u, slope=0.5)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "--param", "their_head:mine", *flags_of(small | {"epochs": 1})]) == 0
    return folder


@pytest.fixture(autouse=True)
def foreign(runs, monkeypatch):
    """The working folder is theirs, and nothing has been imported from it."""
    monkeypatch.chdir(runs)
    monkeypatch.delitem(sys.modules, "their_head", raising=False)
    Path("imported").unlink(missing_ok=True)


RUN = "runs/small/their_head.mine/seed0"


@pytest.mark.parametrize(
    "argv",
    [
        ["evaluate", RUN],
        ["probe", RUN],
        ["probe", RUN, "--heads", "logvar"],
    ],
)
def test_a_module_that_only_a_run_names_is_not_imported(capsys, argv):
    line = complaint(capsys, *argv)
    for words in ("their_head:mine", str(Path("their_head.py").resolve()), "--trust-heads", ".toml: "):
        assert words in line
    assert not Path("imported").exists()


def test_compare_imports_nothing(capsys):
    assert main(["compare", "runs", "--reference", "logvar"]) == 2
    assert not Path("imported").exists()


@pytest.mark.parametrize(
    ("of", "code"), [("decoder", 2), pytest.param("encoder", 0, marks=pytest.mark.long)], ids=["decoder", "encoder"]
)
def test_what_the_user_names_trusts_or_trains_is_imported(capsys, of, code):
    """A decoder without a scale has no heads to probe, which is seen when the module has been imported."""
    probed = ["probe", RUN, "--of", of, "--heads", "their_head:mine", "--draws", "2", "--batches", "1"]
    assert main(probed) == code
    assert "--trust-heads" not in capsys.readouterr().err
    assert Path("imported").read_text() == "x"
    assert main(["evaluate", RUN, "--samples", "2", "--trust-heads", "--json"]) == 0
    assert main(["train", "--config", f"{RUN}/config.toml"]) == 0
    assert Path("imported").read_text() == "x"


@pytest.mark.parametrize(
    ("head", "origin"),
    [
        ("json:loads", f"from {json.__file__}"),
        ("sys:path", "from built-in"),
        ("no_such_module.inner:x", "there is no module 'no_such_module.inner' here"),
        ("../x:y", "there is no module '../x' here"),
        (":", "there is no module '' here"),
    ],
)
def test_the_origin_is_named(head, origin):
    with pytest.raises(UsageError) as raised:
        check_trusted([head], "a run", ["logvar"], trusted=False)
    assert origin in str(raised.value)
    check_trusted([head], "a run", [head], trusted=False)
    check_trusted([head, "logvar"], "a run", [], trusted=True)
