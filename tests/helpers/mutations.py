"""Changes of the science, one by one, each with the check of `vae verify` or the test that must notice it."""

from typing import NamedTuple

EVALUATE, STEPS, BATCHES, BUILD = (f"vae/{name}.py" for name in ("evaluate", "steps", "batches", "build"))
TERMS, MODEL, POSTERIOR, IMPORTANCE = (f"vae/{name}.py" for name in ("terms", "model", "posterior", "importance"))
OBJECTIVES, DENSITIES, OPTIMIZERS = (f"vae/{name}.py" for name in ("objectives", "log_densities", "optimizers"))
UPDATES, SCHEDULES, MATCHING = (f"vae/{name}.py" for name in ("updates", "schedules", "matching"))
MOMENTS, STATISTICS, UNITS = (f"vae/gradients/{name}.py" for name in ("moments", "statistics", "units"))
REEXPRESSION, NUMERICS, NETWORKS = "vae/gradients/reexpression.py", "vae/heads/numerics.py", "vae/networks.py"
BOUNDS = "vae/heads/bounds.py"
VERDICTS, JUDGEMENT, SURVIVAL, PLANNING, TUNING = (
    f"report/{name}.py" for name in ("statistics", "judgement", "survival", "planning", "tuning")
)
EFFECTS, FACTORIAL, COMPARABLE, ANSWER, BANDS = (
    f"report/{name}.py" for name in ("effects", "factorial", "comparable", "answer", "bands")
)
NLL, NLL_ERROR, PARETO = (f"analysis/{name}.py" for name in ("evaluate", "sampling_error", "pareto"))


class VerifyCheck(NamedTuple):
    """A check of `vae verify`: its group, as `module.function`, and its name."""

    group: str
    name: str


class NamedTest(NamedTuple):
    """A test: its file below `tests`, and its name."""

    file: str
    name: str


class Mutation(NamedTuple):
    """A change of the package.

    Attributes:
      name: what is wrong after it.
      file: the file below the package.
      old: a text that occurs there exactly once.
      new: what takes its place.
      noticed_by: what must fail.
    """

    name: str
    file: str
    old: str
    new: str
    noticed_by: VerifyCheck | NamedTest


_KL = VerifyCheck("draws.evaluation", "evaluation: KL")
_ELBO = VerifyCheck("draws.evaluation", "evaluation: ELBO, in standard errors")
_EVALUATED = VerifyCheck("draws.evaluation", "evaluation: moments of epsilon, in standard errors")
_EVALUATED_APART = VerifyCheck("draws.evaluation", "evaluation: correlations of epsilon, in standard errors")
_TRAINED = VerifyCheck("draws.training", "training: moments of epsilon, in standard errors")
_TRAINED_APART = VerifyCheck("draws.training", "training: correlations of epsilon, in standard errors")
_ANY_BATCH = VerifyCheck("draws.training", "training: a seed draws the same in any batch")
_PIXELS = VerifyCheck("draws.pixels", "dynamic pixels: share of ones, in standard errors")
_PIXELS_APART = VerifyCheck("draws.pixels", "dynamic pixels: correlations, in standard errors")
_KEYS = VerifyCheck("draws.streams", "keys that seeds or purposes share")
_WEIGHTS = VerifyCheck("draws.streams", "weights at the start: correlations, in standard errors")
_ORDERS = VerifyCheck("draws.streams", "order of batches: correlations, in standard errors")


def _tag(tag: str) -> VerifyCheck:
    return VerifyCheck("estimators.unbiased", f"grad/{tag}, from expectations")


def _test(path: str, name: str) -> NamedTest:
    return NamedTest(f"{path}.py", name)


MUTATIONS = [
    # The ELBO that is logged.
    Mutation(
        "KL halved in the evaluation", EVALUATE, "(elbo.kl * weight[:, None])", "(0.5 * elbo.kl * weight[:, None])", _KL
    ),
    Mutation(
        "no noise in the evaluation",
        EVALUATE,
        "epsilon = jax.random.normal(key, (*order.shape, architecture",
        "epsilon = 0 * jax.random.normal(key, (*order.shape, architecture",
        _EVALUATED,
    ),
    Mutation(
        "noise of the evaluation too small",
        EVALUATE,
        "epsilon = jax.random.normal(key, (*order.shape, architecture",
        "epsilon = 0.98 * jax.random.normal(key, (*order.shape, architecture",
        _EVALUATED,
    ),
    Mutation(
        "uniform noise in the evaluation",
        EVALUATE,
        "epsilon = jax.random.normal(key, (*order.shape, architecture.latent), jnp.float32)",
        "epsilon = 3**0.5 * jax.random.uniform(key, (*order.shape, architecture.latent), jnp.float32, -1, 1)",
        _EVALUATED,
    ),
    Mutation(
        "one noise for all images of a batch of the evaluation",
        EVALUATE,
        "(*order.shape, architecture.latent), jnp.float32)",
        "(len(order), 1, architecture.latent), jnp.float32) * jnp.ones((1, EVALUATION_BATCH, 1))",
        _EVALUATED_APART,
    ),
    Mutation(
        "one noise for all batches of the evaluation",
        EVALUATE,
        "(*order.shape, architecture.latent), jnp.float32)",
        "(1, EVALUATION_BATCH, architecture.latent), jnp.float32) * jnp.ones((len(order), 1, 1))",
        _EVALUATED_APART,
    ),
    Mutation(
        "one noise for all dimensions of the evaluation",
        EVALUATE,
        "(*order.shape, architecture.latent), jnp.float32)",
        "(*order.shape, 1), jnp.float32) * jnp.ones((1, 1, architecture.latent))",
        _EVALUATED_APART,
    ),
    Mutation(
        "one noise for all seeds of the evaluation",
        EVALUATE,
        "stream(model.operands.key, purpose)",
        'stream(jax.random.key(0, impl="threefry2x32"), purpose)',
        _EVALUATED_APART,
    ),
    Mutation("one noise for test and validation", EVALUATE, "SPLITS.index(split))", "0)", _EVALUATED_APART),
    Mutation(
        "the sign of the KL in test/elbo", EVALUATE, "= means.reconstruction - kl", "= means.reconstruction + kl", _ELBO
    ),
    Mutation(
        "beta in test/elbo",
        EVALUATE,
        "= means.reconstruction - kl",
        "= means.reconstruction - model.operands.beta * kl",
        _ELBO,
    ),
    Mutation("padding counts in the evaluation", EVALUATE, "sum_ / len(images)", "sum_ / order.size", _KL),
    Mutation(
        "white is 255/256", BATCHES, "astype(jnp.float32) / 255, weight", "astype(jnp.float32) / 256, weight", _KL
    ),
    # The noise of training, and the independence of seeds.
    Mutation(
        "noise of training too large",
        STEPS,
        "epsilon = jax.random.normal(",
        "epsilon = 1.02 * jax.random.normal(",
        _TRAINED,
    ),
    Mutation(
        "noise of training around 0.01",
        STEPS,
        "epsilon = jax.random.normal(",
        "epsilon = 0.01 + jax.random.normal(",
        _TRAINED,
    ),
    Mutation(
        "noise of training cut off",
        STEPS,
        "epsilon = jax.random.normal(key, shape, jnp.float32)",
        "epsilon = jax.random.truncated_normal(key, -2.5, 2.5, shape, jnp.float32)",
        _TRAINED,
    ),
    Mutation(
        "one noise for all samples of a step",
        STEPS,
        "shape = (program.objective.samples, len(index)",
        "shape = (1, len(index)",
        _TRAINED,
    ),
    Mutation(
        "one noise for all seeds",
        STEPS,
        "stream(operands.key, Stream.EPSILON)",
        'stream(jax.random.key(0, impl="threefry2x32"), Stream.EPSILON)',
        _TRAINED_APART,
    ),
    Mutation("one noise for all steps", STEPS, "Stream.EPSILON), state.step)", "Stream.EPSILON), 0)", _TRAINED_APART),
    Mutation(
        "one noise for all images of a step",
        STEPS,
        "epsilon = jax.random.normal(key, shape, jnp.float32)",
        "epsilon = jnp.broadcast_to(jax.random.normal(key, (shape[0], 1, shape[2]), jnp.float32), shape)",
        _TRAINED_APART,
    ),
    Mutation(
        "one noise for all dimensions",
        STEPS,
        "epsilon = jax.random.normal(key, shape, jnp.float32)",
        "epsilon = jnp.broadcast_to(jax.random.normal(key, (*shape[:2], 1), jnp.float32), shape)",
        _TRAINED_APART,
    ),
    Mutation(
        "pixels and noise from one key",
        STEPS,
        "stream(operands.key, Stream.EPSILON)",
        "stream(operands.key, Stream.PIXELS)",
        _test("vae/test_batches", "test_each_purpose_has_its_own_stream"),
    ),
    Mutation("every seed's key the same", BATCHES, "jax.random.key(seed, impl", "jax.random.key(0, impl", _KEYS),
    Mutation("seeds in pairs", BATCHES, "jax.random.key(seed, impl", "jax.random.key(seed // 2, impl", _KEYS),
    Mutation(
        "one key for all purposes",
        BATCHES,
        "jax.random.fold_in(key, int(purpose))",
        "jax.random.fold_in(key, 0)",
        _KEYS,
    ),
    Mutation(
        "the first seed's key for the whole batch",
        BUILD,
        "[config.seed for config in configs]",
        "[configs[0].seed for config in configs]",
        _TRAINED_APART,
    ),
    Mutation(
        "a seed's key from its place in the batch",
        BUILD,
        "[config.seed for config in configs]",
        "range(len(configs))",
        _ANY_BATCH,
    ),
    Mutation(
        "one order of batches for all seeds",
        BATCHES,
        "default_rng([seed, epoch, pilot])",
        "default_rng([0, epoch, pilot])",
        _ORDERS,
    ),
    Mutation(
        "one order of batches for all epochs",
        BATCHES,
        "default_rng([seed, epoch, pilot])",
        "default_rng([seed, 0, pilot])",
        _ORDERS,
    ),
    Mutation(
        "order of batches from seed + epoch",
        BATCHES,
        "default_rng([seed, epoch, pilot])",
        "default_rng(seed + epoch)",
        _ORDERS,
    ),
    Mutation(
        "the first seed's order for the whole batch",
        "training/run_batch.py",
        "epoch_order(seed, epoch",
        "epoch_order(self.config.seed, epoch",
        _test("training/test_train", "test_a_seed_of_a_batch_is_the_solo_run"),
    ),
    Mutation(
        "dynamic pixels the same in every step",
        STEPS,
        "Stream.PIXELS), state.step)",
        "Stream.PIXELS), 0)",
        _PIXELS_APART,
    ),
    Mutation(
        "dynamic pixels the same for every seed",
        STEPS,
        "stream(operands.key, Stream.PIXELS)",
        'stream(jax.random.key(0, impl="threefry2x32"), Stream.PIXELS)',
        _PIXELS_APART,
    ),
    Mutation(
        "dynamic pixels are coin tosses",
        STEPS,
        "jax.random.bernoulli(key, x)",
        "jax.random.bernoulli(key, 0.5, x.shape)",
        _PIXELS,
    ),
    Mutation("dynamic pixels are thresholds", STEPS, "jax.random.bernoulli(key, x)", "(x > 0.5)", _PIXELS),
    Mutation(
        "noise of training that depends on the head",
        STEPS,
        "stream(operands.key, Stream.EPSILON)",
        "jax.random.fold_in(stream(operands.key, Stream.EPSILON), jnp.int32(8 * operands.slope))",
        _test("vae/test_steps", "test_no_draw_depends_on_the_head"),
    ),
    Mutation(
        "noise of the evaluation that depends on the head",
        EVALUATE,
        "stream(model.operands.key, purpose)",
        "stream(jax.random.fold_in(model.operands.key, jnp.int32(8 * model.operands.slope)), purpose)",
        _test("training/test_null_control", "test_decay_clipping_eps_and_bound_are_matched_too"),
    ),
    Mutation(
        "draws of gradient statistics that depend on the head",
        STATISTICS,
        "stream(model.operands.key, Stream.GRADIENTS)",
        "jax.random.fold_in(stream(model.operands.key, Stream.GRADIENTS), jnp.int32(8 * model.operands.slope))",
        _test("vae/gradients/test_statistics", "test_every_head_meets_the_same_draws"),
    ),
    Mutation(
        "noise from seed + step",
        STEPS,
        "jax.random.fold_in(stream(operands.key, Stream.EPSILON), state.step)",
        'jax.random.key(jax.random.key_data(operands.key)[1] + state.step, impl="threefry2x32")',
        _TRAINED_APART,
    ),
    Mutation(
        "pilots share the noise of their runs",
        BUILD,
        "jnp.where(pilots > 0,",
        "jnp.where(pilots > 9,",
        _test("vae/test_build", "test_pilots_share_no_draw_with_runs_or_each_other"),
    ),
    Mutation(
        "pilots share the order of their runs",
        BATCHES,
        "default_rng([seed, epoch, pilot])",
        "default_rng([seed, epoch])",
        _test("vae/test_build", "test_pilots_have_batch_orders_of_their_own"),
    ),
    # The objective and its gradient.
    Mutation(
        "KL of a gradient's objective halved",
        TERMS,
        "return 0.5 * q.loc**2 +",
        "return 0.25 * q.loc**2 +",
        VerifyCheck("exact.elbo", "ELBO, analytic"),
    ),
    Mutation(
        "beta twice",
        TERMS,
        "mean - beta * kl.sum(axis=-1)",
        "mean - beta**2 * kl.sum(axis=-1)",
        _test("vae/test_terms", "test_values_are_the_textbooks"),
    ),
    Mutation(
        "beta on the sampled KL twice",
        TERMS,
        "reconstruction - beta * ratio.sum(axis=-1)",
        "reconstruction - beta**2 * ratio.sum(axis=-1)",
        _test("vae/test_terms", "test_values_are_the_textbooks"),
    ),
    Mutation(
        "the prior twice as wide in log q − log p",
        TERMS,
        "return log_q + 0.5 * z**2",
        "return log_q + 0.25 * z**2",
        VerifyCheck("exact.elbo", "ELBO, mc"),
    ),
    Mutation(
        "sticking the landing without its noise",
        TERMS,
        "- epsilon * moved",
        "+ epsilon * moved",
        VerifyCheck("exact.gradients", "gradient by mu and sigma, stl: mean"),
    ),
    Mutation(
        "DReG's weights not squared",
        TERMS,
        "(1 - beta) + beta * weights",
        "(1 - beta) + beta * jnp.ones_like(weights)",
        VerifyCheck("weights.gradients", "IWAE of 3 draws, dreg: gradient at each"),
    ),
    Mutation(
        "IWAE without log K",
        OBJECTIVES,
        " - math.log(len(log_weights))",
        " - 0 * math.log(len(log_weights))",
        _test("vae/test_terms", "test_values_are_the_textbooks"),
    ),
    Mutation(
        "IWAE with log2 K",
        OBJECTIVES,
        " - math.log(len(log_weights))",
        " - math.log2(len(log_weights))",
        _test("vae/test_terms", "test_values_are_the_textbooks"),
    ),
    Mutation(
        "the bound before the head",
        POSTERIOR,
        "bound.log_scale(head.log_scale(u) if head.learned else u)",
        "head.log_scale(bound.log_scale(u)) if head.learned else bound.log_scale(u)",
        VerifyCheck("network.loss", "loss of training, Bernoulli, floor on sigma"),
    ),
    Mutation(
        "the bound on the KL only",
        POSTERIOR,
        'direct = head.learned and bound.kind == "none"',
        "direct = head.learned",
        VerifyCheck("network.loss", "loss of training, Bernoulli, floor on sigma"),
    ),
    Mutation(
        "a Gaussian's constant",
        DENSITIES,
        "0.5 * math.log(2 * math.pi)",
        "math.log(2 * math.pi)",
        _test("vae/test_terms", "test_gaussian_log_prob"),
    ),
    Mutation(
        "a Gaussian's scale twice",
        DENSITIES,
        "x.shape[-1] * (log_scale +",
        "x.shape[-1] * (2 * log_scale +",
        _test("vae/test_terms", "test_gaussian_log_prob"),
    ),
    Mutation(
        "the loss summed, not averaged",
        "vae/loss.py",
        "-sums.objective / weight.sum()",
        "-sums.objective",
        VerifyCheck("network.loss", "loss of training, Bernoulli, floor on sigma"),
    ),
    Mutation(
        "padding counts in the loss",
        "vae/loss.py",
        "-sums.objective / weight.sum()",
        "-sums.objective / len(weight)",
        VerifyCheck("network.loss", "loss of training, Bernoulli, floor on sigma"),
    ),
    # log p(x).
    Mutation(
        "log p(x) without log K",
        IMPORTANCE,
        " - jnp.log(samples.astype(sums.weights.dtype))",
        "",
        VerifyCheck("weights.log_evidence", "log p(x) from the posterior, 1 and 100 draws"),
    ),
    Mutation(
        "log p(x) by the mean of log w",
        IMPORTANCE,
        "return Weighing(log_mean,",
        "return Weighing(sums.elbo,",
        VerifyCheck("weights.log_evidence", "log p(x) from another q, in standard errors"),
    ),
    Mutation(
        "the same draws in every chunk",
        IMPORTANCE,
        "jax.random.fold_in(key, number), (size",
        "key, (size",
        _test("vae/test_importance", "test_any_number_of_samples"),
    ),
    Mutation(
        "effective samples from the weights",
        IMPORTANCE,
        "sums.weights**2 / sums.squares",
        "sums.weights / sums.squares",
        _test("vae/test_importance", "test_the_default_network_against_float64"),
    ),
    Mutation(
        "the same draws for every batch of images",
        NLL,
        "batch, jax.random.fold_in(key, number)",
        "batch, key",
        _test("analysis/test_evaluate", "test_images_do_not_share_draws"),
    ),
    Mutation(
        "active units over dimensions",
        NLL,
        "np.var(importance.loc, axis=0)",
        "np.var(importance.loc, axis=1)",
        _test("analysis/test_evaluate", "test_a_unit_is_active_above_a_hundredth"),
    ),
    Mutation(
        "active units by the spread of q",
        NLL,
        "np.var(importance.loc, axis=0)",
        "np.mean(importance.scale**2, axis=0)",
        _test("analysis/test_evaluate", "test_a_unit_is_active_above_a_hundredth"),
    ),
    Mutation(
        "active units above 0.1",
        NLL,
        "_ACTIVE = 0.01",
        "_ACTIVE = 0.1",
        _test("analysis/test_evaluate", "test_a_unit_is_active_above_a_hundredth"),
    ),
    Mutation(
        "the jackknife without its factor",
        NLL_ERROR,
        "variance = (GROUPS - 1) / GROUPS * (",
        "variance = 1 / GROUPS * (",
        _test("analysis/test_sampling_error", "test_the_interval_against_its_definition"),
    ),
    Mutation(
        "the interval about an NLL without bias",
        NLL_ERROR,
        "low, high = -a / 3 - width, -a / 3 + width",
        "low, high = -width, width",
        _test("analysis/test_sampling_error", "test_the_interval_against_its_definition"),
    ),
    Mutation(
        "images with few effective samples are not doubtful, those with many are",
        NLL_ERROR,
        "few = effective < min(",
        "few = effective > min(",
        _test("analysis/test_sampling_error", "test_coverage_in_few_repeats"),
    ),
    Mutation(
        "a bad image among a hundred does not count",
        NLL_ERROR,
        "_MATERIAL = 0.1",
        "_MATERIAL = 10.0",
        _test("analysis/test_sampling_error", "test_one_bad_image_among_a_hundred_is_seen"),
    ),
    Mutation(
        "Pareto's tail of the root of K weights",
        PARETO,
        "3 * math.sqrt(samples)",
        "math.sqrt(samples)",
        _test("analysis/test_pareto", "test_the_figures_of_another_program"),
    ),
    Mutation(
        "Pareto's shape drawn towards 1",
        PARETO,
        "_PRIOR / 2)",
        "_PRIOR)",
        _test("analysis/test_pareto", "test_the_figures_of_another_program"),
    ),
    Mutation(
        "the NLL of half the draws by all",
        NLL_ERROR,
        "axis=0) - math.log(counts.sum())",
        "axis=0) - math.log(2 * counts.sum())",
        _test("analysis/test_sampling_error", "test_equal_weights"),
    ),
    Mutation(
        "a heavy tail above k = 1",
        NLL_ERROR,
        "RELIABLE_SHAPE = 0.7",
        "RELIABLE_SHAPE = 1.0",
        _test("analysis/test_sampling_error", "test_shares_are_by_their_limits"),
    ),
    Mutation(
        "few effective samples below 5",
        NLL_ERROR,
        "FEW = 10\n",
        "FEW = 5\n",
        _test("analysis/test_sampling_error", "test_shares_are_by_their_limits"),
    ),
    # Gradient noise.
    Mutation(
        "variances over K",
        MOMENTS,
        "leaf / (count - 1)",
        "leaf / count",
        VerifyCheck("estimators.unbiased", "expectation of variance, mean_head"),
    ),
    Mutation(
        "the signal with its noise",
        MOMENTS,
        "(mean.whole**2).sum() - variance / draws",
        "(mean.whole**2).sum()",
        VerifyCheck("estimators.unbiased", "expectation of signal, mean_head"),
    ),
    Mutation(
        "halves of unequal size as equal",
        MOMENTS,
        "(one * g[0] + other * g[1]) / (one + other)",
        "(g[0] + g[1]) / 2",
        VerifyCheck("estimators.unbiased", "expectation of variance, scale_head"),
    ),
    Mutation(
        "the noise of halves twice",
        MOMENTS,
        "/ (1 / one + 1 / other)",
        "/ (0.5 / one + 0.5 / other)",
        VerifyCheck("estimators.unbiased", "expectation of noise, mean_head"),
    ),
    Mutation(
        "a standard error over M",
        MOMENTS,
        "(n.size * (n.size - 1.0))",
        "(n.size * n.size)",
        _test("vae/gradients/test_moments", "test_ratio_of_means"),
    ),
    Mutation(
        "a mean of quotients",
        MOMENTS,
        "value = n.mean() / d.mean()",
        "value = (n / d).mean()",
        _test("vae/gradients/test_statistics", "test_tags_and_their_averages"),
    ),
    Mutation(
        "B − 1 in epsilon_fraction",
        STATISTICS,
        "block.noise / images)",
        "block.noise / (images - 1))",
        _tag("epsilon_fraction"),
    ),
    Mutation(
        "epsilon_fraction of a single image",
        STATISTICS,
        "block.noise / images)",
        "block.noise)",
        _tag("epsilon_fraction"),
    ),
    Mutation(
        "noise_scale by the signal of ε",
        STATISTICS,
        "ratio(block.noise, block.overlap)",
        "ratio(block.noise, block.signal)",
        _tag("noise_scale"),
    ),
    Mutation(
        "an SNR without its root",
        STATISTICS,
        "root(ratio(block.signal, block.variance))",
        "ratio(block.signal, block.variance)",
        _tag("snr"),
    ),
    Mutation(
        "one draw for all probe batches",
        STATISTICS,
        "images, jax.random.fold_in(key, number))",
        "images, key)",
        _test("vae/gradients/test_statistics", "test_batches_and_seeds_have_draws_of_their_own"),
    ),
    Mutation(
        "one draw of gradient statistics for all seeds",
        STATISTICS,
        "stream(model.operands.key, Stream.GRADIENTS)",
        'stream(jax.random.key(0, impl="threefry2x32"), Stream.GRADIENTS)',
        _test("vae/gradients/test_statistics", "test_batches_and_seeds_have_draws_of_their_own"),
    ),
    Mutation(
        "gradient statistics without the warm-up",
        STATISTICS,
        "operands=model.operands.at(schedule))",
        "operands=model.operands)",
        _test("vae/gradients/test_statistics", "test_the_schedule_is_that_of_the_step"),
    ),
    Mutation(
        "the noise of gradient statistics too large",
        STATISTICS,
        "epsilon = jax.random.normal(draw",
        "epsilon = 1.02 * jax.random.normal(draw",
        _test("vae/gradients/test_statistics", "test_brute_force"),
    ),
    Mutation(
        "the Fisher information of μ",
        UNITS,
        "variance / (2 + (units.coupling",
        "variance / (1 + (units.coupling",
        VerifyCheck("exact.at_the_posterior", "posterior, mc: Fisher ratio 1, every head"),
    ),
    Mutation(
        "the coupling of natural halved",
        UNITS,
        "coupling = 2 * q.loc",
        "coupling = q.loc",
        VerifyCheck("exact.at_the_posterior", "posterior, mc: Fisher ratio 1, every head"),
    ),
    Mutation(
        "weights without the bias",
        UNITS,
        "((units.square + 1) * raw",
        "((units.square + 0) * raw",
        VerifyCheck("estimators.unbiased", "expectation of units, weights"),
    ),
    Mutation(
        "a unit's SNR with its noise",
        UNITS,
        "signal=total(mean**2 - variance / draws)",
        "signal=total(mean**2)",
        VerifyCheck("estimators.unbiased", "expectation of units, signal"),
    ),
    # Heads, starts and matches.
    Mutation(
        "softplus's series too early",
        NUMERICS,
        "far = x < -12",
        "far = x < -2",
        _test("vae/heads/test_table", "test_every_quantity_and_its_gradient"),
    ),
    Mutation(
        "a floor on the variance as on its square root",
        BOUNDS,
        "numerics.log_add(2 * s, math.log(epsilon)) / 2",
        "numerics.log_add(s, math.log(epsilon))",
        _test("vae/heads/test_bounds", "test_bound_over_any_head"),
    ),
    Mutation(
        "a smooth bound from below only",
        BOUNDS,
        "numerics.log_add(-numerics.log_add(-s, -high), low)",
        "numerics.log_add(s, low)",
        VerifyCheck("network.gain_after_a_bound", "gain behind every bound"),
    ),
    Mutation(
        "SGD's rate by the gain, not by its square",
        OPTIMIZERS,
        '"sgd": Optimizer(lambda eps: optax.identity(), lr_power=2)',
        '"sgd": Optimizer(lambda eps: optax.identity(), lr_power=1)',
        VerifyCheck("training.null_control", "null control, sgd: matched logstd and logprec are logvar"),
    ),
    Mutation(
        "Adam's eps squared",
        OPTIMIZERS,
        '"adam": Optimizer(lambda eps: optax.scale_by_adam(eps=eps), eps_power=1)',
        '"adam": Optimizer(lambda eps: optax.scale_by_adam(eps=eps), eps_power=2)',
        _test("vae/test_matching", "test_factors_by_hand"),
    ),
    Mutation(
        "RMSprop's eps beside the root",
        OPTIMIZERS,
        "optax.scale_by_rms(decay=0.9, eps=eps), eps_power=2",
        "optax.scale_by_rms(decay=0.9, eps=eps, eps_in_sqrt=False), eps_power=2",
        _test("vae/test_optimizers", "test_textbook"),
    ),
    Mutation(
        "Adam's second decay",
        OPTIMIZERS,
        '"adamw": Optimizer(lambda eps: optax.scale_by_adam(eps=eps)',
        '"adamw": Optimizer(lambda eps: optax.scale_by_adam(b2=0.99, eps=eps)',
        _test("vae/test_optimizers", "test_textbook"),
    ),
    Mutation(
        "Adamax's eps as if inside a root",
        OPTIMIZERS,
        "optax.scale_by_adamax(eps=eps), eps_power=1",
        "optax.scale_by_adamax(eps=eps), eps_power=2",
        _test("training/test_null_control", "test_decay_clipping_eps_and_bound_are_matched_too"),
    ),
    Mutation(
        "Lion's decay not decoupled",
        OPTIMIZERS,
        "optax.scale_by_lion(), decouples=True",
        "optax.scale_by_lion(), decouples=False",
        _test("vae/test_optimizers", "test_textbook"),
    ),
    Mutation(
        "Lion's rate by the square of the gain",
        OPTIMIZERS,
        '"lion": Optimizer(lambda eps: optax.scale_by_lion(), ',
        '"lion": Optimizer(lambda eps: optax.scale_by_lion(), lr_power=2, ',
        _test("vae/test_optimizers", "test_a_gradient_over_its_unit_gives_the_same_update"),
    ),
    Mutation(
        "decoupled decay by the square of the gain",
        OPTIMIZERS,
        "self.lr_power if self.decouples else 2",
        "2",
        _test("vae/test_matching", "test_factors_by_hand"),
    ),
    Mutation(
        "L2 after the optimiser",
        UPDATES,
        "else [*decay, *scale]",
        "else [*scale, *decay]",
        _test("vae/test_optimizers", "test_textbook"),
    ),
    Mutation(
        "weight decay of the scale head on all blocks",
        UPDATES,
        '{"rest": _part(spec, rates)',
        '{"rest": _part(spec, head_rates)',
        _test("vae/test_optimizers", "test_the_scale_head_has_rates_of_its_own"),
    ),
    Mutation(
        "a clip without the scale head's factor",
        UPDATES,
        "lambda g: head_clip * g",
        "lambda g: g",
        _test("vae/test_optimizers", "test_clipping"),
    ),
    Mutation(
        "a match without its sign",
        MATCHING,
        "init_weight_factor=1 / ratio",
        "init_weight_factor=1 / size",
        VerifyCheck("training.null_control", "null control, sgd: matched logstd and logprec are logvar"),
    ),
    Mutation(
        "a match's rate inverted",
        MATCHING,
        "size**-optimizer.lr_power",
        "size**optimizer.lr_power",
        VerifyCheck("training.null_control", "null control, adam: matched logstd and logprec are logvar"),
    ),
    Mutation(
        "the schedule on all rates but the scale head's",
        MODEL,
        "head_rates=self.head_rates._replace(lr=self.head_rates.lr * schedule.lr)",
        "head_rates=self.head_rates",
        _test("vae/test_steps", "test_the_schedule_is_a_factor_on_every_rate"),
    ),
    Mutation(
        "a warm-up one step early",
        SCHEDULES,
        "done / beta_warmup",
        "(done + 1) / beta_warmup",
        _test("vae/test_schedules", "test_warm_up_is_linear_in_steps_over_epochs"),
    ),
    Mutation(
        "a warm-up that begins anew in each epoch",
        SCHEDULES,
        "done / beta_warmup",
        "np.arange(steps) / beta_warmup",
        _test("vae/test_schedules", "test_warm_up_is_linear_in_steps_over_epochs"),
    ),
    Mutation(
        "a warm-up of the rates that begins anew in each epoch",
        SCHEDULES,
        "(done + 1) / lr_warmup",
        "np.arange(1, steps + 1) / lr_warmup",
        _test("vae/test_schedules", "test_learning_rates_warm_up_beside_their_schedule"),
    ),
    Mutation(
        "a warm-up of the rates whose first step has none",
        SCHEDULES,
        "(done + 1) / lr_warmup",
        "done / lr_warmup",
        _test("vae/test_schedules", "test_learning_rates_warm_up_beside_their_schedule"),
    ),
    Mutation(
        "Burda's last rate", SCHEDULES, "(_STAGES - 1)", "_STAGES", _test("vae/test_schedules", "test_burda_2016")
    ),
    Mutation(
        "a head's gain after the wrong bound",
        POSTERIOR,
        "lambda values: bounded_log_scale(head, bound, values)",
        "head.log_scale",
        VerifyCheck("network.gain_after_a_bound", "gain behind every bound"),
    ),
    # Data and what a run records.
    Mutation(
        "validation images in training",
        "data/dataset.py",
        "train=(train if dynamic else drawn)[:count]",
        "train=train if dynamic else drawn",
        _test("data/test_dataset", "test_validation_is_the_end_of_the_training_file"),
    ),
    Mutation(
        "a threshold of its own",
        "data/binarise.py",
        "images > 127",
        "images > 200",
        _test("data/test_dataset", "test_binarisation"),
    ),
    Mutation(
        "fixed draws shared by the splits",
        "data/binarise.py",
        "zlib.crc32(split.encode())",
        "0",
        _test("data/test_dataset", "test_splits_are_drawn_apart"),
    ),
    Mutation(
        "fixed draws too often white",
        "data/binarise.py",
        "rng.integers(0, 255, images.shape",
        "rng.integers(0, 250, images.shape",
        _test("data/test_dataset", "test_fixed_draws_have_the_probability_of_the_pixel"),
    ),
    Mutation(
        "the last batch as large as the others",
        "training/totals.py",
        "sizes[-1] = self._images - sizes[:-1].sum()",
        "pass",
        _test("training/test_totals", "test_means_are_over_images"),
    ),
    Mutation(
        "means over epochs of the whole run",
        "training/totals.py",
        "self.sums = []\n",
        "pass\n",
        _test("training/test_train", "test_log_points_apart"),
    ),
    Mutation(
        "the worst parameters kept",
        "training/best.py",
        "or value > self.record",
        "or value < self.record",
        _test("analysis/test_evaluate", "test_best_is_the_best_on_validation"),
    ),
    Mutation(
        "the best parameters by the test split",
        "training/run_record.py",
        'f"validation/{objective.tag}"',
        'f"test/{objective.tag}"',
        _test("analysis/test_evaluate", "test_best_is_the_best_on_validation"),
    ),
    Mutation(
        "gradient statistics with the first step's schedule",
        "training/run_batch.py",
        "of_step[:, -1 if epoch else 0]",
        "of_step[:, 0]",
        _test("training/test_run_batch", "test_gradient_statistics_have_the_last_steps_schedule"),
    ),
    Mutation(
        "the scale head's weights the same for every seed",
        NETWORKS,
        "self.scale_head = make.linear(",
        "self.scale_head = _Layers(architecture, rngs=nnx.Rngs(0)).linear(",
        _WEIGHTS,
    ),
    Mutation(
        "both heads start with the same weights",
        STEPS,
        "operands.start_weight * kernel[...]",
        "operands.start_weight * vae.mean_head.kernel[...]",
        _WEIGHTS,
    ),
    Mutation(
        "PyTorch's weights half as wide",
        NETWORKS,
        "-(torch_fan_in**-0.5), torch_fan_in**-0.5)",
        "-0.5 * torch_fan_in**-0.5, 0.5 * torch_fan_in**-0.5)",
        _test("vae/test_networks", "test_weights_start_as_their_names_say"),
    ),
    Mutation(
        "the mean of natural over σ",
        POSTERIOR,
        "mean * scale**2 if head.couples_mean",
        "mean * scale if head.couples_mean",
        VerifyCheck("exact.gradients", "gradient through natural: mean and covariance"),
    ),
    Mutation(
        "the first seed's numbers for every seed",
        "training/recorder.py",
        "        result = of_row(results, row)",
        "        result = of_row(results, 0)",
        _test("training/test_train", "test_a_seed_of_a_batch_is_the_solo_run"),
    ),
    Mutation(
        "the parameters before the epoch measured",
        "training/run_batch.py",
        "        model = self._model(state)\n",
        "        model = self._model(chunk.before)\n",
        _test("training/test_train", "test_checkpoint_holds_the_final_state"),
    ),
    Mutation(
        "training images as the test split",
        "training/run_batch.py",
        '{"test": dataset.test}',
        '{"test": dataset.train}',
        _test("training/test_train", "test_checkpoint_holds_the_final_state"),
    ),
    Mutation(
        "epsilon_fraction by the number of batches",
        "training/run_record.py",
        "self._dataset.probe.shape[1]",
        "self._dataset.probe.shape[0]",
        _test("training/test_train", "test_no_hidden_layers"),
    ),
    Mutation(
        "a probed block's signal with its noise",
        REEXPRESSION,
        "(gradient**2).sum() - statistics.weights / draws",
        "(gradient**2).sum()",
        _test("analysis/test_probe", "test_the_runs_own_head_is_its_own_gradient"),
    ),
    Mutation(
        "a probed gradient summed over images",
        REEXPRESSION,
        "mean[1]) / len(inputs)",
        "mean[1])",
        _test("analysis/test_probe", "test_the_runs_own_head_is_its_own_gradient"),
    ),
    # Verdicts.
    Mutation(
        "sd by n",
        VERDICTS,
        "math.hypot(*deviations) / math.sqrt(df)",
        "math.hypot(*deviations) / math.sqrt(len(d))",
        _test("report/test_statistics", "test_paired_t_test"),
    ),
    Mutation(
        "n degrees of freedom",
        VERDICTS,
        "df = len(d) - 1\n",
        "df = len(d)\n",
        _test("report/test_statistics", "test_paired_t_test"),
    ),
    Mutation(
        "a normal's p",
        VERDICTS,
        "2 * float(special.stdtr(df, -abs(mean) / error))",
        "2 * float(special.ndtr(-abs(mean) / error))",
        _test("report/test_statistics", "test_paired_t_test"),
    ),
    Mutation(
        "a one-sided p",
        VERDICTS,
        "p_difference = 2 * float(",
        "p_difference = float(",
        _test("report/test_statistics", "test_paired_t_test"),
    ),
    Mutation(
        "the standard error over √(n − 1)",
        VERDICTS,
        "error = sd / math.sqrt(len(d))",
        "error = sd / math.sqrt(df)",
        _test("report/test_statistics", "test_paired_t_test"),
    ),
    Mutation(
        "Bonferroni by one too few",
        VERDICTS,
        "(len(known) - rank) * value",
        "(len(known) - rank - 1) * value",
        _test("report/test_statistics", "test_holm"),
    ),
    Mutation(
        "Bonferroni's p for all",
        VERDICTS,
        "(len(known) - rank) * value",
        "len(known) * value",
        _test("report/test_statistics", "test_holm"),
    ),
    Mutation(
        "Holm's p not monotone",
        VERDICTS,
        "greatest = max(greatest, min(1.0,",
        "greatest = max(0.0, min(1.0,",
        _test("report/test_statistics", "test_holm"),
    ),
    Mutation(
        "a chaos floor about its mean",
        VERDICTS,
        "return math.hypot(*(x - y).tolist()) / math.sqrt(x.size)",
        "return float((x - y).std())",
        _test("report/test_statistics", "test_chaos_floor"),
    ),
    Mutation(
        "the best rate by the test split",
        TUNING,
        'f"validation/{objective.tag}"',
        'f"test/{objective.tag}"',
        _test("report/test_compare", "test_each_seed_at_the_rate_of_its_own_pilot"),
    ),
    Mutation(
        "a one-sided p beyond the margin",
        VERDICTS,
        "min(1.0, 2 * float(special.stdtr(df, -excess)))",
        "float(special.stdtr(df, -excess))",
        _test("report/test_statistics", "test_paired_t_test"),
    ),
    Mutation(
        "equivalence about the nearer margin",
        VERDICTS,
        "excess = (abs(mean) - margin) / error",
        "excess = (-abs(mean) - margin) / error",
        _test("report/test_statistics", "test_paired_t_test"),
    ),
    Mutation(
        "the interval of TOST of level 1 − α",
        VERDICTS,
        "t_quantile(df, alpha) * error",
        "t_quantile(df, alpha / 2) * error",
        _test("report/test_statistics", "test_paired_t_test"),
    ),
    Mutation(
        "equivalence not adjusted",
        VERDICTS,
        "[holm([getattr(test, name) for test in tests]) for name in names]",
        '[(list if name[2] == "e" else holm)([getattr(test, name) for test in tests]) for name in names]',
        _test("report/test_statistics", "test_each_kind_of_claim_is_a_family"),
    ),
    Mutation(
        "the smallest margin of a lone variant",
        VERDICTS,
        "special.stdtrit(df, alpha / len(left))",
        "special.stdtrit(df, alpha)",
        _test("report/test_statistics", "test_the_smallest_margin_is_where_holm_begins_to_call_a_variant_equivalent"),
    ),
    Mutation(
        "better where less is better",
        VERDICTS,
        "(test.mean or 0.0) * direction > 0",
        "(test.mean or 0.0) > 0",
        _test("report/test_statistics", "test_verdict"),
    ),
    Mutation(
        "a verdict below the chaos floor",
        VERDICTS,
        "abs(test.mean or 0.0) > (floor or 0.0)",
        "abs(test.mean or 0.0) > 0.0",
        _test("report/test_statistics", "test_verdict"),
    ),
    Mutation(
        "a difference called better or worse",
        VERDICTS,
        "family.p_beyond is None or family.p_beyond >= alpha",
        "family.p_beyond is None",
        _test("report/test_statistics", "test_verdict"),
    ),
    Mutation(
        "pairs by position",
        JUDGEMENT,
        "[theirs[seed] for seed in pairs]",
        "[*theirs.values()][: len(pairs)]",
        _test("report/test_compare", "test_runs_are_paired_by_seed_and_those_without_a_partner_are_named"),
    ),
    Mutation(
        "reference − head",
        JUDGEMENT,
        "[mine[seed] for seed in pairs], [theirs[seed] for seed in pairs]",
        "[theirs[seed] for seed in pairs], [mine[seed] for seed in pairs]",
        _test("report/test_compare", "test_verdicts_and_sentences"),
    ),
    Mutation(
        "survival not adjusted",
        JUDGEMENT,
        "statistics.holm([one.losses and",
        "list([one.losses and",
        _test("report/test_compare", "test_what_diverged_is_an_outcome"),
    ),
    Mutation(
        "the lesser of the chaos floors",
        JUDGEMENT,
        "return max(floors, default=None)",
        "return min(floors, default=None)",
        _test("report/test_compare", "test_the_greater_chaos_floor_counts"),
    ),
    Mutation(
        "a one-sided test of survival",
        SURVIVAL,
        "min(1.0, 2 * min(_one_sided(*side) for side in sides))",
        "min(_one_sided(*side) for side in sides)",
        _test("report/test_survival", "test_boschloo"),
    ),
    Mutation(
        "the share of losses taken from the data",
        SURVIVAL,
        "best = int(probability.argmax())",
        "best = int(0.5 * (share.size - 1))",
        _test("report/test_survival", "test_boschloo"),
    ),
    Mutation(
        "the interval of survival by one tail",
        SURVIVAL,
        "z = -float(special.ndtri(alpha / 2))\n    centre",
        "z = -float(special.ndtri(alpha))\n    centre",
        _test("report/test_survival", "test_interval"),
    ),
    Mutation(
        "a sign test of more than those",
        SURVIVAL,
        "range(worse, seeds + 1)",
        "range(worse + 1, seeds + 1)",
        _test("report/test_survival", "test_sign_test"),
    ),
    Mutation(
        "better by the survivors of more losses",
        SURVIVAL,
        'of_mean == "better" and excess > 0',
        'of_mean == "better" and excess > 1',
        _test("report/test_survival", "test_conclude"),
    ),
    Mutation(
        "equivalent by survivors",
        SURVIVAL,
        'of_mean == "equivalent" and not same_seeds',
        'of_mean == "equivalent" and excess',
        _test("report/test_survival", "test_conclude"),
    ),
    Mutation(
        "a plan without the margin",
        PLANNING,
        "margin - one * spread",
        "margin + one * spread",
        _test("report/test_planning", "test_decision_probability"),
    ),
    Mutation(
        "a plan by n degrees of freedom",
        PLANNING,
        "df = pairs - 1\n",
        "df = pairs\n",
        _test("report/test_planning", "test_power_of_the_difference"),
    ),
    Mutation(
        "a plan at half the power",
        PLANNING,
        "power: float = 0.8",
        "power: float = 0.5",
        _test("report/test_planning", "test_seeds_needed_for_known_cases"),
    ),
    Mutation(
        "a greater NLL is better",
        "report/formatting.py",
        '-1 if what == "nll"',
        '1 if what == "nll"',
        _test("report/test_formatting", "test_more_of_a_bound_is_better"),
    ),
    Mutation(
        "more seeds are all that are needed",
        JUDGEMENT,
        "    return needed - contrast.test.pairs\n",
        "    return needed\n",
        _test("report/test_answer", "test_the_seeds_that_are_still_needed"),
    ),
    Mutation(
        "what is different matters",
        ANSWER,
        '_MATTER: Sequence[Kind] = ("better",',
        '_MATTER: Sequence[Kind] = ("different", "better",',
        _test("report/test_answer", "test_one_verdict_by_itself"),
    ),
    Mutation(
        "what is undecided makes no difference",
        ANSWER,
        "    return verdict\n",
        '    return "equivalent" if verdict == "undecided" else verdict\n',
        _test("report/test_answer", "test_claims_are_those_of_the_verdicts"),
    ),
    Mutation(
        "a lost run is a verdict on the mean",
        ANSWER,
        'if p is not None and p < alpha:\n        return "lost runs"',
        'if False:\n        return "lost runs"',
        _test("report/test_answer", "test_lost_runs"),
    ),
    # The effects of settings, and what may be compared.
    Mutation(
        "an interaction is not twice the difference of two means",
        FACTORIAL,
        "        return len(self.levels)\n",
        "        return 1\n",
        _test("report/test_factorial", "test_two_by_two_by_hand"),
    ),
    Mutation(
        "effects with the opposite sign",
        FACTORIAL,
        "zip(at, baseline, strict=True)) % 2]",
        "zip(at, baseline, strict=True)) % 2 - 1]",
        _test("report/test_factorial", "test_two_by_two_by_hand"),
    ),
    Mutation(
        "an effect is a sum over cells",
        FACTORIAL,
        "self.scale * plus / len(self.plus), self.scale * minus / len(self.minus)",
        "self.scale * plus, self.scale * minus",
        _test("report/test_factorial", "test_against_a_regression"),
    ),
    Mutation(
        "the baseline is the last level",
        FACTORIAL,
        "if SETTINGS[name].default in levels else levels[0]",
        "if SETTINGS[name].default in levels else levels[-1]",
        _test("report/test_factorial", "test_without_the_default_the_first_level_is_the_baseline"),
    ),
    Mutation(
        "no interactions",
        FACTORIAL,
        "    for order in (1, 2):\n",
        "    for order in (1,):\n",
        _test("report/test_effects", "test_against_an_analysis_of_variance"),
    ),
    Mutation(
        "more of an interaction is better",
        EFFECTS,
        "direction=direction(question.metric) if main else 0,",
        "direction=direction(question.metric),",
        _test("report/test_effects", "test_verdicts_and_sentences"),
    ),
    Mutation(
        "the chaos floor of an interaction is that of one difference",
        EFFECTS,
        "None if floor is None else cells.scale * floor",
        "None if floor is None else floor",
        _test("report/test_effects", "test_the_chaos_floor_is_twice_as_high_for_an_interaction"),
    ),
    Mutation(
        "an effect counts lost runs in place of seeds",
        EFFECTS,
        "sum(both[side] > 0 for both in lost.values())",
        "sum(both[side] for both in lost.values())",
        _test("report/test_effects", "test_losses_are_counted_by_seed"),
    ),
    Mutation(
        "grey and thresholded pixels are compared",
        COMPARABLE,
        'DefiningSetting("binarisation", r".*",',
        'DefiningSetting("binarisation", r"train/.*",',
        _test("report/test_comparable", "test_settings_that_define_a_metric"),
    ),
    Mutation(
        "two likelihoods are compared",
        COMPARABLE,
        'DefiningSetting("likelihood", f"{_DENSITY}|{_SQUARED_NATS}",',
        'DefiningSetting("likelihood", f"{_SQUARED_NATS}",',
        _test("report/test_comparable", "test_settings_that_define_a_metric"),
    ),
    Mutation(
        "bounds of other numbers of samples are compared",
        COMPARABLE,
        'DefiningSetting("samples", f".*/iwae|train/objective|{_SQUARED_NATS}", _of_iwae)',
        'DefiningSetting("samples", f"train/objective|{_SQUARED_NATS}", _of_iwae)',
        _test("report/test_comparable", "test_settings_that_define_a_metric"),
    ),
    Mutation(
        "gradient variances at several batch sizes are compared",
        COMPARABLE,
        "        lambda config: config.batch_size,\n",
        "        lambda config: None,\n",
        _test("report/test_comparable", "test_settings_that_define_a_metric"),
    ),
    Mutation(
        "all heads share the unit of u",
        COMPARABLE,
        "    return len(set(heads)) > 1\n",
        "    return False\n",
        _test("report/test_comparable", "test_units_that_belong_to_a_head"),
    ),
    Mutation(
        "no setting confounds",
        COMPARABLE,
        "if field not in asked and field",
        "if field in asked and field",
        _test("report/test_comparable", "test_settings_that_nobody_asked_about_are_named"),
    ),
    Mutation(
        "a band is at another level than asked for",
        BANDS,
        "paired_t_test(known, [0.0] * len(known), margin=1.0, alpha=alpha)",
        "paired_t_test(known, [0.0] * len(known), margin=1.0)",
        _test("report/test_bands", "test_means_and_intervals_are_students"),
    ),
    Mutation(
        "a band ends with runs that did not survive",
        BANDS,
        'variant.runs[seed].status != "complete"',
        'variant.runs[seed].status == "lost"',
        _test("report/test_bands", "test_runs_that_diverge_count_while_they_last"),
    ),
    Mutation(
        "points within an epoch count every step alike",
        "training/totals.py",
        "            images = sizes[span][counted[span]].sum()\n",
        "            images = counted[span].sum() * self._batch_size\n",
        _test("training/test_totals", "test_means_within_an_epoch"),
    ),
]
