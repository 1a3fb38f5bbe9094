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
from vaecli.vae.heads.check import check_head
from vaecli.vae.heads.table import GIVEN, HEADS, Head


def resolve_head(name: str) -> Head:
    """Returns a head by its name, from the table or, for `package.module:attribute`, from a module of the user's own.

    Raises:
      ConfigError: there is no such head; the message names the nearest one, or says what is wrong with the user's own.
    """
    if ":" in name:
        return _own_head(name)
    if "@" in name:
        return _given_head(name)
    if name not in HEADS:
        known = f"heads: {', '.join(HEADS)}, or package.module:attribute"
        raise ConfigError("param", f"unknown head {name!r}{nearest(name, HEADS)} ({known})")
    return HEADS[name]


def is_own(name: str) -> bool:
    """Returns whether a name is that of a head which is not in the table."""
    return ":" in name or "@" in name


def _given_head(name: str) -> Head:
    if name not in GIVEN:
        raise ConfigError(
            "param",
            f"{name} is a Head that a Python program gave as an object, which only such a program can give again; a "
            "head in a module, as in my_heads:mine, serves every command",
        )
    return GIVEN[name]


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
        raise ConfigError("param", f"{kind}; 'vae docs heads' shows how to write one")
    check_head(name, own)
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
