"""Which software made a run."""

import functools
import importlib.metadata
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
def git_commit() -> str | None:
    """The commit of this program's source, `-dirty` behind it where files were changed; None outside a checkout.

    As it was when it was first asked for: what has been imported by then does not change with the files.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
