"""Statistics of the gradient noise that comes from ε, by block of parameters."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from vaecli.vae.networks import BLOCKS, Params


def epsilon_statistics(
    gradient: Callable[[Float[Array, "batch latent"]], Params], epsilon: Float[Array, "draws batch latent"]
) -> Mapping[str, Float[Array, ""]]:
    """Unbiased estimates of the gradient's ε-variance and signal on one batch.

    With g_k the gradient at draw k of K and ḡ their mean, for each block:

    * `grad/variance/<block>`: tr = Σ_k ‖g_k − ḡ‖² / (K − 1), unbiased for tr Cov_ε(g).
    * `grad/signal/<block>`: S² = ‖ḡ‖² − tr/K = (‖Σ g_k‖² − Σ ‖g_k‖²) / (K(K − 1)), unbiased for ‖E_ε g‖², and so
      negative at times where the signal is far below the noise.
    * `grad/snr/<block>`: √(S²/tr), with the sign of S².

    Both come from Welford's recurrence: the difference of two large sums would lose the variance of a quiet block.

    Args:
      gradient: ε ↦ the gradient of −ELBO averaged over the batch, in nats per image.
      epsilon: K independent draws, K ≥ 2.

    Returns:
      The statistics by their tags; variance and signal in (nats per image)² over squared parameter units.
    """
    draws = epsilon.shape[0]

    def accumulate(carry, inputs):
        mean, scatter = carry
        count, eps = inputs
        g = gradient(eps)
        moved = jax.tree.map(lambda m, x: m + (x - m) / count, mean, g)
        step = {name: _inner(g[name], mean[name], moved[name]) for name in BLOCKS}
        return (moved, jax.tree.map(jnp.add, scatter, step)), None

    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(gradient, epsilon[0]))
    counts = jnp.arange(1, draws + 1, dtype=epsilon.dtype)
    (mean, scatter), _ = lax.scan(
        accumulate, (zero, {name: jnp.zeros((), jnp.float32) for name in BLOCKS}), (counts, epsilon)
    )

    statistics = {}
    for name in BLOCKS:
        variance = scatter[name] / (draws - 1)
        signal = _total(jax.tree.map(lambda leaf: jnp.sum(leaf**2), mean[name])) - variance / draws
        statistics[f"grad/variance/{name}"] = variance
        statistics[f"grad/signal/{name}"] = signal
        # A block that ε never reaches has no noise, and its ratio is no number.
        ratio = jnp.where(variance > 0, signal / jnp.where(variance > 0, variance, 1.0), jnp.nan)
        statistics[f"grad/snr/{name}"] = jnp.sign(ratio) * jnp.sqrt(jnp.abs(ratio))
    return statistics


def _inner(g: Params, before: Params, after: Params) -> Float[Array, ""]:
    """⟨g − before, g − after⟩ over a block: what one draw adds to Σ‖g_k − ḡ‖²."""
    return _total(jax.tree.map(lambda x, b, a: jnp.sum((x - b) * (x - a)), g, before, after))


def _total(parts: Params) -> Float[Array, ""]:
    return sum(jax.tree.leaves(parts), start=jnp.zeros((), jnp.float32))
