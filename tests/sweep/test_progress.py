"""The live table of a sweep."""

import io
import re

import pytest
from rich.console import Console

from vaecli.config.toml import SweepPlan
from vaecli.sweep.grid import expand
from vaecli.sweep.launcher import Event
from vaecli.sweep.progress import SweepProgress
from vaecli.training.fitting import MARGIN


def test_the_progress_counts(small, tmp_path, capsys):
    sweep = expand(small, SweepPlan(2, False, [{"param": ["logvar", "logstd"]}]), tmp_path)
    paths = [sweep.path(task, seed) for task in sweep.tasks for seed in task.seeds]
    done = {"status": "complete", "metrics": {"test/elbo": -10.0}}
    progress = SweepProgress(sweep, dict.fromkeys(paths) | {paths[0]: done}, sweep.tasks)
    with progress.shown():
        progress.handle(Event(0, "begin"))
        progress.handle(Event(0, "epoch", [0, -12.0]))
        progress.handle(Event(0, "epoch", [1, -11.0]))
        progress.handle(Event(0, "note", "something"))
        summaries = [done | {"path": str(paths[0])}, {"status": "diverged", "metrics": {}, "path": str(paths[1])}]
        progress.handle(Event(0, "ended", summaries))
        progress.handle(Event(1, "failed", "no luck"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "vae: something"
    assert lines[1].startswith(
        "logvar · 1 of 2 complete, 1 diverged, test ELBO −10.00 nats · 2 of 4 runs done, 1 of them diverged"
    )
    assert lines[2] == "vae: logstd: no luck"
    assert progress.failed == {"logstd": "no luck"}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_table_keeps_one_line_a_variant(width, tmp_path):
    grid = {
        "param": ["softplus_std", "logvar"],
        "lr": [3e-4, 1e-3],
        "init_std": [0.5, 1.0],
        "hidden": [(400, 200, 100)],
    }
    sweep = expand({"name": "s"}, SweepPlan(3, False, [grid]), tmp_path)
    outcomes = {sweep.path(task, seed): None for task in sweep.tasks for seed in task.seeds}
    progress = SweepProgress(sweep, outcomes, sweep.tasks)
    progress._console = Console(file=io.StringIO(), force_terminal=True, width=width, _environ={})
    for number in range(8):
        progress.handle(Event(number, "begin"))
        for epoch in (0, 4):
            progress.handle(Event(number, "epoch", [epoch, -105.5]))
    with progress._console.capture() as capture:
        progress._console.print(progress._table())
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capture.get()).splitlines()
    assert len(lines) == 9
    assert "left" in lines[0]
    labels = [line.partition("━")[0].strip() for line in lines[1:]]
    assert len(set(labels)) == 8
    for line in lines[1:]:
        assert len(line.rstrip()) <= width - MARGIN
        assert sum(map(line.count, "━╺╸")) >= 10
        assert "epoch 4/10" in line
        assert ("−105.50" in line) == (width > 60)


def test_table_is_erased_before_the_process_ends(tmp_path):
    sweep = expand({"name": "s"}, SweepPlan(1, False, [{"lr": [1e-3, 1e-2]}]), tmp_path)
    progress = SweepProgress(sweep, {sweep.path(task, 0): None for task in sweep.tasks}, sweep.tasks)
    assert progress.erasure() == ""
    progress._console = Console(file=io.StringIO(), force_terminal=True, width=80, height=20, _environ={})
    with progress.shown():
        progress.handle(Event(0, "begin"))
        progress.handle(Event(1, "begin"))
        progress._table()
        assert progress.erasure() == "\r\x1b[2K" + 2 * "\x1b[1A\x1b[2K"


def test_a_table_is_not_higher_than_the_terminal(tmp_path):
    """All variants of a pack are under way at once."""
    sweep = expand({"name": "s"}, SweepPlan(1, False, [{"lr": [0.001 * k for k in range(1, 41)]}]), tmp_path)
    progress = SweepProgress(sweep, {sweep.path(task, 0): None for task in sweep.tasks}, sweep.tasks)
    progress._console = Console(file=io.StringIO(), force_terminal=True, width=80, height=20, _environ={})
    for number in range(40):
        progress.handle(Event(number, "begin"))
    with progress._console.capture() as capture:
        progress._console.print(progress._table())
    lines = capture.get().splitlines()
    assert len(lines) == progress._height == 19
    assert lines[-1] == "and 23 more variants"
