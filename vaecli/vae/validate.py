"""The checks of a config that need the objects that its names stand for."""

import math

from vaecli.config import Config, ConfigError
from vaecli.config.texts import minus
from vaecli.vae.heads.resolve import is_own
from vaecli.vae.resolve import Resolved, resolve


def validate(config: Config) -> Resolved:
    """Resolves a config, and refuses one whose heads, bound and starts do not go together.

    It needs jax only where a head is the user's own, or must have a gain at u = 0 to be matched.

    Raises:
      ConfigError: they do not go together; the message says why.
    """
    resolved = resolve(config)
    _check_decoder(resolved)
    for field in ("init", "head_lr"):
        if getattr(config, field) == "matched" and not resolved.head.learned:
            raise ConfigError(field, f"{config.param} cannot be matched: it has no output to match")
    if config.init == "native" and resolved.head.learned:
        if config.head_lr == "matched":
            from vaecli.vae import matching

            matching.factors(resolved)  # At u = 0, where the head may have no gain.
        return resolved  # Nothing depends on init_std.
    _check_start(resolved)
    return resolved


def _check_decoder(resolved: Resolved) -> None:
    """Refuses a start of the likelihood's scale that its head does not reach."""
    head, config = resolved.decoder_head, resolved.config
    if head is None:
        return
    (low, high), log_scale = head.limits, math.log(config.decoder_std)
    if not low < log_scale < high:
        start = minus(f"log({config.decoder_std:g}) = {log_scale:.4g} is not between {low:.4g} and {high:.4g}")
        raise ConfigError("decoder_std", f"{start}, where {config.decoder_param} has it")
    if is_own(config.decoder_param):
        from vaecli.vae import matching

        matching.decoder_scale_start(resolved)


def _check_start(resolved: Resolved) -> None:
    """Refuses a start of the encoder's scale that its head does not reach, and a head of the user's own that errs."""
    head, bound, config = resolved.head, resolved.bound, resolved.config
    low, high = bound.limits(*head.limits)
    if not low < math.log(config.init_std) < high:
        start = minus(f"log({config.init_std:g}) = {math.log(config.init_std):.4g}")
        between = minus(f"{low:.4g} and {high:.4g}")
        which = config.param if bound.kind == "none" else f"{config.param} with --bound {config.bound}"
        raise ConfigError("init_std", f"log σ = {start} is not between {between}, where {which} has it")
    if is_own(config.param):
        import jax.numpy as jnp

        from vaecli.vae import matching

        bias = jnp.float32(matching.start(resolved).bias)
        matching.factors(resolved)
        scale, exponential = float(head.scale(bias)), float(jnp.exp(head.log_scale(bias)))
        if head.learned and not math.isclose(scale, exponential, rel_tol=1e-3):
            raise ConfigError("param", f"{config.param}: f_scale gives σ = {scale:g}, and exp of f {exponential:g}")
