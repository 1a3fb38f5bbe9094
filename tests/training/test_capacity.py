"""How many runs the memory holds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaecli import Config
from vaecli.data import load
from vaecli.training import capacity
from vaecli.training.capacity import memory_needed, peak_bytes, runs_that_fit
from vaecli.training.run_batch import RunBatch
from vaecli.vae.resolve import resolve


def peak(function, *sizes):
    return peak_bytes(jax.make_jaxpr(function)(*(jnp.zeros(size) for size in sizes)).jaxpr)


def test_peaks_by_hand():
    """A float is 4 bytes: what is made and what is still read at each operation, without the arguments."""
    assert peak(lambda x: x + 1, 10) == 40
    assert peak(lambda x: jnp.exp(x + 1), 10) == 80
    assert peak(lambda x: jnp.exp(jnp.exp(jnp.exp(x))), 10) == 80
    assert peak(lambda x: (y := jnp.exp(x)) + jnp.sin(jnp.cos(y)), 10) == 120
    assert peak(lambda x: jnp.exp(x).sum(), 10) == 44
    assert peak(lambda x: (jnp.exp(x), jnp.sin(x)), 10) == 80
    # The body of a loop needs its own, besides what the loop returns.
    looped = peak(lambda x: jax.lax.fori_loop(0, 3, lambda _, y: jnp.exp(jnp.sin(y)), x), 10)
    assert 40 + 80 <= looped <= 40 + 80 + 16
    assert peak(lambda x: jax.random.normal(jax.random.key(0), (7,)) + x, 7) >= 2 * 28


def compiled_bytes(config, dataset, runs):
    """What XLA itself takes for the training of so many runs in one batched program."""
    batch = RunBatch([resolve(config)] * runs, dataset, vectorise=True)
    state = jax.tree.map(lambda leaf: np.zeros((runs, *leaf.shape), leaf.dtype), batch.state_like())
    chunk = batch.chunk(1, state)
    arguments = (batch._operands, batch._images, *chunk, np.zeros(runs, np.int32))
    taken = batch._compiled.train_chunk.lower(*arguments).compile().memory_analysis()
    return taken.argument_size_in_bytes + taken.output_size_in_bytes + taken.temp_size_in_bytes


@functools.cache
def needed(config):
    """What is planned for a run, and for a batch of any size; the program is traced for it."""
    return memory_needed(resolve(config), load(config))


SIZES = {"hidden": (40,)}


@pytest.mark.parametrize("changes", [{}, pytest.param({"channels": (8,), "samples": 3}, marks=pytest.mark.long)])
def test_no_less_than_the_compiler_takes(small, changes):
    """For six runs, with a tenth to spare; and not many times as much."""
    config = Config(**small | SIZES | changes)
    dataset, runs = load(config), 6
    taken = compiled_bytes(config, dataset, runs)
    shared, planned = needed(config)
    assert 1.1 * taken < shared + runs * planned
    assert runs * planned < 12 * (taken - shared)
    assert shared == dataset.train.nbytes + dataset.test.nbytes + dataset.probe.nbytes


def test_runs_that_fit(small, monkeypatch):
    """On a CPU, which says nothing of its memory, all of them; otherwise never more than there is room for."""
    config = Config(**small | SIZES)
    dataset, runs = load(config), [resolve(config)] * 50
    assert runs_that_fit(runs, dataset) == 50
    shared, of_each = needed(config)
    # Both take as long each time as all the rest.
    monkeypatch.setattr(capacity, "memory_needed", lambda run, dataset: (shared, of_each))
    monkeypatch.setattr("gc.collect", lambda: 0)
    for number in (1, 7, 49, 50, 60):
        monkeypatch.setattr(capacity, "free_bytes", lambda number=number: (shared + (number + 0.5) * of_each) / 0.85)
        assert runs_that_fit(runs, dataset) == min(number, 50)
    monkeypatch.setattr(capacity, "free_bytes", lambda: 0)
    assert runs_that_fit(runs, dataset) == 1
