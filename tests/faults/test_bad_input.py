"""Mutated command lines and configs: each runs, or is refused in one line, and leaves nothing behind then."""

import os
import shlex

import hypothesis
import pytest
from hypothesis import strategies as st

import vaecli.data.dataset
from vaecli import Config
from vaecli.cli.main import main
from vaecli.config import SETTINGS
from vaecli.config.toml import to_toml

# Small ones run in a moment; the others are what people and programs mistype.
SMALL = ["1", "2", "3", "0.5", "1e-3", "0", "5,4", "", "auto", "none", "skip", "adam", "logstd", "grey", "mean", "run"]
JUNK = [" ", "x", "nan", "inf", "-1", "1e400", "1e-400", "1_0", "٣", "../x", "/etc/passwd", "a" * 300, "--", "-", "[]"]
JUNK += [
    "true",
    "1.5.2",
    "\n",
    "é\u202e",
    os.fsdecode(b"\xff"),
    "0x10",
    ",",
    "a b",
    "$(id)",
    "<b>",
    "%s",
    "{}",
    "'",
    '"',
    "\\",
]
VALUES = st.sampled_from(SMALL) | st.sampled_from(JUNK) | st.text(max_size=5)
NAMES = ["--" + name.replace("_", "-") for name in SETTINGS] + [
    "--config",
    "--seeds",
    "--overwrite",
    "--json",
    "--param",
]


@st.composite
def mangled(draw, text):
    """A text of which a piece is cut out, doubled or replaced."""
    begin = draw(st.integers(0, len(text)))
    end = draw(st.integers(begin, min(len(text), begin + 12)))
    with_ = draw(st.sampled_from(["", text[begin:end] * 2]) | st.sampled_from(JUNK) | st.text(max_size=3))
    return text[:begin] + with_ + text[end:]


@st.composite
def command_lines(draw, small):
    """Flags of a run of which some are other flags, have other values, are cut, doubled or misspelt."""
    words = [word for name, value in small.items() for word in ("--" + name.replace("_", "-"), value)]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(words)))
        match draw(st.sampled_from(["value", "flag", "cut", "double", "misspell"])):
            case "value" if at < len(words):
                words[at | 1 if at | 1 < len(words) else at] = draw(VALUES)
            case "flag":
                words += [draw(st.sampled_from(NAMES)), draw(VALUES)]
            case "cut":
                del words[at : at + 1]
            case "double":
                words[at:at] = words[at : at + 2]
            case "misspell" if at < len(words):
                words[at] = draw(mangled(words[at]))
    return words


@st.composite
def configs(draw, config):
    """The TOML of a run, of which some lines are cut, doubled, mangled, or have other values."""
    lines = to_toml(config).splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["value", "cut", "double", "mangle"])):
            case "value":
                lines[at] = lines[at].split("=")[0] + "= " + draw(VALUES)
            case "cut":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "mangle":
                lines[at] = draw(mangled(lines[at]))
        lines = lines or [""]
    return "\n".join(lines)


@pytest.mark.parametrize("examples", [12, pytest.param(500, marks=pytest.mark.long)])
def test_mutations(small_data, tmp_path, monkeypatch, capsys, examples):
    # Whoever loses the data folder trains on these, and not on sixty thousand images.
    monkeypatch.setattr(vaecli.data.dataset, "_EMBEDDED", small_data)
    monkeypatch.chdir(tmp_path)
    small = {"name": "n", "hidden": "12", "latent": "3", "epochs": "1", "batch_size": "50", "grad_every": "0"}
    config = Config(name="n", hidden=(12,), latent=3, epochs=1, batch_size=50, grad_every=0)
    ended = []

    @hypothesis.settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @hypothesis.given(given=command_lines(small) | configs(config))
    def try_it(given):
        if isinstance(given, str):
            (tmp_path / "given.toml").write_bytes(given.encode(errors="surrogateescape"))
            given = ["--config", "given.toml"]
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        code = main(["train", *given])
        streams = capsys.readouterr()
        told = f"{shlex.join(given)}: {code}\n{streams.err}"
        assert "Traceback" not in streams.err, told
        if code == 2:
            assert not streams.out, told
            assert len(streams.err.splitlines()) == 1, told
            assert streams.err.startswith("vae: "), told
            assert sorted(tmp_path.rglob("*")) == before, told
        else:
            assert code in (0, 3), told
            for path in tmp_path.rglob("config.toml"):
                assert (path.parent / "summary.json").exists(), told
        ended.append(code)

    try_it()
    assert {0, 2} <= set(ended)
