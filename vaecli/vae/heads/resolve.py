"""Finds a head by its name, in the table or in a module of the user's own."""

import contextlib
import dataclasses
import importlib
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from vaecli.config import ConfigError
from vaecli.config.errors import one_line
from vaecli.config.validators import nearest
from vaecli.vae.heads.table import HEADS, Head


def resolve_head(name: str) -> Head:
    """Returns a head by its name, from the table or, for `package.module:attribute`, from a module of the user's own.

    Raises:
      ConfigError: there is no such head; the message names the nearest one, or says what is wrong with the user's own.
    """
    if ":" in name:
        return _own_head(name)
    if name not in HEADS:
        known = f"heads: {', '.join(HEADS)}, or package.module:attribute"
        raise ConfigError("param", f"unknown head {name!r}{nearest(name, HEADS)} ({known})")
    return HEADS[name]


def _own_head(name: str) -> Head:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", name, re.ASCII):
        raise ConfigError("param", f"{name!r} is not package.module:attribute, such as my_heads:mine for my_heads.py")
    module, attribute = name.split(":")
    if module.endswith(".py"):
        raise ConfigError("param", f"{name}: a module is named without .py, {module.removesuffix('.py')}:{attribute}")
    if not any(isinstance(finder, _WorkingFolder) for finder in sys.meta_path):
        sys.meta_path.append(_WorkingFolder())  # It comes last, so that it hides no other module.
    try:
        with contextlib.redirect_stdout(sys.stderr):  # What the module prints is not our output.
            own = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise ConfigError("param", f"{name} cannot be loaded ({one_line(error, 300)})") from error
    if not isinstance(own, Head):
        kind = f"{name} is not a vaecli.Head but of type {type(own).__name__}"
        raise ConfigError("param", f"{kind}; docs/heads.md shows how to write one")
    _check(name, own)
    return dataclasses.replace(own, name=name)


class _WorkingFolder(MetaPathFinder):
    """Finds modules in the working folder, for this module, and for those that it has found.

    With that folder in `sys.path`, libraries would import whatever lies there under the name of an optional dependency.
    """

    def __init__(self):
        self._names: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Does what a finder must; `path` is that of the package around the module, and None for one without."""
        importer = _importer()
        if path is not None or (importer != __name__ and importer.partition(".")[0] not in self._names):
            return None
        spec = PathFinder.find_spec(fullname, [""], target)
        if spec:
            self._names.add(fullname)
        return spec


def _importer() -> str:
    """Returns the module in which the import stands that a finder is asked for."""
    frame = sys._getframe(2)
    while frame:
        name = str(frame.f_globals.get("__name__"))
        if name.partition(".")[0] not in ("importlib", "_frozen_importlib"):
            return name
        frame = frame.f_back
    return ""


def _check(name: str, own: Head) -> None:
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
    for what, kind in {"couples_mean": bool, "learned": bool, "quantity": str, "formula": str, "note": str}.items():
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
