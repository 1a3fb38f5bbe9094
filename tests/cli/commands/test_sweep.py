"""`vae sweep` as a user types it: what it lists, refuses and trains, and that its runs are those of `vae train`."""

import contextlib
import dataclasses
import functools
import io
import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.commands import complaint, flags_of, said
from helpers.outcomes import end
from helpers.processes import record, record_of_a_dead_process
from helpers.shared import shared_programs

from vaecli.cli import hints
from vaecli.cli.commands import sweep as command
from vaecli.cli.main import main
from vaecli.config.toml import SweepPlan
from vaecli.data import dataset
from vaecli.runs.directory import read_config, read_summary, run_path
from vaecli.sweep.grid import expand
from vaecli.sweep.launcher import ClusterLost, Event, Job, JobTask
from vaecli.sweep.progress import SweepProgress
from vaecli.training import train as training

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.fixture(scope="module", autouse=True)
def mnist_is_read_once():
    """Reads the images of this package once: to unpack them takes longer than the rest of a command that lists runs."""
    read = dataset.read_folder
    of_package = functools.cache(lambda *given, **named: read(dataset._EMBEDDED, *given, **named))

    def read_folder(folder, *given, **named):
        return (of_package if folder == dataset._EMBEDDED else functools.partial(read, folder))(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "read_folder", read_folder)
        yield


@pytest.mark.parametrize("name", [path.stem for path in (CONFIGS / "sweeps").glob("*.toml")])
def test_the_sweeps_that_ship(name, tmp_path, capsys):
    assert main(["sweep", "--config", name, "--dry-run", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(set(lines)) > 40
    assert all(line.startswith(f"{tmp_path}/{name}/") and line.endswith(": new") for line in lines)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "data0"),
        (["--config", "mnist"], "data0"),
        (["--config", "iwae5"], "iwae5-data0"),
        (["--config", "grid.toml"], "grid-data0"),
        (["--name", "mnist"], "mnist"),
        (["--name", "mnist", "--config", "iwae5"], "mnist"),
    ],
)
def test_sweep_on_other_data_has_their_name(words, name, small_data, tmp_path, monkeypatch, capsys):
    (tmp_path / "data0").symlink_to(small_data)
    (tmp_path / "grid.toml").write_text('[[grid]]\ndata_dir = ["", "elsewhere"]\n')
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *words, "--data-dir", "data0/", "--batch-size", "50", "--dry-run"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split("/")[:2] == ["runs", name]


def test_sweep_over_data_has_all_their_names(small_data, tmp_path, monkeypatch, capsys):
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(small_data)
    (tmp_path / "own.toml").write_text('[data]\ndata_dir = "one"\n[train]\nbatch_size = 50\n')
    monkeypatch.chdir(tmp_path)
    for words, name in (
        (["--data-dir", "one", "", "--batch-size", "50"], "one-mnist"),
        (["--config", "own.toml"], "own"),
        (["--config", "own.toml", "--data-dir", "one"], "own"),
        (["--config", "own.toml", "--data-dir", "two"], "own-two"),
        (["--config", "own.toml", "--data-dir", ""], "own-mnist"),
    ):
        assert main(["sweep", *words, "--dry-run"]) == 0
        assert {line.split("/")[1] for line in capsys.readouterr().out.splitlines()} == {name}


def test_data_are_checked_before_the_directories(small_data, tmp_path, capsys):
    (tmp_path / "runs/name/logvar/seed0").mkdir(parents=True)
    (tmp_path / "runs/name/logvar/seed0/thesis.txt").write_text("mine")
    argv = ["sweep", "--name", "name", "--runs", str(tmp_path / "runs"), "--data-dir"]
    assert main([*argv, str(tmp_path / "nowhere")]) == 2
    assert "nowhere: cannot be read as a data folder" in capsys.readouterr().err
    assert main([*argv, str(small_data)]) == 2
    assert "is not a run directory" in capsys.readouterr().err


def test_train_says_that_a_config_is_a_sweep(capsys):
    assert main(["train", "--config", "headline"]) == 2
    assert "vae sweep --config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "1e-3", "x"], "--lr: must be a number, got 'x'"),
        (["--lr"], "--lr: needs a value"),
        (["--seed", "0.5"], "must be a whole number"),
        (["--optimizer", "adam", "adm"], "adm"),
        (["--epochs", "0", "1"], "--epochs: must lie between 1"),
        (["--param", "logvar", "logst"], "did you mean 'logstd'"),
        (["--jobs", "0"], "--jobs: must lie between 1 and 1000"),
        (["--jobs", "many"], "--jobs: must be a whole number, got 'many'"),
        (["--cpus-per-run", "many"], "--cpus-per-run: must be a number, got 'many'"),
        (["--seeds", "0"], "--seeds: must lie between 1"),
        (["--pilot-seeds", "-1", "--validation"], "--pilot-seeds: must lie between 0"),
        (["--pilot-seeds", "1"], "--validation: is needed for pilot_seeds"),
        (["--pilot-seeds", "1", "--validation"], "--lr: pilot_seeds choose among several rates"),
        (["--pilot-seeds", "1", "--validation", "--lr", "0.1", "0.2", "--pilot", "1"], "--pilot: has no place beside"),
        (["--pilot", "1"], "--pilot: chooses the learning rate on the validation split"),
        (["--name", "a", "b"], "one name"),
        (["--objective", "elbo", "iwae", "--kl", "analytic"], "(with objective=iwae)"),
        (["--data-dir", "nowhere"], "nowhere"),
        (["--validation", "maybe"], "--validation: must be true or false, got 'maybe'"),
        (["--config", "headlin"], "did you mean 'headline'"),
    ],
)
def test_errors_are_one_line(words, message, tmp_path, capsys):
    assert main(["sweep", *words, "--runs", str(tmp_path / "runs")]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_flags_take_the_place_of_what_a_file_varies(tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text("[sweep]\nseeds = 3\n[train]\nlr = 0.1\n[[grid]]\nparam = ['logvar', 'logstd']\nepochs = [1, 2]\n")
    assert main(["sweep", "--config", str(file), "--epochs", "5", "--seeds", "1", "--dry-run", "--runs", "r"]) == 0
    assert capsys.readouterr().out.splitlines() == ["r/mine/logvar/seed0: new", "r/mine/logstd/seed0: new"]
    assert main(["sweep", "--config", str(file), "--validation", "--lr", "0.1", "0.2", "--commands"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert "--validation" in lines[0]
    assert "--vary epochs lr" in lines[0]


def test_packs_are_shown(small_data, tmp_path, capsys):
    """On stderr, where more than one variant would be in a program; the flag is before the file."""
    file = tmp_path / "mine.toml"
    file.write_text("[sweep]\nseeds = 3\npack = 9\n[[grid]]\nparam = ['logvar', 'tanh_logstd', 'logstd']\n")
    argv = ["sweep", "--config", str(file), "--data-dir", str(small_data), "--runs", "r", "--dry-run"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 9
    assert err == "vae: in one program, 6 runs: logvar, logstd\n"
    for limit in ("1", "auto", "3"):
        assert main([*argv, "--pack", limit]) == 0
        assert capsys.readouterr().err == ""
    assert main([*argv, "--pack", "none"]) == 2
    assert capsys.readouterr().err == "vae: --pack: must be auto, or a whole number from 1 to 100000, got 'none'\n"


def test_commands_train_the_same_runs(capsys, monkeypatch):
    """What `vae train` makes of each command is what the sweep lists."""
    words = "--param logvar tanh_logstd --bound none clip:-5,3 --head-lr native 0.5 --channels 8,16 --hidden 40,30"
    argv = ["sweep", *words.split(), "--validation", "--seed", "3", "--seeds", "2", "--runs", "my runs"]
    assert main([*argv, "--dry-run"]) == 0
    listed = [line.rpartition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert len(listed) == 16
    assert main([*argv, "--commands"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    found, configs = [], []

    def train_seeds(config, seeds, *, runs, vary, **others):
        configs.append(config)
        paths = [run_path(runs, dataclasses.replace(config, seed=config.seed + k), vary) for k in range(seeds)]
        found.extend(map(str, paths))
        return [{"status": "diverged", "path": "", "first_non_finite": {"quantity": "loss", "step": 0}}]

    monkeypatch.setattr(training, "train_seeds", train_seeds)
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "vae"
        assert main(arguments) == 3
    assert found == listed
    grid = {"param": ["logvar", "tanh_logstd"], "bound": ["none", "clip:-5,3"], "head_lr": ["native", 0.5]}
    base = {"channels": (8, 16), "hidden": (40, 30), "validation": True, "seed": 3}
    tasks = expand({"name": "s"} | base, SweepPlan(2, False, [grid]), Path("my runs")).tasks
    assert {dataclasses.replace(config, name="s") for config in configs} == {task.config for task in tasks}


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Each is compiled once, for this process and those of its sweeps."""
    with shared_programs("cheap"):
        yield


@pytest.fixture(scope="module")
def small(small):
    """Without pictures and without hidden layers, so that there is less to compile."""
    return small | {"picture_every": 0, "hidden": ()}


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """The folder of two seeds of one head and one rate, by `vae train`.

    All runs of this file have their programs, but for those of a head with another form: each process that trains them
    finds what this one has compiled.
    """
    folder = tmp_path_factory.mktemp("trained")
    argv = ["train", *flags_of(small), "--runs", str(folder), "--seeds", "2", "--vary", "lr", "--param", "logvar"]
    assert main(argv) == 0
    return folder


GRID = """
[[grid]]
param = ["logvar"]
lr = [0.001]
[[grid]]
param = ["logstd"]
lr = [1e30]
"""


@pytest.fixture(scope="module")
def swept(trained, small, tmp_path_factory):
    """A sweep of two heads at a rate each, of which the runs of one diverge, by two processes; and what it said.

    The environment would end a process at the first number that is not finite.
    """
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "grid.toml").write_text(GRID)
    runs = folder / "runs"
    argv = ["sweep", "--config", str(folder / "grid.toml"), *flags_of(small), "--runs", str(runs), "--seeds", "2"]
    argv += ["--jobs", "2"]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for name in ("JAX_DEBUG_NANS", "JAX_DEBUG_INFS"):
            patch.setenv(name, "1")
        code = main(argv)
    return runs, argv, subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


def test_a_sweep_gives_the_runs_of_train(swept, trained):
    folder, _, done = swept
    assert done.returncode == 0, done.stderr
    paths = sorted(path.parent for path in folder.glob("small/*/*/summary.json"))
    assert len(paths) == 4
    for seed in range(2):
        one, other = (place / "small/logvar,lr=0.001" / f"seed{seed}" for place in (folder, trained))
        assert read_config(one) == read_config(other)
        assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
        assert read_summary(one)["metrics"] == read_summary(other)["metrics"]


def test_divergence_is_an_outcome(swept):
    folder, _, done = swept
    statuses = {
        path.parent.parent.name: json.loads(path.read_text())["status"]
        for path in folder.glob("small/*/*/summary.json")
    }
    assert statuses == {"logstd,lr=1e+30": "diverged", "logvar,lr=0.001": "complete"}
    assert f"{folder}/small/logstd,lr=1e+30: 0 of 2 complete, 2 diverged" in done.stdout
    assert done.stdout.endswith(f"vae compare {folder}/small\n")
    assert done.stderr.endswith(f"tensorboard --logdir {folder}/small\n{hints.address(by_head=True)}\n")
    assert "4 of 4 runs done, 2 of them diverged" in done.stderr


def test_what_is_done_is_skipped(swept, capsys):
    """And what killed sweeps left in the folder of the runs is removed."""
    folder, argv, _ = swept
    before = {path: path.stat().st_mtime_ns for path in folder.glob("small/*/*/*")}
    (folder / ".sweep-1.vae-tmp").write_text(record_of_a_dead_process())
    (folder / ".sweep-2.vae-tmp").write_text(record())
    assert main([*argv, "--json"]) == 0
    again = capsys.readouterr()
    assert again.err == ""
    assert {path: path.stat().st_mtime_ns for path in folder.glob("small/*/*/*")} == before
    assert [path.name for path in folder.glob(".*")] == [".sweep-2.vae-tmp"]
    assert main([*argv, "--json", "--dry-run"]) == 0
    assert sorted(json.loads(capsys.readouterr().out).values()) == ["complete"] * 2 + ["diverged"] * 2
    assert main([*argv, "--commands"]) == 0
    assert capsys.readouterr().out == ""
    report = json.loads(again.out)
    assert [row["status"] for row in report].count("diverged") == 2
    assert {row["setting"] for row in report} == {"logvar,lr=0.001", "logstd,lr=1e+30"}
    assert report[0]["metrics"]["test/elbo"] == read_summary(Path(report[0]["path"]))["metrics"]["test/elbo"]


def test_a_run_of_another_config_is_refused_before_anything_is_trained(swept, capsys):
    _, argv, _ = swept
    assert main([*argv, "--epochs", "3"]) == 2
    assert "holds another config (epochs is 2 there and 3 here" in capsys.readouterr().err


@pytest.mark.usefixtures("trained")
def test_a_signal_ends_the_sweep_after_the_epoch(small, tmp_path, monkeypatch, capsys):
    handle, sent = SweepProgress.handle, []

    def interrupt(progress, event):
        handle(progress, event)
        if event.kind == "epoch" and event.payload[0] > 0 and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    monkeypatch.setattr(SweepProgress, "handle", interrupt)
    argv = ["sweep", *flags_of(small | {"epochs": 2000}), "--runs", str(tmp_path), "--seeds", "2"]
    code = main([*argv, "--param", "logvar", "logstd"])
    out, err = capsys.readouterr()
    assert code == 130, err
    assert "to go on: vae sweep" in err
    assert "2 unfinished" in out
    for seed in range(2):
        assert read_summary(tmp_path / f"small/logvar/seed{seed}")["status"] == "interrupted"
    assert not (tmp_path / "small/logstd").exists()


def test_a_cluster_that_is_lost(small, tmp_path, capsys, monkeypatch):
    """One line says what was lost and what goes on; the process then ends without Ray, which still waits."""

    class Lost:
        def __call__(self, sweep, tasks, emit, stopped):
            emit(Event(0, "begin"))
            raise ClusterLost("--launcher ray: the head no longer answers")

    exits = []
    monkeypatch.setattr(command, "_launcher", lambda options, limit: Lost())
    monkeypatch.setattr("atexit.register", lambda *call: exits.append(call))
    monkeypatch.setattr("os._exit", exits.append)
    argv = ["sweep", *flags_of(small), "--seeds", "3", "--runs", str(tmp_path / "my runs")]
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said(err) == (
        "vae: --launcher ray: the head no longer answers; 0 of 3 runs are done, and what is under way ends after its "
        f"epoch; to go on: {shlex.join(['vae', *argv])}\n"
    )
    ((leave, code),) = exits
    leave(code)
    assert exits[1:] == [2]


class Pretended:
    """A launcher that trains nothing; runs end better at 0.01. After some tasks it stops, or one of them fails."""

    def __init__(self, tasks=99, failing=""):
        self.tasks, self.failing, self.trained = tasks, failing, []

    def __call__(self, sweep, tasks, emit, stopped):
        for number, task in enumerate(tasks):
            if stopped():
                return
            if sweep.label(task) == self.failing:
                emit(Event(number, "failed", "its process ended"))
                continue
            emit(Event(number, "ended", [end(sweep, task, seed, -100 - 1 / task.config.lr) for seed in task.seeds]))
            self.trained.append(sweep.label(task))
            if len(self.trained) == self.tasks:
                os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def tuning(small, tmp_path, monkeypatch):
    """The command of a sweep with pilots, and what runs it with a launcher that pretends."""
    monkeypatch.setattr("vaecli.data.dataset.VALIDATION_SIZE", 50)
    argv = ["sweep", *flags_of(small), "--runs", str(tmp_path), "--validation", "--seeds", "2", "--pilot-seeds", "1"]
    argv += ["--param", "logvar", "logstd", "--lr", "1e-3", "0.01"]

    def run(**of_launcher):
        launcher = Pretended(**of_launcher)
        monkeypatch.setattr(command, "_launcher", lambda options, limit: launcher)
        return main(argv), launcher.trained

    return argv, run


PILOTS = [f"{head},pilot=1,lr={lr}" for head in ("logvar", "logstd") for lr in (0.001, 0.01)]
TUNED = ["logvar,lr=0.01", "logstd,lr=0.01"]


def test_pilots_come_first_and_choose_the_rates(tuning, tmp_path, capsys):
    """In one command that goes on wherever it was stopped; what the pilots chose is what a comparison uses."""
    argv, run = tuning
    assert main([*argv, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert out.count("pilot=1") == len(out.splitlines()) == 8
    assert err == "vae: 4 more runs to come, at the rates that the pilots will choose\n"
    assert run(tasks=3) == (130, PILOTS[:3])
    assert run(tasks=1) == (130, PILOTS[3:])
    capsys.readouterr()
    assert main([*argv, "--commands"]) == 0
    assert capsys.readouterr().out.count("--lr 0.01") == 2
    assert run() == (0, TUNED)
    assert capsys.readouterr().out.splitlines()[-1] == f"vae compare {tmp_path}/small --at best-lr"
    assert run() == (0, [])
    assert main([*argv, "--json"]) == 0
    assert [row["status"] for row in json.loads(capsys.readouterr().out.rpartition("lr\n")[2])] == ["complete"] * 12
    assert main(["compare", str(tmp_path), "--at", "best-lr", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best_lr"]
    assert {head: best[head]["chosen"] for head in best} == {
        head: {"0": 0.01, "1": 0.01} for head in ("logvar", "logstd")
    }


def test_pilots_and_their_runs_in_one_go(tuning, capsys):
    _, run = tuning
    assert run() == (0, [*PILOTS, *TUNED])
    err = capsys.readouterr().err
    assert "logvar,lr=0.01: the choice of the pilots for seeds 0, 1\n" in err
    assert "8 of 12 runs done" in err
    assert "12 of 12 runs done" in err


def test_a_pilot_that_fails_holds_up_only_its_own_seeds(tuning, tmp_path, capsys):
    _, run = tuning
    assert run(failing=PILOTS[3]) == (1, [*PILOTS[:3], TUNED[0]])
    out, err = capsys.readouterr()
    assert f"{PILOTS[3]}: its process ended" in err
    assert "2 more runs without a rate yet, for which unfinished pilots have to choose one" in out
    assert "vae compare" not in out
    assert run() == (0, [PILOTS[3], TUNED[1]])
    assert capsys.readouterr().out.endswith(f"vae compare {tmp_path}/small --at best-lr\n")


LOOKS = ["sweep", "--param", "logvar", "logstd", "natural", "--until-decided"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep", "--looks", "3,5"], "--looks: goes with --until-decided"),
        (["sweep", "--margin", "1"], "--margin: goes with --until-decided"),
        (["sweep", "--overwrite"], "--overwrite: goes with --until-decided"),
        (
            [*LOOKS, "--looks", "5,3"],
            "--looks: must be numbers of seeds from 2 to 10000, each more than the one before",
        ),
        ([*LOOKS, "--looks", "5;8"], "--looks: must be numbers of seeds with commas between them, as in 5,8,12"),
        ([*LOOKS, "--seeds", "4"], "--seeds: does not go with --until-decided"),
        ([*LOOKS, "--pilot-seeds", "1"], "--pilot-seeds: does not go with --until-decided"),
        ([*LOOKS, "--alpha", "0.4"], "--alpha: must lie between"),
        ([*LOOKS, "--metric", "test/kl_per_unit"], "--margin: is needed for test/kl_per_unit"),
        ([*LOOKS, "--reference", "logprec"], "--reference: no run is 'logprec'"),
        ([*LOOKS, "--seed", "4294967290"], "--seed: the last one must be less than 2**32"),
        ([*LOOKS, "--seed", "1", "2"], "--seed: takes one value"),
    ],
)
def test_a_plan_of_looks_that_is_refused(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in complaint(capsys, *words)


def test_a_dry_run_shows_the_plan_of_looks(tmp_path, capsys):
    assert main([*LOOKS, "--dry-run", "--runs", str(tmp_path), "--name", "s", "--margin", "0.25"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3 * 5
    expected = (
        "looks at 5, 8, 12, 18, 26 seeds; test/elbo against logvar, margin 0.25, level 0.05, pocock; at most 78 runs"
    )
    assert expected in err
    assert not (tmp_path / "s").exists()


def test_commands_for_others_come_after_the_plan(tmp_path, capsys):
    """Otherwise what they have trained would be runs without a plan."""
    words = [*LOOKS, "--commands", "--runs", str(tmp_path), "--name", "s"]
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    plan = (tmp_path / "s" / "plan.toml").read_text()
    assert main([*words, "--margin", "1"]) == 2
    assert "plan.toml: is another plan (margin is 0.5 there and 1.0 here)" in capsys.readouterr().err
    assert (tmp_path / "s" / "plan.toml").read_text() == plan


class Here:
    """Trains as the processes of a sweep do, and in this one, which has the programs; it packs nothing."""

    def __call__(self, sweep, tasks, emit, stopped):
        for number, task in enumerate(tasks):
            job = json.loads(json.dumps(dataclasses.asdict(Job.of(sweep, [task]))))
            job = Job([JobTask(*one) for one in job.pop("tasks")], **job)
            job.carry_out(lambda place, kind, payload, number=number: emit(Event(number, kind, payload)), stopped)


@pytest.fixture
def trains_here(monkeypatch):
    """Lets sweeps train in this process."""
    monkeypatch.setattr(command, "_launcher", lambda options, limit: Here())


@pytest.mark.usefixtures("trained", "trains_here")
def test_it_is_trained_until_it_is_decided(small, tmp_path, capsys):
    """A matched logstd is exactly logvar, and decided at once; at its own rate it is not, in so few steps."""
    words = flags_of({**small, "epochs": 1, "init": "matched"})
    words += ["--param", "logvar", "logstd", "--head-lr", "native", "matched", "--until-decided", "--looks", "2,4"]
    sweep = ["sweep", *words, "--runs", str(tmp_path), "--name", "s", "--margin", "0.001"]
    assert main([*sweep, "--json"]) == 0
    out, err = capsys.readouterr()
    ended = [(run["setting"], run["seed"], run["status"]) for run in json.loads(out)]
    assert ended == [
        *(("logvar,head_lr=native", seed, "complete") for seed in range(4)),
        *(("logvar,head_lr=matched", seed, "complete") for seed in range(2)),
        *(("logstd,head_lr=native", seed, "complete") for seed in range(4)),
        *(("logstd,head_lr=matched", seed, "complete") for seed in range(2)),
    ]
    assert "look 1 of 2, at 2 seeds: equivalent: logstd,head_lr=matched; 1 to go on" in err
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")}
    assert main(sweep) == 0
    out, err = capsys.readouterr()
    assert "look 2 of 2, at 4 seeds" in err
    assert f"vae compare {tmp_path}/s" in out.splitlines()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")} == before
    assert main(["compare", str(tmp_path / "s"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["margin"], report["plan"]["looks"]) == (0.001, [2, 4])
    assert {row["label"]: row["look"] and row["look"]["number"] for row in report["settings"]} == {
        "logvar,head_lr=native": None,
        "logvar,head_lr=matched": None,
        "logstd,head_lr=native": 2,
        "logstd,head_lr=matched": 1,
    }


STUDY = """
[study]
heads = ["logvar", "logstd"]
[sweep]
looks = [2, 3]
margin = 1e6
[[condition]]
name = "plain"
why = "The usual rate."
[[condition]]
name = "hot"
why = "A rate ten times too high."
lr = 0.01
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder with the file of a study."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(STUDY)
    return ["sweep", "--config", "s.toml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--param", "logvar"], "--param: is what the study s.toml varies itself"),
        (["--init", "matched"], "--init: is what the study s.toml varies itself"),
        (["--lr", "0.1", "0.2"], "--lr: takes one value beside a study"),
        (["--seeds", "3"], "--seeds: does not go with --until-decided"),
        (["--lr", "-1"], "s.toml: [[condition]] plain: lr: must be a positive number"),
        (["--condition", "warm"], "--condition: no condition 'warm' (conditions: plain, hot)"),
        (["--reference", "natural"], "[study] null_control: logstd, matched, is not natural bit for bit"),
        (["--looks", "3,2"], "--looks: must be numbers of seeds"),
    ],
)
def test_what_does_not_go_with_a_study_is_refused(study, words, message, capsys):
    assert message in complaint(capsys, *study, *words)


def test_conditions_go_with_a_study_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "--condition: goes with the --config of a study" in complaint(capsys, "sweep", "--condition", "hot")


def test_a_dry_run_of_a_study_says_the_most_it_can_cost(study, tmp_path, capsys):
    assert main([*study, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    # Two controls and two heads, of two seeds each, under both conditions.
    assert len(out.splitlines()) == 16
    assert "hot (2 of 2): A rate ten times too high." in err
    assert err.splitlines()[-1] == "vae: at most 20 runs in all"
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("trained", "trains_here")
def test_a_study_is_trained_and_answers_with_its_map(small, study, tmp_path, capsys):
    words = flags_of({**small, "name": "s", "epochs": 1})
    assert main([*study, *words, "--condition", "hot", "--json"]) == 0
    assert {Path(run["path"]).parts[2] for run in json.loads(capsys.readouterr().out)} == {"hot"}
    # The plans of all conditions come before the first run of any, so that the family is known.
    assert {path.parent.name for path in Path("runs/s").glob("*/plan.toml")} == {"plain", "hot"}
    assert main([*study, *words]) == 0
    assert "vae compare runs/s" in capsys.readouterr().out.splitlines()
    assert main(["compare", "runs/s", "--json", "--csv", "cells.csv"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["family"] == 2
    assert [one["invalid"] for one in report["conditions"]] == [[], []]
    assert [one["comparison"]["settings"][1]["verdict"] for one in report["conditions"]] == ["equivalent"] * 2
    assert Path("cells.csv").read_text().startswith("condition,label,")
    assert main(["compare", "runs/s", "--expect", "equivalent"]) == 0
    assert "±1e+06" in capsys.readouterr().out.replace(" ", "")
    assert "--plot: goes with one condition" in complaint(capsys, "compare", "runs/s", "--plot", "a.png")
    assert "--effects: goes with a fixed number of seeds" in complaint(capsys, "compare", "runs/s", "--effects", "lr")
    # Another study may not take the place of this one.
    (tmp_path / "s.toml").write_text(STUDY.replace("1e6", "1.0"))
    assert "plan.toml: is another plan (margin is 1e+06" in complaint(capsys, *study, *words).replace(
        "1000000.0", "1e+06"
    )
