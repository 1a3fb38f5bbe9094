"""The hash of the draws, against the vectors of its authors, and in the programs that jax makes."""

import jax
import jax.numpy as jnp
import pytest

from vaecli.vae.batches import seed_key
from vaecli.vae.threefry import threefry2x32


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0, 0, 0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 4, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_vectors_of_random123(words, expected):
    """`kat_vectors` of Random123 (Salmon et al. 2011): key and counter, and what 20 rounds make of them."""
    assert tuple(map(int, threefry2x32(*(jnp.uint32(word) for word in words)))) == expected


def test_a_draw_is_one_loop():
    """What is relied on of jax: that the form of the hash can be chosen, and that draws come from it."""
    draw = jax.jit(lambda key: jax.random.normal(jax.random.fold_in(key, 1), (100,)))
    text = draw.lower(seed_key(jnp.uint32(0))).as_text()
    assert "shift_left" in text
    assert "while" not in text
