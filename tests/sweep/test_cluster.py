"""What `vae sweep --launcher ray` does not take: one line each; and that nothing else needs Ray."""

import ast
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.commands import said
from helpers.ray_nodes import NO_RAY, environment

import vaecli
from vaecli.cli.main import main
from vaecli.config import UsageError
from vaecli.sweep import cluster

needs_ray = pytest.mark.skipif(NO_RAY, reason="Ray is not installed")


@needs_ray
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--launcher", "ray", "--ray-address", address], f"--ray-address: must be auto or HOST:PORT, got {address!r}")
        for address in (
            "",
            "nonsense",
            "host:",
            "host:port",
            ":6379",
            "http://host:1",
            "host:123456",
            "a b:1",
            "auto:",
            "::1",
        )
    ]
    + [
        (["--launcher", "ray", "--ray-address", "ray://host:10001"], "is for Ray clients"),
        (["--launcher", "ray", "--jobs", "2"], "--jobs: goes with --launcher local"),
        (["--launcher", "ray", "--jobs", "1"], "--jobs: goes with --launcher local"),
        (["--ray-address", "auto"], "--ray-address: goes with --launcher ray"),
        (["--ray-address", ""], "--ray-address: goes with --launcher ray"),
        (["--cpus-per-run", "1"], "--cpus-per-run: goes with --launcher ray"),
        (["--gpus-per-run", "0"], "--gpus-per-run: goes with --launcher ray"),
        (["--launcher", "roy"], "--launcher"),
        *(
            (["--launcher", "ray", "--cpus-per-run", count], "--cpus-per-run: must be")
            for count in ("0", "-1", "nan", "inf", "1.5", "0.001")
        ),
        *(
            (["--launcher", "ray", "--gpus-per-run", count], "--gpus-per-run: must")
            for count in ("2", "-1", "nan", "inf", "1.5", "0.001")
        ),
    ],
)
def test_bad_flags(words, message, small_data, tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "ray", raising=False)  # Another test may have imported it.
    assert main(["sweep", "--data-dir", str(small_data), "--runs", str(tmp_path / "runs"), *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("vae: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    assert "ray" not in sys.modules


@needs_ray
def test_nobody_listens(small_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER", 1)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    argv = ["sweep", "--data-dir", str(small_data), "--launcher", "ray", "--ray-address", "127.0.0.1:1"]
    assert main([*argv, "--runs", str(tmp_path / "runs")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said(err) == "vae: --ray-address: no Ray cluster answers at 127.0.0.1:1\n"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list(tmp_path.glob("runs/*"))


def test_the_folder_of_a_ray_of_our_own(tmp_path, monkeypatch):
    """Nobody else gets into it; it is in TMPDIR, unless sockets would have too long a name there, or in /tmp."""
    long = tmp_path / ("x" * 30)
    long.mkdir()
    with tempfile.TemporaryDirectory(prefix="v", dir="/tmp") as short:
        for tmpdir, parent in ((short, short), (str(long), "/tmp"), ("/nowhere", "/tmp"), ("", "/tmp")):
            monkeypatch.setenv("TMPDIR", tmpdir)
            with cluster._folder() as folder:
                outer = os.path.dirname(folder)
                assert re.fullmatch(re.escape(parent) + r"/vae-ray-\w+", outer)
                assert os.stat(outer).st_mode & 0o777 == 0o700
                assert len(folder + cluster._SOCKET) <= cluster._LONGEST_SOCKET
            assert not os.path.exists(outer)


def test_no_place_for_a_ray_of_our_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(
        UsageError, match=r"TMPDIR must be a folder that can be written, with a path of at most \d+ bytes"
    ):
        cluster._folder().__enter__()


WITHOUT = """
import sys, importlib, importlib.util

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *others):
        return None if name.partition(".")[0] in ("ray", "grpc") else self.finder.find_spec(name, *others)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Hiding, sys.meta_path)
try:
    import ray
except ImportError:
    pass
else:
    sys.exit("ray is not hidden")
names = sys.argv.pop(1).split()
for name in names:
    importlib.import_module(name)
from vaecli.cli.main import main
assert main(["sweep", "--param", "logvar", "logstd", "--dry-run", *sys.argv[1:]]) == 0
sys.exit(main(["sweep", "--launcher", "ray", *sys.argv[1:]]))
"""


def files():
    """The modules of the package, with their names."""
    root = Path(vaecli.__file__).parent
    found = {".".join(["vaecli", *path.relative_to(root).with_suffix("").parts]): path for path in root.rglob("*.py")}
    assert {"vaecli.sweep.ray", "vaecli.sweep.cluster", "vaecli.sweep.remote"} <= found.keys()
    return found


def imported_with(tree):
    """The libraries that are imported with a module: not those that a function of it imports, or a type checker."""
    waiting, names = [tree], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("" if node.level else node.module.partition(".")[0])
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return names


def test_no_module_needs_ray_or_grpc_to_be_imported():
    texts = {name: path.read_text() for name, path in files().items()}
    mentioning = {name: ast.parse(text) for name, text in texts.items() if re.search(r"\b(ray|grpc)\b", text)}
    assert "vaecli.sweep.cluster" in mentioning
    assert {name for name, tree in mentioning.items() if imported_with(tree) & {"ray", "grpc"}} == set()


@pytest.mark.parametrize("imported", ["what a sweep needs", pytest.param("all", marks=pytest.mark.long)])
def test_nothing_else_needs_ray(small_data, tmp_path, imported):
    """All modules come without; and the launcher says what it lacks."""
    names = [name.removesuffix(".__init__") for name in files() if name != "vaecli.__main__"]
    wanted = [name for name in names if imported == "all" or name.startswith("vaecli.sweep.r")]
    words = [" ".join(wanted), "--data-dir", str(small_data), "--runs", str(tmp_path / "runs")]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *words], env=environment(), capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr == "vae: --launcher ray: Ray is not installed; pip install 'vaecli[ray]' does it\n"
    assert f"{tmp_path}/runs/{small_data.name}/logstd/seed0: new" in done.stdout
    assert not (tmp_path / "runs").exists()
