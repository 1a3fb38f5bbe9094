"""Checks the loss of training, and the gain after a bound, which are written out once more in NumPy."""

from collections.abc import Iterator

import jax
import numpy as np

from vaecli.config import Config
from vaecli.vae import build
from vaecli.vae.heads.bounds import parse_bound
from vaecli.vae.heads.table import HEADS
from vaecli.vae.loss import loss as training_loss
from vaecli.vae.model import Model
from vaecli.vae.posterior import gain
from vaecli.vae.resolve import resolve
from vaecli.verify import exact
from vaecli.verify.check import Check, compare

_FLOOR = 0.1


def loss() -> Iterator[Check]:
    """Checks the −ELBO of a network with one hidden layer on grey pixels, with one image of weight 0."""
    rng = np.random.default_rng(0)
    resolved = resolve(Config(param="softplus_std", bound=f"floor:{_FLOOR}", hidden=(4,), latent=2))
    program = build.program(resolved, (2, 3))
    operands = jax.tree.map(lambda leaf: leaf[0], build.operands([resolved]))
    shapes = build.state_like(program, operands).params
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    x, weight, epsilon = rng.random((3, 6)), np.array([1.0, 0.0, 1.0]), rng.normal(size=(1, 3, 2))
    value, _ = jax.jit(training_loss)(Model(program, operands, params), x, weight, epsilon)

    def dense(layer, inputs):
        return inputs @ layer["kernel"] + layer["bias"]

    hidden = np.maximum(dense(params["encoder"]["layers"][0], x), 0)
    loc, u = dense(params["mean_head"], hidden), dense(params["scale_head"], hidden)
    scale = np.log1p(np.exp(u)) + _FLOOR
    first, last = (params["decoder"]["layers"][k] for k in sorted(params["decoder"]["layers"]))
    p = 1 / (1 + np.exp(-dense(last, np.maximum(dense(first, loc + scale * epsilon[0]), 0))))
    reconstruction = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1)
    kl = 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale)).sum(axis=1)
    yield compare("loss of training, Bernoulli, floor on sigma", [(value, ((kl - reconstruction) * weight).sum() / 2)])


def gain_after_a_bound() -> Iterator[Check]:
    """Checks that the gain is γ times the slope of the bound."""
    u = np.linspace(-3, 3, 7)
    scale = np.log1p(np.exp(u))
    own = exact.gain("softplus_std", scale)
    slopes = {
        "none": 1.0,
        f"floor:{_FLOOR}": scale / (scale + _FLOOR),
        f"varfloor:{_FLOOR}": scale**2 / (scale**2 + _FLOOR),
        "tanh:2": np.cosh(np.log(scale) / 2) ** -2,
        "sigmoid:-3,1": np.cosh((np.log(scale) + 1) / 2) ** -2,
        # The slope is σ e^HI/(σ + e^HI) over itself plus e^LO, times e^HI/(σ + e^HI).
        "soft:-1,0.5": 1 / ((1 + scale / np.exp(0.5)) * (1 + np.exp(-1) * (1 / scale + 1 / np.exp(0.5)))),
        "clip:-1,0.5": (np.log(scale) > -1) & (np.log(scale) < 0.5),
    }
    bounds = [parse_bound(text) for text in slopes]
    gains = jax.jit(lambda u: [gain(HEADS["softplus_std"], bound, u) for bound in bounds])(u)
    pairs = [(found, own * slope) for found, slope in zip(gains, slopes.values(), strict=True)]
    yield compare("gain behind every bound", pairs)


GROUPS = (loss, gain_after_a_bound)
