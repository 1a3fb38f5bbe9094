"""Matplotlib's defaults, whatever was set, and no more of Matplotlib than a figure needs."""

import subprocess
import sys

import matplotlib

from vaecli.report.figures.defaults import matplotlib_defaults


def test_what_was_set_is_set_again():
    with matplotlib.rc_context({"font.size": 31.0, "text.usetex": True}):
        with matplotlib_defaults():
            assert matplotlib.rcParams["font.size"] == matplotlib.rcParamsDefault["font.size"]
            assert not matplotlib.rcParams["text.usetex"]
        assert matplotlib.rcParams["font.size"] == 31.0


def test_no_backend_is_chosen():
    """Pyplot takes 0.2 s to import, and chooses one for windows on a screen."""
    code = (
        "import sys; from vaecli.report.figures.defaults import matplotlib_defaults as defaults\n"
        "with defaults(): import matplotlib.figure\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
