"""What a person sees while a run trains, in terminals of three widths, in a notebook and in a pipe."""

import io
import re

import pytest
from rich.console import Console

from vaecli.training import progress
from vaecli.training.fitting import MARGIN, fit, told_apart
from vaecli.training.progress import Bar, Lines, NotebookBar, on_stderr

TITLES = ["mnist · logvar · seed 0", "a-long-name-of-runs · softplus_std@0123456789ab · pilot 1 · 10 seeds from 3 on"]


def console(width):
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=20, _environ={})


def shown(of, width):
    """The last line that a terminal of so many columns has, without its colours."""
    with (terminal := console(width)).capture() as capture:
        terminal.print(of._line(), end="")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capture.get()).rstrip("\n")


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_bar_and_time_left_never_go(title, width, monkeypatch):
    clock = iter(float(k) for k in range(0, 10_000, 5))
    monkeypatch.setattr("vaecli.training.fitting.time.monotonic", lambda: next(clock))
    bar = Bar(console(width))
    bar.begin(title, 1000)
    for epoch in range(4):
        bar.epoch(epoch, -105.516, 41_234.0)
        bar._live.stop()
    line = shown(bar, width)
    assert "\n" not in line
    assert len(line.rstrip()) <= width - MARGIN
    assert line.count("━") >= 10
    assert re.search(r"epoch 3/1000 · (\d+:)?\d+:\d\d left", line)
    assert ("images/s" in line) == (width == 120)
    assert ("ELBO −105.52" in line) == (width > 60)
    if title == TITLES[0]:
        assert {60: "logvar", 80: "logvar · seed 0", 120: title}[width] in line
    bar.end()


def test_what_gives_way():
    wanted = ["test ELBO −1.00 nats · 9 images/s", "test ELBO −1.00 nats", "ELBO −1.00"]
    for width in range(20, 200):
        line = fit(width, TITLES[1], "epoch 1/9 · 0:12 left", wanted)
        text = line.text(0.5)
        assert len(text) <= max(width - MARGIN, 23)
        assert line.rest.startswith("epoch 1/9 · 0:12 left")
        assert line.bar >= min(10, max(width - MARGIN - 22, 1))
    assert "softplus_s" in fit(80, TITLES[1], "epoch 1/9", wanted).title


@pytest.mark.parametrize("width", [8, 16, 30])
def test_shortened_labels_can_be_told_apart(width):
    settings = [f"{head},hidden=400x200x{size},lr=0.001" for head in ("logvar", "logstd") for size in (10, 20)]
    alike = [f"{'my_heads.' * 4}{name}" for name in ("one", "two")]
    for labels in (settings, alike, ["a" * 50 + "b" + "c" * 50, "a" * 50 + "d" + "c" * 50]):
        short = told_apart(labels, width)
        assert len(set(short)) == len(labels)
        assert max(map(len, short)) <= width
    assert told_apart(settings, 200) == settings


def test_bar_goes_with_the_wish_to_stop_and_stays_when_all_is_done():
    for epochs, stop, left in ((1, [], True), (2, [], False), (1, [0], False)):
        bar = Bar(console(80), lambda stop=stop: bool(stop))
        bar.begin("mnist · logvar · seed 0", epochs)
        bar.epoch(1, -1.0, 0.0)
        bar.end()
        written = bar._console.file.getvalue()
        # The last thing that happens to the line: it is drawn, or erased.
        assert ("epoch 1/1" in written.rpartition("\x1b[2K")[2]) == left


def test_notebook_has_one_line(capsys, monkeypatch):
    monkeypatch.setattr(progress, "stderr_console", lambda: Console(force_jupyter=True))
    observer = on_stderr()
    assert isinstance(observer, NotebookBar)
    observer.data(["data"])
    observer.begin("mnist · logvar · seed 0", 2)
    observer.epoch(1, -2.0, 0.0)
    observer.epoch(2, -1.0, 100.0)
    observer.end()
    err = capsys.readouterr().err
    assert err.count("\n") == 2
    last = err.rstrip("\n").rpartition("\r")[2]
    assert "epoch 2/2" in last
    assert "test ELBO −1.00 nats" in last
    assert "─" not in last
    assert "\x1b" not in err


def test_pipe_has_lines(capsys):
    observer = on_stderr()
    assert isinstance(observer, Lines)
    observer.begin("mnist · logvar · seed 0", 2)
    observer.epoch(1, -2.0, 1234.0)
    assert capsys.readouterr().err == "mnist · logvar · seed 0\nepoch 1/2 · test ELBO −2.00 nats · 1,234 images/s\n"
