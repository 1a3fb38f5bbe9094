"""The check of a head that is not in the table."""

from typing import Any

from vaecli.config import ConfigError
from vaecli.config.errors import one_line


def check_head(name: str, own: Any) -> None:
    """Refuses a head with a wrong field, or with a function that does not map an array to one of its shape and type."""
    import jax
    import jax.numpy as jnp

    if own.f is None:
        raise ConfigError("param", f"{name}: f, the map from u to log σ, is missing")
    numbers = isinstance(own.limits, tuple) and [number for number in own.limits if isinstance(number, float | int)]
    if not numbers or len(numbers) != 2 or len(own.limits) != 2 or not numbers[0] < numbers[1]:
        raise ConfigError("param", f"{name}: limits must be two numbers, the lower first, got {own.limits!r}")
    if not isinstance(own.slope, float | int) or not 1e-30 < abs(own.slope) < 1e30:
        raise ConfigError("param", f"{name}: slope must be a number other than 0, got {own.slope!r}")
    for what, kind in {
        "name": str,
        "couples_mean": bool,
        "learned": bool,
        "quantity": str,
        "formula": str,
        "note": str,
    }.items():
        if not isinstance(getattr(own, what), kind):
            raise ConfigError("param", f"{name}: {what} must be of type {kind.__name__}, got {getattr(own, what)!r}")
    for what in ("f", "f_inverse", "f_scale"):
        function = getattr(own, what)
        if function is None:
            continue
        for shape in ((), (3, 2)):
            try:
                output = jax.eval_shape(function, jax.ShapeDtypeStruct(shape, jnp.float32))
            except Exception as error:
                why = f"{what} fails on an array of shape {shape} ({one_line(error, 300)})"
                raise ConfigError("param", f"{name}: {why}") from error
            if jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), output) != (shape, jnp.float32):
                raise ConfigError("param", f"{name}: {what} must map an array to one of its shape and type")
