"""Figures as files."""

import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from vaecli.runs.files import write_output


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG or SVG, by the suffix of the path.

    Raises:
      UsageError: the file cannot be written.
    """
    write_output(path, rendered(figure, path.suffix[1:].lower()))


def rendered(figure: Figure, form: str) -> bytes:
    """Renders a figure as `png` or `svg`: text stays text, and one figure always gives the same bytes."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vaecli"}):
        metadata = {"Date": None} if form == "svg" else {}
        figure.savefig(file, format=form, dpi=150, metadata=metadata)
    return file.getvalue()
