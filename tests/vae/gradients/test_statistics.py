"""The statistics of a VAE's own gradient, again from gradients of single images."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.programs import config, model, schedule_values

from vaecli.vae.architecture import BLOCKS
from vaecli.vae.batches import Stream, gather, seed_key, stream
from vaecli.vae.compiled import compiled_steps
from vaecli.vae.gradients.statistics import (
    HalfBatches,
    batch_statistics,
    estimates,
    from_halves,
    gradient_statistics,
)
from vaecli.vae.gradients.units import sensitivity
from vaecli.vae.heads.bounds import parse_bound
from vaecli.vae.heads.table import HEADS
from vaecli.vae.likelihoods import LIKELIHOODS
from vaecli.vae.loss import loss
from vaecli.vae.model import Model
from vaecli.vae.posterior import Posterior
from vaecli.vae.scale_score import scores
from vaecli.vae.schedules import ScheduleValues
from vaecli.verify.oracles import GAINS

DRAWS = 5
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 8, 12), np.uint8))


def drawn(name, **changes):
    return model(config(name, **{"grad_draws": DRAWS, **changes}), (3, 4), jax.random.key(5))


def flat(tree, rows):
    """Leaves as one matrix, (…, numbers), in float64; `rows` axes stay."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(*leaf.shape[:rows], -1) for leaf in leaves], axis=-1)


FREE = {"encoder_scale": "free", "likelihood": "student", "decoder_scale": "pixel"}
NETWORK = {"head_gradient": "natural", "likelihood": "gaussian", "decoder_scale": "network", "no_maximum": "train"}


@pytest.fixture(scope="module")
def of_batches():
    """A function from a model, batches and a schedule to their statistics, compiled once."""
    return jax.jit(gradient_statistics)


# Halves of one size and of two, a head whose μ follows u too, and at once all that a gradient may have besides: a free
# scale, natural gradients, and a likelihood with a scale, which other likelihoods and granularities only repeat.
@pytest.mark.parametrize(
    ("name", "size", "changes"),
    [
        ("natural", 8, {}),
        ("softplus_std", 7, NETWORK | {"encoder_scale": "free"}),
        pytest.param("softplus_std", 7, NETWORK, marks=pytest.mark.long),
        pytest.param("softplus_std", 8, FREE, marks=pytest.mark.long),
        pytest.param("softplus_std", 7, {}, marks=pytest.mark.long),
        pytest.param("logvar", 8, {}, marks=pytest.mark.long),
    ],
)
def test_brute_force(of_batches, name, size, changes):
    """Every gradient of every image at every draw, put together in NumPy."""
    vae = drawn(name, **changes)
    found = jax.device_get(of_batches(vae, IMAGES[:, :size], schedule_values()))
    found = jax.tree.map(lambda leaf: leaf[0], found)
    half = -(-size // 2)

    @jax.jit
    def by_image(vae, images):
        x, _ = gather(images, jnp.arange(size))
        key = jax.random.fold_in(stream(vae.operands.key, Stream.GRADIENTS), 0)
        draw = jax.vmap(lambda key: jax.random.normal(key, (2, half, 3)).reshape(-1, 3)[:size])
        epsilon = draw(jax.random.split(key, DRAWS))

        def alone(x, epsilon):
            def of_params(params):
                return loss(dataclasses.replace(vae, params=params), x[None], jnp.ones(1), epsilon[None, None])

            return jax.grad(of_params, has_aux=True)(vae.params)[0]

        each = jax.vmap(jax.vmap(alone), in_axes=(None, 0))(x, epsilon)
        return x, epsilon, each, vae.encode(x)[0]

    x, epsilon, each, q = jax.device_get(by_image(vae, IMAGES[0][:size]))
    halves = [slice(0, half), slice(half, size)]
    assert set(found.blocks) == {*BLOCKS, *["decoder_scale"] * ("likelihood" in changes)}
    for block in found.blocks:
        g = flat(each[block], 2)  # (draws, images, numbers)
        whole = g.mean(axis=1)
        variance = whole.var(axis=0, ddof=1).sum()
        one, other = (g[:, part].mean(axis=1) for part in halves)
        counts = [part.stop - part.start for part in halves]
        noise = ((one - other) ** 2).sum(axis=1).mean() / (1 / counts[0] + 1 / counts[1])
        exact = (variance, (whole.mean(axis=0) ** 2).sum() - variance / DRAWS, noise, (one * other).sum(axis=1).mean())
        scale = (variance, variance + exact[1], noise, noise)
        for what, value, size_of in zip(found.blocks[block]._fields, exact, scale, strict=True):
            assert float(getattr(found.blocks[block], what)) == pytest.approx(value, rel=1e-4, abs=1e-4 * size_of), what

    # The scale head of single images: its bias's derivative is ∂L_i/∂u, and its kernel's variance is the cheap one.
    weights = flat(each["scale_head"], 2).var(axis=0, ddof=1).sum() / size**2
    assert float(found.units.weights) == pytest.approx(weights, rel=1e-5)
    sigma, loc = np.asarray(q.scale, np.float64), np.asarray(q.loc, np.float64)
    gamma = GAINS[name](sigma, np)
    coupling = 2 * gamma * loc if HEADS[name].couples_mean else 0
    # Only the weights have the natural gradient.
    by_u = np.asarray(each["scale_head"]["bias"], np.float64)
    by_u = by_u * (2 * gamma**2 + 1e-8) if "head_gradient" in changes else by_u
    variance, mean = by_u.var(axis=0, ddof=1), by_u.mean(axis=0)
    assert float(found.units.units) == float(found.units.responding) == 3 * size
    assert float(found.units.raw) == pytest.approx(variance.sum(), rel=1e-5)
    assert float(found.units.log_sigma) == pytest.approx((variance / gamma**2).sum(), rel=1e-5)
    assert float(found.units.sigma) == pytest.approx((variance / (gamma * sigma) ** 2).sum(), rel=1e-5)
    signal = ((mean**2 - variance / DRAWS) / gamma**2).sum()
    assert float(found.units.signal) == pytest.approx(signal, rel=1e-4, abs=1e-5 * (variance / gamma**2).sum())
    information = 2 * gamma**2 + (coupling / sigma) ** 2
    assert float(found.units.fisher_ratio) == pytest.approx((variance / information).sum(), rel=1e-5)
    if "likelihood" in changes:
        ratio = decoder_fisher_ratio(vae, x, loc + sigma * epsilon)
        assert float(found.decoder_fisher_ratio) == pytest.approx(ratio, rel=1e-5)
    else:
        assert found.decoder_fisher_ratio is None


def decoder_fisher_ratio(vae, x, z):
    """The mean square of ∂ log p/∂ log τ over its expectation, in closed form: Gaussian, or Student's t with ν = 4."""
    decoded = jax.device_get(jax.jit(lambda vae, z: vae.decoder_scale(z))(vae, jnp.asarray(z, jnp.float32)))
    squared = ((np.asarray(x, np.float64) - decoded.outputs) / np.exp(np.float64(decoded.log_scale))) ** 2
    if vae.program.likelihood == LIKELIHOODS["gaussian"](HEADS["logvar"].form):
        return ((squared - 1) ** 2).mean() / 2
    return ((5 * squared / (4 + squared) - 1) ** 2).mean() / (8 / 7)


OPTIMAL, FIXED = {"decoder_scale": "optimal"}, {"decoder_param": "fixed"}


@pytest.mark.parametrize("changes", [OPTIMAL, pytest.param(FIXED, marks=pytest.mark.long)])
def test_a_distance_is_no_gradient(changes):
    """A scale in closed form has no block, and the ratio is that of its residuals."""
    vae, blocks = drawn("logvar", likelihood="gaussian", grad_draws=2, **changes), []

    @jax.jit
    def ratio(vae):
        found = batch_statistics(vae, IMAGES[0], jax.random.key(7))
        blocks.extend(found.blocks)
        return found.decoder_fisher_ratio

    assert np.isfinite(ratio(vae))
    assert set(blocks) == set(BLOCKS)


def test_a_scale_that_is_not_learned_has_no_block():
    vae = drawn("logvar", likelihood="gaussian", grad_draws=2, **FIXED)
    found = jax.eval_shape(batch_statistics, vae, IMAGES[0], jax.random.key(7))
    assert set(found.blocks) == set(BLOCKS)
    assert found.decoder_fisher_ratio.shape == ()


def test_the_decoders_ratio_is_1_where_its_scale_is_calibrated():
    """Pixels drawn from the likelihood itself, at the z of the draws."""
    vae = drawn("logvar", likelihood="laplace")

    @jax.jit
    def ratio():
        epsilon = jax.random.normal(jax.random.key(1), (1, 4000, 3))
        # The encoder sees one image; the decoder, pixels that it could have made of it.
        x = jnp.full((4000, 12), 0.5)
        q, _ = vae.encode(x)
        decoded = vae.decoder_scale(q.loc[None] + q.scale[None] * epsilon)
        pixels = vae.program.likelihood.sample(jax.random.key(2), decoded.outputs, decoded.log_scale)[0]
        return (scores(vae.program.likelihood, decoded, pixels) ** 2).mean()

    # (|r|/τ − 1)² has the variance 8.
    assert float(ratio()) == pytest.approx(1, abs=4 * np.sqrt(8 / 48000))


@pytest.fixture(scope="module")
def u():
    """That of the units of the first batch."""
    vae = drawn("logvar")
    return np.asarray(jax.jit(lambda: vae.encode(gather(IMAGES[0], jnp.arange(8))[0])[1])())


@pytest.fixture(scope="module")
def units_of_batches():
    """The same for the statistics of the units alone, for which there is less to compile."""
    return jax.jit(lambda *args: gradient_statistics(*args).units)


def test_units_without_gain_are_left_out(units_of_batches, u):
    """Behind a clip on σ that half of the units have reached."""
    middle = float(np.median(u))
    clipped = drawn("logvar", bound=f"clip:{middle / 2},9")
    found = jax.tree.map(lambda leaf: leaf[0], units_of_batches(clipped, IMAGES, schedule_values()))
    inside = float((u > middle).mean())
    assert inside == pytest.approx(0.5, abs=0.05)
    assert float(found.responding) == pytest.approx(inside * float(found.units))
    assert float(found.log_sigma) == pytest.approx(4 * float(found.raw), rel=1e-5)
    assert np.isfinite(jax.tree.leaves(found)).all()


def test_a_nearly_saturated_unit_spoils_no_other():
    """γ = 1e-20 at u = 46 under `sigmoid_std`: V is no float32 there, V/γ² is, and the same as logvar's."""

    @functools.partial(jax.jit, static_argnums=0)
    def seen(head, u):
        sigma = 2 / (1 + jnp.exp(-jnp.asarray([[20.0, 46.0]])))
        q = Posterior(jnp.zeros((1, 2)), jnp.log(sigma), sigma)
        at = sensitivity(head, parse_bound("none"), q, u, jnp.ones((1, 3)), jnp.ones(1))

        def derivative(epsilon):
            by_log_sigma = jnp.asarray([[0.3, -0.2]]) + epsilon
            backwards = jax.vjp(head.log_scale, u)[1]
            return HalfBatches({}, backwards(by_log_sigma)[0][None])

        return from_halves(derivative, jax.random.normal(jax.random.key(0), (6, 1, 2)), (1,), at).units

    edge = seen(HEADS["sigmoid_std"], np.float32([[20.0, 46.0]]))
    plain = seen(HEADS["logvar"], np.full((1, 2), 2 * np.log(2), np.float32))
    for what in ("log_sigma", "signal", "fisher_ratio", "responding"):
        assert float(getattr(edge, what)) == pytest.approx(float(getattr(plain, what)), rel=1e-5), what


def logged(of_batches, name, images=IMAGES):
    vae = drawn(name)
    found = jax.device_get(of_batches(vae, images, schedule_values()))
    return found, estimates(found, images.shape[1], learned=vae.head.learned)


def test_tags_and_their_averages(of_batches):
    found, tags = logged(of_batches, "natural")
    per_block = ("variance", "signal", "snr", "epsilon_fraction", "noise_scale")
    names = {f"{what}/{block}" for what in per_block for block in BLOCKS} | {"noise_scale", "unit_snr", "fisher_ratio"}
    names |= {f"scale_variance/{coordinate}" for coordinate in ("raw", "sigma", "log_sigma", "weights")}
    assert set(tags) == {f"{group}/{name}" for group in ("grad", "grad_se") for name in names}
    assert all(type(value) is float for value in tags.values())
    block = found.blocks["encoder"]
    assert block.variance.shape == (3,)
    np.testing.assert_allclose(tags["grad/snr/encoder"] ** 2, block.signal.mean() / block.variance.mean(), rtol=1e-6)
    fraction = block.variance.mean() / (block.noise.mean() / 8)
    assert tags["grad/epsilon_fraction/encoder"] == pytest.approx(fraction, rel=1e-6)
    noise = sum(found.blocks[name].noise.mean() for name in BLOCKS)
    overlap = sum(found.blocks[name].overlap.mean() for name in BLOCKS)
    assert tags["grad/noise_scale"] == pytest.approx(noise / overlap, rel=1e-5)
    assert tags["grad_se/variance/encoder"] == pytest.approx(block.variance.std(ddof=1) / np.sqrt(3), rel=1e-5)


def test_batches_and_seeds_have_draws_of_their_own(of_batches):
    """Batches of the same images, and two runs with the same parameters."""
    vae, twice = drawn("natural"), jnp.stack([IMAGES[0]] * len(IMAGES))
    other = dataclasses.replace(vae, operands=vae.operands._replace(key=seed_key(jnp.uint32(1))))
    one, two = (flat(of_batches(given, twice, schedule_values()), 1) for given in (vae, other))
    for a, b in ((one[0], one[1]), (one[0], two[0]), (one[1], two[1])):
        # All but how many units there are.
        assert (a != b).sum() == a.size - 2


def test_gradient_statistics_of_a_vectorised_batch_are_those_of_the_solo_runs(of_batches):
    """As on a GPU."""
    one, two = (drawn("natural", seed=seed) for seed in (0, 1))
    two = dataclasses.replace(two, params=jax.tree.map(lambda leaf: leaf / 2, two.params))
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), (one.operands, one.params), (two.operands, two.params))
    run = compiled_steps(one.program, vectorise=True)
    many = run.gradient_statistics(Model(one.program, *both), IMAGES, schedule_values(2))
    for k, vae in enumerate((one, two)):
        solo = flat(of_batches(vae, IMAGES, schedule_values()), 1)
        np.testing.assert_allclose(flat(many, 2)[k], solo, rtol=1e-3, atol=1e-4)


def test_the_schedule_is_that_of_the_step(of_batches):
    """A factor of one half on β is half of β."""
    vae = drawn("natural")
    half = ScheduleValues(jnp.float32(1), jnp.float32(0.5))
    halved = dataclasses.replace(vae, operands=vae.operands._replace(beta=0.5 * vae.operands.beta))
    scheduled = flat(of_batches(vae, IMAGES, half), 1)
    expected, whole = (flat(of_batches(given, IMAGES, schedule_values()), 1) for given in (halved, vae))
    np.testing.assert_allclose(scheduled, expected, rtol=1e-5, atol=1e-7)
    assert not np.allclose(scheduled, whole, rtol=1e-2)


def test_every_head_meets_the_same_draws(units_of_batches, u):
    """At one posterior, whose u is half as great under `logstd`, so that its noise is four times as great.

    Behind the clip of the units without gain, so that it is one program.
    """
    logvar, logstd = (drawn(name, bound=f"clip:{float(np.median(u)) / 2},9") for name in ("logvar", "logstd"))
    halved = logvar.params | {"scale_head": jax.tree.map(lambda leaf: leaf / 2, logvar.params["scale_head"])}
    one, other = (
        units_of_batches(vae, IMAGES, schedule_values()) for vae in (logvar, dataclasses.replace(logstd, params=halved))
    )
    np.testing.assert_allclose(other.raw, 4 * one.raw, rtol=1e-5)
    np.testing.assert_allclose(other.log_sigma, one.log_sigma, rtol=1e-5)


def test_tags_that_have_no_meaning_are_left_out(of_batches):
    """Those of several batches and images, for one image; and those of u, for a head that has none."""
    _, fixed = logged(of_batches, "fixed", IMAGES[:1, :1])
    learned, _ = logged(of_batches, "natural")
    for one_image in (fixed, estimates(jax.tree.map(lambda leaf: leaf[:1], learned), 1, learned=True)):
        assert not [tag for tag in one_image if tag.startswith("grad_se/")]
        assert not [tag for tag in one_image if "noise_scale" in tag or "epsilon_fraction" in tag]
        assert np.isfinite(one_image["grad/variance/decoder"])
    assert "grad/decoder_fisher_ratio" not in fixed
    assert not [tag for tag in fixed if "scale_variance" in tag or "unit" in tag or "fisher" in tag]
    assert fixed["grad/variance/scale_head"] == 0
    assert np.isnan(fixed["grad/snr/scale_head"])
