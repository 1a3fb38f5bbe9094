"""Heads of somebody's own run that person's code: which of them may be imported."""

import importlib.util
from collections.abc import Collection, Iterable
from importlib.machinery import PathFinder

from vaecli.config import UsageError


def check_trusted(heads: Iterable[str], where: str, named: Collection[str], *, trusted: bool) -> None:
    """Refuses to import the module of a head that nobody but a file names.

    Args:
      heads: the names of heads in the file.
      where: the file, or the run that it belongs to.
      named: the heads that the user names.
      trusted: whether the user trusts the file.

    Raises:
      UsageError: one of the heads is `package.module:attribute`, and the user neither names nor trusts it.
    """
    for head in heads:
        module, colon, _ = head.partition(":")
        if colon and not trusted and head not in named:
            raise UsageError(
                f"{where}: names the head {head}, whose module runs as a program does ({_origin(module)}); "
                "--trust-heads imports it"
            )


def _origin(module: str) -> str:
    """Says from where a module would be imported, and imports nothing."""
    package = module.partition(".")[0]
    try:
        # To look for what lies in a package would import the package.
        spec = importlib.util.find_spec(package) or PathFinder.find_spec(package, [""])
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return f"there is no module {module!r} here"
    return f"from {spec.origin or ', '.join(spec.submodule_search_locations or ['Python'])}"
