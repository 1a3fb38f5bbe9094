"""The shades of the map: that everybody can tell them apart, and read what is written on them."""

import itertools

import numpy as np
import pytest

from vaecli.report.palette import BLACK, ON_DARK, SHADES, WHITE

# Machado, Oliveira & Fernandes (2009): linear RGB as somebody sees it who lacks one kind of cone.
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


def linear(colour):
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(colour, vision="normal"):
    """CIELAB, in which equal distances look alike."""
    xyz = np.array(XYZ) @ np.clip(np.array(VISION[vision]) @ linear(colour), 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one, other):
    low, high = sorted(float(np.array(XYZ[1]) @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def shades(page):
    return {(verdict, step): colour for verdict, both in SHADES.items() for step, colour in enumerate(both[page])}


def test_what_is_written_on_a_shade_can_be_read():
    """Against WCAG 2.2: a contrast of 4.5."""
    assert min(contrast(colour, BLACK) for colour in shades(0).values()) > 4.5
    # As the style sheet of the page has it: white on the first two, black on the others.
    written = {key: contrast(colour, "#ffffff" if key[1] < 2 else BLACK) for key, colour in shades(1).items()}
    assert min(written.values()) > 4.5, written


@pytest.mark.parametrize("page", [0, 1], ids=["paper", "dark"])
def test_shades_are_even_steps(page):
    for verdict in ("better", "worse"):
        lightness = [lab(colour)[0] for colour in SHADES[verdict][page]]
        steps = np.diff(lightness)
        assert (steps < -9).all() if page == 0 else (steps > 9).all()
        assert np.ptp(steps) < 4


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("page", [0, 1], ids=["paper", "dark"])
def test_everybody_tells_them_apart(page, vision):
    """In units of which 2.3 are just noticed side by side."""
    seen = {key: lab(colour, vision) for key, colour in shades(page).items() if key[0] != "beyond the margin"}
    seen["paper", 0] = lab([WHITE, ON_DARK[WHITE]][page], vision)
    apart = {pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in itertools.combinations(seen, 2)}
    assert min(apart.values()) > 7, min(apart, key=apart.get)
    assert min(apart[("better", step), ("worse", step)] for step in range(4)) > 15
