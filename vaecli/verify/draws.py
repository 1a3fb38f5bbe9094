"""Checks what training and evaluation draw, by reading the noise off what their compiled programs return.

Image i lights pixel i only, so that row i of each linear head belongs to that image; and the decoder is linear, with
AᵀA = τ²I. Then the derivative of log p(x_i|z_i) by row i of the weights of the mean is Aᵀ(x_i − b)/τ² − z_i, and ε is
read off it.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaecli.config import Config
from vaecli.vae import build, steps
from vaecli.vae.batches import Stream, epoch_order, seed_key, stream
from vaecli.vae.compiled import compiled, compiled_steps, over_seeds
from vaecli.vae.evaluate import EVALUATION_BATCH, SPLITS, measure
from vaecli.vae.model import Model
from vaecli.vae.resolve import Resolved, resolve
from vaecli.vae.schedules import schedule_values
from vaecli.vae.steps import TrainState
from vaecli.verify.check import Check, compare
from vaecli.verify.oracles import LinearGaussian

_IMAGES, _LATENT, _NOISE = EVALUATION_BATCH + 100, 40, 0.8  # Two batches of evaluation, the second one padded.
_SEEDS, _STEPS, _SAMPLES = (3, 4, 5), (0, 1), 2
# A row for each seed and step; always as many of them, so that one program serves.
_ROWS = [(seed, step) for seed in _SEEDS for step in _STEPS]
_ONE_SEED = [(_SEEDS[1], step) for _ in _SEEDS for step in _STEPS]

_FLOAT32 = 1e-5
# The bounds on moments, and on the greatest of many correlations, in standard errors.
_MOMENTS, _CORRELATIONS = 4.0, 6.0

_RNG = np.random.default_rng(17)
_MODEL = LinearGaussian(
    _NOISE * np.linalg.qr(_RNG.normal(size=(_IMAGES, _LATENT)))[0], 0.1 * _RNG.normal(size=_IMAGES), _NOISE
)
_LOC, _LOG_SCALE = 0.4 * _RNG.normal(size=(_IMAGES, _LATENT)), 0.3 * _RNG.normal(size=(_IMAGES, _LATENT))
_X = np.eye(_IMAGES)
_WHITE = (255 * _X).astype(np.uint8)
_ALONG = (_X - _MODEL.offset) @ _MODEL.weights / _NOISE**2

# β enters training, and must not enter what is measured.
_GAUSSIAN = {"likelihood": "gaussian", "decoder_param": "fixed", "decoder_std": _NOISE, "beta": 0.3}


def _resolved(seeds: Sequence[int], **settings: Any) -> list[Resolved]:
    fixed = {"param": "logstd", "hidden": (), "latent": _LATENT, "optimizer": "sgd", "lr": 1.0, "samples": _SAMPLES}
    return [resolve(Config(**fixed | settings, seed=seed)) for seed in seeds]


def _vectorise() -> bool:
    return jax.default_backend() != "cpu"


def _params(loc: Any, log_scale: Any, weights: np.ndarray, offset: np.ndarray) -> Any:
    """Returns parameters with this posterior and this decoder."""
    bias = np.zeros(_LATENT, np.float32)
    return {
        "encoder": {},
        "mean_head": {"kernel": loc, "bias": bias},
        "scale_head": {"kernel": log_scale.astype(np.float32), "bias": bias},
        "decoder": {"layers": {0: {"kernel": weights.T.astype(np.float32), "bias": offset.astype(np.float32)}}},
    }


def evaluation() -> Iterator[Check]:
    """Checks the terms of the ELBO that a log point records, and the ε in them."""
    runs = _resolved(range(len(_ROWS)), **_GAUSSIAN)
    program = build.program(runs[0], (1, _IMAGES))

    def measured(operands, images):
        def reconstructions(loc):
            model = Model(program, operands, _params(loc, _LOG_SCALE, _MODEL.weights, _MODEL.offset))
            scalars = measure(model, dict.fromkeys(SPLITS, images), images[:1]).scalars
            return jnp.stack([scalars[f"{split}/reconstruction"] for split in SPLITS]), scalars

        return jax.jacrev(reconstructions, has_aux=True)(jnp.asarray(_LOC, jnp.float32))

    run = compiled(over_seeds(measured, (0, None), _vectorise()))
    slopes, scalars = jax.device_get(run(build.operands(runs), _WHITE))
    kl, elbo = (np.stack([scalars[f"{split}/{term}"] for split in SPLITS], axis=1) for term in ("kl", "elbo"))
    scale = np.exp(_LOG_SCALE)
    exact_kl = 0.5 * (_LOC**2 + scale**2 - 1 - 2 * _LOG_SCALE).sum() / _IMAGES
    exact_elbo = np.mean([_MODEL.elbo(*of_image) for of_image in zip(_LOC, scale, _X, strict=True)])
    yield compare("evaluation: KL", [(kl, np.full(kl.shape, exact_kl))], _FLOAT32)
    # log p(x|z) is a constant and Σ_j g_j ε_j − ½ σ_j² ε_j².
    g = scale * (_ALONG - _LOC)
    error = np.sqrt((g**2 + 0.5 * scale**4).sum() / elbo.size) / _IMAGES
    yield Check("evaluation: ELBO, in standard errors", float(abs(elbo.mean() - exact_elbo) / error), _MOMENTS)
    epsilon = (_ALONG - _IMAGES * slopes - _LOC) / scale
    yield _moments("evaluation: moments of epsilon", epsilon)
    yield _correlations("evaluation: correlations of epsilon", epsilon.reshape(-1, *_LOC.shape))


def training() -> Iterator[Check]:
    """Checks the ε of a step by how it moved the mean, and that it does not depend on the other seeds of a batch."""
    # The mean over the draws of a step.
    epsilon, alone = (np.sqrt(_SAMPLES) * _epsilon_of_steps(rows) for rows in (_ROWS, _ONE_SEED))
    yield _moments("training: moments of epsilon", epsilon)
    yield _correlations("training: correlations of epsilon", epsilon.reshape(-1, *_LOC.shape))
    own = [(epsilon[1], of_seed) for of_seed in alone]
    yield compare("training: a seed draws the same in any batch", own, _FLOAT32)


def _epsilon_of_steps(rows: Sequence[tuple[int, int]]) -> np.ndarray:
    """Returns the mean ε of each image in a step, (seeds, steps, images, latent), at μ = 0 and σ = 1."""
    zeros = np.zeros(_LOC.shape, np.float32)
    params = _params(zeros, zeros, _MODEL.weights, _MODEL.offset)
    after = _after_a_step(rows, params, _WHITE, **_GAUSSIAN)
    moved = np.asarray(after["mean_head"]["kernel"], np.float64)
    return (_ALONG - _IMAGES * moved).reshape(-1, len(_STEPS), *_LOC.shape)


def pixels() -> Iterator[Check]:
    """Checks the binary pixels of a step under dynamic binarisation, by how it moved the decoder's bias."""
    grey = 102  # 2/5 of white.
    zeros = np.zeros(_LOC.shape, np.float32)
    params = _params(zeros, zeros, np.zeros_like(_MODEL.weights), np.zeros_like(_MODEL.offset))
    after = _after_a_step(_ROWS, params, np.full((1, _IMAGES), grey, np.uint8), binarisation="dynamic")
    # The derivative of log p(x|z) by a logit of 0 is x − ½.
    drawn = np.asarray(after["decoder"]["layers"][0]["bias"], np.float64) + 0.5
    share = grey / 255
    standard = (drawn - share) / np.sqrt(share * (1 - share))
    error = abs(standard.mean()) * np.sqrt(standard.size) if np.isin(drawn, (0.0, 1.0)).all() else np.nan
    yield Check("dynamic pixels: share of ones, in standard errors", float(error), _MOMENTS)
    yield _correlations("dynamic pixels: correlations", standard, axes=1)


def _after_a_step(rows: Sequence[tuple[int, int]], params: Any, images: np.ndarray, **settings: Any) -> Any:
    """Returns the parameters after one step of SGD on all images, of runs with these seeds and numbers of steps."""
    runs = _resolved([seed for seed, _ in rows], **settings)
    program, operands = build.program(runs[0], (1, _IMAGES)), build.operands(runs)
    like = build.state_like(program, jax.tree.map(lambda leaf: leaf[0], operands))
    opt_state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like.opt_state)
    repeated = jax.tree.map(lambda leaf: np.stack([leaf] * len(rows)), (params, opt_state))
    state = TrainState(*repeated, step=jnp.asarray([step for _, step in rows], jnp.int32))
    order = np.stack([np.arange(len(images), dtype=np.int32)[None]] * len(rows))
    schedule = schedule_values([run.config for run in runs], 1, 1)
    run = compiled_steps(program, vectorise=_vectorise())
    return run.train_chunk(operands, images, state, order, schedule, np.ones(len(rows), np.int32))[0].params


def streams() -> Iterator[Check]:
    """Checks that neither seeds nor purposes share a key, a start or an order of batches."""

    @jax.jit
    def keys():
        of_purposes = [
            jax.vmap(lambda seed, p=p: stream(seed_key(seed), p))(jnp.arange(20, dtype=jnp.uint32)) for p in Stream
        ]
        return jax.random.key_data(jnp.concatenate(of_purposes))

    drawn = np.asarray(keys())
    yield Check("keys that seeds or purposes share", float(len(drawn) - len(np.unique(drawn, axis=0))), 0.0)
    weights, alone = (_start([seed for seed, _ in rows]) for rows in (_ROWS, _ONE_SEED))
    of_layers = weights[:: len(_STEPS)].reshape(-1, weights.shape[2])
    yield _correlations("weights at the start: correlations", of_layers, axes=1)
    own = [(weights[len(_STEPS)], of_seed) for of_seed in alone]
    yield compare("weights at the start: a seed's are the same in any batch", own, 0.0)
    orders = [epoch_order(seed, epoch, 997, 997)[0] for seed in _SEEDS for epoch in (1, 2, 3)]
    places = np.array(orders, np.float64)
    yield _correlations("order of batches: correlations", (places - places.mean()) / places.std(), axes=1)


def _start(seeds: Sequence[int]) -> np.ndarray:
    """Returns the standardised weights before the first step, (seeds, layers, weights); each layer has as many."""
    runs = _resolved(seeds, **_GAUSSIAN)
    program = build.program(runs[0], (1, _IMAGES))
    draw = compiled(over_seeds(functools.partial(steps.initial_params, program), (0, None), _vectorise()))
    params = draw(build.operands(runs), np.zeros(_IMAGES, np.float32))
    kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 3]
    weights = np.stack([np.asarray(kernel, np.float64).reshape(len(seeds), -1) for kernel in kernels], axis=1)
    return (weights - weights.mean(axis=2, keepdims=True)) / weights.std(axis=2, keepdims=True)


def _moments(name: str, epsilon: np.ndarray) -> Check:
    """Checks mean, variance and fourth moment of standard normal draws."""
    moments = {1: (0.0, 1.0), 2: (1.0, 2.0), 4: (3.0, 96.0)}
    errors = [
        abs((epsilon**power).mean() - mean) * np.sqrt(epsilon.size / variance)
        for power, (mean, variance) in moments.items()
    ]
    return Check(f"{name}, in standard errors", float(np.max(errors)), _MOMENTS)


def _correlations(name: str, draws: np.ndarray, axes: int | None = None) -> Check:
    """Checks that no two slices of standardised draws correlate, along the first axes, by default all of them."""
    greatest = []
    for axis in range(draws.ndim if axes is None else axes):
        rows = np.moveaxis(draws, axis, 0).reshape(draws.shape[axis], -1)
        products = rows @ rows.T / np.sqrt(rows.shape[1])
        greatest.append(np.abs(products[np.triu_indices(len(rows), 1)]).max())
    return Check(f"{name}, in standard errors", float(np.max(greatest)), _CORRELATIONS)


GROUPS = (evaluation, training, pixels, streams)
