"""The checks of a config that need the objects that its names stand for."""

import math

from vaecli.config import Config, ConfigError
from vaecli.config.naming import flag
from vaecli.config.texts import minus
from vaecli.vae.heads.resolve import is_own
from vaecli.vae.likelihoods import ScaledLikelihood
from vaecli.vae.optimizers import Optimizer
from vaecli.vae.resolve import Resolved, Scale, resolve


def validate(config: Config) -> Resolved:
    """Resolves a config, and refuses one whose heads, bound and starts do not go together.

    It needs jax only where a head is the user's own, or must have a gain at u = 0 to be matched.

    Raises:
      ConfigError: they do not go together; the message says why.
    """
    resolved = resolve(config)
    for scale in filter(None, (resolved.encoder, resolved.decoder)):
        _check_scale(scale, resolved.optimizer)
    _check_maximum(resolved)
    return resolved


def _check_maximum(resolved: Resolved) -> None:
    """Refuses a likelihood that grows without limit on a pixel that never changes, as most corners of MNIST do."""
    config, scale = resolved.config, resolved.decoder
    if scale is None or config.no_maximum == "train" or config.binarisation == "dequantised":
        return
    assert isinstance(resolved.likelihood, ScaledLikelihood)
    least, _ = scale.bound.limits(*scale.head.limits)
    if config.decoder_scale in ("pixel", "network") and math.isinf(least) and not resolved.likelihood.bounded_score:
        raise ConfigError(
            "decoder_scale",
            f"{config.decoder_scale} has no maximum for {config.likelihood}: where a pixel never changes, τ goes to 0 "
            "and log p to infinity; give decoder_bound floor:0.01, binarisation dequantised or likelihood student, or "
            "ask for it with no_maximum train",
        )


def _check_scale(scale: Scale, optimizer: Optimizer) -> None:
    """Refuses a start of a scale that its head does not reach, a match that there is not, and a head that errs."""
    learned, fields = scale.head.learned, scale.fields
    for field, value in ((fields.init, scale.init), (fields.lr, scale.lr)):
        if value == "matched" and not learned:
            raise ConfigError(field, f"{scale.param} cannot be matched: it has no output to match")
    if scale.init == "native" and learned:
        if scale.lr == "matched":
            from vaecli.vae import matching

            matching.factors(scale, optimizer)  # At u = 0, where the head may have no gain.
        return  # Nothing depends on the σ of the start.
    low, high = scale.bound.limits(*scale.head.limits)
    if not low < math.log(scale.std) < high:
        start = minus(f"log({scale.std:g}) = {math.log(scale.std):.4g}")
        between = minus(f"{low:.4g} and {high:.4g}")
        bounded = "" if scale.bound.kind == "none" else f" with {flag(fields.bound)} {scale.bound}"
        wanted = f"log {fields.symbol} = {start}"
        raise ConfigError(fields.std, f"{wanted} is not between {between}, where {scale.param}{bounded} has it")
    if is_own(scale.param):
        _check_own(scale, optimizer)


def _check_own(scale: Scale, optimizer: Optimizer) -> None:
    """Refuses a head of the user's own whose start is unknown, or whose two functions contradict each other."""
    import jax.numpy as jnp

    from vaecli.vae import matching

    head, bias = scale.head, jnp.float32(matching.start(scale, optimizer).bias)
    matching.factors(scale, optimizer)
    sigma, exponential = float(head.scale(bias)), float(jnp.exp(head.log_scale(bias)))
    if head.learned and not math.isclose(sigma, exponential, rel_tol=1e-3):
        raise ConfigError(
            scale.fields.param, f"{scale.param}: f_scale gives σ = {sigma:g}, and exp of f {exponential:g}"
        )
