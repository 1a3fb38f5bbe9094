"""Random commands over damaged runs: each has an outcome or ends in one line, and nothing acts on a terminal."""

import copy
import json
import os
import shlex
import shutil

import hypothesis
import pytest
from helpers.commands import flags_of
from hypothesis import strategies as st

import vaecli.data.dataset
from vaecli import Config, train_seeds
from vaecli.cli.main import main

# Small ones run in a moment; the others are what people mistype, programs write and strangers try.
JUNK = [
    "1",
    "2",
    "0.5",
    "",
    " ",
    "x",
    "nan",
    "inf",
    "-1",
    "0",
    "-0",
    "1e400",
    "1e308",
    "1e-320",
    "9" * 5000,
    "٣",
    "true",
]
JUNK += ["logvar", "../x", "/dev/null", "a" * 300, "b" * 100_000, "--", "-", "[]", "~nobody/x", "no_such:head", "a:b"]
JUNK += ["true", "\n", "é\u202e", os.fsdecode(b"\xff"), "\x1b[31m", "\x00", ",", "a b", "<b>", "%s", "{}", "'", "=1+1"]
VALUES = st.sampled_from(JUNK) | st.text(max_size=5)
IN_JSON = [None, True, False, 0, -1, 1.5, 1e300, 10**400, 2**63, float("nan"), float("inf"), "", "x", "-12.5", [], {}]
IN_JSON += ["\x1b[31m\n", "\ud800", [[]], {"a": None}, ["x"], "y" * 10_000, {"epoch": "1"}]
IN_TOML = [
    "",
    "0x" + "f" * 5000,
    "nan",
    "-inf",
    "1e400",
    "true",
    "-1",
    "9" * 400,
    "1979-05-27",
    "[]",
    "[[[[[[[[[]]]]]]]]]",
]
IN_TOML += [
    "{a = 1}",
    "{" * 2000,
    '"\\u202e"',
    '"\\u0000"',
    '"no_such:head"',
    '"json:loads"',
    '"#<b>"',
    f'"{"z" * 9000}"',
]
TEXTS = ["", "{", "[" * 100_000, "null", "\x00", "\ufeff{}", '{"a": 1, "a": 2}', "x.y" * 7000, "[run]\nseed = 1"]
NAMES = ["\x1b]0;title\x07", "a\nvae: all is well", os.fsdecode(b"\xfe"), "\u202egnp", "=1+1", "x" * 200, "-x"]
RUN = "runs/small/logvar/seed1"
COMMANDS = [
    ["compare", "runs", "--allow-mixed"],
    ["compare", "runs", "--json"],
    ["compare", "runs", "--csv", "c.csv", "--csv-runs", "r.csv"],
    ["evaluate", RUN, "--samples", "2"],
    ["evaluate", RUN, "--samples", "2", "--json"],
    ["probe", RUN, "--draws", "2", "--batches", "1", "--heads", "logvar,logstd"],
    ["train"],
    ["train", "--json"],
    ["train", "--config", f"{RUN}/config.toml"],
    ["sweep"],
    ["sweep", "--commands", "--json"],
]
OTHERS = [
    ["heads", "logvar", "--json"],
    ["match", "logvar", "logstd"],
    ["verify"],
    ["--help"],
    ["--version"],
    ["bogus"],
]
FLAGS = ["--metric", "--margin", "--alpha", "--reference", "--at", "--samples", "--split", "--draws", "--batches"]
FLAGS += ["--heads", "--seeds", "--seed", "--param", "--lr", "--epochs", "--latent", "--name", "--runs", "--vary"]
FLAGS += ["--config", "--data-dir", "--jobs", "--html", "--plot", "--images", "--checkpoint", "--trust-heads"]


@st.composite
def mangled(draw, text):
    """A text of which a piece is cut out, doubled or replaced."""
    begin = draw(st.integers(0, len(text)))
    end = draw(st.integers(begin, min(len(text), begin + 12)))
    return text[:begin] + draw(st.sampled_from(["", text[begin:end] * 2]) | VALUES) + text[end:]


@st.composite
def with_other_value(draw, record):
    """An object in which something is another value, or has gone."""
    record = copy.deepcopy(record)
    place, key = record, draw(st.sampled_from(sorted(record)))
    while isinstance(place[key], dict) and place[key] and draw(st.booleans()):
        place, key = place[key], draw(st.sampled_from(sorted(place[key])))
    if draw(st.integers(0, 4)):
        place[key] = draw(st.sampled_from(IN_JSON))
    else:
        del place[key]
    return json.dumps(record)


@st.composite
def damaged(draw, name, text):
    """The content of a run's file, changed; bytes that are not UTF-8 included."""
    match draw(st.sampled_from(["mangled", "value", "value", "value", "text", "bytes"])):
        case "text":
            text = draw(st.sampled_from(TEXTS))
        case "bytes":
            return draw(st.binary(max_size=20))
        case "value" if name == "summary.json":
            text = draw(with_other_value(json.loads(text)))
        case "value" if name == "config.toml":
            lines = text.splitlines()
            at = draw(st.integers(0, len(lines) - 1))
            lines[at] = lines[at].split("=")[0] + "= " + draw(st.sampled_from(IN_TOML))
            text = "\n".join(lines)
        case _:
            text = draw(mangled(text))
    return text.encode(errors="surrogatepass")


@st.composite
def cases(draw, files):
    """A command line, and by path what is put in the place of a file, and the name that a run's folder gets, if any."""
    argv = draw(st.sampled_from(COMMANDS + COMMANDS + OTHERS))
    changes, name = {}, None
    if argv in COMMANDS and draw(st.integers(0, 3)):
        for path in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2, unique=True)):
            changes[path] = draw(damaged(path.rpartition("/")[2], files[path]))
        name = draw(st.none() | st.sampled_from(NAMES))
    if not changes or not draw(st.integers(0, 3)):
        argv = list(argv)
        for _ in range(draw(st.integers(1, 2))):
            at = draw(st.integers(1, len(argv)))
            match draw(st.sampled_from(["flag", "flag", "word", "cut"])):
                case "flag":
                    argv += [draw(st.sampled_from(FLAGS)), draw(VALUES)]
                case "word":
                    argv.insert(at, draw(VALUES))
                case "cut":
                    del argv[at : at + 1]
    return argv, changes, name


@pytest.fixture(scope="module")
def small(small):
    """Without hidden layers, so that there is less to compile."""
    return small | {"hidden": ()}


@pytest.fixture(scope="module")
def made(small, tmp_path_factory):
    """Runs of two heads and two seeds, and those files of theirs that anybody may change, with their contents."""
    folder = tmp_path_factory.mktemp("made")
    for param in ("logvar", "logstd"):
        train_seeds(Config(**small | {"param": param, "epochs": 1}), 2, runs=folder / "runs")
    names = ("summary.json", "config.toml", "metrics.jsonl")
    paths = [path for path in folder.rglob("*") if path.name in names and path.parent.name == "seed1"]
    return folder, {str(path.relative_to(folder)): path.read_text() for path in paths}


def check(argv, code, out, err):
    """Asserts what holds of the end of every command."""
    said = f"{shlex.join(map(repr, argv))}: {code}\n{err}"
    assert code in (0, 2, 3), said
    assert "Traceback" not in err, said
    assert "VAE_TRACEBACK" not in err, said
    lines = err.split("\n")
    assert lines.pop() == "", said
    for line in lines:
        assert len(line) <= 500, said
        assert line.isprintable(), said
    assert all(line.isprintable() for line in out.split("\n")), said
    if code == 2:
        assert lines[-1].startswith("vae: "), said
        assert not out, said
    elif "--json" in argv and out and code == 0 and "--help" not in argv:
        json.loads(out, parse_constant=lambda word: pytest.fail(said))


@pytest.mark.parametrize("examples", [20, pytest.param(1000, marks=pytest.mark.long)])
def test_commands_over_what_strangers_left(made, small, small_data, tmp_path, monkeypatch, capsys, examples):
    folder, files = made
    monkeypatch.setattr(vaecli.data.dataset, "_EMBEDDED", small_data)
    monkeypatch.setattr("vaecli.verify.checks", lambda: iter([]))
    monkeypatch.chdir(tmp_path)
    small = flags_of(small | {"epochs": 1})
    ended = []

    @hypothesis.settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @hypothesis.given(case=cases(files))
    def try_it(case):
        argv, changes, name = case
        for entry in tmp_path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        shutil.copytree(folder / "runs", tmp_path / "runs")
        for path, content in changes.items():
            (tmp_path / path).write_bytes(content)
        if name:
            shutil.copytree(tmp_path / RUN, tmp_path / "runs" / name)
        if argv[0] in ("train", "sweep"):
            argv = [argv[0], *small, *["--dry-run"] * (argv[0] == "sweep"), *argv[1:]]
        capsys.readouterr()
        try:
            code = main(argv)
        except SystemExit as stop:
            code = stop.code or 0
        check(argv, code, *capsys.readouterr())
        ended.append(code)

    try_it()
    print({code: ended.count(code) for code in sorted(set(ended))})
    assert {0, 2} <= set(ended)
