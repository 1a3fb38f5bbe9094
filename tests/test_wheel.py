"""The package as it is installed: what it needs lies inside, and nothing of a checkout is there."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers.commands import flags_of

ROOT = Path(__file__).parents[1]


def test_the_package_alone_has_its_configs_and_pages(tmp_path):
    """As the wheel has it, whose parts `pyproject.toml` names, without the checkout beside it."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["vaecli"]
    ignored = shutil.ignore_patterns("__pycache__", "mnist")
    for source, target in {"vaecli": "vaecli", **wheel["force-include"]}.items():
        shutil.copytree(ROOT / source, tmp_path / "site" / target, ignore=ignored)
    program = """
import sys, vaecli
from vaecli.cli.main import main
assert vaecli.__file__.startswith(sys.argv[1]), vaecli.__file__
codes = [main(line.split()) for line in ("docs", "docs runs", "completion fish", "train --config iwae5 --help")]
sys.exit(main(["train", "--config", "nonsense"]) if not any(codes) else 1)
"""
    site = str(tmp_path / "site")
    argv = [sys.executable, "-c", program, site]
    # The checkout is installed, too; what this variable names comes before it.
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": site})
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("vae: --config: no config 'nonsense' (configs: altosaar, ")
    assert (ROOT / "docs/runs.md").read_text() in done.stdout
    assert "complete -c vae" in done.stdout
    assert "What is maximised. (default: iwae)" in done.stdout


@pytest.mark.long
def test_the_wheel_in_an_empty_environment(tmp_path, small):
    """Installed from the registry that pip knows, and used in a folder of its own."""

    def run(*argv, folder=tmp_path):
        done = subprocess.run(argv, capture_output=True, text=True, cwd=folder, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    run(sys.executable, "-m", "venv", str(tmp_path / "env"))
    pip = [str(tmp_path / "env/bin/python"), "-m", "pip", "--quiet"]
    run(*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    run(*pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel))
    vae = str(tmp_path / "env/bin/vae")
    (tmp_path / "here").mkdir()

    def command(*words):
        return run(vae, *words, folder=tmp_path / "here")

    assert command("--version") == "vae 0.1.0\n"
    for head in ("logvar", "logstd"):
        command("train", "--param", head, "--seeds", "2", *flags_of(small))
    (other,) = (
        row for row in json.loads(command("compare", "runs/small", "--json"))["settings"] if not row["is_reference"]
    )
    assert other["label"] == "logstd"
    assert {row["status"] for row in json.loads(command("list", "--json"))} == {"done"}
    assert command("docs", "runs") == (ROOT / "docs/runs.md").read_text()
    assert "pytorch_example" in command("completion", "bash")
    assert command("heads", "logvar", "--json")
