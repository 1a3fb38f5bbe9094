"""How a run is named in directories, tables and figures: by its head, and by what else varies."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from vaecli.config import SETTINGS, Config

OWN_DATA = "mnist"
"""The name of runs on the data in this package that were given none."""


def label(config: Config, vary: Collection[str] = ()) -> str:
    """Returns the head, and `,field=value` for each field in `vary`, for a pilot and for a perturbed twin.

    The fields are in the order of `Config`.

    >>> label(Config(param="logstd", lr=3e-4, hidden=(400, 200)), ["lr", "hidden"])
    'logstd,hidden=400x200,lr=0.0003'
    """
    special = {"pilot", "perturb"}
    named = {*vary, *special} - {"param", "seed"} - {name for name in special if not getattr(config, name)}
    return ",".join([config.param, *(f"{name}={text(getattr(config, name))}" for name in SETTINGS if name in named)])


def label_folder(label: str) -> str:
    """Returns the name of a label's folder: characters that a shell or file system minds are replaced.

    >>> label_folder("my_heads:mine,bound=clip:-4,4")
    'my_heads.mine,bound=clip.-4,4'
    """
    return re.sub(r"[^A-Za-z0-9._=,+-]", "_", label.replace(":", "."))


def named_fields(label: str) -> Sequence[str]:
    """Returns the fields beside the head that a label names, also in the form of a folder's name.

    >>> named_fields("logstd,hidden=400x200,lr=0.0003")
    ['hidden', 'lr']
    """
    return [name for name in re.findall(r",([a-z_]+)=", label) if name in SETTINGS]


def text(value: Any) -> str:
    """Returns the value of a field as names and tables show it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "none"
    return f"{value:.10g}" if isinstance(value, float) and float(f"{value:.10g}") == value else str(value)


def folder_name(text: str) -> str:
    """Returns a text as the name of a run's folder: at most 100 characters, others than those allowed left out.

    >>> folder_name("a b (2)"), folder_name("../σ")
    ('a-b-2', '')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100].rstrip("-._")


def sort_key(value: Any) -> tuple[bool, Any]:
    """Returns what the values of a field are ordered by: numbers by size, and after them texts."""
    number = isinstance(value, int | float)
    return not number, value if number else text(value)


def flag(name: str) -> str:
    """Returns the flag of a setting or option."""
    return "--" + name.replace("_", "-")
