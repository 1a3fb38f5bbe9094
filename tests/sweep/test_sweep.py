"""Sweeps: the grid, the launcher, and runs that are those of `vae train`."""

import dataclasses
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vaecli import Config, ConfigError, UsageError
from vaecli.cli.main import main
from vaecli.config.naming import label
from vaecli.config.toml import Plan, sweep_from_toml
from vaecli.runs.directory import read_config, read_summary, run_path
from vaecli.sweep import local
from vaecli.sweep.grid import PERTURBATION, Task, expand
from vaecli.sweep.launcher import Event
from vaecli.sweep.local import Local
from vaecli.sweep.progress import Board
from vaecli.training import train as training

BASE = {"name": "s"}


def runs_of(sweep):
    return {(sweep.label(task), seed) for task in sweep.tasks for seed in task.seeds}


def flags_of(small):
    words = []
    for name, value in small.items():
        words += [f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return words


def test_a_grid_is_all_combinations():
    grid = {"param": ["logvar", "logstd"], "lr": [1e-3, 3e-4], "hidden": [(400,), (300, 200)]}
    sweep = expand(BASE, Plan(3, False, [grid]), Path("runs"))
    wanted = {
        (f"{param},hidden={hidden},lr={lr}", seed)
        for param, hidden, lr, seed in itertools.product(
            ("logvar", "logstd"), ("400", "300x200"), ("0.001", "0.0003"), range(3)
        )
    }
    assert runs_of(sweep) == wanted
    assert sweep.vary == ["hidden", "lr"]
    assert len(sweep.tasks) == 8
    task = sweep.tasks[0]
    assert sweep.path(task, 2) == Path("runs/s/logvar,hidden=400,lr=0.001/seed2")


def test_grids_are_joined_and_no_run_is_there_twice():
    grids = [{"param": ["logvar", "logstd"]}, {"param": ["logstd"], "init": ["centred", "matched"], "seed": [2, 7]}]
    sweep = expand(BASE, Plan(2, False, grids), Path("runs"))
    assert runs_of(sweep) == {
        *(("logvar,init=centred", seed) for seed in (0, 1)),
        *(("logstd,init=centred", seed) for seed in (0, 1, 2, 3, 7, 8)),
        *(("logstd,init=matched", seed) for seed in (2, 3, 7, 8)),
    }


def test_the_chaos_floor_adds_a_twin_to_each_run():
    sweep = expand(BASE, Plan(2, True, [{"param": ["logvar", "natural"]}]), Path("runs"))
    assert runs_of(sweep) == {
        (f"{param}{twin}", seed)
        for param, twin, seed in itertools.product(("logvar", "natural"), ("", ",perturb=1e-06"), range(2))
    }
    assert {task.config.perturb for task in sweep.tasks} == {0, PERTURBATION}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(0), "seeds: must lie between 1 and 10000, got 0"),
        (Plan(1, False, [{"name": ["a", "b"]}]), "one name"),
        (Plan(1, False, [{"param": ["logvar", "logst"]}]), "unknown head 'logst', did you mean 'logstd'?"),
        (
            Plan(1, False, [{"objective": ["elbo", "iwae"], "kl": ["analytic"]}]),
            r"\(with objective=iwae\)",
        ),
        (Plan(1, False, [{"param": ["fixed"], "init": ["matched"]}]), "cannot be matched"),
        (Plan(2, False, [{"seed": [2**32 - 1]}]), "the last one must be less than"),
        (Plan(1, False, [{"data_dir": ["a b", "a?b"]}]), "would hold both"),
        (Plan(1, False, [{"name": ["a", "b"]}, {}]), "one name"),
        (Plan(2, False, [{"lr": [0.1] * 400, "eps": [0.1] * 400}]), "a sweep of 320000 runs is more"),
        (Plan(2, True, [{"perturb": [0.0, 1e-3]}]), "perturb: has no place beside chaos_floor"),
    ],
)
def test_a_grid_that_cannot_be_trained(plan, message):
    with pytest.raises(UsageError, match=message):
        expand(BASE, plan, Path("runs"))


def test_toml():
    values, plan = sweep_from_toml(
        """
        [sweep]
        seeds = 4
        chaos_floor = true
        [train]
        epochs = 3
        [[grid]]
        param = ["logvar", "logstd"]
        hidden = [[400], [200, 100]]
        [[grid]]
        lr = [1e-3, 3e-4]
        """
    )
    assert values == {"epochs": 3}
    grids = [{"param": ["logvar", "logstd"], "hidden": [(400,), (200, 100)]}, {"lr": [1e-3, 3e-4]}]
    assert plan == Plan(4, True, grids)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grid]\nlr = [1.0]", r"\[\[grid\]\], with two brackets"),
        ("[sweep]\nlr = [1.0]", "what varies stands in a"),
        ("[sweep]\nseeds = 'x'", "seeds must be a whole number"),
        ("[sweep]\nseeds = true", "seeds must be a whole number"),
        ("[[grid]]\nlrr = [1.0]", r"unknown key 'lrr' in \[\[grid\]\], did you mean 'lr'"),
        ("[[grid]]\nlr = 1.0", "must be a list of values"),
        ("[[grid]]\nlr = []", "must be a list of values"),
        ("[train]\nlrr = 3", "unknown key 'lrr'"),
        ("sweep = 3", "what varies stands in a"),
    ],
)
def test_toml_that_is_no_sweep(text, message, tmp_path, capsys):
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        sweep_from_toml(text)
    assert main(["sweep", "--config", str(file)]) == 2
    assert str(file) in capsys.readouterr().err


@pytest.mark.parametrize("name", [path.stem for path in Path("configs/sweeps").glob("*.toml")])
def test_the_sweeps_that_ship(name, tmp_path, capsys):
    assert main(["sweep", "--config", name, "--dry-run", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(set(lines)) > 40
    assert all(line.startswith(f"{tmp_path}/{name}/") and line.endswith(": new") for line in lines)


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
    tasks = expand(BASE | base, Plan(2, False, [grid]), Path("my runs")).tasks
    assert {dataclasses.replace(config, name="s") for config in configs} == {task.config for task in tasks}


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """The processes of this module share what they compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        yield


@pytest.fixture(scope="module")
def swept(small, tmp_path_factory):
    """A sweep of two heads and two rates, of which one run diverges; run by two processes; and what it said."""
    folder = tmp_path_factory.mktemp("sweep")
    argv = [sys.executable, "-m", "vaecli", "sweep", *flags_of(small), "--runs", str(folder), "--seeds", "2"]
    argv += [
        "--param",
        "logvar",
        "abs_std",
        "--init",
        "centred",
        "native",
        "--bound",
        "floor:0.1",
        "--init-weight",
        "0",
    ]
    argv += ["--jobs", "2"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    return folder, argv, done


def test_a_sweep_gives_the_runs_of_train(swept, small, tmp_path):
    folder, _, done = swept
    assert done.returncode == 0, done.stderr
    paths = sorted(path.parent for path in folder.glob("small/*/*/summary.json"))
    assert len(paths) == 8
    argv = ["train", *flags_of(small), "--runs", str(tmp_path), "--seeds", "2", "--vary", "init"]
    assert main([*argv, "--param", "logvar", "--bound", "floor:0.1", "--init-weight", "0"]) == 0
    for seed in range(2):
        one, other = (place / "small/logvar,init=centred" / f"seed{seed}" for place in (folder, tmp_path))
        assert read_config(one) == read_config(other)
        assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
        assert read_summary(one)["metrics"] == read_summary(other)["metrics"]


def test_divergence_is_an_outcome(swept):
    folder, _, done = swept
    statuses = {
        path.parent.parent.name: json.loads(path.read_text())["status"]
        for path in folder.glob("small/*/*/summary.json")
    }
    assert statuses["abs_std,init=native"] == "diverged"
    assert statuses["logvar,init=native"] == "complete"
    assert f"{folder}/small/abs_std,init=native: 0 of 2 complete, 2 diverged" in done.stdout
    assert done.stdout.endswith(f"vae compare {folder}/small\n")
    assert "8 of 8 runs done, 2 of them diverged" in done.stderr


def test_what_is_done_is_skipped(swept):
    folder, argv, _ = swept
    before = {path: path.stat().st_mtime_ns for path in folder.glob("small/*/*/*")}
    again = subprocess.run([*argv, "--json"], capture_output=True, text=True, timeout=60)
    assert again.returncode == 0
    assert again.stderr == ""
    assert {path: path.stat().st_mtime_ns for path in folder.glob("small/*/*/*")} == before
    listed = subprocess.run([*argv, "--json", "--dry-run"], capture_output=True, text=True, timeout=60)
    assert sorted(json.loads(listed.stdout).values()) == ["complete"] * 6 + ["diverged"] * 2
    nothing = subprocess.run([*argv, "--commands"], capture_output=True, text=True, timeout=60)
    assert nothing.stdout == ""
    report = json.loads(again.stdout)
    assert [row["status"] for row in report].count("diverged") == 2
    assert {row["setting"] for row in report} == {
        f"{param},init={init}" for param in ("logvar", "abs_std") for init in ("centred", "native")
    }
    assert report[0]["metrics"]["test/elbo"] == read_summary(Path(report[0]["path"]))["metrics"]["test/elbo"]


def test_a_run_of_another_config_is_refused_before_anything_is_trained(swept, capsys):
    _, argv, _ = swept
    assert main([*argv[3:], "--epochs", "3"]) == 2
    assert "holds another config (epochs is 2 there and 3 here" in capsys.readouterr().err


def launched(sweep, jobs=1, stopped=lambda: False, at_event=None):
    events = []

    def tell(event):
        events.append(event)
        if at_event:
            at_event(event)

    Local(jobs)(sweep, sweep.tasks, tell, stopped)
    return events


def test_a_task_that_fails_does_not_end_the_others(small, tmp_path):
    sweep = expand(small, Plan(1, False, [{"param": ["logvar", "logstd"]}]), tmp_path)
    tasks = [Task(sweep.tasks[0].config, (0,)), sweep.tasks[1]]
    blocked = sweep.path(tasks[0], 0)
    blocked.mkdir(parents=True)
    (blocked / "config.toml").write_text("nonsense")
    events = launched(sweep)
    (failed,) = [event for event in events if event.kind == "failed"]
    assert failed.task == 0
    assert "--overwrite" in failed.told
    (ended,) = [event for event in events if event.kind == "ended"]
    assert ended.task == 1
    assert ended.told[0]["status"] == "complete"


def workers():
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "vaecli.sweep.worker"], capture_output=True, text=True
    )
    return [int(line) for line in found.stdout.split()]


def test_a_worker_that_dies_twice_fails_its_task_alone(small, tmp_path):
    killed = []

    def kill(event):
        if event.kind == "epoch" and event.task == 0 and event.told[0] > 2 * len(killed):
            # What it told before it was killed still comes in, maybe before there is another one.
            for worker in set(workers()) - set(killed):
                killed.append(worker)
                os.kill(worker, signal.SIGKILL)

    grids = [{"param": ["logvar"]}, {"param": ["logstd"], "epochs": [2]}]
    sweep = expand(small | {"epochs": 2000}, Plan(1, False, grids), tmp_path)
    events = launched(sweep, at_event=kill)
    ends = [(event.task, event.kind) for event in events if event.kind in ("ended", "failed")]
    assert ends == [(0, "failed"), (1, "ended")]
    assert len(killed) == 2
    notes = [event.told for event in events if event.kind == "note"]
    assert "logvar,epochs=2000: its process ended (SIGKILL); another one goes on" in notes
    assert any("going on after epoch" in note for note in notes)
    assert "SIGKILL" in next(event.told for event in events if event.kind == "failed")


@pytest.mark.parametrize("last", ['["ended", [{"sta', "", '["ended"'])
def test_a_line_that_is_cut_off_is_a_death(small, tmp_path, monkeypatch, last):
    """As when a process is killed while it writes; the sweep neither waits for ever nor takes it for an outcome."""
    code = f"import sys; sys.stdin.readline(); print('[\"begin\", null]'); sys.stdout.write({last!r})"
    monkeypatch.setattr(local, "_START", code)
    sweep = expand(small, Plan(1, False, [{"param": ["logvar", "logstd"]}]), tmp_path)
    events = launched(sweep, jobs=2)
    assert sorted(event.task for event in events if event.kind == "failed") == [0, 1]
    assert not [event for event in events if event.kind == "ended"]


def test_fewer_processes_than_wished_for_are_enough(small, tmp_path, monkeypatch):
    started = []

    class Scarce(local._Worker):
        def __init__(self, heard):
            if started:
                raise OSError(24, "Too many open files")
            started.append(self)
            super().__init__(heard)

    monkeypatch.setattr(local, "_Worker", Scarce)
    sweep = expand(small, Plan(1, False, [{"param": ["logvar", "logstd"]}]), tmp_path)
    assert [event.kind for event in launched(sweep, jobs=5) if event.kind in ("ended", "failed")] == ["ended"] * 2
    with pytest.raises(UsageError, match="no process can be started to train in"):
        launched(sweep, jobs=2)


def test_a_signal_ends_the_sweep_after_the_epoch(small, tmp_path):
    argv = [sys.executable, "-m", "vaecli", "sweep", *flags_of(small | {"epochs": 2000}), "--runs", str(tmp_path)]
    process = subprocess.Popen(
        [*argv, "--param", "logvar", "logstd"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("small/*/*/checkpoint/*.sha256")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "to go on: vae sweep" in err
    assert "1 unfinished" in out
    assert read_summary(tmp_path / "small/logvar/seed0")["status"] == "interrupted"
    assert not (tmp_path / "small/logstd").exists()


def test_the_board_counts(small, tmp_path, capsys):
    sweep = expand(small, Plan(2, False, [{"param": ["logvar", "logstd"]}]), tmp_path)
    paths = [sweep.path(task, seed) for task in sweep.tasks for seed in task.seeds]
    done = {"status": "complete", "metrics": {"test/elbo": -10.0}}
    board = Board(sweep, dict.fromkeys(paths) | {paths[0]: done}, sweep.tasks)
    with board.shown():
        board.tell(Event(0, "begin"))
        board.tell(Event(0, "epoch", [0, -12.0]))
        board.tell(Event(0, "epoch", [1, -11.0]))
        board.tell(Event(0, "note", "something"))
        summaries = [done | {"path": str(paths[0])}, {"status": "diverged", "metrics": {}, "path": str(paths[1])}]
        board.tell(Event(0, "ended", summaries))
        board.tell(Event(1, "failed", "no luck"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "vae: something"
    assert lines[1].startswith(
        "logvar · 1 of 2 complete, 1 diverged, test ELBO −10.00 nats · 2 of 4 runs done, 1 of them diverged"
    )
    assert lines[2] == "vae: logstd: no luck"
    assert board.failed == {"logstd": "no luck"}


def test_labels():
    config = Config(param="pkg.mod:mine", lr=0.1, perturb=1e-6, seed=4)
    assert label(config, ["lr", "seed"]) == "pkg.mod:mine,perturb=1e-06,lr=0.1"
    assert run_path(Path("r"), config, ["lr"]) == Path("r/mnist/pkg.mod.mine,perturb=1e-06,lr=0.1/seed4")
    assert (
        label(Config(channels=(), validation=True), ["channels", "validation"])
        == "logvar,validation=true,channels=none"
    )


def test_a_perturbed_twin_starts_a_bias_away(small, tmp_path):
    """By the arrays of the checkpoint, at 0 learning: what SGD with a rate of 1e-38 leaves."""
    import numpy as np

    from vaecli import train

    still = small | {"optimizer": "sgd", "lr": 2e-38, "epochs": 1}
    arrays = []
    for perturb in (0.0, 0.25):
        path = Path(train(Config(**still, perturb=perturb), runs=tmp_path)["path"])
        arrays.append(np.load(next(path.glob("checkpoint/*/arrays.npz")), allow_pickle=False))
    for name in arrays[0].files:
        moved = np.asarray(arrays[1][name], np.float64) - arrays[0][name]
        if name == "params/mean_head/bias":
            np.testing.assert_allclose(moved, [0.25, 0, 0], atol=1e-7)
        else:
            np.testing.assert_array_equal(moved, 0)


def test_seeds_are_refused_in_words():
    with pytest.raises(ConfigError, match="seeds"):
        expand(BASE, Plan(10_001), Path("runs"))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"param": "logstd"},
        {"param": "logprec", "init": "matched", "head_lr": "matched"},
        {"lr": 0.1, "lr_schedule": "burda2016", "eps": 1e-3},
        {"head_lr": 0.5, "head_eps": 2.0},
        {"beta": 4.0, "beta_warmup": 100},
        {"init": "native", "init_std": 0.5, "init_weight": 2.0, "perturb": 1e-6},
        {"epochs": 3},
    ],
)
def test_settings_that_share_a_program(change):
    """Equal programs are compiled once in a process."""
    from vaecli.vae.build import program

    assert program(Config(**change), (28, 28)) == program(Config(), (28, 28))


@pytest.mark.parametrize(
    "change", [{"param": "softplus_std"}, {"bound": "floor:0.1"}, {"optimizer": "sgd"}, {"latent": 2}]
)
def test_settings_that_do_not(change):
    from vaecli.vae.build import program

    assert program(Config(**change), (28, 28)) != program(Config(), (28, 28))
