"""How signals stop a command that trains."""

import os
import signal

from vaecli.cli.signals import STOPPING, stopping_signals


def test_second_signal_erases_what_is_shown_and_ends_the_process(monkeypatch, capfd):
    killed = []
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))
    before = signal.getsignal(signal.SIGTERM)
    with stopping_signals(erasure=lambda: "erased") as received:
        signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGTERM]
        assert capfd.readouterr().err == f"vae: {STOPPING}\n"
        signal.raise_signal(signal.SIGTERM)
        assert killed == [(os.getpid(), signal.SIGTERM)]
        assert capfd.readouterr().err == "erased"
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_that_the_second_one_is_the_systems():
    """A thread that is in a compiled program calls no handler of Python's."""
    with stopping_signals(announce=False) as received:
        signal.raise_signal(signal.SIGTERM)
        assert received
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
