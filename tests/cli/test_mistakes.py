"""What is answered to a command line that is wrong: one line, which says what was probably meant."""

from pathlib import Path

import pytest
from helpers.commands import complaint

from vaecli.cli import mistakes
from vaecli.cli.main import COMMANDS
from vaecli.cli.reference import references
from vaecli.config import Config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test runs in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        # Commands.
        ("trian", ["'trian'", "did you mean 'train'?"]),
        ("TRAIN", ["did you mean 'train'?"]),
        ("help trian", ["did you mean 'train'?"]),
        ("eval x", ["did you mean 'evaluate'?"]),
        ("ls", ["did you mean 'list'?"]),
        ("report", ["did you mean 'compare'?"]),
        ("version", ["vae --version"]),
        ("tensorboard", ["tensorboard --logdir runs"]),
        ("--verison", ["unknown option --verison", "'--version'"]),
        ("--param logvar", ["--param", "after the command", "vae train --param logvar"]),
        ("--json compare runs", ["after the command", "vae compare --json runs"]),
        ("--margin=1 runs", ["after the command", "vae compare --margin=1 runs"]),
        # Values without their flag.
        ("train logvar", ["vae train --param logvar"]),
        ("train logvar logstd", ["vae sweep --param logvar logstd"]),
        ("sweep logvar logstd", ["vae sweep --param logvar logstd"]),
        ("train mnist", ["vae train --config mnist"]),
        ("train epochs 3", ["did you mean '--epochs'?"]),
        ("train lr=3", ["did you mean '--lr 3'?"]),
        ("train stray", ["unexpected 'stray'"]),
        ("match a b c", ["unexpected 'c'", "A and B, and no more"]),
        ("probe a b", ["unexpected 'b'", "RUN, and no more"]),
        # Several values.
        ("sweep --param logvar,logstd", ["'logvar,logstd'", "--param logvar logstd"]),
        ("sweep --param=logvar,logstd", ["'logvar,logstd'", "--param logvar logstd"]),
        ("sweep --lr 1e-3,3e-3", ["must be a number", "--lr 1e-3 3e-3"]),
        ("sweep --optimizer adam,sgd", ["must be one of", "--optimizer adam sgd"]),
        ("train --param logvar,logstd", ["vae sweep --param logvar logstd"]),
        ("train --param logvar logstd", ["unexpected 'logstd'", "vae sweep --param logvar logstd"]),
        ("train --lr=1e-3,3e-3", ["vae sweep --lr 1e-3 3e-3"]),
        ("train --lr 1e-3 3e-3", ["vae sweep --lr 1e-3 3e-3"]),
        ("train --hidden 400 200", ["--hidden 400,200"]),
        ("train --seeds 0,1,2", ["--seed 0 --seeds 3"]),
        ("train --seeds 4 5 6", ["--seed 4 --seeds 3"]),
        ("train --seed 0 1 2", ["--seed 0 --seeds 3"]),
        ("sweep --seeds 0,1,2", ["--seed 0 --seeds 3"]),
        ("train --vary lr,bound", ["--vary lr bound"]),
        ("probe x --heads logvar logstd", ["--heads logvar,logstd"]),
        ("heads logvar,logstd", ["logvar logstd"]),
        ("match logvar,logstd", ["logvar logstd"]),
        ("compare runs --margin 1 2", ["--margin takes one value"]),
        # Switches.
        ("train --validation true", ["--validation and --no-validation take no value"]),
        ("train --json yes", ["--json takes no value"]),
        ("train --overwrite= --lr 2", ["unexpected '': --overwrite takes no value"]),
        ("train --no_validation=true", ["unexpected 'true': --validation and --no-validation take no value"]),
        ("train --hel", ["did you mean '--help'?"]),
        ("--lr 3", ["vae train --lr 3"]),
        ("list --json=runs", ["unexpected 'runs': --json takes no value"]),
        # Flags.
        ("train --LR 3", ["'--lr'"]),
        ("train -param logvar", ["'--param'"]),
        ("train —param logvar", ["'--param'"]),
        ("train --learning-rate 3", ["'--lr'"]),
        ("train --batchsize 3", ["'--batch-size'"]),
        ("train --optimiser adam", ["'--optimizer'"]),
        ("train --grad-draw 3", ["'--grad-draws'"]),
        ("train --version", ["vae --version"]),
        ("train --lr 1 -- --eps 2", ["--eps: options go before '--'"]),
        ("train -- --batch_size 3", ["--batch_size: options go before '--'"]),
        ("probe a -- --heads logvar", ["--heads: options go before '--'"]),
        ("train --tyro-print-completion bash", ["vae completion"]),
        ("--tyro-print-completion bash", ["vae completion"]),
        # Arguments.
        ("evaluate", ["vae evaluate runs/mnist/logvar/seed0"]),
        ("evaluate --run X", ["vae evaluate X"]),
        ("evaluate --run=X", ["vae evaluate X"]),
        ("compare --dir a b", ["vae compare a b"]),
        ("heads --head logvar", ["vae heads logvar"]),
        ("compare", ["vae compare runs/mnist"]),
        ("compare logvar logstd", ["'logvar' is a head", "vae compare runs/mnist"]),
        ("evaluate logvar", ["'logvar' is a head", "vae evaluate runs/mnist/logvar/seed0"]),
        ("list nowhere", ["nowhere: does not exist"]),
        ("docs statistic", ["did you mean 'statistics'?"]),
        ("docs nonsense", ["'nonsense'", "statistics"]),
        ("completion", ["vae completion bash"]),
        ("completion bsah", ["did you mean 'bash'?"]),
        ("completion powershell", ["'powershell'", "bash, zsh, fish, tcsh"]),
    ],
)  # fmt: skip
def test_what_was_meant(capsys, line, words):
    answer = complaint(capsys, *line.split())
    for word in words:
        assert word in answer
    assert len(answer) < 260


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["sweep", "--param", "logvar logstd"], "--param logvar logstd"),
        (["sweep", "--param", "logvar, logstd"], "--param logvar logstd"),
        (["sweep", "--lr", "1e-3 3e-3"], "--lr 1e-3 3e-3"),
        (["train", "--lr", "1e-3 3e-3"], "vae sweep --lr 1e-3 3e-3"),
        (["train", "--name", "a", "b"], "--name takes one value"),
    ],
)
def test_several_values_in_one_word_or_in_two(capsys, words, meant):
    assert meant in complaint(capsys, *words)


def test_a_run_in_place_of_a_config(capsys):
    Path("a run").mkdir()
    Path("a run/config.toml").touch()
    assert "vae train --config 'a run/config.toml'" in complaint(capsys, "train", "a run")


ODD = ["\udcff", "a\x00b", "x" * 5000, "\n", "=", "-", "--", "---", "--=", "–", "a,", ",", "é"]


@pytest.mark.parametrize("word", ODD)
def test_an_odd_word_in_place_of_a_command_is_answered_in_one_line(capsys, word):
    complaint(capsys, word)


# Each word in one command, and each command with what no encoding has and what looks like a flag.
@pytest.mark.parametrize(
    ("command", "word"),
    [
        pytest.param(command, word, marks=() if command == "train" or word in ("\udcff", "--=") else pytest.mark.long)
        for command in ("train", "sweep", "heads", "compare", "list", "docs", "completion", "match")
        for word in ODD
    ],
)
def test_odd_words_are_answered_in_one_line(capsys, command, word):
    complaint(capsys, command, "--nonsense", word)


_BOTH = {"dir", "runs", "heads"}
"""A flag of one command, and a mistake in another."""


def test_what_other_programs_say_is_not_said_here():
    """Otherwise the hint would hide what is here."""
    flags = {
        word.lstrip("-") for command in COMMANDS.values() for row in references(command, Config()) for word in row.words
    }
    elsewhere = {word for words in mistakes._FLAGS_ELSEWHERE.values() for word in words}
    assert not flags & elsewhere - _BOTH
    assert not set(COMMANDS) & {word for words in mistakes._COMMANDS_ELSEWHERE.values() for word in words}
