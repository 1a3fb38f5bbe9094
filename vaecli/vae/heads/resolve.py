"""Finds a head by its name, in the table or in a module of the user's, and refuses a config that it cannot serve."""

import contextlib
import dataclasses
import importlib
import math
import re
import sys

from vaecli.config import Config, ConfigError
from vaecli.config.errors import one_line
from vaecli.config.validators import nearest
from vaecli.vae.heads.bounds import bound
from vaecli.vae.heads.table import HEADS, Head


def head(name: str) -> Head:
    """Looks up a head, in the table or, for `package.module:attribute`, in a module of the user's.

    Raises:
      ConfigError: there is no such head; the message names the nearest one, or says what is wrong with the user's.
    """
    if ":" in name:
        return _own_head(name)
    if name not in HEADS:
        known = f"heads: {', '.join(HEADS)}, or package.module:attribute"
        raise ConfigError("param", f"unknown head {name!r}{nearest(name, HEADS)} ({known})")
    return HEADS[name]


def decoder_head(config: Config) -> Head | None:
    """The head of a Gaussian likelihood's standard deviation; None for a Bernoulli likelihood.

    Raises:
      ConfigError: there is no such head, or it would move the mean.
    """
    if config.likelihood == "bernoulli":
        return None
    try:
        found = head(config.decoder_param)
    except ConfigError as error:
        raise ConfigError("decoder_param", error.message) from error
    if found.couples_mean:
        raise ConfigError("decoder_param", f"{config.decoder_param} also moves the mean; the decoder has its own")
    return found


def _own_head(name: str) -> Head:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", name, re.ASCII):
        raise ConfigError("param", f"{name!r} is no package.module:attribute, such as my_heads:mine for my_heads.py")
    module, attribute = name.split(":")
    if module.endswith(".py"):
        raise ConfigError("param", f"{name}: a module is named without .py, {module.removesuffix('.py')}:{attribute}")
    if "" not in sys.path:
        sys.path.append("")  # The working folder: a file that lies there is a module. Last, so that it hides none.
    try:
        with contextlib.redirect_stdout(sys.stderr):  # What the module prints is no output of ours.
            own = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise ConfigError("param", f"{name} cannot be loaded ({one_line(error, 300)})") from error
    if not isinstance(own, Head):
        kind = type(own).__name__
        raise ConfigError("param", f"{name} is no vaecli.Head but of type {kind}; docs/heads.md shows how to write one")
    _check(name, own)
    return dataclasses.replace(own, name=name)


def _check(name: str, own: Head) -> None:
    """Refuses a head whose fields are none, or whose functions do not map an array to one of its shape and type."""
    import jax
    import jax.numpy as jnp

    if own.f is None:
        raise ConfigError("param", f"{name}: f, the map from u to log σ, is missing")
    numbers = isinstance(own.limits, tuple) and [number for number in own.limits if isinstance(number, float | int)]
    if not numbers or len(numbers) != 2 or len(own.limits) != 2 or not numbers[0] < numbers[1]:
        raise ConfigError("param", f"{name}: limits must be two numbers, the lower first, got {own.limits!r}")
    if not isinstance(own.slope, float | int) or not 1e-30 < abs(own.slope) < 1e30:
        raise ConfigError("param", f"{name}: slope must be a number other than 0, got {own.slope!r}")
    for what, kind in {"couples_mean": bool, "learned": bool, "quantity": str, "formula": str, "note": str}.items():
        if not isinstance(getattr(own, what), kind):
            raise ConfigError("param", f"{name}: {what} must be of type {kind.__name__}, got {getattr(own, what)!r}")
    for what in ("f", "f_inverse", "f_scale"):
        function = getattr(own, what)
        if function is None:
            continue
        for shape in ((), (3, 2)):
            try:
                got = jax.eval_shape(function, jax.ShapeDtypeStruct(shape, jnp.float32))
            except Exception as error:
                told = f"{what} fails on an array of shape {shape}"
                raise ConfigError("param", f"{name}: {told} ({one_line(error, 300)})") from error
            if jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), got) != (shape, jnp.float32):
                raise ConfigError("param", f"{name}: {what} must map an array to one of its shape and type")


def _check_decoder(config: Config) -> None:
    noise = decoder_head(config)
    if noise is None:
        return
    (low, high), given = noise.limits, math.log(config.decoder_std)
    if not low < given < high:
        told = f"log({config.decoder_std:g}) = {given:.4g} is not between {low:.4g} and {high:.4g}"
        raise ConfigError("decoder_std", f"{told}, where {config.decoder_param} has it")
    if ":" in config.decoder_param:
        from vaecli.vae import matching

        matching.decoder_scale_start(config)


def check(config: Config) -> None:
    """Refuses a config whose head, bound and start do not go together; without jax, unless the head is the user's.

    Raises:
      ConfigError: as the message says.
    """
    chosen, limit = head(config.param), bound(config.bound)
    _check_decoder(config)
    for field in ("init", "head_lr"):
        if getattr(config, field) == "matched" and not chosen.learned:
            raise ConfigError(field, f"{config.param} cannot be matched: it has no output to match")
    if config.init == "native" and chosen.learned:
        if config.head_lr == "matched":
            from vaecli.vae import matching

            matching.factors(config)  # At u = 0, where the head may have no gain.
        return  # Nothing depends on init_std.
    low, high = limit.limits(*chosen.limits)
    if not low < math.log(config.init_std) < high:
        given = f"log({config.init_std:g}) = {math.log(config.init_std):.4g}"
        which = config.param if limit.kind == "none" else f"{config.param} with --bound {config.bound}"
        raise ConfigError("init_std", f"log σ = {given} is not between {low:.4g} and {high:.4g}, where {which} has it")
    if ":" in config.param:
        import jax.numpy as jnp

        from vaecli.vae import matching

        bias = jnp.float32(matching.start(config).bias)
        matching.factors(config)
        scale, exponential = float(chosen.scale(bias)), float(jnp.exp(chosen.log_scale(bias)))
        if chosen.learned and not math.isclose(scale, exponential, rel_tol=1e-3):
            raise ConfigError("param", f"{config.param}: f_scale gives σ = {scale:g}, and exp of f {exponential:g}")
