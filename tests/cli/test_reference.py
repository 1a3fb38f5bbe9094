"""What is said of the options of a command, and what is relied on of tyro's annotations for it."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from vaecli.cli.command import Command
from vaecli.cli.main import COMMANDS
from vaecli.cli.options import Switch
from vaecli.cli.reference import Reference, Uncommon, references
from vaecli.config import SETTINGS, Config


@dataclasses.dataclass(frozen=True)
class Own:
    where: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR", help="A place.", help_behavior_hint="(required)")
    ] = ""
    names: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SETTING …", help="Names."), Uncommon()] = ()
    count: Annotated[int | None, tyro.conf.arg(help="Number.", help_behavior_hint="(default: all)")] = None
    kind: Annotated[Literal["a", "b"], tyro.conf.arg(help="A. More.")] = "a"
    rate: Annotated[float, tyro.conf.arg(help="Rate.")] = 0.0
    runs: Annotated[Path, tyro.conf.arg(help="Folder.")] = Path("runs")
    quick: Annotated[Switch, tyro.conf.arg(help="Be quick.")] = False


OWN = Command("", "", Own, lambda options, invocation: 0, (), settings=("validation", "data_dir", "hidden", "eps"))


def test_an_option_is_what_its_annotation_says():
    assert references(OWN, Config())[:7] == [
        Reference((), "DIR", "A place.", "required"),
        Reference(["--names"], "SETTING …", "Names.", common=False, several=True),
        Reference(["--count"], "INT", "Number.", "default: all"),
        Reference(["--kind"], "a|b", "A. More.", "default: a"),
        Reference(["--rate"], "FLOAT", "Rate.", "default: 0"),
        Reference(["--runs"], "DIR", "Folder.", "default: runs"),
        Reference(["--quick"], "", "Be quick."),
    ]


@pytest.mark.parametrize("several", [False, True])
def test_a_setting_has_the_default_of_the_config_in_words(several):
    command = dataclasses.replace(OWN, several_values=several)
    validation, data_dir, hidden, eps = references(command, Config(validation=True, hidden=(4, 5)))[7:]
    assert validation.words == (["--validation"] if several else ["--validation", "--no-validation"])
    assert validation.metavar == ("true|false …" if several else "")
    assert data_dir.metavar == ("DIR …" if several else "DIR")
    remarks = [row.remark for row in (validation, data_dir, hidden, eps)]
    assert remarks == ["default: yes", "default: MNIST", "default: 4,5", "default: 1e-08"]
    assert (eps.section, eps.common, eps.several) == ("train", False, several)


@pytest.mark.parametrize(
    ("doc", "brief"),
    [
        ("One. Two.", "One."),
        ("A pixel. gaussian has one.", "A pixel."),
        ("As Burda et al. 2016 have it. Two.", "As Burda et al. 2016 have it."),
        ("Draws, 1, 2, …", "Draws, 1, 2, …"),
    ],
)
def test_in_brief_an_option_is_its_first_sentence(doc, brief):
    assert Reference((), "", doc).brief == brief


def test_all_options_are_explained():
    for name, command in COMMANDS.items():
        for row in references(command, Config()):
            assert row.doc.endswith((".", "…")), (name, row)
            # Nothing is left of a default that only Python would write.
            assert not {"()", "''", "None", "True", "False"} & set(row.remark.split()), (name, row)
    assert {row.section for row in references(COMMANDS["train"], Config())} == {
        "",
        *(s.section for s in SETTINGS.values()),
    }
