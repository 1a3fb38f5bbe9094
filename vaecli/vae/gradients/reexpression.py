"""Expresses one posterior in every head: what each head would make of the same gradient noise.

A head is given the encoder's outputs at which it has the posterior's own μ and σ, and the draws of ε are shared, so
that two heads differ only in their map. The features before the scale head are held as they are.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, Real

from vaecli.vae.batches import gather
from vaecli.vae.gradients.moments import moments, outer
from vaecli.vae.gradients.units import (
    Units,
    UnitStatistics,
    fisher_ratio,
    mahalanobis_squared,
    sensitivity,
    unit_statistics,
)
from vaecli.vae.heads.table import Head
from vaecli.vae.model import EncoderOutputs, Model
from vaecli.vae.posterior import Posterior, posterior
from vaecli.vae.terms import objective_terms


class Reexpression(NamedTuple):
    """The figures that one head would give for the noise of one batch.

    Attributes:
      unreached: the number of units that the head has no outputs for; where there are any, the other numbers mean
        nothing.
      least: the least σ of these units, before the bound; +inf where there are no such units.
      greatest: the greatest σ of these units, before the bound; 0 where there are no such units.
      units: the statistics of ∂L_i/∂u.
      fisher_ratio_median: the median over units of what is a sum in `units`.
      mahalanobis: the sum over units of the squared SNR by both outputs together.
      noisy: the number of units in that sum; a unit without noise (that the decoder does not use, say) has no SNR.
      signal: the unbiased ‖E_ε g‖² of the scale head's weights and biases.
      gradient: the mean gradient of these weights and biases over the draws, (features + 1, latent), the biases last.
      gain: the γ of each unit.
    """

    unreached: Int[Array, ""]
    least: Float[Array, ""]
    greatest: Float[Array, ""]
    units: UnitStatistics
    fisher_ratio_median: Float[Array, ""]
    mahalanobis: Float[Array, ""]
    noisy: Int[Array, ""]
    signal: Float[Array, ""]
    gradient: Float[Array, "inputs latent"]
    gain: Float[Array, "batch latent"]


class View(NamedTuple):
    """A head in the place of the run's own: the encoder's outputs that it needs, and the units there."""

    head: Head
    outputs: EncoderOutputs
    units: Units


def reexpress(
    model: Model,
    forms: Sequence[Head],
    own: int | None,
    slopes: Float[Array, " heads"],
    images: Real[Array, "batch pixels"],
    draws: Key[Array, " draws"],
) -> Reexpression:
    """Puts every head in the place of the run's own, on one batch.

    Args:
      model: the run's model.
      forms: the heads without their slopes.
      own: the index of the run's own head among them, if any; it keeps the outputs that the encoder gives it.
      slopes: the slopes of the heads.
      images: the batch.
      draws: the K keys, one for each draw of ε.

    Returns:
      The figures of all heads, along a leading axis.
    """
    x, weight = gather(images, jnp.arange(len(images)))
    features = model.features(x)
    q, own_u = model.encode(x)
    # Before the bound, which stays as it is.
    unbounded = model.head.log_scale(own_u) if model.head.learned else own_u
    views = []
    for number, (form, slope) in enumerate(zip(forms, slopes, strict=True)):
        head = dataclasses.replace(form, slope=slope)
        mean = q.loc / q.scale**2 if head.couples_mean else q.loc
        outputs = EncoderOutputs(mean, head.inverse(unbounded))
        if number == own:
            outputs = EncoderOutputs(model.network.encode(x)[0], own_u)
        natural = model.program.natural_head
        units = sensitivity(head, model.program.bound, q, outputs.u, features, weight, natural=natural)
        views.append(View(head, outputs, units))
    means, covariances = moments(lambda key: _derivatives(model, views, x, q, key), draws, jax.vmap(outer))
    inputs = jnp.concatenate([features, jnp.ones_like(weight)[:, None]], axis=1)
    # The heads take turns, since what comes now is one program for all of them.
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[(view.outputs, view.units) for view in views])

    def of_a_head(arguments):
        (outputs, units), mean, covariance = arguments
        return _reexpression(outputs, units, mean, covariance, inputs, unbounded, len(draws))

    return jax.lax.map(of_a_head, (stacked, means, covariances))


def _derivatives(
    model: Model, views: Sequence[View], x: Float[Array, "batch pixels"], q: Posterior, key: Key[Array, ""]
) -> Float[Array, "heads 3 batch latent"]:
    """Returns ∂L_i for each head at one draw: by μ/σ, by log σ along u, and by log σ at fixed μ."""
    epsilon = jax.random.normal(key, (model.program.objective.samples, *q.loc.shape), jnp.float32)

    def loss(q: Posterior) -> Array:
        log_likelihood = model.log_likelihood(x)
        return -objective_terms(model.program.objective, q, log_likelihood, epsilon, model.operands.beta).value.sum()

    by_posterior = jax.grad(loss)(q)
    derivatives = []
    for head, outputs, units in views:
        backwards = jax.vjp(lambda mean, u, head=head: posterior(head, model.program.bound, mean, u), *outputs)[1]
        by_mean, by_u = backwards(by_posterior)  # One pass through the decoder serves all heads.
        by_loc = by_mean / q.scale**2 if head.couples_mean else by_mean
        by_log_sigma = by_u / units.divisor
        derivatives.append(jnp.stack([q.scale * by_loc, by_log_sigma, by_log_sigma - units.coupling * by_loc]))
    return jnp.stack(derivatives)


def _reexpression(
    outputs: EncoderOutputs,
    units: Units,
    mean: Float[Array, "3 batch latent"],
    covariance: Float[Array, "3 3 batch latent"],
    inputs: Float[Array, "batch inputs"],
    unbounded: Float[Array, "batch latent"],
    draws: int,
) -> Reexpression:
    """Returns the figures of one head from the moments of its derivatives.

    Args:
      outputs: the encoder's outputs that it needs.
      units: the units there.
      mean: the mean of its derivatives over the draws.
      covariance: the covariance of its derivatives.
      inputs: the features that the scale head receives, and 1 for its bias.
      unbounded: the log σ before the bound.
      draws: the number K of draws.
    """
    statistics = unit_statistics(mean[1], covariance[1, 1], units, draws)
    by_u = units.divisor * mean[1] if units.natural is None else units.divisor * mean[1] * units.natural
    gradient = inputs.T @ by_u / len(inputs)
    unreached = ~(jnp.isfinite(outputs.u) & jnp.isfinite(outputs.mean))
    # Both derivatives are in the coordinates that float32 can distinguish: under `natural` those by u and by η₁
    # are nearly in proportion where σ is small.
    both = mahalanobis_squared(mean[::2], covariance[::2, ::2], draws)
    noisy = units.responds & jnp.isfinite(both)
    ratios = jnp.where(units.responds, fisher_ratio(covariance[1, 1], units), jnp.nan)
    return Reexpression(
        unreached=unreached.sum(),
        least=jnp.exp(jnp.where(unreached, unbounded, jnp.inf).min()),
        greatest=jnp.exp(jnp.where(unreached, unbounded, -jnp.inf).max()),
        units=statistics,
        fisher_ratio_median=jnp.nanmedian(ratios),
        mahalanobis=jnp.where(noisy, both, 0.0).sum(),
        noisy=noisy.sum(),
        signal=(gradient**2).sum() - statistics.weights / draws,
        gradient=gradient,
        gain=units.gain,
    )
