"""Figures as files."""

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from vaecli.report.figures.defaults import matplotlib_defaults
from vaecli.runs.files import write_output


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Draws a figure, and writes it as PNG or SVG, by the suffix of the path.

    Raises:
      UsageError: the file cannot be written.
    """
    with matplotlib_defaults():
        image = rendered(draw(), path.suffix[1:].lower())
    write_output(path, image)


@matplotlib_defaults()
def rendered(figure: Figure, form: str) -> bytes:
    """Renders a figure as `png` or `svg`: text stays text, and one figure always gives the same bytes."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vaecli"}):
        metadata = {"Date": None} if form == "svg" else {}
        figure.savefig(file, format=form, dpi=150, metadata=metadata)
    return file.getvalue()
