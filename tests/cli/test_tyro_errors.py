"""What is relied on of tyro: a release that words, draws or reads things otherwise fails here, and says which."""

import contextlib
import dataclasses
import io
from typing import Annotated, Literal

import pytest
import tyro

from vaecli.cli import tyro_errors
from vaecli.cli.tyro_errors import UnknownWordError, parse, usage_error
from vaecli.config import UsageError


def pair(words):
    try:
        return tuple(map(int, words[0].split(",")))
    except ValueError:
        raise ValueError("must be two numbers") from None


PAIR = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="INT,INT",
    instance_from_str=pair,
    is_instance=lambda value: True,
    str_from_instance=lambda value: [",".join(map(str, value))],
)
SEVERAL = tyro.constructors.PrimitiveConstructorSpec(
    nargs="*",
    metavar="a|b …",
    instance_from_str=tuple,
    is_instance=lambda value: True,
    str_from_instance=lambda value: [],
    choices=("a", "b"),
)


@dataclasses.dataclass(frozen=True)
class Group:
    """How it is done."""

    count: int = 1
    rate: float = 0.5
    name: str = "x"
    kind: Literal["red", "green"] = "red"
    batch_size: int = 7
    switch: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    toggle: bool = False
    pair: Annotated[tuple[int, ...], PAIR] = (1, 2)
    several: Annotated[object, SEVERAL] = None


@dataclasses.dataclass(frozen=True)
class Run:
    """Does something."""

    group: Group = dataclasses.field(default_factory=Group)


@dataclasses.dataclass(frozen=True)
class Place:
    where: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="WHERE", help="A place.", help_behavior_hint="(required)")
    ] = ""


@dataclasses.dataclass(frozen=True)
class Look:
    """Looks at something."""

    place: Place = dataclasses.field(default_factory=Place)


WORDS = dataclasses.replace(SEVERAL, metavar="WORD …", choices=None)


@dataclasses.dataclass(frozen=True)
class Given:
    """A flag that is given needs no default."""

    words: Annotated[object, tyro.conf.Positional[int].__metadata__[0], WORDS] = ()
    limit: int = dataclasses.field(kw_only=True)


@dataclasses.dataclass(frozen=True)
class Nothing:
    """A group of which no flag is given."""


@dataclasses.dataclass(frozen=True)
class Keep:
    """Keeps something."""

    given: Given = dataclasses.field(default_factory=Given)
    nothing: Nothing = dataclasses.field(default_factory=Nothing)


COMMANDS = {"run": Run, "look": Look, "keep": Keep}


def read(command, *argv):
    return parse(COMMANDS[command], argv, f"vae {command}")


# The encoding of stdout decides how tyro draws its frames.
in_both_encodings = pytest.mark.parametrize("encoding", ["utf-8", "ascii"])


@contextlib.contextmanager
def stdout_in(encoding):
    """A stdout with an encoding, from which what was printed can be read."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    with contextlib.redirect_stdout(stream):
        yield stream
    stream.seek(0)


# How values are read -------------------------------------------------------------------------------------------------


def test_flags_of_a_group_have_no_prefix_and_a_dash_for_an_underscore():
    assert read("run", "--batch-size", "3", "--rate=0.25").group == Group(batch_size=3, rate=0.25)
    assert read("run").group == Group()
    assert read("look", "here").place == Place("here")
    assert read("look").place == Place("")


def test_of_a_flag_given_twice_the_last_one_counts():
    assert read("run", "--count", "3", "--count", "4").group.count == 4


def test_switches_and_toggles():
    assert read("run", "--switch", "--toggle").group == Group(switch=True, toggle=True)
    assert read("run", "--no-toggle").group == Group()
    with pytest.raises(UnknownWordError) as raised:
        read("run", "--no-switch")
    assert raised.value.word == "--no-switch"


def test_a_constructor_of_our_own_gets_the_words_of_its_flag():
    assert read("run", "--pair", "4,5").group.pair == (4, 5)
    assert read("run", "--several", "a", "b", "a").group.several == ("a", "b", "a")
    assert read("run", "--several").group.several == ()
    assert read("run").group.several is None


def test_a_flag_without_a_default_and_any_number_of_arguments():
    assert read("keep", "--limit", "3") == Keep(Given((), limit=3), Nothing())
    assert read("keep", "a", "b", "--limit", "3").given.words == ("a", "b")
    assert read("keep", "--limit", "3", "--", "--limit", "b").given == Given(("--limit", "b"), limit=3)
    with pytest.raises(UsageError, match=r"^--limit: needs a value$"):
        read("keep", "--limit")


def test_an_underscore_is_a_dash():
    assert read("run", "--batch_size", "3").group.batch_size == 3


def test_a_number_may_be_negative():
    assert read("run", "--rate", "-1e-3").group.rate == -0.001


# How errors are drawn and worded --------------------------------------------------------------------------------------


@in_both_encodings
@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--count", "x"], "--count: must be a whole number, got 'x'"),
        (["--count", "1.5"], "--count: must be a whole number, got '1.5'"),
        (["--rate", "fast"], "--rate: must be a number, got 'fast'"),
        (["--count"], "--count: needs a value"),
        (["--name", "--count", "3"], "--name: needs a value"),
        (["--kind", "blue"], "--kind: must be one of red, green, got 'blue'"),
        (["--several", "c"], "--several: must be one of a, b, got 'c'"),
        (["--kind", "gren"], "--kind: must be one of red, green, got 'gren', did you mean 'green'?"),
        (["--pair", "x"], "--pair: must be two numbers"),
    ],
)
def test_an_error_becomes_one_line(encoding, capsys, argv, line):
    with stdout_in(encoding) as stdout, pytest.raises(UsageError) as raised:
        read("run", *argv)
    assert str(raised.value) == line
    assert not stdout.read()
    assert not capsys.readouterr().err


@in_both_encodings
@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["run", "--cuont", "3"], "--cuont"),
        (["run", "--count=3", "--cuont=4", "--other"], "--cuont=4"),
        (["run", "stray"], "stray"),
        (["look", "here", "there"], "there"),
        (["run", "--group.count", "3"], "--group.count"),
        (["run", "--where", "here"], "--where"),
        (["run", "-x"], "-x"),
    ],
)
def test_an_unknown_word_is_named(encoding, argv, word):
    with stdout_in(encoding), pytest.raises(UnknownWordError) as raised:
        read(*argv)
    assert raised.value.word == word


def box_of(argv, width, encoding, monkeypatch):
    """The error of a command line as tyro itself prints it."""
    monkeypatch.setenv("COLUMNS", str(width))
    stderr = io.StringIO()
    with stdout_in(encoding), contextlib.redirect_stderr(stderr), pytest.raises(SystemExit) as stop:
        tyro.cli(COMMANDS[argv[0]], prog="vae", args=argv[1:], config=(tyro.conf.OmitArgPrefixes,))
    assert stop.value.code == 2
    return stderr.getvalue()


@in_both_encodings
def test_an_error_is_a_title_and_a_message_in_a_frame_on_stderr(encoding, monkeypatch):
    box = box_of(["run", "--count", "x"], 10_000, encoding, monkeypatch)
    title, *lines = [line.strip("│╭╮╰╯─ ") for line in box.splitlines()]
    assert title == "Value error"
    message = next(line for line in lines if set(line) - {"-"})
    assert message == "Error parsing --count: invalid literal for int() with base 10: 'x'"
    assert str(usage_error(box)) == "--count: must be a whole number, got 'x'"


@in_both_encodings
def test_an_error_is_wrapped_at_the_width_that_the_environment_says(encoding, monkeypatch):
    narrow, wide = (box_of(["run", "--count", "x" * 60], width, encoding, monkeypatch) for width in (50, 10_000))
    assert max(map(len, narrow.splitlines())) == 50
    assert "x" * 60 not in narrow
    assert "x" * 60 in wide


def test_the_environment_is_as_before(monkeypatch):
    for before in ("77", None):
        if before is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setenv("COLUMNS", before)
        with pytest.raises(UsageError):
            read("run", "--count", "x")
        assert tyro_errors.os.environ.get("COLUMNS") == before
