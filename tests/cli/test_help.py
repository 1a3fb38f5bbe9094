import re

import pytest

from vaecli.cli import help
from vaecli.cli.main import COMMANDS, main
from vaecli.config import SETTINGS


@pytest.fixture
def shown(capsys, monkeypatch):
    """Returns the lines that a command line prints at a width of the terminal."""

    def shown(*argv, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main(argv) == 0
        streams = capsys.readouterr()
        assert not streams.err
        return streams.out.splitlines()

    return shown


def test_what_people_use_of_train_fits_two_screens(shown):
    lines = shown("train", "--help")
    assert len(lines) <= 2 * 24
    common = {"--" + name.replace("_", "-") for name, setting in SETTINGS.items() if setting.common}
    text = "\n".join(lines).replace("--[no-]", "--")
    assert {"--param", "--lr", "--epochs", "--data-dir", "--help-all"} <= set(re.findall(r"^  (--[\w-]+)", text, re.M))
    assert common <= set(re.findall(r"^  (--[\w-]+)", text, re.M))
    assert "--grad-batches" not in text


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_every_setting_is_explained_where_all_are_asked_for(shown, command):
    text = " ".join(" ".join(shown(command, "--help-all")).split())
    for name, setting in SETTINGS.items():
        assert re.search(rf"--(\[no-\])?{name.replace('_', '-')}\b", text)
        assert " ".join(setting.doc.split()) in text


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_lines_are_wrapped_at_the_width_of_the_terminal(shown, command, columns):
    """Only an example of a command is longer, which a shell would not read in pieces, or what an option is called."""
    for line in shown(*filter(None, [command]), "--help", columns=columns):
        assert len(line) <= min(max(columns, 40), 120) or re.match(r"  (vae |source |--)", line), line


@pytest.mark.parametrize("argv", [["--help"], ["-h"], [], ["help"], ["help", "help"], ["--help-all"]])
def test_the_help_of_the_program_groups_the_commands(shown, argv):
    lines = shown(*argv)
    assert [line for line in lines if re.fullmatch(r"\w+:", line)] == [
        "Run:", "Look:", "Check:", "Help:", "Flags:", "Examples:"
    ]  # fmt: skip
    assert [line.split()[0] for line in lines if line[2:].split(" ")[0] in COMMANDS] == list(COMMANDS)
    assert "--version" in "\n".join(lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_in_examples(shown, name):
    lines = shown(name, "--help", columns=120)
    assert lines[0].startswith(f"usage: vae {name}")
    examples = lines[lines.index("Examples:") + 1 :]
    assert all(re.match(rf"  (#|vae {name}\b|source)", line) for line in examples)
    assert (
        shown("help", name, columns=120)
        == shown("--help", name, columns=120)
        == shown(name, "-h", columns=120)
        == lines
    )


def test_defaults_are_those_of_the_config(shown):
    assert any("--epochs" in line and "default: 10)" in line for line in shown("train", "--help"))
    text = " ".join(" ".join(shown("train", "--config", "flax_example", "--help")).split())
    assert "Widths of the encoder's hidden layers. (default: 500)" in text


def test_empty_defaults_are_said_in_words(shown):
    text = " ".join(" ".join(shown("train", "--help-all")).split())
    assert "They may be gzipped. (default: MNIST)" in text
    assert "(default: none, an MLP)" in text
    assert not re.search(r"default: ('|\(|False|None|\))", text)


def test_examples_are_beside_or_below_what_they_do(monkeypatch):
    examples = COMMANDS["completion"].examples
    monkeypatch.setenv("COLUMNS", "60")
    assert help._examples(examples)[1:3] == [f"  # {examples[0].does}", f"  {examples[0].command}"]
    monkeypatch.setenv("COLUMNS", "120")
    assert re.fullmatch(
        rf"  {re.escape(examples[0].command)} +{re.escape(examples[0].does)}", help._examples(examples)[1]
    )
