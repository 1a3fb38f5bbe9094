"""Checks the theory of training: matched runs are one run, and SGD stays as far from the optimum as its noise says."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from vaecli.config import Config
from vaecli.vae import build
from vaecli.vae.architecture import BLOCKS
from vaecli.vae.batches import epoch_order
from vaecli.vae.compiled import compiled, compiled_steps
from vaecli.vae.heads.bounds import Bound
from vaecli.vae.heads.table import HEADS
from vaecli.vae.objectives import ObjectiveSpec
from vaecli.vae.optimizers import OPTIMIZERS
from vaecli.vae.posterior import posterior
from vaecli.vae.resolve import resolve
from vaecli.vae.schedules import schedule_values
from vaecli.vae.terms import objective_terms
from vaecli.vae.updates import BlockRates, OptimizerSpec, Rates, optimizer
from vaecli.verify.check import Check, compare
from vaecli.verify.exact import gain, log_likelihood
from vaecli.verify.oracles import LinearGaussian

_RATES = {"sgd": 1e-2, "adam": 1e-2}
_STEPS = 40
_SGD_RUNS = 20_000


def _run(images: jax.Array, taken: int = _STEPS, **settings) -> tuple[np.ndarray, np.ndarray]:
    """Returns both terms of the ELBO at every step of a run, and how far the scale head's weights have moved.

    The run is that of the programs of `vae train`, and ends after `taken` steps.
    """
    config = Config(**{"hidden": (16,), "latent": 3, "batch_size": 32, "init": "matched", **settings})
    resolved = resolve(config)
    run = compiled_steps(build.program(resolved, (1, images.shape[1])), vectorise=jax.default_backend() != "cpu")
    operands = build.operands([resolved])
    order = np.concatenate([epoch_order(0, epoch, len(images), config.batch_size) for epoch in range(_STEPS // 4)])
    state = run.init(operands, jnp.zeros(images.shape[1]))
    schedule = schedule_values([config], 1, len(order))
    after, steps = run.train_chunk(operands, images, state, order[None], schedule, jnp.asarray([taken]))
    start, end = (np.asarray(of.params["scale_head"]["kernel"], np.float64) for of in (state, after))
    return np.asarray(steps.sums), end - start


def null_control() -> Iterator[Check]:
    """Checks that logstd and logprec, matched, are logvar: bit for bit, and so with a bound of 0.

    At a rate that is not matched, the first step moves their u by the textbook's rule: by SGD in proportion to the
    gradient, which is 2 and −1 times that of logvar, and by Adam as far.
    """
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (128, 20)).astype(np.uint8))
    for name, rate in _RATES.items():

        def run(param, head_lr, taken=_STEPS, name=name, rate=rate):
            return _run(images, taken, param=param, head_lr=head_lr, optimizer=name, lr=rate)

        logvar, _ = run("logvar", "matched")
        pairs = [(run(param, "matched")[0], logvar) for param in ("logstd", "logprec")]
        yield compare(f"null control, {name}: matched logstd and logprec are logvar", pairs, bound=0.0)
        _, moved = run("logvar", 1.0, 1)
        ratios = {"logstd": 2.0 if name == "sgd" else 1.0, "logprec": -1.0}
        pairs = [(run(param, 1.0, 1)[1], ratio * moved) for param, ratio in ratios.items()]
        yield compare(f"first step, {name}: logstd and logprec beside logvar, one rate", pairs, bound=1e-3)


def decoder_null_control() -> Iterator[Check]:
    """Checks the same of the heads of a Gaussian likelihood's τ, a function of z whose gradient is natural."""
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (128, 20)).astype(np.uint8))
    settings = {"likelihood": "gaussian", "decoder_scale": "network", "decoder_gradient": "natural", "lr": 1e-2}
    settings |= {"decoder_init": "matched", "decoder_lr": "matched", "no_maximum": "train"}
    logvar, *others = (_run(images, decoder_param=param, **settings)[0] for param in ("logvar", "logstd", "logprec"))
    pairs = [(other, logvar) for other in others]
    yield compare("null control, tau of z, natural: logstd and logprec are logvar", pairs, bound=0.0)


def stationary_sgd() -> Iterator[Check]:
    """Checks that the noise of the full Monte Carlo gradient keeps SGD ηγ²/2 nats above the optimum.

    It does so to first order in ηγ². With one latent dimension, μ at its best and σ learned, the loss above its minimum
    is ½(e^{2d} − 1 − 2d), d = log σ/σ*. All runs start at the optimum; the first four hundred steps let the start
    decay by e⁻⁸, and the next six hundred count.
    """
    model = LinearGaussian(np.array([[1.2], [-0.5]]), np.zeros(2), 0.7)
    runs, x = _SGD_RUNS, np.array([0.4, 0.9])
    best_loc, best_scale = model.optimum(x)
    heads = {param: HEADS[param] for param in ("logvar", "softplus_std")}
    gammas = {param: float(gain(param, best_scale)[0]) for param in heads}
    etas = {param: 0.005 / gamma**2 for param, gamma in gammas.items()}

    def sgd(param):
        rates = Rates(etas[param], 1.0, 0.0)
        return optimizer(OptimizerSpec(OPTIMIZERS["sgd"]), rates, BlockRates(rates), jnp.ones(()))

    def loss(params, head, epsilon):
        q = posterior(head, Bound("none"), jnp.full_like(epsilon, best_loc[0]), params["scale_head"]["u"])
        images = jnp.broadcast_to(jnp.asarray(x)[None], (runs, len(x)))
        terms = objective_terms(ObjectiveSpec(estimator="mc"), q, log_likelihood(model, images), epsilon[None])
        return -terms.value.sum(), q.log_scale

    def stepped(param, state, epsilon):
        params, opt_state = state
        gradient, log_scale = jax.grad(loss, has_aux=True)(params, heads[param], epsilon)
        update, opt_state = sgd(param).update(gradient, opt_state, params)
        d = log_scale - jnp.log(best_scale)[None]
        return (jax.tree.map(jnp.add, params, update), opt_state), (0.5 * (jnp.expm1(2 * d) - 2 * d)).mean()

    def step(states, key):
        # The same ε for both heads: most of a step is to draw them.
        epsilon = jax.random.normal(key, (runs, 1))
        moved = {param: stepped(param, state, epsilon) for param, state in states.items()}
        return {param: state for param, (state, _) in moved.items()}, {param: d for param, (_, d) in moved.items()}

    def trained(key):
        states = {}
        for param, head in heads.items():
            start = head.inverse(jnp.log(jnp.full((runs, 1), best_scale[0])))
            params = {block: {} for block in BLOCKS} | {"scale_head": {"u": start}}
            states[param] = params, sgd(param).init(params)
        return jax.lax.scan(step, states, jax.random.split(key, 1000))[1]

    excess = compiled(trained)(jax.random.key(0, impl="threefry2x32"))
    for param, gamma in gammas.items():
        found, exact = excess[param][400:].mean(), etas[param] * gamma**2 / 2
        yield compare(f"stationary SGD, {param}: excess loss", [(found, exact)], bound=0.03)
