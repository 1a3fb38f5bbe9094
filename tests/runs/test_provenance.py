"""The software that made a run, as a summary names it."""

import subprocess
from pathlib import Path

import vaecli
from vaecli.runs.provenance import git_commit


def test_variables_of_git_name_no_other_repository(tmp_path, monkeypatch):
    """They are set in a hook, and for whoever keeps a repository apart from its files."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    plain = git_commit.__wrapped__()
    for name in ("GIT_DIR", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / ".git/index"))
    assert git_commit.__wrapped__() == plain
    assert (plain is None) == (not (Path(vaecli.__file__).parents[1] / ".git").exists())
