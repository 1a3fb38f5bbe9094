import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.programs import (
    BATCH,
    IMAGES,
    MEAN,
    PIXELS,
    drawn_params,
    initial_state,
    operands,
    program,
    schedule_values,
    train_step,
)

from vaecli.vae import steps
from vaecli.vae.batches import PADDING, Stream, epoch_order, gather, pad, stream
from vaecli.vae.compiled import compiled_steps
from vaecli.vae.heads.table import HEADS
from vaecli.vae.loss import loss as batch_loss
from vaecli.vae.model import Model
from vaecli.vae.networks import network
from vaecli.vae.schedules import ScheduleValues
from vaecli.vae.steps import finite, finite_at_once


def batched(items):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *items)


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (IMAGES, PIXELS), np.uint8))


@jax.jit
def first_params(operands):
    """The parameters before the first step of any run here whose σ is learned: a draw takes long to compile."""
    return steps.initial_params(program(), operands, MEAN)


def begun(program, operands):
    """The state before the first step."""
    return steps.initial_state(program, operands, first_params(operands))


def trained(program, operands, images, states, order):
    """The states of runs after an epoch, and what its steps left."""
    count, runs = order.shape[1], len(operands)
    train_chunk = compiled_steps(program, vectorise=False).train_chunk
    schedule, until = schedule_values((runs, count)), jnp.full(runs, count)
    return jax.device_get(train_chunk(batched(operands), images, batched(states), order, schedule, until))


def same(one, other, **tolerance):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def test_order_meets_every_image_once():
    order = epoch_order(3, 1, IMAGES, BATCH)
    assert order.shape == (7, 8)
    flat = order.ravel()
    assert sorted(flat[flat != PADDING]) == list(range(IMAGES))
    assert (flat[:IMAGES] != PADDING).all()
    assert (order != epoch_order(3, 2, IMAGES, BATCH)).any()
    assert (order != epoch_order(4, 1, IMAGES, BATCH)).any()
    np.testing.assert_array_equal(order, epoch_order(3, 1, IMAGES, BATCH))


def test_scan_equals_a_python_loop(images):
    order = epoch_order(0, 1, IMAGES, BATCH)
    given = operands()
    begin = begun(program(), given)
    scanned, found = jax.tree.map(lambda leaf: leaf[0], trained(program(), [given], images, [begin], order[None]))
    state = begin
    for k, index in enumerate(order):
        state, now = train_step(program(), given, images, state, jnp.asarray(index), schedule_values())
        same(now, jax.tree.map(lambda leaf, k=k: leaf[k], found), rtol=1e-5)
    same(state, scanned, rtol=1e-5, atol=1e-6)
    assert int(state.step) == len(order)


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradient(program, operands, params, *batch):
    """The loss of a batch with the sums of its terms, and its gradient by the parameters."""
    return jax.value_and_grad(lambda p: batch_loss(Model(program, operands, p), *batch), has_aux=True)(params)


def gradient_of_step(operands, state, x, weight):
    """The gradient at the draws of a step, whatever its optimiser."""
    key = jax.random.fold_in(stream(operands.key, Stream.EPSILON), state.step)
    return loss_and_gradient(program(), operands, state.params, x, weight, jax.random.normal(key, (1, BATCH, 3)))[1]


def test_loss_is_the_textbook_elbo(images):
    """The network, the sampling and both terms again, in NumPy and float64."""
    params = drawn_params(program().architecture, jax.random.key(1))
    x, weight = gather(images, jnp.arange(BATCH))
    epsilon = jnp.asarray(np.random.default_rng(2).normal(size=(1, BATCH, 3)), jnp.float32)
    (loss, _), _ = loss_and_gradient(program("logstd"), operands("logstd"), params, x, weight, epsilon)

    p, x = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (params, x))

    def dense(layer, h):
        return h @ layer["kernel"] + layer["bias"]

    h = np.maximum(dense(p["encoder"]["layers"][0], x), 0)
    loc, log_scale = dense(p["mean_head"], h), dense(p["scale_head"], h)
    z = loc + np.exp(log_scale) * np.asarray(epsilon[0], np.float64)
    logits = dense(p["decoder"]["layers"][2], np.maximum(dense(p["decoder"]["layers"][0], z), 0))
    prob = 1 / (1 + np.exp(-logits))
    reconstruction = (x * np.log(prob) + (1 - x) * np.log(1 - prob)).sum(1)
    kl = 0.5 * (loc**2 + np.exp(2 * log_scale) - 1 - 2 * log_scale).sum(1)
    assert float(loss) == pytest.approx((kl - reconstruction).mean(), rel=1e-6)


def test_padding_weighs_nothing(images):
    params = drawn_params(program().architecture, jax.random.key(1))
    epsilon = jnp.asarray(np.random.default_rng(2).normal(size=(1, BATCH, 3)), jnp.float32)
    given = program(), operands(), params
    (_, sums), padded = loss_and_gradient(*given, *gather(images, jnp.asarray(pad(np.arange(5), BATCH)[0])), epsilon)
    (_, short_sums), short = loss_and_gradient(*given, *gather(images, jnp.arange(5)), epsilon[:, :5])
    same(padded, short, rtol=1e-5, atol=1e-6)
    same(sums, short_sums, rtol=1e-6)


def test_update_is_adams(images):
    """The first two steps of Adam, as its paper writes them."""
    state = begun(program(), operands())
    m = v = 0.0
    for t in (1, 2):
        index = jnp.arange(BATCH)
        assert state.step == t - 1
        g = gradient_of_step(operands(), state, *gather(images, index))
        g = np.asarray(g["scale_head"]["kernel"], np.float64)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        move = 1e-2 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        before = np.asarray(state.params["scale_head"]["kernel"])
        state, _ = train_step(program(), operands(), images, state, index, schedule_values())
        np.testing.assert_allclose(before - state.params["scale_head"]["kernel"], move, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "names",
    [("logvar", "logprec", "fixed"), pytest.param(tuple(HEADS), marks=pytest.mark.long)],
    ids=["some heads", "every head"],
)
def test_no_draw_depends_on_the_head(images, names):
    """Where every head starts at σ = 1, everything that is random shows, and nothing differs but rounding."""
    drawn, sums = [], []
    for name in names:
        given = operands(name, init_weight=0.0)
        # The first one is the head of the other tests, whose draw is compiled.
        state = begun(program(), given) if name == "logvar" else initial_state(program(name), given, MEAN)
        drawn.append({block: leaves for block, leaves in state.params.items() if block != "scale_head"})
        sums.append(train_step(program(name), given, images, state, jnp.arange(BATCH), schedule_values())[1])
    for params, terms in zip(drawn[1:], sums[1:], strict=True):
        same(drawn[0], params, rtol=0)
        same(sums[0], terms, rtol=1e-6, atol=1e-6)


@pytest.mark.long
def test_dynamic_draws_are_fresh_and_fair(images):
    """Each step draws pixels of its own, with the grey value as their probability: as `vae verify` finds it, too."""
    dynamic = program(binarisation="dynamic")
    flat = jnp.full((1, PIXELS), 51, jnp.uint8)  # 51/255 = 1/5
    state = begun(dynamic, operands())
    # At logits l for all pixels, log p(x|z) is (number of ones) · l minus a constant, so it counts the ones.
    last = state.params["decoder"]["layers"][2]
    state.params["decoder"]["layers"][2] = {"kernel": jnp.zeros_like(last["kernel"]), "bias": jnp.ones(PIXELS)}
    index = jnp.zeros(5000, jnp.int32)

    def ones(step):
        sums = train_step(dynamic, operands(), flat, state._replace(step=jnp.int32(step)), index, schedule_values())[
            1
        ].sums
        return (float(sums.reconstruction) + 5000 * PIXELS * np.log1p(np.e)) / (5000 * PIXELS)

    first, second = ones(0), ones(1)
    assert first != second
    assert first == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / (5000 * PIXELS)))
    assert second == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / (5000 * PIXELS)))


@pytest.mark.long
def test_seed_of_a_vectorised_batch_equals_the_solo_run(images):
    """As on a GPU; whole runs, and those of seeds in turn bit for bit, are compared in tests/training/test_pack.py."""
    seeds = (0, 1)
    order = np.stack([epoch_order(seed, 1, IMAGES, BATCH) for seed in seeds])
    run = compiled_steps(program(), vectorise=True)
    many = batched([operands(seed=seed) for seed in seeds])
    state, sums = run.train_chunk(many, images, run.init(many, MEAN), order, schedule_values((2, 7)), jnp.full(2, 7))
    measured = run.measure(Model(program(), many, state.params), {"test": images}, images[:BATCH]).scalars
    run = compiled_steps(program(), vectorise=False)
    for k, seed in enumerate(seeds):
        given = operands(seed=seed)
        solo, solo_sums = trained(program(), [given], images, [begun(program(), given)], order[k : k + 1])
        model = Model(program(), batched([given]), solo.params)
        solo_measured = run.measure(model, {"test": images}, images[:BATCH]).scalars
        row = jax.tree.map(lambda leaf, k=k: leaf[k : k + 1], (state, sums, measured))
        same(row, (solo, solo_sums, solo_measured), rtol=1e-5, atol=1e-6)


def test_exponential_heads_share_one_executable(images):
    order = epoch_order(0, 1, IMAGES, BATCH)[None]
    compiled = set()
    for name in ("logvar", "logstd", "logprec"):
        given = operands(name)
        trained(program(name), [given], images, [begun(program(name), given)], order)
        compiled.add(compiled_steps(program(name), vectorise=False).train_chunk)
    assert len(compiled) == 1
    assert compiled.pop()._cache_size() == 1


def test_blocks_are_all_parameters():
    params = drawn_params(program().architecture, jax.random.key(0))
    assert set(params) == {"encoder", "mean_head", "scale_head", "decoder"}
    decoded = jax.eval_shape(lambda p: network(program().architecture, p).decode(jnp.zeros((1, 2, 3))), params)
    assert decoded.shape == (1, 2, PIXELS)


UNDER_A_LIMIT = {"optimizer": "sgd", "skip_norm": 1e9}


@pytest.mark.parametrize("optimizer", [UNDER_A_LIMIT, {"optimizer": "adam"}], ids=["sgd", "adam"])
def test_the_schedule_is_a_factor_on_every_rate(images, optimizer):
    """A step with factors of one half is one at half the learning rates; its β is half of β."""
    chosen = {"head_lr": 3.0, "beta": 0.8, **optimizer}
    state = begun(program(**chosen), operands(**chosen))

    def step(given, values):
        return train_step(program(**chosen), given, images, state, jnp.arange(BATCH), values)

    halved = step(operands(**chosen), ScheduleValues(jnp.float32(0.5), jnp.float32(0.5)))
    slower = step(operands(**chosen | {"lr": 0.5e-2, "beta": 0.4}), schedule_values())
    same(halved, slower, rtol=1e-6)
    full = step(operands(**chosen), schedule_values())
    for block in ("encoder", "mean_head", "scale_head", "decoder"):
        moved, farther = (
            np.abs(jax.tree.leaves(after[0].params[block])[-1] - jax.tree.leaves(state.params[block])[-1]).max()
            for after in (halved, full)
        )
        assert moved < 0.9 * farther


def test_learning_rate_is_a_run_time_value(images):
    state = begun(program(), operands())
    still = operands()
    still = still._replace(rates=still.rates._replace(lr=jnp.float32(0.0)))
    after, _ = train_step(program(), still, images, state, jnp.arange(BATCH), schedule_values())
    for block in ("encoder", "mean_head", "decoder"):
        same(after.params[block], state.params[block], rtol=0)
    moved = np.abs(after.params["scale_head"]["bias"] - state.params["scale_head"]["bias"])
    np.testing.assert_allclose(moved, 1e-2, rtol=1e-3)
    assert {int(count) for _, count in optax.tree.get_all_with_path(after.opt_state, "count")} == {1}


def test_a_matched_momentum_ends_at_the_same_step(images):
    """Beyond a clip the gradient is exactly 0, and Lion takes whole steps until its momentum underflows.

    From the size of a gradient that takes some 8000 steps, so here the momentum starts close to the end.
    """
    chunk = jnp.tile(jnp.arange(BATCH), (300, 1))
    train = functools.partial(jax.jit, static_argnums=0)(steps.train_chunk)
    params, zeros = [], []
    for name, a in (("logvar", 1), ("logstd", 2), ("logprec", -1)):
        settings = {"name": name, "optimizer": "lion", "lr": 1e-3, "weight_decay": 0.1, "bound": "clip:-1,1"}
        settings |= {"init": "matched", "head_lr": "matched"}
        compiled, given = program(**settings), operands(**settings)
        state = begun(compiled, given)
        for until in (1, len(chunk)):
            state, _ = train(compiled, given, images, state, chunk, schedule_values(len(chunk)), until)
            momentum = jax.tree.leaves(state.opt_state.inner_states["scale_head"])
            zeros.append(sum((leaf == 0).sum() for leaf in momentum))
            state.params["scale_head"]["bias"] += 20 / a
            state = state._replace(opt_state=tree_times(state.opt_state, 2.0**-108))
        params.append(state.params | {"scale_head": tree_times(state.params["scale_head"], a)})
    jax.tree.map(np.testing.assert_array_equal, *params[:2])
    jax.tree.map(np.testing.assert_array_equal, params[0], params[2])
    assert zeros[1] > zeros[0] + 3


def tree_times(tree, factor):
    """The numbers of a tree times a factor; counts stay."""
    return jax.tree.map(lambda leaf: leaf * factor if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


@pytest.mark.parametrize("function", [finite, finite_at_once])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_noticed_wherever_it_is(bad, function):
    is_finite = jax.jit(function)
    for at in (0, 1, 500, 998, 999):
        values = np.full(1000, -3e38, np.float32)
        assert is_finite({"a": values, "b": np.zeros(0, np.float32), "step": np.int32(3)})
        values[at] = bad
        assert not is_finite({"a": values, "b": np.zeros(0, np.float32), "step": np.int32(3)})


WITH_ALL = {"optimizer": "lion", "loss_scale": 1024.0, "clip_norm": 1e-3}


@pytest.mark.parametrize("name", ["logvar", "logstd"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        WITH_ALL,  # Where an optimiser takes signs, the gradient already has the units of logvar's.
        *(pytest.param({k: v}, marks=pytest.mark.long) for k, v in WITH_ALL.items()),
    ],
)
def test_an_update_above_a_norm_is_dropped(images, name, changes):
    """The norm is that of the gradient as NumPy has it, with the head's part in units of logvar's, before clipping."""
    chosen = {"init": "matched", "head_lr": "matched", **changes}
    plain, index = (program(name, **chosen), operands(name, **chosen)), jnp.arange(BATCH)
    state = begun(*plain)
    by_block = gradient_of_step(plain[1], state, *gather(images, index))
    parts = [
        np.asarray(leaf, np.float64).ravel() * ({"logvar": 1, "logstd": 0.5}[name] if block == "scale_head" else 1)
        for block, part in by_block.items()
        for leaf in jax.tree.leaves(part)
    ]
    norm = float(np.linalg.norm(np.concatenate(parts)))
    # The default settings tell that a step below a limit is one without any; the others need no program for that.
    far = {"skip_norm": 1e9} if changes else {}
    made = train_step(
        program(name, **chosen, **far), operands(name, **chosen, **far), images, state, index, schedule_values()
    )[0]
    for limit, dropped in ((norm * (1 - 1e-5), True), (norm * (1 + 1e-5), False)):
        given = program(name, skip_norm=limit, **chosen), operands(name, skip_norm=limit, **chosen)
        after, step = train_step(*given, images, state, index, schedule_values())
        assert (bool(step.skipped), bool(step.above_norm)) == (dropped, dropped)
        same(after, state._replace(step=after.step) if dropped else made)
        assert int(after.step) == 1


@pytest.mark.parametrize("on_nonfinite", ["stop", "skip"])
@pytest.mark.parametrize(("bias", "above"), [(1e10, True), (np.inf, False)])
def test_a_gradient_that_is_not_finite_is_no_matter_of_its_norm(images, on_nonfinite, bias, above):
    """One that is finite, and whose squares are not, is above any norm."""
    chosen = UNDER_A_LIMIT | {"beta": 1e10, "on_nonfinite": on_nonfinite}
    given, index = (program(**chosen), operands(**chosen)), jnp.arange(BATCH)
    state = begun(*given)
    mean_head = state.params["mean_head"]
    mean_head = mean_head | {"bias": jnp.full_like(mean_head["bias"], bias)}
    state = state._replace(params=state.params | {"mean_head": mean_head})
    gradient = gradient_of_step(given[1], state, *gather(images, index))
    assert bool(finite(gradient)) == above
    assert not jnp.isfinite(jnp.square(gradient["mean_head"]["bias"]).sum())
    _, step = train_step(*given, images, state, index, schedule_values())
    assert bool(step.above_norm) == above
    assert bool(step.skipped) == (above or on_nonfinite == "skip")
