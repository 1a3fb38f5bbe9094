"""Shells in which a command line is typed, with TABs in it, and what they hand to the command in the end."""

import os
import re
import select
import subprocess
import sys
import time

_ARGV = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
    "tcsh": ["tcsh", "-f"],
}
# What a shell needs before it reads a script; tcsh edits lines on a terminal of some kind only.
_FIRST = {"zsh": "autoload -U compinit; compinit -D\n"}
_TERMS = {"tcsh": "xterm", "fish": "xterm"}

# Makes the terminal that of a new session, and becomes a program.
_ON_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def typed(shell, script, lines, folder):
    """Types lines that begin with `vae` in an interactive shell, and returns the arguments that the command got.

    Args:
      shell: its name.
      script: the file that it reads first.
      lines: with a tab wherever the TAB key is pressed.
      folder: where the shell runs; it is written to.
    """
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    # Instead of the command, one that only shows its arguments.
    (programs / "vae").write_text("#!/bin/sh\nprintf '\\001'\nprintf '\\002%s' \"$@\"\nprintf '\\003'\n")
    (programs / "vae").chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "TERM": _TERMS.get(shell, "dumb"),
    }
    terminal, inside = os.openpty()
    argv = [sys.executable, "-c", _ON_TERMINAL, *_ARGV[shell]]
    process = subprocess.Popen(argv, stdin=inside, stdout=inside, stderr=inside, cwd=folder, env=environment)
    os.close(inside)
    try:
        _type(terminal, f"{_FIRST.get(shell, '')}source {script}\nvae ready\n")
        assert _arguments(terminal) == ["ready"]
        received = []
        for line in lines:
            for piece in re.findall(r"[^\t]*\t|[^\t]+", line):
                _type(terminal, piece)
                _quiet(terminal)
            _type(terminal, "\n")
            received.append(_arguments(terminal))
        return received
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def _type(terminal, text):
    os.write(terminal, text.encode())


def _read(terminal, seconds):
    """Returns what comes within some seconds; nothing where nothing does."""
    return os.read(terminal, 65536) if select.select([terminal], [], [], seconds)[0] else b""


def _quiet(terminal):
    """Waits until the shell has answered, and says no more."""
    if _read(terminal, 2):
        while _read(terminal, 0.15):
            pass


def _arguments(terminal):
    """Returns the arguments that the command shows, without what the shell draws around them."""
    text, end = b"", time.monotonic() + 20
    while not (shown := re.search(rb"\x01(.*)\x03", text, re.DOTALL)):
        assert time.monotonic() < end, text
        text += _read(terminal, 1)
    return [word.decode() for word in shown[1].split(b"\x02")[1:]]
