import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import integrate, stats

from vaecli.vae import log_densities as ld

KEY = jax.random.key(3)
DFS = [
    0.5,
    4.0,
    999.0,
    1000.0,
    1e6,
    # Of the same kind as those between which they lie.
    pytest.param(1.0, marks=pytest.mark.long),
    pytest.param(30.0, marks=pytest.mark.long),
]


@pytest.fixture(autouse=True)
def _digits():
    with mp.workdps(40):
        yield


# The exact log p and its derivatives by the output and by log τ, of one pixel -----------------------------------------


def exact_bernoulli(logit, x):
    p = 1 / (1 + mp.exp(-logit))
    return x * mp.log(p) - (1 - x) * mp.log1p(mp.exp(logit)), x - p


def exact_gaussian(mean, log_scale, x):
    q = (x - mean) * mp.exp(-log_scale)
    return -q * q / 2 - log_scale - mp.log(2 * mp.pi) / 2, q * mp.exp(-log_scale), q * q - 1


def exact_laplace(median, log_scale, x):
    q = (x - median) * mp.exp(-log_scale)
    return -abs(q) - log_scale - mp.log(2), mp.sign(q) * mp.exp(-log_scale), abs(q) - 1


def exact_student(location, log_scale, x, df):
    df = mpf(df)
    q = (x - location) * mp.exp(-log_scale)
    constant = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - mp.log(df * mp.pi) / 2
    value = constant - log_scale - (df + 1) / 2 * mp.log1p(q * q / df)
    share = (df + 1) * q / (df + q * q)
    return value, share * mp.exp(-log_scale), share * q - 1


def exact_discretised_logistic(location, log_scale, x):
    """With the mass of the nearer tail, so that no digits are lost."""
    k, scale = mp.nint(255 * x), mp.exp(log_scale)
    low, high = ((k - mpf(1) / 2) / 255 - location) / scale, ((k + mpf(1) / 2) / 255 - location) / scale
    if low + high > 0:  # log p, and with it the derivative by log τ, are the same for the image in a mirror.
        value, slope, score = exact_discretised_logistic(1 - location, log_scale, 1 - x)
        return value, -slope, score
    with mp.workdps(60):
        below = 0 if k == 0 else _tail(low)
        above = 1 if k == 255 else _tail(high)
        density_below = 0 if k == 0 else _density(low)
        density_above = 0 if k == 255 else _density(high)
        mass = above - below
        value = mp.log(mass)
        slope = (density_below - density_above) / mass / scale
        score = (density_below * low - density_above * high) / mass
    return value, slope, score


def _tail(x):
    return mp.exp(x) / (1 + mp.exp(x)) if x < 0 else 1 / (1 + mp.exp(-x))


def _density(x):
    return mp.exp(-abs(x)) / (1 + mp.exp(-abs(x))) ** 2


def exact_continuous_bernoulli(logit, x):
    if logit == 0:
        return mpf(0), x - mpf(1) / 2
    with mp.workdps(60):
        value = (x - mpf(1) / 2) * logit - mp.log(mp.sinh(logit / 2) / (logit / 2))
        return value, x - 1 / (1 - mp.exp(-logit)) + 1 / logit


# Points --------------------------------------------------------------------------------------------------------------

LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)


def pixels(rng, count=320):
    """Levels, both ends among them, and dequantised reals."""
    levels = rng.choice(LEVELS, count)
    real = ((rng.integers(0, 256, count) + rng.random(count)) / 256).astype(np.float32)
    return np.where(rng.random(count) < 0.5, levels, real).astype(np.float32)


def located(count=320, *, spread=6.0, levels=False):
    """Locations, log scales and pixels: anywhere, and a few scales apart, where large terms cancel."""
    rng = np.random.default_rng(0)
    x = rng.choice(LEVELS, count) if levels else pixels(rng, count)
    x[:6] = [0, 1, 0, 1, 0, 1]
    log_scale = rng.uniform(-15, 15, count).astype(np.float32)
    log_scale[::16] = rng.choice([-15.0, 15.0, 0.0], log_scale[::16].size)
    anywhere = rng.uniform(-87, 87, count)
    unit = rng.uniform(0, 1, count)
    near = x + np.exp(log_scale) * rng.uniform(-spread, spread, count)
    if levels:  # An edge of the level.
        near += rng.choice([-0.5, 0.5], count) / 255
    location = np.select([rng.random(count) < 0.25, rng.random(count) < 0.3], [anywhere, unit], near)
    location[:2] = [-87, 87]
    return tuple(np.asarray(v, np.float32) for v in (np.clip(location, -87, 87), log_scale, x))


def logits_and_pixels(count=320):
    rng = np.random.default_rng(1)
    wide, near_zero = rng.uniform(-87, 87, count), np.exp(rng.uniform(-30, 2, count)) * rng.choice([-1, 1], count)
    found = np.select([rng.random(count) < 0.4, rng.random(count) < 0.5], [wide, near_zero], rng.uniform(-6, 6, count))
    found[:6] = [0, -87, 87, 2, -2, np.nextafter(2, 0)]
    return found.astype(np.float32), pixels(rng, count)


@functools.partial(jax.jit, static_argnums=0)
def with_derivatives(density, *arguments):
    """Values, and first and second derivatives by all arguments but the pixel."""
    outputs = tuple(range(len(arguments) - 1))

    # The second are derivatives of the first, with which the values come: the density is traced once.
    def slopes(*point):
        value, first = jax.value_and_grad(density, argnums=outputs)(*point)
        return first, (value, first)

    second, (value, first) = jax.vmap(jax.jacfwd(slopes, argnums=outputs, has_aux=True))(*arguments)
    return value, *first, second


def assert_exact(density, exact, arguments):
    """Compares values and first derivatives with the exact ones, which it returns; the second are finite."""
    *found, second = jax.tree.map(np.asarray, with_derivatives(density, *arguments))
    arguments = [np.asarray(argument).tolist() for argument in arguments]
    expected = [exact(*map(mpf, point)) for point in zip(*arguments, strict=True)]
    names = ("log p", "by the output", "by log τ")[: len(found)]
    for name, values, references in zip(names, found, zip(*expected, strict=True), strict=True):
        pairs = zip(values.tolist(), references, strict=True)
        errors = [float(abs(value - reference) / max(1, abs(reference))) for value, reference in pairs]
        worst = int(np.argmax(errors))
        assert errors[worst] <= 1e-6, (name, [a[worst] for a in arguments], values[worst], references[worst])
    assert all(np.isfinite(values).all() for values in jax.tree.leaves(second))
    return expected


@functools.cache
def student(df):
    """Student's t with so many degrees of freedom: the same function each time, whose programs tests share."""
    return functools.partial(ld.student, df=df)


# The densities -------------------------------------------------------------------------------------------------------


def test_bernoulli():
    """Of binary pixels; with a grey one the rounding is that of x l."""
    at, x = logits_and_pixels()
    assert_exact(ld.bernoulli, exact_bernoulli, (at, np.round(x)))
    exact = [float(exact_bernoulli(mpf(80), mpf(x))[0]) for x in (0.25, 0.996)]
    found = jax.jit(ld.bernoulli)(np.float32(80), np.array([0.25, 0.996], np.float32))
    np.testing.assert_allclose(found, exact, atol=8e-6)


def test_gaussian():
    expected = assert_exact(ld.gaussian, exact_gaussian, located())
    assert sum(abs(value) < 1 for value, _, _ in expected) > 5


def test_laplace():
    assert_exact(ld.laplace, exact_laplace, located(spread=16.0))
    at_the_median = jax.jit(jax.grad(ld.laplace, argnums=(0, 1)))(jnp.float32(0.3), jnp.float32(-15), jnp.float32(0.3))
    assert at_the_median == (0, -1)


# The constant of 999, by other terms than that of 1000, is part of `test_a_density_of_real_pixels_integrates_to_one`.
@pytest.mark.parametrize("df", [pytest.param(df, marks=pytest.mark.long) if df == 999 else df for df in DFS])
def test_student(df):
    arguments = located(160, spread=1000.0 if df < 30 else 10.0)
    assert_exact(student(df), functools.partial(exact_student, df=df), arguments)


@pytest.mark.parametrize("df", [pytest.param(1e9, marks=pytest.mark.long), 1e30])
def test_student_tends_to_the_gaussian(df):
    mean, log_scale, x = located()
    mean = np.clip(mean, x - 5 * np.exp(log_scale), x + 5 * np.exp(log_scale))
    found = jax.jit(student(df))(mean, log_scale, x)
    np.testing.assert_allclose(found, jax.jit(ld.gaussian)(mean, log_scale, x), rtol=2e-6, atol=4e-6)


def test_student_is_finite_where_the_square_of_a_residual_is_not():
    # As many points as in `test_student`, whose program serves.
    arguments = [np.full(160, value, np.float32) for value in (87.0, -80.0, 0.5)]
    value, *first, _ = with_derivatives(student(4.0), *arguments)
    exact = exact_student(mpf(87), mpf(-80), mpf(0.5), 4.0)
    assert [float(one[0]) for one in (value, *first)] == pytest.approx([float(one) for one in exact], rel=1e-6)
    assert float(jax.jit(ld.gaussian)(*(at[0] for at in arguments))) == -np.inf


def test_discretised_logistic():
    assert_exact(ld.discretised_logistic, exact_discretised_logistic, located(spread=20.0, levels=True))


def test_an_edge_of_a_level_is_where_it_is_to_the_last_digit():
    """Of level 100 at scale e⁻¹⁵, all along the sigmoid of the upper edge."""
    location = np.float32(100.5 / 255) + np.arange(-60, 61, dtype=np.float32) * np.float32(2**-25)
    points = [np.resize(v, 320).astype(np.float32) for v in (location, -15, LEVELS[100])]
    expected = assert_exact(ld.discretised_logistic, exact_discretised_logistic, points)
    assert min(value for value, _, _ in expected) < -3 < -0.1 < max(value for value, _, _ in expected)


def test_pixels_between_levels_belong_to_the_nearest():
    x = np.array([0.0, 0.0019, 0.4, 0.9985, 1.0], np.float32)
    levels = np.round(x * 255) / np.float32(255)
    arguments = np.float32(0.3), np.float32(-2)
    log_p = jax.jit(ld.discretised_logistic)
    np.testing.assert_array_equal(log_p(*arguments, x), log_p(*arguments, levels))


def test_continuous_bernoulli():
    assert_exact(ld.continuous_bernoulli, exact_continuous_bernoulli, logits_and_pixels())


@pytest.mark.parametrize(
    ("density", "arguments"),
    [
        (ld.gaussian, located(24)),
        (ld.laplace, located(24)),
        (student(4.0), located(24, spread=100.0)),
        (ld.discretised_logistic, located(24, levels=True)),
        (ld.continuous_bernoulli, logits_and_pixels(24)),
    ],
)
def test_second_derivatives_are_those_of_the_first(density, arguments):
    """By differences, in float64."""
    outputs = tuple(range(len(arguments) - 1))
    with jax.enable_x64(True):
        arguments = [np.asarray(a, np.float64) for a in arguments]
        # Where a digit of the location moves the density little.
        if len(arguments) == 3:
            arguments[1] = np.clip(arguments[1], -4, 4)
            arguments[0] = arguments[2] + np.clip(arguments[0] - arguments[2], -0.1, 0.1)
        _, *first, second = jax.device_get(with_derivatives(density, *arguments))
        for j in outputs:
            beside = ([a + (i == j) * h for i, a in enumerate(arguments)] for h in (1e-6, -1e-6))
            up, down = (jax.device_get(with_derivatives(density, *points))[1:-1] for points in beside)
            for i, (above, below) in enumerate(zip(up, down, strict=True)):
                difference = (above - below) / 2e-6
                size = np.abs(difference) + np.abs(first[i]) + 1
                assert (np.abs(second[i][j] - difference) <= 1e-5 * size).all(), (i, j)


# That of the others is among the gradients of test_model.py and test_gradient_rules.py, too.
@pytest.mark.parametrize(
    "density",
    [
        *(pytest.param(one, marks=pytest.mark.long) for one in (ld.gaussian, ld.laplace, ld.discretised_logistic)),
        student(2.0),
    ],
)
def test_a_scale_of_all_pixels_is_one_of_each(density):
    """And its gradient the sum of theirs; a scale of another rank is refused."""
    location, log_scale, x = (np.asarray(a)[:6].reshape(2, 3) for a in located(8))
    whole = np.full_like(log_scale, log_scale[0, 0])

    @jax.jit
    def totals(location, x, *log_scales):
        return [jax.value_and_grad(lambda s: density(location, s, x).sum())(s) for s in log_scales]

    (value, slope), (of_each, slopes) = totals(location, x, log_scale[0, 0], whole)
    np.testing.assert_allclose(value, of_each, rtol=1e-6)
    np.testing.assert_allclose(slope, slopes.sum(), rtol=1e-5)
    with pytest.raises(ValueError, match="rank"):
        jax.eval_shape(density, location, log_scale[0], x)


def test_the_derivative_by_a_dequantised_pixel_is_that_by_the_location_less():
    location, log_scale, x = located(16)

    @jax.jit
    @jax.vmap
    def slopes(*point):
        return [jax.grad(density, argnums=(0, 2))(*point) for density in (ld.gaussian, ld.laplace, student(3.0))]

    for by_location, by_x in slopes(location, log_scale, x):
        np.testing.assert_array_equal(by_x, -by_location)


# Total probability, in float64 ---------------------------------------------------------------------------------------


def half_line():
    """Points and weights from 0 to ∞ by the double exponential rule (Takahasi & Mori 1974)."""
    t = np.arange(-4.5, 4.5, 2**-6)
    points = np.exp(np.pi / 2 * np.sinh(t))
    return points, points * np.pi / 2 * np.cosh(t) * 2**-6


@pytest.mark.parametrize("df", [*DFS, "gaussian", "laplace"])
@pytest.mark.parametrize("log_scale", [-15.0, 0.0, 15.0])
def test_a_density_of_real_pixels_integrates_to_one(df, log_scale):
    """On either side of the location."""
    density = getattr(ld, df) if isinstance(df, str) else student(df)
    with jax.enable_x64(True):
        distance, weight = half_line()
        scale = np.exp(log_scale)
        # A location at 0, since x − m would round otherwise.
        points = [0 * distance, log_scale + 0 * distance, scale * distance]
        right, left = (jax.jit(density)(*points[:2], sign * points[2]) for sign in (1, -1))
        total = ((np.exp(right) + np.exp(left)) * weight).sum()
    assert float(total * scale) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("location", [-87.0, -0.3, 0.0, 0.5, 100.5 / 255, 1.0, 87.0])
def test_the_levels_have_all_of_the_probability(location):
    with jax.enable_x64(True):
        log_scale, level = np.meshgrid(np.linspace(-15, 15, 31), np.arange(256) / 255, indexing="ij")
        total = np.exp(jax.jit(ld.discretised_logistic)(np.float64(location), log_scale, level)).sum(axis=1)
    np.testing.assert_allclose(total, 1, atol=1e-10)


def test_a_continuous_bernoulli_integrates_to_one():
    with jax.enable_x64(True):
        nodes, weights = np.polynomial.legendre.leggauss(80)
        at, x = np.meshgrid([-87, -30, -2, -1.999, 0, 1e-9, 0.5, 1.99, 2.01, 87.0], (nodes + 1) / 2, indexing="ij")
        total = np.exp(jax.jit(ld.continuous_bernoulli)(jnp.asarray(at), jnp.asarray(x))) @ weights / 2
    np.testing.assert_allclose(total, 1, atol=1e-10)


# The scale -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("density", "facts"),
    [
        (ld.gaussian, ld.gaussian_scale()),
        (ld.laplace, ld.laplace_scale()),
        *((student(df), ld.student_scale(df)) for df in (0.5, 4.0, 1e3)),
    ],
)
def test_score_and_information_of_a_scale(density, facts):
    # Those of `test_student` have as many points, and their programs serve.
    ratio = np.linspace(-8, 8, 160).astype(np.float32)
    score = with_derivatives(density, 0 * ratio, np.full_like(ratio, -2), ratio * np.float32(np.exp(-2)))[2]
    np.testing.assert_allclose(jax.jit(facts.score)(ratio), score, rtol=1e-5, atol=1e-5)
    with jax.enable_x64(True):
        q, weight = half_line()
        mass = np.exp(jax.jit(density)(0 * q, 0 * q, q)) * weight
        of_mass = np.asarray(jax.jit(facts.score)(q))
        moments = [2 * float((mass * of_mass**power).sum()) for power in (1, 2)]
    assert moments == pytest.approx([0, facts.information], abs=1e-9)


def test_score_and_information_of_the_logistic():
    """By quadrature; and of the bins, where they are narrow."""
    facts = ld.logistic_scale()

    def integrand(q):
        return stats.logistic.pdf(q) * (q * np.tanh(q / 2) - 1) ** 2

    assert facts.information == pytest.approx(2 * integrate.quad(integrand, 0, 60)[0], rel=1e-10)
    with jax.enable_x64(True):
        level = np.arange(256) / 255
        with_score = jax.jit(jax.vmap(jax.value_and_grad(ld.discretised_logistic, argnums=1), in_axes=(None, None, 0)))
        log_p, score = with_score(jnp.float64(0.5), jnp.float64(-3.4), level)
        log_p, score = np.asarray(log_p), np.asarray(score)
        assert float((np.exp(log_p) * score**2).sum()) == pytest.approx(facts.information, rel=1e-3)
        of_density = jax.jit(facts.score)((level - 0.5) / np.exp(-3.4))
        np.testing.assert_allclose(score[1:-1], of_density[1:-1], rtol=2e-3, atol=2e-3)


# The continuous Bernoulli's mean -------------------------------------------------------------------------------------


def test_mean_of_a_continuous_bernoulli():
    at_logits, _ = logits_and_pixels()
    means, variances = jax.jit(jax.vmap(jax.value_and_grad(ld.continuous_bernoulli_mean)))(at_logits)
    for at, mean, variance in zip(*(np.asarray(v).tolist() for v in (at_logits, means, variances)), strict=True):
        with mp.workdps(60):
            exact = mpf(1) / 2 - exact_continuous_bernoulli(mpf(float(at)), mpf(1) / 2)[1] if at else mpf(1) / 2
            width = mpf(float(at)) / 2
            exact_variance = 1 / (4 * width**2) - 1 / (4 * mp.sinh(width) ** 2) if at else mpf(1) / 12
        assert float(mean) == pytest.approx(float(exact), rel=2e-7)
        assert float(variance) == pytest.approx(float(exact_variance), abs=1e-7)


def test_logits_of_a_mean():
    mean = np.array([0.001, 0.0012, 0.02, 0.2, 0.3433, 0.3435, 0.45, 0.499, 0.5, 0.501, 0.7, 0.98, 0.999], np.float32)
    logits = jax.jit(ld.continuous_bernoulli_logits)
    found = np.asarray(logits(mean))
    np.testing.assert_allclose(jax.jit(ld.continuous_bernoulli_mean)(found), mean, rtol=2e-7)
    assert (np.diff(found) > 0).all()
    assert float(found[8]) == 0
    assert float(found[0]) == pytest.approx(-1000, rel=1e-6)
    outside = logits(np.resize(np.array([0, 1], np.float32), mean.shape))
    np.testing.assert_allclose(outside[:2], [-1000, 1000], rtol=1e-4)


# Draws ---------------------------------------------------------------------------------------------------------------


def test_quantiles_of_the_continuous_bernoulli():
    at_logits, _ = logits_and_pixels()
    u = np.random.default_rng(0).integers(0, 2**24, at_logits.size).astype(np.float32) / 2**24
    u[6:12] = [0, 2**-24, 1 - 2**-24, 1, 0.5, 0.5]
    quantile = jax.jit(ld.continuous_bernoulli_quantile)
    found_all = quantile(at_logits, jnp.asarray(u))
    for at, share, found in zip(*(np.asarray(v).tolist() for v in (at_logits, u, found_all)), strict=True):
        exact = mp.log1p(mpf(share) * mp.expm1(mpf(at))) / mpf(at) if at else share
        assert abs(found - exact) <= 1e-6
    edges = np.array([0.0, 2**-24, 1 - 2**-24, 1.0], np.float32)
    np.testing.assert_array_equal(quantile(0 * edges, edges), edges)
    for at in (-1e4, -87.0, 87.0, 1e4):
        found = np.asarray(quantile(np.full(4, at, np.float32), edges))
        assert ((found >= 0) & (found <= 1) & (np.diff(found, prepend=0) >= 0)).all()
        assert [float(found[0]), float(found[-1])] == [0, 1]


COUNT = 20_000
# Of as many log τ as are compared with a distribution, and of some at either end.
LOG_SCALES = np.tile(np.repeat(np.float32([-1, -15, 15]), [COUNT, 1000, 1000]), (2, 1))


@pytest.mark.parametrize(
    ("sample", "distribution"),
    [
        (ld.sample_gaussian, stats.norm),
        (ld.sample_laplace, stats.laplace),
        (functools.partial(ld.sample_student, df=0.5), stats.t(0.5)),
        # The heaviest tails are above; these are drawn in the same way.
        pytest.param(functools.partial(ld.sample_student, df=4.0), stats.t(4), marks=pytest.mark.long),
        pytest.param(functools.partial(ld.sample_student, df=1e6), stats.norm, marks=pytest.mark.long),
    ],
)
def test_draws_of_real_pixels(sample, distribution):
    location = np.float32([[-3.0], [0.5]]) + 0 * LOG_SCALES
    drawn = np.asarray(jax.jit(sample)(KEY, location, LOG_SCALES))
    assert np.isfinite(drawn).all()
    drawn, location = drawn[:, :COUNT], location[:, :COUNT]
    for at, row in zip((-3.0, 0.5), np.asarray(drawn, np.float64), strict=True):
        assert stats.kstest((row - at) / np.exp(-1), distribution.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(np.sign(drawn - location))[0, 1]) < 0.03


def test_draws_of_levels():
    draw, log_prob = jax.jit(ld.sample_discretised_logistic), jax.jit(ld.discretised_logistic)
    for location, log_scale in ((0.1, -3.0), (0.5, -6.0), (1.0, -1.0)):
        at = np.float32(location), np.float32(log_scale)
        drawn = np.asarray(draw(KEY, np.full((2, COUNT // 2), at[0]), at[1])).ravel()
        levels = np.round(drawn * 255).astype(int)
        np.testing.assert_allclose(drawn, LEVELS[levels], rtol=2e-7)
        expected = np.exp(np.asarray(log_prob(*at, LEVELS), np.float64)) * COUNT
        usual = expected > 5
        counts = np.bincount(levels, minlength=256)
        counts, expected = (np.append(v[usual], v[~usual].sum()) for v in (counts, expected))
        assert ((counts - expected) ** 2 / (expected + 1e-3)).sum() < stats.chi2.isf(1e-4, len(counts))
    for extreme, level in ((-87.0, 0), (87.0, 1)):
        drawn = draw(KEY, np.full((2, COUNT // 2), extreme, np.float32), np.float32(-15))
        assert (np.asarray(drawn) == level).all()


def test_draws_of_the_unit_interval():
    draw = jax.jit(ld.sample_continuous_bernoulli)
    for at in (-87.0, -1.0, 0.0, 3.0, 87.0):
        drawn = np.asarray(draw(KEY, np.full(COUNT, at, np.float32)), np.float64)
        assert ((drawn >= 0) & (drawn <= 1)).all()
        share = (np.exp(at * drawn - max(at, 0)) - np.exp(-max(at, 0))) / abs(np.expm1(-abs(at))) if at else drawn
        assert stats.kstest(share if at >= 0 else -share, "uniform").pvalue > 1e-4


def test_draws_of_binary_pixels():
    logits = np.array([[-87.0], [-1.0], [0.0], [87.0]], np.float32) * np.ones((1, COUNT), np.float32)
    drawn = np.asarray(jax.jit(ld.sample_bernoulli)(KEY, logits))
    assert set(np.unique(drawn)) == {0, 1}
    shares = drawn.mean(axis=1)
    np.testing.assert_allclose(shares, [0, 1 / (1 + np.e), 0.5, 1], atol=0.015)
    assert [float(shares[0]), float(shares[3])] == [0, 1]


def test_no_two_samples_share_a_pixels_noise():
    # Of two samples as above, whose programs serve, ten pixels.
    for sample, count, log_scale in (
        (ld.sample_gaussian, LOG_SCALES.shape[1], LOG_SCALES),
        (ld.sample_laplace, LOG_SCALES.shape[1], LOG_SCALES),
        (ld.sample_discretised_logistic, COUNT // 2, np.float32(-3)),
    ):
        drawn = np.asarray(jax.jit(sample)(KEY, np.full((2, count), 0.5, np.float32), log_scale))
        assert len(np.unique(drawn[:, :10])) > 15
