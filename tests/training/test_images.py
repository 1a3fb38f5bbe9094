"""The pictures of a run: what their colours mean."""

import inspect

import numpy as np
from matplotlib import colormaps

from vaecli.training import images


def colour_at(scale, dimension, image):
    """The colour of one σ, in the middle of its place."""
    drawn = inspect.unwrap(images._heat_map)(np.asarray(scale, np.float32))
    height = drawn.shape[0]
    # The place of the map, in pixels: 0.9 inches from the left and 4.4 wide, 0.5 from the top and 0.7 from the bottom.
    count, dimensions = np.shape(scale)
    x = 90 + 440 * (image + 0.5) / count
    y = 50 + (height - 120) * (dimension + 0.5) / dimensions
    return tuple(drawn[int(y), int(x)])


def test_a_colour_is_one_sigma_in_every_run():
    """Whatever other σ a picture has; and what lies beyond the scale has a colour that nothing within it has."""
    one, other = np.full((8, 4), 0.5), np.full((8, 4), 0.5)
    other[0, 0], other[7, 3], other[1, 1] = 1e-9, 1e9, 1.0
    assert colour_at(one, 2, 4) == colour_at(other, 2, 4)
    colours = {colour_at(other, 0, 0), colour_at(other, 3, 7), colour_at(other, 1, 1), colour_at(other, 2, 4)}
    assert len(colours) == 4
    assert colour_at(other, 0, 0) == (0xD5, 0x5E, 0x00)
    assert colour_at(other, 3, 7) == (0xCC, 0x79, 0xA7)


def test_a_frame_serves_many_maps():
    """Nothing of one map is left in the next: it is the map that a frame of its own has."""
    rng = np.random.default_rng(0)
    one, other = (np.exp(rng.normal(size=(9, 3))) for _ in range(2))
    frame = images._Frame(9, 3)
    first = frame.filled(one)
    assert (frame.filled(other) != first).any()
    np.testing.assert_array_equal(frame.filled(one), first)
    np.testing.assert_array_equal(images._Frame(9, 3).filled(other), frame.filled(other))


def test_a_map_of_tau():
    """One pixel of τ has its colour, whatever the others; between its ends, that of cividis at log τ."""
    rng = np.random.default_rng(0)
    maps = np.exp(rng.uniform(np.log(0.002), np.log(0.5), (20, 6, 5)))
    maps[3, 2, 1], maps[18, 0, 4], maps[19, 5, 0] = 1e-4, 2.0, 10**-1.5
    drawn = images._maps(maps.astype(np.float32))
    # Twenty maps in rows of sixteen, two pixels for each of theirs and a gap of two of theirs between the rows.
    assert drawn.shape == (2 * (6 + 2 + 6), 2 * 16 * 5, 3)
    assert tuple(drawn[2 * 2, 2 * (3 * 5 + 1)]) == (0xD5, 0x5E, 0x00)
    assert tuple(drawn[2 * 8, 2 * (2 * 5 + 4)]) == (0xCC, 0x79, 0xA7)
    middle = (255 * np.asarray(colormaps["cividis"].colors[128])).astype(int)
    assert np.abs(drawn[2 * (8 + 5), 2 * 3 * 5].astype(int) - middle).max() <= 2
    assert (drawn[2 * 6 : 2 * 8] == 255).all()
    one = images._maps(maps[:1].astype(np.float32))
    assert one.shape == (48, 40, 3)
    np.testing.assert_array_equal(one[::8, ::8], drawn[:12:2, :10:2])
