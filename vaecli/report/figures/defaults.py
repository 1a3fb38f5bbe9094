"""Matplotlib as it comes: a figure looks the same whatever the user, or another module, has set."""

import contextlib
import warnings
from collections.abc import Iterator

import matplotlib


@contextlib.contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """Draws with Matplotlib's own defaults; a decorator, too."""
    with matplotlib.rc_context():
        with warnings.catch_warnings(action="ignore"):  # Of defaults that are on their way out.
            # Not rcdefaults(), which reads the user's style sheets, too; and no backend, which would import pyplot.
            defaults = matplotlib.rcParamsDefault
            matplotlib.rcParams.update({name: defaults[name] for name in defaults if name != "backend"})
        yield
