"""One posterior seen through every head: what each would make of the same gradient noise.

A head is given the encoder's outputs at which it has the posterior's own μ and σ, and the draws of ε are shared, so
that what differs between two heads is their map alone. The features before the scale head are held as they are.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, UInt8

from vaecli.vae.batches import gather
from vaecli.vae.gradients.moments import moments, outer
from vaecli.vae.gradients.units import UnitStatistics, fisher_ratio, mahalanobis_squared, sensitivity, unit_statistics
from vaecli.vae.heads.table import Head
from vaecli.vae.networks import Params, network
from vaecli.vae.objective import objective_terms
from vaecli.vae.posterior import Posterior, posterior
from vaecli.vae.steps import Operands, Program, encode, head_of, log_likelihood


class Reexpression(NamedTuple):
    """A head on one batch.

    Attributes:
      unreached: how many units it has no outputs for; the other numbers mean nothing where there are any.
      least: the least σ of them, before the bound; +inf where there are none.
      greatest: the greatest.
      units: the statistics of ∂L_i/∂u.
      fisher_ratio_median: the median over units of what is a sum in `units`.
      mahalanobis: sum over units of the squared SNR by both outputs together.
      noisy: over how many; a unit without noise (that the decoder does not use, say) has none.
      signal: unbiased ‖E_ε g‖² of the scale head's weights and biases.
      gradient: their mean gradient over the draws, (features + 1, latent), the biases last.
      gain: γ of each unit.
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


def reexpress(
    program: Program,
    forms: Sequence[Head],
    own: int | None,
    operands: Operands,
    slopes: Float[Array, " heads"],
    params: Params,
    images: UInt8[Array, "batch pixels"],
    draws: Key[Array, " draws"],
) -> list[Reexpression]:
    """Puts every head in the place of the run's own, on one batch.

    Args:
      program: of the run.
      forms: of the heads, without their slopes.
      own: which of them is the run's own; it keeps the outputs that the encoder gives it.
      operands: of the run.
      slopes: of the heads.
      params: of the run.
      images: the batch.
      draws: K keys, one for each draw of ε.
    """
    x, weight = gather(images, jnp.arange(len(images)))
    vae = network(program.architecture, params)
    features = vae.encoder(x)
    q, own_u = encode(program, operands, vae, x)
    run_head = head_of(program, operands)
    # Before the bound, which stays as it is.
    unbounded = run_head.log_scale(own_u) if run_head.learned else own_u
    heads = [dataclasses.replace(form, slope=slope) for form, slope in zip(forms, slopes, strict=True)]
    outputs = [(q.loc / q.scale**2 if head.couples_mean else q.loc, head.inverse(unbounded)) for head in heads]
    if own is not None:
        outputs[own] = (vae.encode(x)[0], own_u)
    units = [
        sensitivity(head, program.bound, q, u, features, weight) for head, (_, u) in zip(heads, outputs, strict=True)
    ]

    def loss(q: Posterior, epsilon: Array) -> Array:
        return -objective_terms(
            program.objective, q, log_likelihood(program, operands, vae, x), epsilon, operands.beta
        ).value.sum()

    def derivatives(key):
        """For each head ∂L_i, (3, batch, latent): by μ/σ, by log σ along u, and by log σ at fixed μ."""
        epsilon = jax.random.normal(key, (program.objective.samples, *q.loc.shape), jnp.float32)
        by_posterior = jax.grad(loss)(q, epsilon)
        found = []
        for head, at, outs in zip(heads, units, outputs, strict=True):
            backwards = jax.vjp(lambda mean, u, head=head: posterior(head, program.bound, mean, u), *outs)[1]
            by_mean, by_u = backwards(by_posterior)  # One pass through the decoder serves all heads.
            by_loc = by_mean / q.scale**2 if head.couples_mean else by_mean
            by_log_sigma = by_u / at.divisor
            found.append(jnp.stack([q.scale * by_loc, by_log_sigma, by_log_sigma - at.coupling * by_loc]))
        return found

    count = len(draws)
    means, covariances = moments(derivatives, draws, outer)
    inputs = jnp.concatenate([features, jnp.ones_like(features[:, :1])], axis=1)
    result = []
    for (mean_output, u), at, mean, covariance in zip(outputs, units, means, covariances, strict=True):
        statistics = unit_statistics(mean[1], covariance[1, 1], at, count)
        gradient = inputs.T @ (at.divisor * mean[1]) / len(x)
        lost = ~(jnp.isfinite(u) & jnp.isfinite(mean_output))
        # Both derivatives in the same coordinates, which float32 can tell apart: under `natural` those by u and by η₁
        # are nearly in proportion where σ is small.
        both = mahalanobis_squared(mean[::2], covariance[::2, ::2], count)
        noisy = at.responds & jnp.isfinite(both)
        ratios = jnp.where(at.responds, fisher_ratio(covariance[1, 1], at), jnp.nan)
        result.append(
            Reexpression(
                unreached=lost.sum(),
                least=jnp.exp(jnp.where(lost, unbounded, jnp.inf).min()),
                greatest=jnp.exp(jnp.where(lost, unbounded, -jnp.inf).max()),
                units=statistics,
                fisher_ratio_median=jnp.nanmedian(ratios),
                mahalanobis=jnp.where(noisy, both, 0.0).sum(),
                noisy=noisy.sum(),
                signal=(gradient**2).sum() - statistics.weights / count,
                gradient=gradient,
                gain=at.gain,
            )
        )
    return result
