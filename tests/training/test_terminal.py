"""Where lines end up: stdout that is full, closed or left, and a stderr that cannot be written."""

import os
import subprocess
import sys

import pytest

from vaecli.training import terminal
from vaecli.training.progress import Bar, on_stderr

FULL = "vae: stdout: cannot be written (No space left on device)\n"
VAE = [sys.executable, "-m", "vaecli"]


@pytest.mark.parametrize(
    ("words", "shell", "code", "said"),
    [
        (["--version"], ">/dev/full", 2, FULL),
        (["train", "--help"], ">/dev/full", 2, FULL),
        (["completion", "bash"], ">/dev/full", 2, FULL),
        (["--version"], "| true", 141, ""),
        (["--version"], ">&-", 0, ""),
        (["--version"], "2>/dev/full", 0, ""),
        (["trian"], "2>/dev/full", 2, ""),
        (["trian"], "2>&-", 2, ""),
        (["trian"], ">/dev/full 2>/dev/full", 2, ""),
    ],
)
def test_streams_that_cannot_be_written(words, shell, code, said):
    read, write = os.pipe()
    end = f"echo $? >&{write}"
    # In a pipe it waits until the reader has left.
    script = f'(sleep 0.2; "$@"; {end}) {shell}' if shell.startswith("|") else f'"$@" {shell}; {end}'
    argv = ["bash", "-c", script, "sh", *VAE, *words]
    done = subprocess.run(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[write], text=True)
    os.close(write)
    with os.fdopen(read) as file:
        assert int(file.read()) == code
    assert done.stderr == said


class Full:
    """A stream on a full disk."""

    def write(self, *text):
        raise OSError(28, "No space left on device")

    flush = fileno = write

    def isatty(self):
        return True


def test_a_message_that_cannot_be_printed_stops_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Full())
    terminal.print_message("lost")


def test_a_terminal_that_has_gone_stops_no_training(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Full())
    bar = on_stderr()
    assert isinstance(bar, Bar)
    bar.begin("a run", 2)
    bar.epoch(1, -3.0, 5.0)
    bar.note("x" * 600)
    bar.end()


def test_lines_are_printed_without_their_controls(capsys):
    terminal.print_result("a\x1b[31m\nb")
    terminal.print_message("c\x07" + "x" * 600)
    terminal.print_uncut("d\r" + "x" * 600)
    streams = capsys.readouterr()
    assert streams.out == r"a\x1b[31m\nb" + "\n"
    message, uncut = streams.err.splitlines()
    assert message.startswith(r"c\x07xxx")
    assert len(message) <= 500
    assert uncut == r"d\r" + "x" * 600
