"""How a command line becomes the options of a command and its settings, of which tyro sees only what is given."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from vaecli.cli.command import Command
from vaecli.cli.flags import parse
from vaecli.cli.main import COMMANDS, main
from vaecli.cli.options import Switch
from vaecli.cli.reference import references
from vaecli.config import SETTINGS, Config, UsageError


@dataclasses.dataclass(frozen=True)
class Own:
    where: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="DIR …", help="Places.")] = ()
    names: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SETTING …", help="Names.")] = ()
    count: Annotated[int | None, tyro.conf.arg(help="Number.")] = None
    kind: Annotated[Literal["a", "b"] | None, tyro.conf.arg(help="Kind.")] = None
    rate: Annotated[float | None, tyro.conf.arg(help="Rate.")] = None
    other: Annotated[Literal["c", "d"], tyro.conf.arg(name="for", help="Other kind.")] = "c"
    in_place: Annotated[Path | None, tyro.conf.arg(help="Folder.")] = None
    quick: Annotated[Switch, tyro.conf.arg(help="Be quick.")] = False


@dataclasses.dataclass(frozen=True)
class Flags:
    """Options without an argument, so that a word besides is one too many."""

    kind: Annotated[Literal["a", "b"], tyro.conf.arg(help="Kind.")] = "a"


OWN = Command("", "", Own, lambda options, invocation: 0, (), settings=tuple(SETTINGS))
SWEEP = dataclasses.replace(OWN, several_values=True)
BASE = Config(name="base", validation=True, lr=0.5)


def read(*argv, command=OWN):
    return parse("own", command, argv, BASE)


def test_what_is_not_given_is_as_the_config_and_the_command_say():
    assert read() == (Own(), {name: getattr(BASE, name) for name in SETTINGS})
    assert read(command=SWEEP) == (Own(), dict.fromkeys(SETTINGS))


@pytest.mark.parametrize(
    ("line", "own"),
    [
        ("x y", Own(where=("x", "y"))),
        ("--names a b --count -3", Own(names=("a", "b"), count=-3)),
        ("-- --count 3", Own(where=("--count", "3"))),
        ("x --names --kind b", Own(where=("x",), kind="b")),
        ("--for d --rate=-1e-3", Own(other="d", rate=-0.001)),
        ("--in-place a/b --quick", Own(in_place=Path("a/b"), quick=True)),
        ("--in_place=a", Own(in_place=Path("a"))),
        ("--in-place=--rate --names=--count", Own(in_place=Path("--rate"), names=("--count",))),
    ],
)
def test_an_option_that_is_given_has_its_type(line, own):
    assert read(*line.split())[0] == own


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("--lr 1e-3 --batch_size 7", {"lr": 1e-3, "batch_size": 7}),
        ("--no-validation --hidden 3,4", {"validation": False, "hidden": (3, 4)}),
        ("--head-lr=auto --param logstd", {"head_lr": "auto", "param": "logstd"}),
    ],
)
def test_a_setting_that_is_given_takes_the_place_of_the_configs(line, given):
    _, settings = read(*line.split())
    assert settings == {name: getattr(BASE, name) for name in SETTINGS} | given
    assert list(settings) == list(SETTINGS)


def test_a_sweep_takes_several_values_of_a_setting():
    _, settings = read(*["--lr", "1e-3", "2", "--hidden", "3", "4,5", "--validation", "--seed", "3"], command=SWEEP)
    given = {"lr": (0.001, 2.0), "hidden": ((3,), (4, 5)), "validation": (True,), "seed": (3,)}
    assert settings == dict.fromkeys(SETTINGS) | given


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--count x", "--count: must be a whole number, got 'x'"),
        ("--rate x", "--rate: must be a number, got 'x'"),
        ("--kind c", "--kind: must be one of a, b, got 'c'"),
        ("--for a", "--for: must be one of c, d, got 'a'"),
        ("--lr 1 --fore a", "unknown option --fore, did you mean '--for'? (vae own --help-all lists them)"),
        ("--rate None", "--rate: must be a number, got 'None'"),
        ("--no-count", "unknown option --no-count, did you mean '--count'?"),
        ("--nonsense=--count", "unknown option --nonsense"),
        ("--no-quick", "unknown option --no-quick"),
        ("--other c", "unknown option --other"),
        ("--count --rate 1", "--count: needs a value"),
        ("--batch-size", "--batch-size: needs a value"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(line, complaint):
    with pytest.raises(UsageError) as raised:
        read(*line.split())
    assert str(raised.value).startswith(complaint)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--kind", "a\nb"], "--kind: must be one of a, b, got 'a b'"),
        (["--kind", "\n"], "--kind: must be one of a, b, got ' '"),
        (["--lr", "1", "a\nb"], "unexpected 'a\\nb'"),
        (["\n"], "unexpected '\\n'"),
        ([""], "unexpected ''"),
    ],
)
def test_a_value_may_have_lines(argv, complaint):
    with pytest.raises(UsageError) as raised:
        read(*argv, command=dataclasses.replace(OWN, options=Flags))
    assert str(raised.value).startswith(complaint)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_a_word_is_carried_out(monkeypatch, name):
    given = []
    command = dataclasses.replace(COMMANDS[name], run=lambda *all: given.append(all) or 0)
    monkeypatch.setitem(COMMANDS, name, command)
    assert main([name]) == 0
    ((options, invocation),) = given
    assert options == command.options()
    default = None if command.several_values else Config()
    assert invocation.settings == {name: default and getattr(default, name) for name in command.settings}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_that_the_help_names_is_one(name):
    command = COMMANDS[name]
    for word in [word for row in references(command, Config()) for word in row.words]:
        with contextlib.suppress(UsageError):
            parse(name, command, [word], Config())
            continue
        with pytest.raises(UsageError, match="needs a value"):
            parse(name, command, [word], Config())
