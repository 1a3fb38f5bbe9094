"""The software that made a run."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

_PACKAGES = ("vaecli", "jax", "jaxlib", "flax", "optax", "numpy")


@functools.cache
def versions() -> Mapping[str, str]:
    """The versions of Python and of the packages that decide a run's numbers."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES}


@functools.cache
def source_sha256() -> str:
    """The SHA-256 of this package's modules, their names included."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        source = file.read_bytes()
        digest.update(f"{file.relative_to(root)} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def source_is_older(time_ns: int) -> bool:
    """Returns whether no module of this package has been written since a time, in nanoseconds since 1970."""
    # Unlike the time of the last change of the content, this one cannot be set back.
    return all(file.stat().st_ctime_ns < time_ns for file in Path(__file__).parents[1].rglob("*.py"))


@functools.cache
def git_commit() -> str | None:
    """The commit of this program's source, with `-dirty` after it where files were changed; None outside a checkout.

    It is that of the first call: what has been imported by then does not change with the files.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=root,
            # In a hook of git, or where a user keeps the repository elsewhere, they name another one than this.
            env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
