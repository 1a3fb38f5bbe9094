"""The batches of `vae probe`, each seen through every head."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from vaecli.analysis.restore import restored_model
from vaecli.data import Dataset
from vaecli.runs.reading import Run
from vaecli.vae.heads.table import Head
from vaecli.vae.resolve import Resolved

Probed = Literal["encoder", "decoder"]
"""Whose heads are put in the place of the run's own."""


def views(
    of: Probed,
    run: Run,
    resolved: Resolved,
    dataset: Dataset,
    heads: Sequence[Head],
    draws: int,
    follow: Callable[[Sequence[int]], Iterable[int]],
) -> Iterator[Any]:
    """Yields what all heads, along a leading axis, make of one batch after the other, as NumPy arrays.

    Args:
      of: whose heads.
      run: the run.
      resolved: its config.
      dataset: its data.
      heads: the heads.
      draws: the number K of draws of ε for each batch.
      follow: takes the batches' numbers and gives them back.
    """
    # The heavy modules are imported only now, when every argument is known to be valid.
    import jax
    import jax.numpy as jnp

    from vaecli.vae.batches import Stream, stream

    model = restored_model(run, resolved, dataset, "last")
    own = resolved.head if of == "encoder" else resolved.decoder_head
    assert own is not None
    index = next((k for k, head in enumerate(heads) if (head.form, head.slope) == (own.form, own.slope)), None)
    reexpressed = _compiled(of, tuple(head.form for head in heads), index)
    slopes = jnp.asarray([head.slope for head in heads], jnp.float32)
    key = stream(model.operands.key, Stream.PROBE)
    for number in follow(range(len(dataset.probe))):
        keys = jax.random.split(jax.random.fold_in(key, number), draws)
        yield jax.device_get(reexpressed(model, slopes, jnp.asarray(dataset.probe[number]), keys))


@functools.cache
def _compiled(of: Probed, forms: tuple[Head, ...], own: int | None) -> Callable[..., Any]:
    """Returns the re-expression in these heads; equal arguments give the same function, compiled once in a process."""
    from vaecli.vae.compiled import compiled
    from vaecli.vae.gradients.decoder_reexpression import reexpress_decoder
    from vaecli.vae.gradients.reexpression import reexpress

    function: Callable[..., Any] = reexpress if of == "encoder" else reexpress_decoder
    return compiled(lambda model, slopes, images, keys: function(model, forms, own, slopes, images, keys))
