"""Imports a module when one of its functions is first called.

The tables of heads, likelihoods, objectives and optimisers are read before jax may be imported: `vae --help` and every
usage error answer without it.
"""

import importlib
from typing import Any


class LazyModule:
    """A stand-in for a module, whose functions import it when they are called."""

    def __init__(self, name: str):
        """Imports nothing yet; `name` is the full name of the module."""
        self._name = name

    def __getattr__(self, function: str) -> Any:
        """Returns a function that calls the module's function of that name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(importlib.import_module(self._name), function)(*args, **kwargs)

        setattr(self, function, call)  # So that a name is the same function, and hashes alike, wherever it is used.
        return call
