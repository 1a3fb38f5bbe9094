"""Which number is not finite first, located independently by stepping through a run, one update at a time."""

import dataclasses
import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.optimisation import batched_programs
from helpers.programs import built, initial_state

from vaecli import Config, train, train_runs, train_seeds
from vaecli.analysis.probe import probe
from vaecli.data import load
from vaecli.training.run_batch import RunBatch
from vaecli.vae import steps
from vaecli.vae.batches import epoch_order
from vaecli.vae.divergence import Cause, first_block, first_non_finite
from vaecli.vae.schedules import ScheduleValues


@functools.partial(jax.jit, static_argnums=0)
def step(program, *given):
    """The gradient of a step, the sums of its loss, and the state after it."""
    return *steps.step_gradient(program, *given), steps.train_step(program, *given)[0]


def each_step(config):
    """Every step of a run: a function of the state before it, as `step` without the rest of its arguments."""
    program, operands = built(config, (6, 5))
    images = jnp.asarray(load(config).train)
    schedule = ScheduleValues(jnp.float32(1), jnp.float32(1))
    for epoch in range(1, config.epochs + 1):
        for index in epoch_order(config.seed, epoch, len(images), config.batch_size):
            yield lambda state, index=index: step(program, operands, images, state, index, schedule)


def begun(config):
    """The state before the first step."""
    return initial_state(*built(config, (6, 5)), jnp.zeros(30))


def stepped(config):
    """The first step whose loss, gradient, parameters or optimiser state are not finite, and the state before it."""
    state = begun(config)

    def broken(tree):
        return [
            name for name, part in tree.items() if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(part))
        ]

    for taken in each_step(config):
        by_block, sums, after = taken(state)
        for quantity, tree in (
            ("loss", sums._asdict()),
            ("gradient", by_block),
            ("parameter", after.params),
            ("optimiser state", {"all": after.opt_state}),
        ):
            if names := broken(tree):
                return quantity, names, state
        state = after
    return None


# What they have in common is one program, whatever the numbers.
COMMON = {"param": "helpers.heads:cliff", "init": "native", "hidden": (), "optimizer": "adamw", "weight_decay": 1e-30}
CASES = {
    "gradient": COMMON | {"lr": 1.3e-3},
    "loss": COMMON | {"lr": 1e30},
    "parameter": COMMON | {"lr": 1e30, "weight_decay": 1e10},
    "optimiser state": COMMON | {"beta": 1e30},
}


VARY = ["lr", "weight_decay", "beta"]


@pytest.fixture(scope="module")
def diverged(small, tmp_path_factory):
    """A function from a name of `CASES` to its config, the summary of its run and the folder of its runs.

    They are one batch, of as many runs as those of the other tests, so that all are trained by the same programs.
    """
    runs = tmp_path_factory.mktemp("diverged")
    configs = {name: Config(**small | {"epochs": 3} | case) for name, case in CASES.items()}
    summaries = dict(zip(CASES, train_runs(list(configs.values()), runs=runs, vary=VARY), strict=True))
    return lambda name: (configs[name], summaries[name], runs)


@pytest.mark.parametrize("name", CASES)
def test_the_first_one_is_named(diverged, name):
    config, summary, runs = diverged(name)
    quantity, blocks, before = stepped(config)
    assert quantity == name
    assert summary["status"] == "diverged"
    log = (Path(summary["path"]) / "metrics.jsonl").read_text()
    assert "NaN" not in log
    assert "Infinity" not in log
    assert train_runs([config], runs=runs, vary=VARY) == [summary]
    first = summary["first_non_finite"]
    assert first["step"] == summary["steps"] == int(before.step)
    if name == "loss":
        assert first["quantity"].removeprefix("train/") in blocks
        assert first["block"] is None
    else:
        assert first["quantity"] == quantity
        assert first["block"] in (blocks if name != "optimiser state" else [None])
    # The state from which the fatal step was taken is kept.
    (arrays,) = Path(summary["path"]).glob("checkpoint/*/arrays.npz")
    with np.load(arrays) as file:
        kept = {key: file[key] for key in file.files}
    assert all(np.isfinite(values).all() for values in kept.values())
    np.testing.assert_allclose(
        kept["params/decoder/layers/0/kernel"], before.params["decoder"]["layers"][0]["kernel"], rtol=1e-3, atol=1e-6
    )


@pytest.mark.long
def test_the_scale_of_the_likelihood_is_a_block_that_is_named(small, tmp_path):
    """Its rate takes it beyond float32 while every other parameter is finite."""
    own = {"likelihood": "gaussian", "optimizer": "sgd", "lr": 1.0, "decoder_lr": 3e38, "weight_decay": 1e-10}
    summary = train(Config(**small | COMMON | own), runs=tmp_path)
    assert summary["first_non_finite"] == {"quantity": "parameter", "block": "decoder_scale", "step": 0}


def test_the_first_block_is_that_which_backpropagation_meets_first():
    """The scale of the likelihood is a block as the others are."""
    blocks = ("decoder_scale", "decoder", "scale_head", "mean_head", "encoder")
    for number, block in enumerate(blocks):
        values = {name: {"bias": jnp.array(np.inf if name in blocks[number:] else 0.0)} for name in sorted(blocks)}
        assert first_block(values) == block
        alone = {name: {"bias": jnp.array(np.inf if name == block else 0.0)} for name in blocks}
        assert first_block(alone) == block
    assert first_block({name: {"bias": jnp.zeros(())} for name in blocks}) is None


def test_of_several_scalars_the_terms_come_before_their_sums():
    sums = {"test/bits_per_dim": math.inf, "test/elbo": math.nan, "safety/tau/min": math.nan}
    assert first_non_finite(sums | {"test/kl": math.inf}, 7) == Cause("test/kl", None, 7)
    assert first_non_finite(sums | {"grad/decoder_fisher_ratio": math.inf}, 7) == Cause("test/bits_per_dim", None, 7)


def test_the_state_before_it_can_be_probed(diverged):
    """What leads to it can be examined, because its last parameters are finite."""
    _, summary, _ = diverged("parameter")
    seen = probe(summary["path"], heads=["logvar"], draws=8, batches=1, trust_heads=True)
    rows = {row["head"]: row for row in seen.rows}
    assert np.isfinite(rows["logvar"]["raw_variance"])


def logs(*summaries):
    return [(Path(summary["path"]) / "metrics.jsonl").read_bytes() for summary in summaries]


def test_the_others_of_a_batch_go_on(diverged, tmp_path):
    """A seed that ends early leaves the others as they are in a batch in which none does."""
    config, beside_others, _ = diverged("gradient")
    together = train_seeds(config, len(CASES), runs=tmp_path)
    assert {summary["status"] for summary in together} == {"complete", "diverged"}
    assert together[0]["first_non_finite"] == beside_others["first_non_finite"]
    slow = {"lr": 1e-5, "init_weight": 0.0}
    changes = [{} if summary["status"] == "complete" else slow for summary in together]
    configs = [dataclasses.replace(config, seed=seed, **change) for seed, change in enumerate(changes)]
    undisturbed = train_runs(configs, runs=tmp_path / "undisturbed", vary=slow)
    assert {summary["status"] for summary in undisturbed} == {"complete"}
    for one, other in zip(together, undisturbed, strict=True):
        if one["status"] == "complete":
            assert one["metrics"] == other["metrics"]
            assert logs(one) == logs(other)


@pytest.mark.long
def test_each_of_a_batch_is_the_run_alone(small, tmp_path):
    """Of which some end early. Where none does, it is compared in tests/training/test_pack.py."""
    config = Config(**small | {"epochs": 3} | CASES["gradient"])
    with batched_programs():
        alone = [train(dataclasses.replace(config, seed=seed), runs=tmp_path / "alone") for seed in range(4)]
        together = train_seeds(config, 4, runs=tmp_path / "together")
    assert {summary["status"] for summary in alone} == {"complete", "diverged"}
    for one, other in zip(alone, together, strict=True):
        assert one["first_non_finite"] == other["first_non_finite"]
        assert one["metrics"] == other["metrics"]
        assert logs(one) == logs(other)


def test_rows_of_a_batched_program_are_located_together(diverged, tmp_path, monkeypatch):
    """Training again up to a step shows all rows, of which each would otherwise take as long as the first."""
    calls, init = [], RunBatch.__init__

    def counted(batch, *args, **how):
        init(batch, *args, vectorise=True)
        train_chunk = batch._compiled.train_chunk

        def counting(*given):
            calls.append(int(np.max(given[-1])))
            return train_chunk(*given)

        counting.lower = train_chunk.lower
        batch._compiled = batch._compiled._replace(train_chunk=counting)

    config, first, _ = diverged("loss")
    monkeypatch.setattr(RunBatch, "__init__", counted)
    runs = train_seeds(config, 6, runs=tmp_path)
    assert [run["first_non_finite"] for run in runs] == [first["first_non_finite"]] * 6
    # The epochs, of which the second is under way when the first is read, and once the step after which all are lost.
    assert calls == [5, 5, 1]


def test_skipped_updates_are_counted(diverged, tmp_path):
    """Where `stop` would end the run, `skip` goes on with the parameters that it had."""
    config, stopped, _ = diverged("gradient")
    config = dataclasses.replace(config, epochs=6, on_nonfinite="skip", name="skip")
    summary, *_ = train_seeds(config, len(CASES), runs=tmp_path)
    assert summary["status"] == "complete"
    log = [json.loads(line) for line in (Path(summary["path"]) / "metrics.jsonl").read_text().splitlines()]
    counts = [line["train/skipped"] for line in log]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] == summary["skipped_updates"] > 0
    first = stopped["first_non_finite"]["step"] // 5
    assert counts[first] == 0 < counts[first + 1]

    # The same by hand: steps whose gradient is not a number leave all but the step's number as it was.
    by_hand = dataclasses.replace(config, on_nonfinite="stop")
    state, skipped = begun(by_hand), 0
    for taken in each_step(by_hand):
        *_, after = taken(state)
        finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
        skipped += not finite
        state = after if finite else state._replace(step=after.step)
    assert summary["skipped_updates"] == skipped
    (arrays,) = Path(summary["path"]).glob("checkpoint/*/arrays.npz")
    with np.load(arrays) as file:
        for name in ("mean_head", "scale_head"):
            np.testing.assert_allclose(
                file[f"params/{name}/kernel"], state.params[name]["kernel"], rtol=1e-3, atol=1e-5
            )


def test_a_loss_that_is_skipped_is_in_no_mean(small, tmp_path):
    """At this rate every update after the first meets a loss that is not a number."""
    config = Config(**small | CASES["gradient"] | {"lr": 1e30})
    first, second, *_ = each_step(config)
    *_, after = first(begun(config))
    assert np.isnan(second(after)[1].objective)
    summary, *_ = train_seeds(dataclasses.replace(config, on_nonfinite="skip"), len(CASES), runs=tmp_path)
    assert summary["skipped_updates"] == summary["steps"] - 1
    log = [json.loads(line) for line in (Path(summary["path"]) / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite(log[1]["train/elbo"])
