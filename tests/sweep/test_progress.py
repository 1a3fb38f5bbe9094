"""The live table of a sweep."""

from vaecli.config.toml import SweepPlan
from vaecli.sweep.grid import expand
from vaecli.sweep.launcher import Event
from vaecli.sweep.progress import SweepProgress


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
