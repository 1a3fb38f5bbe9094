"""Expresses one decoder in every head of its likelihood's scale: what each would make of the same gradient noise.

A head is given the u at which it has the run's own τ, at every draw of z. A *site* is one pixel of one image: its
derivative by u is that of a shift of its own u, also where several sites share one.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, Real

from vaecli.vae.architecture import DECODER_SCALE
from vaecli.vae.batches import gather
from vaecli.vae.gradient_rules import natural_factor
from vaecli.vae.gradients.moments import moments
from vaecli.vae.heads.table import Head
from vaecli.vae.lazy import LazyModule
from vaecli.vae.likelihoods import ScaledLikelihood
from vaecli.vae.model import DecoderScale, Model
from vaecli.vae.posterior import Posterior, gain
from vaecli.vae.scale_score import scores
from vaecli.vae.terms import objective_terms

_networks = LazyModule("vaecli.vae.networks")


class DecoderReexpression(NamedTuple):
    """The figures of one batch; those of each head along a leading axis.

    Attributes:
      unreached: the share of the τ, over all draws, that a head has no u for; where there are any, its other numbers
        mean nothing.
      least, greatest: the least and the greatest τ at z = μ, before the bound, that it has none for; +inf and 0 where
        there are none.
      raw: the mean over the sites of Var(∂L_i/∂u).
      log_tau: the mean over the sites of Var(∂L_i/∂log τ), which is the same for every head.
      signal: the mean over the sites of the squared mean of that derivative, unbiased; the same for every head.
      fisher_ratio: the mean square of the score over its information; the same for every head.
      block_variance: the noise that the draws bring into the parameters that give u.
      block_signal: the unbiased squared norm of their mean gradient.
      gradient: that mean gradient.
      gain: the γ = d log τ/du at z = μ.
    """

    unreached: Float[Array, " heads"]
    least: Float[Array, " heads"]
    greatest: Float[Array, " heads"]
    raw: Float[Array, " heads"]
    log_tau: Float[Array, ""]
    signal: Float[Array, ""]
    fisher_ratio: Float[Array, ""]
    block_variance: Float[Array, " heads"]
    block_signal: Float[Array, " heads"]
    gradient: Float[Array, "heads parameters"]
    gain: Float[Array, "heads ..."]


class _Draw(NamedTuple):
    """What one draw of ε gives; its fields are those of `DecoderReexpression` before the moments are taken."""

    unreached: Float[Array, " heads"]
    by_u: Float[Array, "heads batch pixels"]
    by_log_tau: Float[Array, "batch pixels"]
    squared_score: Float[Array, ""]
    gradient: Float[Array, "heads parameters"]


def reexpress_decoder(
    model: Model,
    forms: Sequence[Head],
    own: int | None,
    slopes: Float[Array, " heads"],
    images: Real[Array, "batch pixels"],
    draws: Key[Array, " draws"],
) -> DecoderReexpression:
    """Puts every head in the place of the decoder's own, on one batch.

    Args:
      model: the run's model, whose likelihood has a scale that is learned.
      forms: the heads without their slopes.
      own: the index of the decoder's own head among them, if any; it keeps its own u.
      slopes: the slopes of the heads.
      images: the batch.
      draws: the K keys, one for each draw of ε.
    """
    x, _ = gather(images, jnp.arange(len(images)))
    q, _ = model.encode(x)
    heads = [dataclasses.replace(form, slope=slope) for form, slope in zip(forms, slopes, strict=True)]
    found = moments(lambda key: _draw(model, heads, own, x, q, key), draws)
    mean, variance, count = found.mean, found.covariance, len(draws)
    at_mean = model.decoder_scale(q.loc[None])
    unbounded, views = _unbounded(model, at_mean), _views(model, heads, own, at_mean)
    missing = [~jnp.isfinite(u) for u in views]
    bound, traces = model.program.decoder_bound, variance.gradient.sum(axis=1)
    return DecoderReexpression(
        unreached=mean.unreached,
        least=jnp.stack([jnp.exp(jnp.where(here, unbounded, jnp.inf).min()) for here in missing]),
        greatest=jnp.stack([jnp.exp(jnp.where(here, unbounded, -jnp.inf).max()) for here in missing]),
        raw=variance.by_u.mean(axis=(1, 2)),
        log_tau=variance.by_log_tau.mean(),
        signal=(mean.by_log_tau**2 - variance.by_log_tau / count).mean(),
        fisher_ratio=mean.squared_score,
        block_variance=traces,
        block_signal=(mean.gradient**2).sum(axis=1) - traces / count,
        gradient=mean.gradient,
        gain=jnp.stack([gain(head, bound, u) for head, u in zip(heads, views, strict=True)]),
    )


def _unbounded(model: Model, decoded: DecoderScale) -> Float[Array, "..."]:
    """Returns log τ before the bound, which stays as it is."""
    head = model.decoder_head
    assert head is not None
    return head.log_scale(decoded.u)


def _views(model: Model, heads: Sequence[Head], own: int | None, decoded: DecoderScale) -> list[Float[Array, "..."]]:
    """Returns the u of each head at which it has the run's own τ."""
    unbounded = _unbounded(model, decoded)
    return [decoded.u if number == own else head.inverse(unbounded) for number, head in enumerate(heads)]


def _draw(
    model: Model,
    heads: Sequence[Head],
    own: int | None,
    x: Float[Array, "batch pixels"],
    q: Posterior,
    key: Key[Array, ""],
) -> _Draw:
    program = model.program
    likelihood, bound = program.likelihood, program.decoder_bound
    assert isinstance(likelihood, ScaledLikelihood)
    epsilon = jax.random.normal(key, (program.objective.samples, *q.loc.shape), jnp.float32)
    z = q.loc[None] + q.scale[None] * epsilon
    decoded = model.decoder_scale(z)
    by_log_tau = _by_log_tau(model, x, q, epsilon)
    views = _views(model, heads, own, decoded)
    gains = [gain(head, bound, u) for head, u in zip(heads, views, strict=True)]
    factors = [_factor(model, likelihood, head, u, decoded.log_scale) for head, u in zip(heads, views, strict=True)]
    # The parameters have the derivatives of the mean over the images, by the run's rule.
    of_u = [
        _summed(factor * of_head * by_log_tau / len(x), decoded.u)
        for factor, of_head in zip(factors, gains, strict=True)
    ]

    def u_of(parameters):
        params = model.params | {DECODER_SCALE: parameters}
        return _networks.network(program.architecture, params).decode_with_scale(z)[1]

    by_parameters = jax.vmap(jax.vjp(u_of, model.params[DECODER_SCALE])[1])(jnp.stack(of_u))
    rows = [leaf.reshape(len(heads), -1) for leaf in jax.tree.leaves(by_parameters)]
    return _Draw(
        unreached=jnp.stack([(~jnp.isfinite(u)).mean() for u in views]),
        by_u=jnp.stack([(of_head * by_log_tau).sum(axis=0) for of_head in gains]),
        by_log_tau=by_log_tau.sum(axis=0),
        squared_score=(scores(likelihood, decoded, x) ** 2).mean() / likelihood.scale_facts.information,
        gradient=jnp.concatenate(rows, axis=1),
    )


def _by_log_tau(
    model: Model, x: Float[Array, "batch pixels"], q: Posterior, epsilon: Float[Array, "samples batch latent"]
) -> Float[Array, "samples batch pixels"]:
    """Returns the derivative of each L_i by a shift of log τ of its own at each draw and pixel."""
    likelihood = model.program.likelihood

    def loss(shift: Array) -> Array:
        def log_likelihood(z: Array) -> Array:
            outputs, _, log_scale = model.decoder_scale(z)
            return likelihood.log_prob(outputs, log_scale + shift, x)

        return -objective_terms(model.program.objective, q, log_likelihood, epsilon, model.operands.beta).value.sum()

    return jax.grad(loss)(jnp.zeros((*epsilon.shape[:2], x.shape[1]), x.dtype))


def _factor(
    model: Model, likelihood: ScaledLikelihood, head: Head, u: Float[Array, "..."], log_scale: Float[Array, "..."]
) -> Float[Array, "..."] | float:
    """Returns what the run's rule multiplies the gradient by u with on its way to the parameters."""
    rule = model.program.decoder_gradient
    if rule.kind == "natural":
        return natural_factor(head, model.program.decoder_bound, u, likelihood.scale_facts.information)
    return jnp.exp(2 * rule.beta * log_scale) if rule.kind == "beta" else 1.0


def _summed(values: Float[Array, "samples batch pixels"], like: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns the sums of values over the sites that share a u."""
    if like.ndim == 0:
        return values.sum()
    return values if like.shape == values.shape else values.sum(axis=(0, 1), keepdims=True)
