"""The list of runs, read from directories that were written here by hand."""

import os

from helpers.processes import record, record_of_a_dead_process
from helpers.run_files import write_run

from vaecli.config import Config
from vaecli.runs.listing import list_runs


def statuses(folder):
    return {listed.path.name: listed.status for listed in list_runs([folder])}


def test_a_run_is_done_diverged_stopped_running_or_unreadable(tmp_path):
    write_run(tmp_path / "done", elbo=-100.5, epochs=2)
    write_run(tmp_path / "diverged", status="diverged", epochs=1)
    write_run(tmp_path / "interrupted", status="interrupted", elbo=-120.0, epochs=1)
    for name, lock in {
        "running": record(),
        "cut off": record_of_a_dead_process(),
        "elsewhere": record(host="another"),
        "released": "",
    }.items():
        write_run(tmp_path / name, status=None, elbo=-110.25, epochs=1)
        (tmp_path / name / ".lock").write_text(lock)
    write_run(tmp_path / "damaged")
    (tmp_path / "damaged/summary.json").write_text("{")
    write_run(tmp_path / "unknown")
    (tmp_path / "unknown/config.toml").write_text("[model]\nparam = 3\n")
    assert statuses(tmp_path) == {
        "done": "done",
        "diverged": "diverged",
        "interrupted": "stopped",
        "running": "running",
        "cut off": "stopped",
        "elsewhere": "running",
        "released": "stopped",
        "damaged": "unreadable",
        "unknown": "unreadable",
    }
    runs = {listed.path.name: listed for listed in list_runs([tmp_path])}
    assert (runs["done"].elbo, runs["done"].epochs, runs["done"].process) == (-100.5, 2, "")
    assert (runs["running"].elbo, runs["running"].epochs) == (-110.25, 1)
    assert runs["running"].process == f"process {os.getpid()} on {os.uname().nodename}"
    assert (runs["diverged"].elbo, runs["diverged"].why) == (None, "train/loss is not finite at step 3")
    assert "summary.json: is damaged" in runs["damaged"].why
    assert "config.toml" in runs["unknown"].why


def test_a_lock_without_flock_counts_too(tmp_path):
    write_run(tmp_path / "run", status=None)
    (tmp_path / "run/.lock").write_text("")
    (tmp_path / "run/.lock-0123456789abcdef").write_text(record())
    assert statuses(tmp_path) == {"run": "running"}


def test_the_age_is_that_of_the_last_file(tmp_path):
    write_run(tmp_path / "done", elbo=-1.0)
    write_run(tmp_path / "stopped", status=None, elbo=-1.0)
    os.utime(tmp_path / "done/summary.json", (50, 50))
    os.utime(tmp_path / "stopped/metrics.jsonl", (70, 70))
    assert [listed.changed for listed in list_runs([tmp_path])] == [50, 70]


def test_of_a_log_the_last_whole_line_counts(tmp_path):
    write_run(tmp_path / "run", status=None, elbo=-5.0, epochs=1)
    log = tmp_path / "run/metrics.jsonl"
    whole = log.read_text()
    for text, expected in {
        whole + '{"epoch": 2, "te': (1, -5.0),
        "x" * 100_000 + "\n" + whole: (1, -5.0),
        '{"epoch": 2, "test/elbo": null}\n': (2, None),
        "": (0, None),
        "no JSON\n": (0, None),
        "\udcff\n": (0, None),
    }.items():
        log.write_bytes(text.encode(errors="surrogateescape"))
        (listed,) = list_runs([tmp_path])
        assert (listed.epochs, listed.elbo, listed.status) == (*expected, "stopped")


def test_configs_are_those_of_the_runs(tmp_path):
    write_run(tmp_path / "a", Config(param="logstd", seed=3, lr=0.1))
    write_run(tmp_path / "b", Config(param="logstd", seed=4, lr=0.1))
    one, other = list_runs([tmp_path])
    assert one.config is other.config == Config(param="logstd", lr=0.1)
    assert (one.seed, other.seed) == (3, 4)
