"""A small decoder with a scale, written out in NumPy and SciPy, and derivatives by differences."""

import functools

import jax
import numpy as np
from scipy import special, stats

from helpers.programs import built
from vaecli import Config
from vaecli.vae.networks import drawn_network, parameters

ROWS, COLUMNS, LATENT, SAMPLES, BATCH = 2, 3, 2, 2, 3
PIXELS, FLOOR = ROWS * COLUMNS, 0.05
RNG = np.random.default_rng(3)
# On the levels of a pixel, for the likelihood that knows no others.
X = RNG.integers(0, 256, (BATCH, PIXELS)) / 255
Z = RNG.normal(size=(SAMPLES, BATCH, LATENT))


def densities(name, outputs, log_scale):
    """The log p of every pixel, by SciPy."""
    scale = np.exp(log_scale)
    # Differences ask a hundred times, and SciPy takes a millisecond to make a distribution of its own.
    match name:
        case "gaussian":
            return stats.norm.logpdf(X, outputs, scale)
        case "laplace":
            return stats.laplace.logpdf(X, outputs, scale)
        case "student":
            return stats.t.logpdf(X, 2.5, outputs, scale)
    above = np.where(X == 1, np.inf, (X + 0.5 / 255 - outputs) / scale)
    below = np.where(X == 0, -np.inf, (X - 0.5 / 255 - outputs) / scale)
    return np.log(special.expit(above) - special.expit(below))


def settings(likelihood="gaussian", scale="shared", **changes):
    """A config whose decoder has its scale from a head with a bound."""
    own = {} if scale == "optimal" else {"decoder_param": "softplus_std", "decoder_bound": f"floor:{FLOOR}"}
    own |= {"no_maximum": "train", "student_df": 2.5} if likelihood == "student" else {"no_maximum": "train"}
    shape = {"hidden": (4,), "latent": LATENT, "activation": "tanh"}
    return Config(**{**shape, "likelihood": likelihood, "decoder_scale": scale, **own, **changes})


def drawn(config, image=(ROWS, COLUMNS)):
    """The program and operands of a config, and parameters from a normal distribution."""
    program, operands = built(config, image)
    return program, operands, normal_params(program.architecture, np.float64)


def normal_params(architecture, dtype=np.float32):
    """The parameters of a network from a normal distribution, where it does not matter how a run draws them."""
    rng, shapes = np.random.default_rng(1), _shapes(architecture)
    return jax.tree.map(lambda leaf: np.asarray(0.5 * rng.normal(size=leaf.shape), dtype), shapes)


@functools.cache
def _shapes(architecture):
    """The parameters of a network without their numbers."""
    return jax.eval_shape(lambda key: parameters(architecture, drawn_network(architecture, key)), jax.random.key(0))


def decoded(config, params, z):
    """The decoder's outputs for each pixel and the u of its scale, written out once more in NumPy."""

    def dense(layer, inputs):
        return inputs @ layer["kernel"] + layer["bias"]

    layers = params["decoder"]["layers"]
    *inner, last = (layers[place] for place in sorted(layers))
    features = functools.reduce(lambda h, layer: np.tanh(dense(layer, h)), inner, z)
    scale = params["decoder_scale"]
    u = dense(scale, features) if config.decoder_scale == "network" else scale["bias"]
    return dense(last, features), u


def log_scale_of(config, u):
    """The log τ of the head and the bound of `settings`."""
    return u if config.decoder_scale == "optimal" else np.log(np.log1p(np.exp(u)) + FLOOR)


def log_likelihood(config, params, z):
    """The log p(x|z), (samples, batch)."""
    outputs, u = decoded(config, params, z)
    return densities(config.likelihood, outputs, log_scale_of(config, u)).sum(axis=-1)


def differences(function, tree):
    """The derivative of a function by every number of a tree of arrays, by central differences."""
    leaves, structure = jax.tree.flatten(tree)
    point = np.concatenate([leaf.ravel() for leaf in leaves])
    splits = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def at(flat):
        parts = [part.reshape(leaf.shape) for part, leaf in zip(np.split(flat, splits), leaves, strict=True)]
        return function(jax.tree.unflatten(structure, parts))

    slopes = [(at(point + h) - at(point - h)) / 2e-5 for h in 1e-5 * np.eye(len(point))]
    parts = np.split(np.array(slopes), splits)
    return jax.tree.unflatten(structure, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])
